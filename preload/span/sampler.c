// SPDX-License-Identifier: MIT
// The sampling decision: a few instructions for the local samplers, and a strategy that another
// thread exchanges under us for the remote one.
#include "span/sampler.h"
#include "base/clock.h"
#include "span/tracer.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { DRAIN_TRIES = 20, DRAIN_WAIT_NS = 1000000 };

// Of all trace ids, those whose lower 64 bits are below the bound. All of them have no bound.
struct chance {
    uint64_t bound;
    int always;
};

// A token bucket, as the time when it would have been empty: one number, one compare-and-swap.
// Relaxed: only the number itself matters.
struct bucket {
    int64_t interval_ns; // For one token; 0: there is no bucket.
    int64_t burst_ns;    // To fill it.
    _Atomic int64_t empty_at;
};

struct rule {
    struct faa_str operation;
    struct chance chance;
    struct bucket floor;
};

// But for the buckets' contents it does not change once it is published.
struct strategy {
    int limited;
    struct bucket limit;
    struct rule base; // For operations without a rule.
    size_t count;
    struct rule *rules; // Sorted by operation.
};

// The strategy in use and the one before it. Who decides holds its place by the count: entering is
// an increment and then a look whether the place is still the current one; the publisher moves
// `current` and looks at the counts before it frees. All four are sequentially consistent, so that
// of an entering thread and a publisher at least one sees the other.
static struct place {
    _Atomic unsigned readers;
    struct strategy *strategy; // NULL: the initial ratio.
} places[2];
static _Atomic unsigned current;

// Written by faa_sampler_init, before there are spans.
static enum faa_sampler_kind kind = FAA_SAMPLER_ON;
static int parent_based = 1;
static struct chance initial;

// ---- ratio and rate ---------------------------------------------------------------------------

// Rounds ratio * 2^64 half to even, as other SDKs do: services with one ratio must agree.
static struct chance chance_of(double ratio)
{
    if (!(ratio < 1))
        return (struct chance){.always = 1};
    double scaled = ratio > 0 ? ratio * 0x1p64 : 0;
    uint64_t whole = (uint64_t)scaled;
    double rest = scaled - (double)whole;
    return (struct chance){.bound = whole + (rest > 0.5 || (rest == 0.5 && (whole & 1)))};
}

static int chance_hits(const struct chance *chance, const uint8_t trace_id[16])
{
    if (chance->always)
        return 1;
    uint64_t low = 0;
    for (int i = 8; i < 16; i++)
        low = low << 8 | trace_id[i];
    return low < chance->bound;
}

// A full bucket of `rate` tokens a second that holds those of a second, but one at least.
static void bucket_init(struct bucket *bucket, double rate)
{
    const double longest = 0x1p61;
    double interval = rate > 0 ? 1e9 / rate : 0;
    if (interval > longest)
        interval = longest;
    if (rate > 0 && interval < 1)
        interval = 1;
    bucket->interval_ns = (int64_t)interval;
    bucket->burst_ns = bucket->interval_ns > 1000000000 ? bucket->interval_ns : 1000000000;
    atomic_init(&bucket->empty_at, INT64_MIN);
}

static int bucket_take(struct bucket *bucket)
{
    if (bucket->interval_ns == 0)
        return 0;
    int64_t now = (int64_t)faa_clock_mono_ns(), full = now - bucket->burst_ns, next;
    int64_t at = atomic_load_explicit(&bucket->empty_at, memory_order_relaxed);
    do {
        next = (at > full ? at : full) + bucket->interval_ns;
        if (next > now)
            return 0;
    } while (!atomic_compare_exchange_weak_explicit(&bucket->empty_at, &at, next,
                                                    memory_order_relaxed, memory_order_relaxed));
    return 1;
}

// ---- strategies -------------------------------------------------------------------------------

static int compare(struct faa_str a, struct faa_str b)
{
    if (a.n != b.n)
        return a.n < b.n ? -1 : 1;
    return a.n ? memcmp(a.p, b.p, a.n) : 0;
}

static int compare_rules(const void *a, const void *b)
{
    return compare(((const struct rule *)a)->operation, ((const struct rule *)b)->operation);
}

static struct rule *find_rule(struct strategy *s, struct faa_str operation)
{
    size_t low = 0, high = s->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(operation, s->rules[middle].operation);
        if (order == 0)
            return &s->rules[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return &s->base;
}

static int decide_by(struct strategy *s, const uint8_t trace_id[16], struct faa_str operation)
{
    if (!s)
        return chance_hits(&initial, trace_id);
    if (s->limited)
        return bucket_take(&s->limit);
    struct rule *rule = find_rule(s, operation);
    // The bucket pays for what chance has taken, too: it is for operations that chance forgets.
    int wanted = chance_hits(&rule->chance, trace_id), owed = bucket_take(&rule->floor);
    return wanted || owed;
}

static int decide_remote(const uint8_t trace_id[16], struct faa_str operation)
{
    // The strategies come on the exporter's thread, which may have no ended span to start for.
    faa_tracer_begin();
    for (;;) {
        unsigned i = atomic_load(&current);
        struct place *place = &places[i];
        atomic_fetch_add(&place->readers, 1);
        if (atomic_load(&current) == i) {
            int sampled = decide_by(place->strategy, trace_id, operation);
            atomic_fetch_sub(&place->readers, 1);
            return sampled;
        }
        atomic_fetch_sub(&place->readers, 1);
    }
}

// One block: the strategy, its rules, and their texts.
static struct strategy *strategy_new(const struct faa_sampler_strategy *given)
{
    size_t count =
        given->rule_count < FAA_SAMPLER_RULES_MAX ? given->rule_count : FAA_SAMPLER_RULES_MAX;
    size_t texts = 0;
    for (size_t i = 0; i < count; i++)
        texts += given->rules[i].operation.n;
    struct strategy *s = malloc(sizeof(*s) + count * sizeof(struct rule) + texts);
    if (!s)
        return NULL;
    s->limited = given->limited != 0;
    s->count = count;
    s->rules = (struct rule *)(s + 1);
    s->base.operation = FAA_STR("");
    s->base.chance = chance_of(given->ratio);
    bucket_init(&s->limit, given->limited ? given->limit : 0);
    bucket_init(&s->base.floor, given->floor);
    char *text = (char *)(s->rules + count);
    for (size_t i = 0; i < count; i++) {
        struct faa_str operation = given->rules[i].operation;
        if (operation.n)
            memcpy(text, operation.p, operation.n);
        s->rules[i].operation = (struct faa_str){text, operation.n};
        s->rules[i].chance = chance_of(given->rules[i].ratio);
        bucket_init(&s->rules[i].floor, given->floor);
        text += operation.n;
    }
    qsort(s->rules, count, sizeof(*s->rules), compare_rules);
    return s;
}

static int same_rule(const struct rule *a, const struct rule *b)
{
    return a->chance.always == b->chance.always && a->chance.bound == b->chance.bound &&
           a->floor.interval_ns == b->floor.interval_ns && faa_str_eq(a->operation, b->operation);
}

static int same_strategy(const struct strategy *a, const struct strategy *b)
{
    if (!a || a->limited != b->limited || a->limit.interval_ns != b->limit.interval_ns ||
        a->count != b->count || !same_rule(&a->base, &b->base))
        return 0;
    for (size_t i = 0; i < a->count; i++)
        if (!same_rule(&a->rules[i], &b->rules[i]))
            return 0;
    return 1;
}

// Nobody enters a place that is not the current one, and who is in it leaves at once.
static int is_drained(struct place *place)
{
    for (int i = 0; atomic_load(&place->readers) != 0; i++) {
        if (i == DRAIN_TRIES)
            return 0;
        nanosleep(&(struct timespec){.tv_nsec = DRAIN_WAIT_NS}, NULL);
    }
    return 1;
}

int faa_sampler_set_strategy(const struct faa_sampler_strategy *strategy)
{
    struct strategy *made = strategy_new(strategy);
    unsigned now = atomic_load(&current);
    struct place *other = &places[!now];
    if (!made)
        return -1;
    // An unchanged one stays, with what its buckets hold.
    if (same_strategy(places[now].strategy, made)) {
        free(made);
        return 0;
    }
    if (!is_drained(other)) {
        free(made);
        return -1;
    }
    // In this order: a fork in between must not leave the child a strategy that was freed.
    struct strategy *old = other->strategy;
    other->strategy = made;
    atomic_store(&current, !now);
    free(old);
    return 1;
}

void faa_sampler_after_fork(void)
{
    for (size_t i = 0; i < FAA_COUNT(places); i++)
        atomic_store(&places[i].readers, 0);
}

// ---- the decision -----------------------------------------------------------------------------

void faa_sampler_init(const struct faa_sampler_config *config)
{
    kind = config->kind;
    parent_based = config->parent_based;
    initial = chance_of(config->ratio);
}

int faa_sampler_decide(const uint8_t trace_id[16], enum faa_parent parent, struct faa_str operation)
{
    if (parent_based && parent != FAA_PARENT_NONE)
        return parent == FAA_PARENT_SAMPLED;
    switch (kind) {
    case FAA_SAMPLER_ON:
        return 1;
    case FAA_SAMPLER_OFF:
        return 0;
    case FAA_SAMPLER_RATIO:
        return chance_hits(&initial, trace_id);
    case FAA_SAMPLER_REMOTE:
        return decide_remote(trace_id, operation);
    }
    return 1;
}

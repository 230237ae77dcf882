// SPDX-License-Identifier: MIT
// What becomes of a batch.
#include "export/sender.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "export/parts.h"
#include "export/retry.h"
#include "export/spool.h"
#include "span/tracer.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

struct faa_sender {
    const struct faa_exporter_config *config;
    struct faa_transport *transport; // NULL: the endpoint cannot be used.
    struct faa_spool *spool;         // NULL: nothing goes into files.
    struct faa_batch batch;          // spans is 0 when there is none.
    struct faa_parts parts;          // Where it had to be cut: what comes after it.
    unsigned attempts;               // That failed, in a row.
    uint64_t retry_at;               // 0: at once.
    int is_from_file;                // The batch is cut out of a file, which goes when it is done.
    int may_have_files;              // There may be something in the spool to be sent.
    int collector_lost;              // And said so.
    uint64_t lost_before;            // Spans lost until then.
    // Relaxed: numbers to look at.
    _Atomic uint64_t exported, dropped, spooled, unspooled, unspooled_dropped;
};

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static uint64_t read_count(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

struct faa_sender *faa_sender_new(const struct faa_exporter_config *config, int private_fds)
{
    struct faa_sender *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->config = config;
    s->transport = faa_transport_new(config, private_fds);
    if (!s->transport && errno == ENOMEM) {
        free(s);
        return NULL;
    }
    if (!s->transport)
        faa_warn("cannot send traces: the endpoint is no usable URL; they are lost");
    if (config->spool_dir)
        s->spool = faa_spool_open(config->spool_dir, config->spool_size);
    return s;
}

static uint64_t lost(const struct faa_sender *s)
{
    return read_count(&s->dropped) + read_count(&s->unspooled_dropped) +
           faa_tracer_counts().dropped;
}

static void count_dropped(struct faa_sender *s, int is_from_file, uint64_t spans)
{
    count(is_from_file ? &s->unspooled_dropped : &s->dropped, spans);
}

// The batch is sent, kept or given up: its next part takes its place.
static void finish(struct faa_sender *s)
{
    count_dropped(s, s->is_from_file, faa_parts_next(&s->parts, &s->batch));
    if (s->is_from_file && !s->batch.spans) {
        faa_spool_done(s->spool);
        s->is_from_file = 0;
    }
}

static void drop(struct faa_sender *s)
{
    faa_debug("%u spans dropped", s->batch.spans);
    count_dropped(s, s->is_from_file, s->batch.spans);
    finish(s);
}

int faa_sender_has_batch(const struct faa_sender *s)
{
    return s->batch.spans != 0;
}

void faa_sender_give(struct faa_sender *s, const struct faa_batch *batch)
{
    s->batch = *batch;
    // While the collector is away a new batch does not go first.
    if (!s->collector_lost)
        s->retry_at = 0;
}

uint64_t faa_sender_due(const struct faa_sender *s)
{
    return s->batch.spans || s->may_have_files ? s->retry_at : UINT64_MAX;
}

// Into a file, or given up.
static void keep_or_drop(struct faa_sender *s)
{
    uint64_t dropped = 0;
    int kept = s->spool && faa_spool_put(s->spool, &s->batch, &dropped) == 0;
    if (dropped)
        faa_debug("the spool is full: its oldest %llu spans dropped", (unsigned long long)dropped);
    count(&s->unspooled_dropped, dropped);
    if (!kept) {
        drop(s);
        return;
    }
    if (!s->is_from_file) // Else it had been counted when its file was written.
        count(&s->spooled, s->batch.spans);
    s->may_have_files = 1;
    finish(s);
}

void faa_sender_unburden(struct faa_sender *s)
{
    if (s->spool && s->batch.spans && s->collector_lost)
        keep_or_drop(s);
}

static const char *fate(const struct faa_sender *s, int is_kept, int last)
{
    if (is_kept && s->spool)
        return last ? "they are kept in files" : "they are kept, in files when memory is short";
    return is_kept && !last ? "they are kept while memory allows" : "they are lost";
}

// Says once that the collector is lost, and once that it is back.
static void report(struct faa_sender *s, const struct faa_outcome *outcome, int last)
{
    const char *endpoint = faa_transport_endpoint(s->transport);
    int sent = outcome->verdict == FAA_VERDICT_SENT;
    if (sent && s->collector_lost) {
        faa_warn("traces reach %s again (%llu spans lost)", endpoint,
                 (unsigned long long)(lost(s) - s->lost_before));
    } else if (!sent && !s->collector_lost) {
        s->lost_before = lost(s);
        faa_warn("cannot send traces to %s: %s%s%s%s; %s", endpoint, outcome->reason,
                 outcome->hint ? " (" : "", outcome->hint ? outcome->hint : "",
                 outcome->hint ? ")" : "", fate(s, outcome->verdict == FAA_VERDICT_RETRY, last));
    }
    s->collector_lost = !sent;
}

static void wait_longer(struct faa_sender *s, const struct faa_outcome *outcome)
{
    uint32_t wait = faa_retry_wait_ms(++s->attempts, (uint32_t)faa_random_u64());
    if (wait < outcome->retry_after_ms)
        wait = outcome->retry_after_ms;
    s->retry_at = faa_clock_mono_ns() + wait * (uint64_t)1000000;
}

static void count_sent(struct faa_sender *s, const struct faa_outcome *outcome, int is_from_file,
                       unsigned spans)
{
    uint64_t rejected = outcome->rejected < spans ? outcome->rejected : spans;
    if (rejected)
        faa_debug("%llu of these spans were rejected", (unsigned long long)rejected);
    count(is_from_file ? &s->unspooled : &s->exported, spans - rejected);
    count_dropped(s, is_from_file, rejected);
    s->attempts = 0;
    s->retry_at = 0;
}

static void attempt_batch(struct faa_sender *s, int last, int (*give_up)(void *arg), void *arg)
{
    struct faa_outcome outcome = faa_transport_send(s->transport, &s->batch, give_up, arg);
    if (outcome.verdict == FAA_VERDICT_TOO_LARGE && faa_parts_cut(&s->parts, &s->batch) == 0) {
        faa_debug("too large: it goes in parts of %u spans", s->batch.spans);
        return;
    }
    report(s, &outcome, last);
    if (outcome.verdict == FAA_VERDICT_SENT) {
        count_sent(s, &outcome, s->is_from_file, s->batch.spans);
        s->may_have_files = s->spool != NULL;
        finish(s);
    } else if (outcome.verdict == FAA_VERDICT_RETRY) {
        if (last)
            keep_or_drop(s);
        else
            wait_longer(s, &outcome);
    } else {
        s->attempts = 0;
        drop(s);
    }
}

// The oldest batch of the files, whoever has put it there.
static void attempt_file(struct faa_sender *s, int (*give_up)(void *arg), void *arg)
{
    struct faa_batch batch;
    uint64_t torn;
    int taken = faa_spool_take(s->spool, &batch, &torn);
    count_dropped(s, 1, torn);
    s->may_have_files = taken != 0;
    if (taken < 0)
        wait_longer(s, &(struct faa_outcome){0});
    if (taken <= 0)
        return;
    struct faa_outcome outcome = faa_transport_send(s->transport, &batch, give_up, arg);
    if (outcome.verdict == FAA_VERDICT_TOO_LARGE && faa_parts_cut(&s->parts, &batch) == 0) {
        s->batch = batch;
        s->is_from_file = 1;
        return;
    }
    report(s, &outcome, 0);
    if (outcome.verdict == FAA_VERDICT_RETRY) {
        faa_spool_leave(s->spool);
        wait_longer(s, &outcome);
        return;
    }
    if (outcome.verdict == FAA_VERDICT_SENT) {
        count_sent(s, &outcome, 1, batch.spans);
    } else {
        faa_debug("%u spans of a file dropped", batch.spans);
        count_dropped(s, 1, batch.spans);
    }
    faa_spool_done(s->spool);
}

void faa_sender_attempt(struct faa_sender *s, int last, int (*give_up)(void *arg), void *arg)
{
    if (s->batch.spans && !s->transport)
        drop(s);
    else if (s->batch.spans)
        attempt_batch(s, last, give_up, arg);
    else if (s->may_have_files && !last)
        attempt_file(s, give_up, arg);
}

void faa_sender_count_dropped(struct faa_sender *s, uint64_t spans)
{
    count(&s->dropped, spans);
}

struct faa_exporter_counts faa_sender_counts(const struct faa_sender *s)
{
    return (struct faa_exporter_counts){
        .exported = read_count(&s->exported),
        .dropped = read_count(&s->dropped),
        .spooled = read_count(&s->spooled),
        .unspooled = read_count(&s->unspooled),
        .unspooled_dropped = read_count(&s->unspooled_dropped),
    };
}

struct faa_exporter_counts faa_sender_free(struct faa_sender *s)
{
    if (!s)
        return (struct faa_exporter_counts){0};
    while (s->batch.spans)
        keep_or_drop(s);
    struct faa_exporter_counts last = faa_sender_counts(s);
    faa_spool_close(s->spool);
    faa_transport_free(s->transport);
    free(s);
    return last;
}

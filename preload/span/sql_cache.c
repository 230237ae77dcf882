// SPDX-License-Identifier: MIT
// A small set-associative cache; each set is guarded by a flag that nobody waits for.
#include "span/sql_cache.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { WAYS = 4, SETS = FAA_SQL_CACHE_ENTRIES / WAYS, MISSES = 4 };

_Static_assert((SETS & (SETS - 1)) == 0, "a set is chosen by bits of the hash");

// The statement's bytes, then summary and text, without NULs.
struct entry {
    uint64_t hash;
    uint32_t last_used;
    uint16_t sql_len, flags;
    uint16_t summary_len, text_len, procedure, procedure_len;
    char bytes[];
};

// `busy` is taken by an exchange with acquire and given back with release: whoever has it sees all
// that the one before has written. In a child that was forked while another thread had it, the set
// stays unused.
struct set {
    atomic_uchar busy;
    unsigned char next_miss;
    uint32_t clock;
    struct entry *ways[WAYS];
    uint64_t misses[MISSES]; // Hashes of what was asked for and not found, lately.
};

static struct set sets[SETS];

static int take(struct set *set)
{
    return atomic_exchange_explicit(&set->busy, 1, memory_order_acquire) == 0;
}

static void give_back(struct set *set)
{
    atomic_store_explicit(&set->busy, 0, memory_order_release);
}

static uint64_t mix(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t word(const char *p, size_t n)
{
    uint64_t w = 0;
    memcpy(&w, p, n);
    return w;
}

static uint64_t hash_of(struct faa_str sql, unsigned flags)
{
    static const uint64_t k0 = UINT64_C(0x9e3779b97f4a7c15), k1 = UINT64_C(0xd1b54a32d192ed03);
    uint64_t h = mix(sql.n ^ k0, flags ^ k1);
    const char *p = sql.p;
    size_t n = sql.n;
    for (; n >= 16; p += 16, n -= 16)
        h = mix(word(p, 8) ^ k0, word(p + 8, 8) ^ h);
    if (n >= 8)
        return mix(word(p, 8) ^ k0, word(p + 8, n - 8) ^ h ^ k1);
    return mix(word(p, n) ^ k1, h ^ k0);
}

static struct entry *find(struct set *set, uint64_t hash, struct faa_str sql, unsigned flags)
{
    for (size_t i = 0; i < WAYS; i++) {
        struct entry *e = set->ways[i];
        if (e && e->hash == hash && e->sql_len == sql.n && e->flags == flags &&
            memcmp(e->bytes, sql.p, sql.n) == 0)
            return e;
    }
    return NULL;
}

static void copy_out(const struct entry *e, struct faa_sql_told *out)
{
    const char *p = e->bytes + e->sql_len;
    memcpy(out->summary, p, e->summary_len);
    memcpy(out->text, p + e->summary_len, e->text_len);
    out->summary[e->summary_len] = out->text[e->text_len] = '\0';
    out->summary_len = e->summary_len;
    out->text_len = e->text_len;
    out->procedure = e->procedure;
    out->procedure_len = e->procedure_len;
}

static struct entry *entry_new(uint64_t hash, struct faa_str sql, unsigned flags,
                               const struct faa_sql_told *told)
{
    struct entry *e = malloc(sizeof(*e) + sql.n + told->summary_len + told->text_len);
    if (!e)
        return NULL;
    *e = (struct entry){
        .hash = hash,
        .sql_len = (uint16_t)sql.n,
        .flags = (uint16_t)flags,
        .summary_len = told->summary_len,
        .text_len = told->text_len,
        .procedure = told->procedure,
        .procedure_len = told->procedure_len,
    };
    memcpy(e->bytes, sql.p, sql.n);
    memcpy(e->bytes + sql.n, told->summary, told->summary_len);
    memcpy(e->bytes + sql.n + told->summary_len, told->text, told->text_len);
    return e;
}

// Looks a statement up: 1 found, 0 not found for the first time, -1 not found again.
static int look_up(struct set *set, uint64_t hash, struct faa_str sql, unsigned flags,
                   struct faa_sql_told *out)
{
    struct entry *e = find(set, hash, sql, flags);
    if (e) {
        e->last_used = ++set->clock;
        copy_out(e, out);
        return 1;
    }
    for (size_t i = 0; i < MISSES; i++)
        if (set->misses[i] == hash)
            return -1;
    set->misses[set->next_miss++ % MISSES] = hash;
    return 0;
}

// Puts an entry in the place of an empty one or of the one that was not used for longest, which is
// returned.
static struct entry *replace(struct set *set, struct entry *e)
{
    size_t at = 0;
    for (size_t i = 0; i < WAYS && set->ways[at]; i++)
        if (!set->ways[i] ||
            set->clock - set->ways[i]->last_used > set->clock - set->ways[at]->last_used)
            at = i;
    struct entry *old = set->ways[at];
    e->last_used = ++set->clock;
    set->ways[at] = e;
    return old;
}

static void keep(struct set *set, uint64_t hash, struct faa_str sql, unsigned flags,
                 const struct faa_sql_told *told)
{
    struct entry *e = entry_new(hash, sql, flags, told);
    if (!e)
        return;
    if (take(set)) {
        // Another thread may have put it in meanwhile.
        if (!find(set, hash, sql, flags))
            e = replace(set, e);
        give_back(set);
    }
    free(e);
}

int faa_sql_tell_cached(struct faa_str sql, unsigned flags, struct faa_sql_told *out)
{
    int found = 0;
    uint64_t hash = 0;
    struct set *set = NULL;
    if (sql.n > 0 && sql.n <= FAA_SQL_CACHED_MAX) {
        hash = hash_of(sql, flags);
        set = &sets[hash % SETS];
        if (take(set)) {
            found = look_up(set, hash, sql, flags, out);
            give_back(set);
        }
    }
    if (found == 1)
        return 1;
    faa_sql_tell(sql, flags, out);
    if (found < 0)
        keep(set, hash, sql, flags, out);
    return 0;
}

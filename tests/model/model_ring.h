// SPDX-License-Identifier: MIT
// A small ring for scenarios, and messages that prove themselves. Includes the ring's source.
#ifndef FAA_TESTS_MODEL_RING_H
#define FAA_TESTS_MODEL_RING_H

#include "ring/ring.c"

#include "tests/model/explore.h"

enum {
    ROOM_MAX = 256, // Of the records.
    SHORT = 8,      // Payloads of one word, and of two. A word stands where the next lap may have a
    LONG = 24,      // tag, and none where it has a size.
    COOKIE = 0x5ac0
};

static struct shared header;
static _Alignas(FAA_RING_ALIGN) unsigned char records[ROOM_MAX];
static struct faa_ring the_ring;

static struct {
    _Atomic int rescuing; // As in struct faa_exporter.
    struct faa_ring_cursor dead;
} exporter;

// Of notes: what happened, in the upper half; the message, in the lower one.
enum { SENT = 1 << 16, REFUSED = 2 << 16, RECEIVED = 3 << 16 };

// An empty ring; `start` is where it begins, to have its end where it is wanted.
static inline void make_ring(uint64_t capacity, uint64_t start)
{
    the_ring = (struct faa_ring){
        .shared = &header, .data = records, .capacity = capacity, .cookie = COOKIE};
    memset(&header, 0, sizeof(header));
    memset(records, 0, sizeof(records));
    memset(&exporter, 0, sizeof(exporter));
    atomic_store(&header.head, start);
    atomic_store(&header.tail, start);
    explore_reset();
    explore_region("head", (void *)&header.head, sizeof(header.head), EXPLORE_ATOMIC);
    explore_region("tail", (void *)&header.tail, sizeof(header.tail), EXPLORE_ATOMIC);
    explore_region("bell", (void *)&header.bell, sizeof(header.bell), EXPLORE_ATOMIC);
    explore_region("record", records, (size_t)capacity, 0);
    explore_region("exporter", &exporter, sizeof(exporter), 0);
}

// What a message says: never 0, and no tag of a record.
static inline uint64_t message_word(uint32_t message)
{
    return UINT64_C(0xfeed00000000000f) | (uint64_t)message << 8;
}

static inline void write_message(uint64_t *payload, size_t size, uint32_t message)
{
    payload[0] = message_word(message);
    if (size == LONG)
        payload[2] = message_word(message);
}

// The message, which must be whole.
static inline uint32_t read_message(const uint64_t *payload, size_t size)
{
    uint64_t word = payload[0];
    EXPLORE_ASSERT(size == SHORT || size == LONG);
    EXPLORE_ASSERT((word & UINT64_C(0xffff0000000000ff)) == message_word(0));
    EXPLORE_ASSERT(size == SHORT || payload[2] == word);
    return (uint32_t)(word >> 8);
}

// ---- the guard's exporter ---------------------------------------------------------------------

// As faa_exporter_rescue.
static inline void begin_rescue(void)
{
    struct faa_ring_cursor end = faa_ring_end(&the_ring);
    exporter.dead.pos = end.pos; // A struct that a call returns into memory is not instrumented.
    atomic_store_explicit(&exporter.rescuing, 1, memory_order_release);
}

// Broken: it skips what the guard itself is writing, too.
static int skips_all;

static inline const void *next_of_exporter(struct faa_ring_cursor *cursor, size_t *size)
{
    int rescuing = atomic_load_explicit(&exporter.rescuing, memory_order_acquire);
    struct faa_ring_cursor dead;
    if (rescuing)
        dead = skips_all ? faa_ring_end(&the_ring) : exporter.dead;
    return faa_ring_next(&the_ring, cursor, size, rescuing ? &dead : NULL);
}

// Looks so often, the last time when these threads have ended: it sees all that will ever be.
static inline void export_all(int looks, unsigned threads)
{
    struct faa_ring_cursor cursor = faa_ring_begin(&the_ring);
    for (int i = 0; i < looks; i++) {
        const void *payload;
        size_t size;
        if (i == looks - 1)
            explore_join(threads);
        while ((payload = next_of_exporter(&cursor, &size)) != NULL)
            explore_note(RECEIVED | read_message(payload, size));
        faa_ring_release(&the_ring, cursor);
        explore_checkpoint(cursor.pos);
    }
    EXPLORE_ASSERT(faa_ring_begin(&the_ring).pos == faa_ring_end(&the_ring).pos);
}

// Counts notes of all threads.
static inline int count_notes(const struct explore_scenario *scenario, uint32_t note)
{
    int count = 0;
    for (int t = 0; t < (int)scenario->thread_count; t++)
        for (size_t i = 0; i < explore_note_count(t); i++)
            count += explore_note_at(t, i) == note;
    return count;
}

#endif

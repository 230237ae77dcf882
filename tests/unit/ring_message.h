// SPDX-License-Identifier: MIT
// Self-proving messages for the ring's tests, which include the ring's source.
//
// With the source, a test can leave behind what only a killed thread would.
#ifndef FAA_TESTS_RING_MESSAGE_H
#define FAA_TESTS_RING_MESSAGE_H

#include "ring/ring.c"

#include <check.h>

enum { SMALL = CAPACITY_MIN, PRODUCERS = 4, PRODUCERS_MAX = 16 };

// A payload that can prove itself intact: its bytes follow from what its head says.
struct message {
    uint32_t producer, size;
    uint64_t sequence;
    unsigned char bytes[];
};

static inline size_t message_size(uint64_t producer, uint64_t sequence)
{
    return sizeof(struct message) + faa_random_mix(producer << 32 ^ sequence) % 700;
}

static inline unsigned char message_byte(uint64_t producer, uint64_t sequence, size_t i)
{
    return (unsigned char)(producer * 31 + sequence * 7 + i);
}

static inline int send_message(struct faa_ring *ring, uint32_t producer, uint64_t sequence)
{
    size_t size = message_size(producer, sequence);
    struct message *m = faa_ring_reserve(ring, size);
    if (!m)
        return -1;
    m->producer = producer;
    m->size = (uint32_t)size;
    m->sequence = sequence;
    for (size_t i = 0; i < size - sizeof(*m); i++)
        m->bytes[i] = message_byte(producer, sequence, i);
    faa_ring_commit(ring, m);
    return 0;
}

static inline void check_message(const struct message *m, size_t size)
{
    // One assertion of Check is a system call: these are made a million times.
    if (size < sizeof(*m) || m->size != size || m->producer >= PRODUCERS_MAX ||
        size != message_size(m->producer, m->sequence))
        ck_abort_msg("a message of %zu bytes has a wrong head", size);
    for (size_t i = 0; i < size - sizeof(*m); i++)
        if (m->bytes[i] != message_byte(m->producer, m->sequence, i))
            ck_abort_msg("producer %u message %lu differs at byte %zu", m->producer,
                         (unsigned long)m->sequence, i);
}

static inline struct faa_ring *new_ring(int *fd)
{
    struct faa_ring *ring = faa_ring_new(SMALL, fd);
    ck_assert_ptr_nonnull(ring);
    return ring;
}

// The sequence number at the cursor, or -1 when there is nothing.
static inline long next_sequence(const struct faa_ring *ring, struct faa_ring_cursor *cursor,
                                 int rescue)
{
    struct faa_ring_cursor end = faa_ring_end(ring);
    size_t size;
    const struct message *m = faa_ring_next(ring, cursor, &size, rescue ? &end : NULL);
    if (!m)
        return -1;
    check_message(m, size);
    return (long)m->sequence;
}

#endif

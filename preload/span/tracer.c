// SPDX-License-Identifier: MIT
// The way from a span to the process's ring, which is made when the first span ends.
#include "span/tracer.h"
#include "ring/flights.h"
#include "ring/ring.h"

#include <stdatomic.h>

// Stored with release by faa_tracer_init; the acquire load in current_ring sees what it points to.
static const struct faa_tracer_ops *_Atomic owner;

// Stored with release by current_ring when the owner has made it, so that every other thread's
// acquire load there sees the ring's own fields.
static struct faa_ring *_Atomic current;

// Like `current`. A flight's number holds the generation and the slot.
static struct faa_flights *_Atomic flights;
static _Atomic uint32_t generation = 1; // Changes in a fork's child.
enum { SLOT_BITS = 16 };

// Relaxed: numbers to look at, and a hint. Nothing is read because of them.
static _Atomic uint64_t ended, dropped;
static _Atomic int crowded;

static struct faa_ring *current_ring(void)
{
    struct faa_ring *ring = atomic_load_explicit(&current, memory_order_acquire);
    if (ring)
        return ring;
    const struct faa_tracer_ops *ops = atomic_load_explicit(&owner, memory_order_acquire);
    ring = ops ? ops->start() : NULL;
    if (ring)
        atomic_store_explicit(&current, ring, memory_order_release);
    return ring;
}

// True once per crossing: the flag is set by the record that finds the ring more than half full and
// taken back by the next one that does not. Threads that race here say so once too often at most.
static int became_crowded(const struct faa_ring *ring)
{
    if (faa_ring_used(ring) <= faa_ring_capacity(ring) / 2) {
        if (atomic_load_explicit(&crowded, memory_order_relaxed))
            atomic_store_explicit(&crowded, 0, memory_order_relaxed);
        return 0;
    }
    return !atomic_load_explicit(&crowded, memory_order_relaxed) &&
           !atomic_exchange_explicit(&crowded, 1, memory_order_relaxed);
}

void faa_tracer_init(const struct faa_tracer_ops *ops)
{
    atomic_store_explicit(&owner, ops, memory_order_release);
}

void faa_tracer_forget_ring(void)
{
    atomic_store_explicit(&current, NULL, memory_order_relaxed);
    atomic_store_explicit(&flights, NULL, memory_order_relaxed);
    atomic_fetch_add_explicit(&generation, 1, memory_order_relaxed);
    atomic_store_explicit(&ended, 0, memory_order_relaxed);
    atomic_store_explicit(&dropped, 0, memory_order_relaxed);
    atomic_store_explicit(&crowded, 0, memory_order_relaxed);
}

uint32_t faa_tracer_generation(void)
{
    return atomic_load_explicit(&generation, memory_order_relaxed);
}

void faa_tracer_begin(void)
{
    (void)current_ring();
}

void *faa_tracer_reserve(size_t size)
{
    struct faa_ring *ring = current_ring();
    void *place = ring ? faa_ring_reserve(ring, size) : NULL;
    atomic_fetch_add_explicit(&ended, 1, memory_order_relaxed);
    if (!place)
        atomic_fetch_add_explicit(&dropped, 1, memory_order_relaxed);
    return place;
}

void faa_tracer_set_flights(struct faa_flights *made)
{
    atomic_store_explicit(&flights, made, memory_order_release);
}

void *faa_tracer_take_flight(uint32_t *flight)
{
    const struct faa_tracer_ops *ops = atomic_load_explicit(&owner, memory_order_acquire);
    void *room;
    if (!ops || !ops->wants_flights || !current_ring())
        return NULL;
    struct faa_flights *table = atomic_load_explicit(&flights, memory_order_acquire);
    int slot = table ? faa_flights_take(table, &room) : -1;
    if (slot < 0)
        return NULL;
    *flight = faa_tracer_generation() << SLOT_BITS | (uint32_t)(slot + 1);
    return room;
}

// The table that the flight belongs to, and its slot; NULL for no flight, or a fork's parent's.
static struct faa_flights *table_of(uint32_t flight, int *slot)
{
    *slot = (int)(flight & ((1u << SLOT_BITS) - 1)) - 1;
    if (*slot < 0 || flight >> SLOT_BITS != (faa_tracer_generation() & UINT16_MAX))
        return NULL;
    return atomic_load_explicit(&flights, memory_order_acquire);
}

void faa_tracer_publish_flight(uint32_t flight, size_t size)
{
    int slot;
    struct faa_flights *table = table_of(flight, &slot);
    if (table)
        faa_flights_publish(table, slot, size);
}

void faa_tracer_drop_flight(uint32_t flight)
{
    int slot;
    struct faa_flights *table = table_of(flight, &slot);
    if (table)
        faa_flights_drop(table, slot);
}

void faa_tracer_commit(void *record, uint32_t flight)
{
    // The same ring that gave the place: it changes only in a fork's child, where the thread that
    // reserved does not exist.
    struct faa_ring *ring = atomic_load_explicit(&current, memory_order_acquire);
    int slot;
    struct faa_flights *table = table_of(flight, &slot);
    if (table)
        faa_flights_land(table, slot, faa_ring_position(ring, record));
    faa_ring_commit(ring, record);
    if (table)
        faa_flights_drop(table, slot);
    atomic_load_explicit(&owner, memory_order_acquire)->committed(became_crowded(ring));
}

void faa_tracer_flush(void)
{
    const struct faa_tracer_ops *ops = atomic_load_explicit(&owner, memory_order_acquire);
    if (ops)
        ops->flush();
}

struct faa_tracer_counts faa_tracer_counts(void)
{
    return (struct faa_tracer_counts){
        .ended = atomic_load_explicit(&ended, memory_order_relaxed),
        .dropped = atomic_load_explicit(&dropped, memory_order_relaxed),
    };
}

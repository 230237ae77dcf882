// SPDX-License-Identifier: MIT
// The table of slots. A slot belongs to who has changed its state from FREE.
#include "ring/flights.h"

#include "ring/memfd.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum state {
    FREE,
    WRITING,
    FLYING,
    LANDING // Its record is reserved in the ring, at `position`.
};

struct slot {
    _Atomic uint32_t state;
    uint32_t size;
    uint64_t position;
    unsigned char payload[FAA_FLIGHT_SIZE_MAX];
};

#define MAGIC 0x3174686769666161u // "aafight1" where the low byte comes first.

struct shared {
    uint64_t magic;
    _Atomic uint32_t next; // Where to look for a free slot first: the one given back last.
    uint32_t unused[13];
    struct slot slots[FAA_FLIGHTS_MAX];
};

struct faa_flights {
    struct shared *shared;
};

static struct faa_flights *map(int fd, int protection)
{
    struct faa_flights *flights =
        mmap(NULL, sizeof(*flights), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (flights == MAP_FAILED)
        return NULL;
    flights->shared = mmap(NULL, sizeof(struct shared), protection, MAP_SHARED, fd, 0);
    if (flights->shared == MAP_FAILED) {
        munmap(flights, sizeof(*flights));
        return NULL;
    }
    return flights;
}

struct faa_flights *faa_flights_new(int *fd)
{
    *fd = faa_memfd_open("faa-flights", sizeof(struct shared));
    struct faa_flights *flights = *fd >= 0 ? map(*fd, PROT_READ | PROT_WRITE) : NULL;
    if (!flights) {
        faa_memfd_close(fd);
        return NULL;
    }
    flights->shared->magic = MAGIC;
    (void)madvise(flights->shared, sizeof(struct shared), MADV_DONTFORK);
    return flights;
}

struct faa_flights *faa_flights_attach(int fd)
{
    struct stat st;
    if (!faa_memfd_is_sealed(fd) || fstat(fd, &st) < 0 || st.st_size != sizeof(struct shared))
        return NULL;
    struct faa_flights *flights = map(fd, PROT_READ);
    if (!flights || flights->shared->magic == MAGIC)
        return flights;
    faa_flights_free(flights);
    return NULL;
}

void faa_flights_free(struct faa_flights *flights)
{
    if (!flights)
        return;
    munmap(flights->shared, sizeof(struct shared));
    munmap(flights, sizeof(*flights));
}

int faa_flights_take(struct faa_flights *flights, void **payload)
{
    struct shared *shared = flights->shared;
    uint32_t first = atomic_load_explicit(&shared->next, memory_order_relaxed);
    for (uint32_t i = 0; i < FAA_FLIGHTS_MAX; i++) {
        uint32_t n = (first + i) % FAA_FLIGHTS_MAX, free_state = FREE;
        struct slot *slot = &shared->slots[n];
        // Acquire pairs with the release in faa_flights_drop: what its last owner read is read.
        if (atomic_load_explicit(&slot->state, memory_order_relaxed) == FREE &&
            atomic_compare_exchange_strong_explicit(&slot->state, &free_state, WRITING,
                                                    memory_order_acquire, memory_order_relaxed)) {
            *payload = slot->payload;
            return (int)n;
        }
    }
    return -1;
}

void faa_flights_publish(struct faa_flights *flights, int slot, size_t size)
{
    struct slot *s = &flights->shared->slots[slot];
    s->size = (uint32_t)size;
    // Release: whoever sees the state sees the payload.
    atomic_store_explicit(&s->state, FLYING, memory_order_release);
}

void faa_flights_land(struct faa_flights *flights, int slot, uint64_t position)
{
    struct slot *s = &flights->shared->slots[slot];
    s->position = position;
    atomic_store_explicit(&s->state, LANDING, memory_order_release);
}

void faa_flights_drop(struct faa_flights *flights, int slot)
{
    struct shared *shared = flights->shared;
    atomic_store_explicit(&shared->slots[slot].state, FREE, memory_order_release);
    atomic_store_explicit(&shared->next, (uint32_t)slot, memory_order_relaxed);
}

const void *faa_flights_look(const struct faa_flights *flights, int slot,
                             const struct faa_ring *ring, size_t *size)
{
    struct slot *s = &flights->shared->slots[slot];
    uint32_t state = atomic_load_explicit(&s->state, memory_order_acquire);
    *size = s->size;
    if ((state != FLYING && state != LANDING) || *size > FAA_FLIGHT_SIZE_MAX)
        return NULL;
    return state == LANDING && faa_ring_has_passed(ring, s->position) ? NULL : s->payload;
}

size_t faa_flights_copy(const struct faa_flights *flights, int slot, void *payload)
{
    const struct slot *s = &flights->shared->slots[slot];
    size_t size = *(const volatile uint32_t *)&s->size; // Once: it may change after the check.
    if (size > FAA_FLIGHT_SIZE_MAX)
        return 0;
    memcpy(payload, s->payload, size);
    return size;
}

// SPDX-License-Identifier: MIT
// The ring: producers take room by moving the head, and publish it by changing a record's tag.
#include "ring/ring.h"
#include "base/random.h"
#include "ring/memfd.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

enum {
    CAPACITY_MIN = 64 * 1024,
    CAPACITY_MAX = 1024 * 1024 * 1024,
    DATA_AT = 4096, // Of the records, from the start of the mapping.
    CACHE_LINE = 64,
    LOOKS_MAX = 16 // At a ring that seems to be full.
};

#define MAGIC 0x31676e6972616166u // "faaring1" where the low byte comes first.

// What a record's place holds, in the low four bits of its tag; the others are its position, a
// multiple of 16, xor the ring's cookie. No state is 0: fresh memory is never a record.
enum state {
    RESERVED = 1,
    COMMITTED = 2,
    PADDING = 3 // Up to the end of the ring, as a record is never split.
};

struct slot {
    _Atomic uint64_t tag;
    uint32_t size; // Of the payload. Written before any tag, read after one.
    uint32_t unused;
};

struct shared {
    uint64_t magic, capacity, cookie;
    // Producers move the head, the consumer the tail: apart, they do not share a cache line.
    _Alignas(CACHE_LINE) _Atomic uint64_t head;
    _Alignas(CACHE_LINE) _Atomic uint64_t tail;
    _Alignas(CACHE_LINE) _Atomic uint32_t bell;
};

// This process's view. It has a page of its own, which the kernel clears in a forked child: there
// the capacity is 0 and nothing can be reserved.
struct faa_ring {
    struct shared *shared;
    unsigned char *data;
    uint64_t capacity, cookie; // Copies: what lies in the mapping is not trusted later.
    int attached, read_only;
};

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "another process reads the atomics");
_Static_assert(sizeof(struct slot) == FAA_RING_ALIGN, "payloads follow the header aligned");
_Static_assert(sizeof(struct shared) <= DATA_AT, "the records begin behind the header");

static uint64_t span_of(uint64_t size)
{
    return (sizeof(struct slot) + size + FAA_RING_ALIGN - 1) & ~(uint64_t)(FAA_RING_ALIGN - 1);
}

static uint64_t offset_of(const struct faa_ring *ring, uint64_t pos)
{
    return pos & (ring->capacity - 1);
}

static struct slot *slot_at(const struct faa_ring *ring, uint64_t pos)
{
    return (struct slot *)(void *)(ring->data + offset_of(ring, pos));
}

// ---- making and unmaking ----------------------------------------------------------------------

static struct faa_ring *ring_map(int fd, uint64_t capacity, int protection)
{
    void *page = mmap(NULL, sizeof(struct faa_ring), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return NULL;
    void *mapping = mmap(NULL, DATA_AT + (size_t)capacity, protection,
                         MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
    if (mapping == MAP_FAILED) {
        int saved = errno;
        munmap(page, sizeof(struct faa_ring));
        errno = saved;
        return NULL;
    }
    struct faa_ring *ring = page;
    ring->shared = mapping;
    ring->data = (unsigned char *)mapping + DATA_AT;
    ring->capacity = capacity;
    return ring;
}

struct faa_ring *faa_ring_new(size_t capacity, int *fd)
{
    uint64_t rounded = CAPACITY_MIN;
    while (rounded < capacity && rounded < CAPACITY_MAX)
        rounded *= 2;
    int memfd = fd ? faa_memfd_open("faa-ring", DATA_AT + rounded) : -1;
    struct faa_ring *ring = ring_map(memfd, rounded, PROT_READ | PROT_WRITE);
    if (!ring) {
        faa_memfd_close(&memfd);
        return NULL;
    }
    ring->cookie = faa_random_u64() & ~(uint64_t)(FAA_RING_ALIGN - 1);
    ring->shared->capacity = ring->capacity;
    ring->shared->cookie = ring->cookie;
    ring->shared->magic = MAGIC;
    // A child that does not know it was forked must neither write into its parent's ring nor fall
    // over the missing mapping; where the kernel cannot clear the view, it keeps the mapping too.
    if (madvise(ring, sizeof(*ring), MADV_WIPEONFORK) == 0)
        (void)madvise(ring->shared, DATA_AT + (size_t)rounded, MADV_DONTFORK);
    if (fd)
        *fd = memfd;
    return ring;
}

struct faa_ring *faa_ring_attach(int fd, int consume)
{
    struct stat st;
    if (!faa_memfd_is_sealed(fd) || fstat(fd, &st) < 0)
        return NULL;
    uint64_t capacity = (uint64_t)st.st_size - DATA_AT;
    if (st.st_size < DATA_AT + CAPACITY_MIN || capacity > CAPACITY_MAX ||
        (capacity & (capacity - 1)) != 0)
        return NULL;
    struct faa_ring *ring = ring_map(fd, capacity, consume ? PROT_READ | PROT_WRITE : PROT_READ);
    if (!ring)
        return NULL;
    ring->attached = 1;
    ring->read_only = !consume;
    ring->cookie = ring->shared->cookie;
    if (ring->shared->magic == MAGIC && ring->shared->capacity == capacity)
        return ring;
    faa_ring_free(ring);
    return NULL;
}

void faa_ring_free(struct faa_ring *ring)
{
    if (!ring)
        return;
    if (ring->shared)
        munmap(ring->shared, DATA_AT + (size_t)ring->capacity);
    munmap(ring, sizeof(*ring));
}

// ---- producers --------------------------------------------------------------------------------

// Writes the header of a record or of padding; the place is this thread's alone.
static struct slot *slot_write(const struct faa_ring *ring, uint64_t pos, uint64_t size,
                               enum state state)
{
    struct slot *slot = slot_at(ring, pos);
    slot->size = (uint32_t)size;
    // Release pairs with the acquire load of the tag in faa_ring_next: who sees it sees the size.
    atomic_store_explicit(&slot->tag, (pos ^ ring->cookie) | state, memory_order_release);
    return slot;
}

void *faa_ring_reserve(struct faa_ring *ring, size_t size)
{
    if (size == 0 || size > ring->capacity / 4)
        return NULL;
    uint64_t need = span_of(size), head, padding;
    int looks = 0;
    for (;;) {
        // Acquire pairs with the release store in faa_ring_release: the consumer has read what
        // lies before the tail when we write there. The head it had seen by then is not after
        // the one loaded next, so that head - tail cannot be negative.
        uint64_t tail = atomic_load_explicit(&ring->shared->tail, memory_order_acquire);
        head = atomic_load_explicit(&ring->shared->head, memory_order_relaxed);
        if (head % FAA_RING_ALIGN != 0)
            return NULL; // Damaged: a header could reach over the end of the mapping.
        uint64_t to_end = ring->capacity - offset_of(ring, head);
        padding = need > to_end ? to_end : 0;
        if (head + padding + need - tail > ring->capacity) {
            // A thread that was held up between the two loads may see a ring that never was so
            // full: it is full when the consumer has not moved meanwhile.
            if (++looks == LOOKS_MAX ||
                atomic_load_explicit(&ring->shared->tail, memory_order_relaxed) == tail)
                return NULL;
            continue;
        }
        // Relaxed would do for a live reader, which trusts tags and not the head. Release pairs
        // with the acquire load of the head in faa_ring_next: whoever sees room taken also sees
        // the records that this thread had made before.
        if (atomic_compare_exchange_weak_explicit(&ring->shared->head, &head, head + padding + need,
                                                  memory_order_release, memory_order_relaxed))
            break;
    }
    if (padding)
        slot_write(ring, head, padding - sizeof(struct slot), PADDING);
    return slot_write(ring, head + padding, size, RESERVED) + 1;
}

void faa_ring_commit(struct faa_ring *ring, void *payload)
{
    (void)ring;
    struct slot *slot = (struct slot *)payload - 1;
    uint64_t tag = atomic_load_explicit(&slot->tag, memory_order_relaxed);
    // Release pairs with the acquire load of the tag in faa_ring_next: who sees COMMITTED sees
    // the whole payload.
    atomic_store_explicit(&slot->tag, tag ^ RESERVED ^ COMMITTED, memory_order_release);
}

uint64_t faa_ring_position(const struct faa_ring *ring, const void *payload)
{
    const struct slot *slot = (const struct slot *)payload - 1;
    uint64_t tag = atomic_load_explicit(&slot->tag, memory_order_relaxed);
    return (tag & ~(uint64_t)(FAA_RING_ALIGN - 1)) ^ ring->cookie;
}

int faa_ring_has_passed(const struct faa_ring *ring, uint64_t position)
{
    uint64_t tail = atomic_load_explicit(&ring->shared->tail, memory_order_acquire);
    uint64_t at = position & ~(uint64_t)(FAA_RING_ALIGN - 1);
    if ((int64_t)(tail - at) > 0)
        return 1;
    uint64_t tag = atomic_load_explicit(&slot_at(ring, at)->tag, memory_order_acquire);
    return (tag ^ at ^ ring->cookie) == COMMITTED;
}

size_t faa_ring_used(const struct faa_ring *ring)
{
    // The tail first, with acquire, for the same reason as in faa_ring_reserve.
    uint64_t tail = atomic_load_explicit(&ring->shared->tail, memory_order_acquire);
    return (size_t)(atomic_load_explicit(&ring->shared->head, memory_order_relaxed) - tail);
}

int faa_ring_is_attached(const struct faa_ring *ring)
{
    return ring->attached;
}

_Atomic uint32_t *faa_ring_bell(struct faa_ring *ring)
{
    return &ring->shared->bell;
}

size_t faa_ring_capacity(const struct faa_ring *ring)
{
    return (size_t)ring->capacity;
}

// ---- the consumer -----------------------------------------------------------------------------

struct faa_ring_cursor faa_ring_begin(const struct faa_ring *ring)
{
    // Relaxed: the consumer is the only one who moves it.
    return (struct faa_ring_cursor){
        atomic_load_explicit(&ring->shared->tail, memory_order_relaxed)};
}

struct faa_ring_cursor faa_ring_end(const struct faa_ring *ring)
{
    return (struct faa_ring_cursor){
        atomic_load_explicit(&ring->shared->head, memory_order_acquire)};
}

const void *faa_ring_next(const struct faa_ring *ring, struct faa_ring_cursor *cursor, size_t *size,
                          const struct faa_ring_cursor *dead)
{
    // Acquire pairs with the release of the head in faa_ring_reserve.
    uint64_t head = atomic_load_explicit(&ring->shared->head, memory_order_acquire);
    while (cursor->pos != head) {
        uint64_t pos = cursor->pos, left = head - pos;
        if (left > ring->capacity || (left | pos) % FAA_RING_ALIGN != 0)
            return NULL; // Damaged. From here on every step stays within the mapping.
        int is_dead = dead && (int64_t)(dead->pos - pos) > 0;
        if (is_dead && left > dead->pos - pos)
            left = dead->pos - pos; // What lies behind it was reserved by somebody else.
        struct slot *slot = slot_at(ring, pos);
        // Acquire pairs with the release stores in slot_write and faa_ring_commit.
        uint64_t tag = atomic_load_explicit(&slot->tag, memory_order_acquire);
        uint64_t state = tag ^ pos ^ ring->cookie;
        uint64_t payload = 0, span = 0;
        if (state == RESERVED || state == COMMITTED || state == PADDING) {
            payload = slot->size;
            span = span_of(payload);
            if (span > left || span > ring->capacity - offset_of(ring, pos))
                span = 0;
        }
        if (!is_dead && (span == 0 || state == RESERVED))
            return NULL;
        // Where even the header was not written, the next one lies at some multiple of 16.
        cursor->pos += span ? span : FAA_RING_ALIGN;
        if (span && state == COMMITTED) {
            *size = (size_t)payload;
            return slot + 1;
        }
    }
    return NULL;
}

void faa_ring_release(struct faa_ring *ring, struct faa_ring_cursor cursor)
{
    // Release pairs with the acquire load of the tail in faa_ring_reserve: what was read here is
    // read before it is written again.
    if (!ring->read_only)
        atomic_store_explicit(&ring->shared->tail, cursor.pos, memory_order_release);
}

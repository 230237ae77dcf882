// SPDX-License-Identifier: MIT
// A lock-free ring of variable-sized records: many producer threads, one consumer.
//
// The whole ring is one mapping that holds offsets and never pointers, so that another process may
// map it and read what a killed process left (faa_ring_attach, then faa_ring_next with `dead`).
// Positions are 64-bit byte counts that only grow; a position's place is its remainder by the
// capacity. Each record has a header whose tag is made of its position and a random number of the
// ring, so that old bytes never look like a record, and nothing has to be cleared.
#ifndef FAA_RING_RING_H
#define FAA_RING_RING_H

#include "base/str.h"

#include <stddef.h>
#include <stdint.h>

struct faa_ring;

enum { FAA_RING_ALIGN = 16 }; ///< Of records in the ring; payloads are 8-byte aligned at least.

/// Makes a ring in a shareable mapping of its own (memfd; anonymous shared memory where there is
/// none). `capacity` is rounded up to a power of two, between 64 KiB and 1 GiB. NULL on failure,
/// with errno. `fd`, when not NULL, receives a close-on-exec descriptor for another process, or -1.
/// A forked child does not inherit the mapping: it must forget the ring (faa_tracer_forget_ring).
/// One that does not know it was forked only finds it full.
FAA_MUSTUSE struct faa_ring *faa_ring_new(size_t capacity, int *fd);

/// Maps another process's ring, from its descriptor (which stays the caller's): to read what a dead
/// process left, or with `consume` to be the consumer in its place, while it lives too. Nothing in
/// it is trusted: no reader leaves the mapping or loops for ever. Payloads are foreign bytes, which
/// stay still only when the process is dead. NULL when it is no ring.
FAA_MUSTUSE struct faa_ring *faa_ring_attach(int fd, int consume);

/// True for a ring that another process has made.
int faa_ring_is_attached(const struct faa_ring *ring);

/// A word in the mapping by which the consumer tells whether it sleeps; see export/bell.h. 0 at
/// first.
_Atomic uint32_t *faa_ring_bell(struct faa_ring *ring);

/// Unmaps. No other thread may use the ring any more.
void faa_ring_free(struct faa_ring *ring);

/// Producer, any thread, lock-free, async-signal-safe. Reserves room for a payload of `size` bytes
/// (> 0, at most a quarter of the capacity). NULL when the ring is full. What was reserved must be
/// committed soon, by the same or another thread: until then it holds up the consumer.
FAA_MUSTUSE void *faa_ring_reserve(struct faa_ring *ring, size_t size);

/// Producer: publishes a reserved payload.
void faa_ring_commit(struct faa_ring *ring, void *payload);

/// Where a reserved payload lies, for faa_ring_has_passed.
uint64_t faa_ring_position(const struct faa_ring *ring, const void *payload);

/// True when the payload that was reserved at this position has been committed, as long as nothing
/// was skipped (faa_ring_next with `dead`): afterwards the ring cannot tell. Any number may be
/// given.
int faa_ring_has_passed(const struct faa_ring *ring, uint64_t position);

/// Bytes in use, headers included; a snapshot.
size_t faa_ring_used(const struct faa_ring *ring);
size_t faa_ring_capacity(const struct faa_ring *ring);

/// The consumer's place, filled in by faa_ring_begin. Reading does not free; faa_ring_release does.
struct faa_ring_cursor {
    uint64_t pos;
};
struct faa_ring_cursor faa_ring_begin(const struct faa_ring *ring);

/// The place behind all that has been reserved until now. Any thread.
struct faa_ring_cursor faa_ring_end(const struct faa_ring *ring);

/// Consumer: the next committed payload at the cursor, which moves past it; `*size` is its size.
/// NULL when there is none yet. A record that is reserved and not committed stops the reader, as it
/// will be committed soon; before the place `dead`, when that is not NULL, it is skipped, as its
/// writer is dead.
const void *faa_ring_next(const struct faa_ring *ring, struct faa_ring_cursor *cursor, size_t *size,
                          const struct faa_ring_cursor *dead);

/// Consumer: frees everything before the cursor. Payloads returned before it become invalid.
/// Does nothing on a ring that is attached for reading only.
void faa_ring_release(struct faa_ring *ring, struct faa_ring_cursor cursor);

#endif

// SPDX-License-Identifier: MIT
// What has begun and not ended, where another process can see it when this one has been killed: a
// table of slots in a shareable mapping, beside the ring.
//
// A slot holds a record as it would be if it ended now. When it really ends, its record goes into
// the ring, and the slot says at which position before the record is committed: whoever finds the
// slot later can tell from the ring whether the record is there.
#ifndef FAA_RING_FLIGHTS_H
#define FAA_RING_FLIGHTS_H

#include "ring/ring.h"

enum {
    FAA_FLIGHTS_MAX = 256,     ///< Slots; what begins while all are in use is not seen.
    FAA_FLIGHT_SIZE_MAX = 2032 ///< Bytes of a payload.
};

struct faa_flights;

/// Makes an empty table and its close-on-exec descriptor for another process. NULL on failure. A
/// forked child does not inherit it.
FAA_MUSTUSE struct faa_flights *faa_flights_new(int *fd);

/// Maps another process's table for reading. Nothing in it is trusted. NULL when it is no table.
FAA_MUSTUSE struct faa_flights *faa_flights_attach(int fd);

void faa_flights_free(struct faa_flights *flights);

/// Takes a slot; `*payload` is its room, 8-byte aligned. Returns its number, or -1 when there is
/// none free. Any thread, lock-free, async-signal-safe, as the two that follow.
FAA_MUSTUSE int faa_flights_take(struct faa_flights *flights, void **payload);

/// Publishes what was written to the slot's room.
void faa_flights_publish(struct faa_flights *flights, int slot, size_t size);

/// Says that the slot's record is about to be committed at this position of the ring.
void faa_flights_land(struct faa_flights *flights, int slot, uint64_t position);

/// Gives the slot back.
void faa_flights_drop(struct faa_flights *flights, int slot);

/// The payload of a published slot of a dead process, or NULL when there is none, or its record is
/// in `ring`, or was taken out of it. Asked before what is in the ring uncommitted is skipped.
const void *faa_flights_look(const struct faa_flights *flights, int slot,
                             const struct faa_ring *ring, size_t *size);

/// Copies the payload of such a slot, which is another process's memory. Returns its size.
size_t faa_flights_copy(const struct faa_flights *flights, int slot, void *payload);

#endif

// SPDX-License-Identifier: MIT
// Where ended spans go: the process's ring, and the counters of what went there.
#ifndef FAA_SPAN_TRACER_H
#define FAA_SPAN_TRACER_H

#include "base/str.h"

#include <stddef.h>
#include <stdint.h>

struct faa_flights;
struct faa_ring;

/// What the tracer asks of its owner, on application threads. Only `flush` may block.
struct faa_tracer_ops {
    /// The first span of this process (also of a forked child) has ended, or was begun with
    /// faa_tracer_begin: make the ring and start the exporter. Returns the ring, or NULL when there
    /// can be none: asked again by the next span. May be called by several threads at once; they
    /// must get the same ring.
    struct faa_ring *(*start)(void);
    /// A record was committed. `crowded` is true once for each time that the ring becomes half
    /// full: then the exporter should not wait for its timer.
    void (*committed)(int crowded);
    /// The application has shut down: what has ended should be sent now, within the flush limit,
    /// since the process may be ended by force. The one that may block.
    void (*flush)(void);
    /// What has begun is wanted too: `start` may set a table for it by faa_tracer_set_flights.
    int wants_flights;
};

/// Sets the owner. Before it is set, and while there is no ring, records are dropped and counted.
void faa_tracer_init(const struct faa_tracer_ops *ops);

/// Forgets the ring and the counts, and begins a generation: for the child of a fork, whose ring is
/// its parent's.
/// Async-signal-safe; no other thread may use the tracer meanwhile.
void faa_tracer_forget_ring(void);

/// A number that is another one in the child of a fork. Any thread, lock-free.
uint32_t faa_tracer_generation(void);

/// Has the exporter started now, for what it brings and not for what it sends: remote sampling. Any
/// thread, lock-free; an atomic load once it runs.
void faa_tracer_begin(void);

/// A place for a record of `size` bytes (a multiple of 8), or NULL: dropped and counted.
/// The bytes are published by faa_tracer_commit. Any thread, lock-free.
FAA_MUSTUSE void *faa_tracer_reserve(size_t size);

/// `flight`: that of the span, which lands with its record; 0 for none.
void faa_tracer_commit(void *record, uint32_t flight);

/// The table for what has begun and not ended. Called by `start`.
void faa_tracer_set_flights(struct faa_flights *flights);

/// Room of FAA_FLIGHT_SIZE_MAX bytes for the record of a span that has begun, and `*flight`, a
/// number that is not 0. NULL when nobody wants it, or too many are under way. Any thread,
/// lock-free, as the two that follow.
FAA_MUSTUSE void *faa_tracer_take_flight(uint32_t *flight);
void faa_tracer_publish_flight(uint32_t flight, size_t size);

/// The span will never end, or has another flight. One that a fork's parent had means nothing.
void faa_tracer_drop_flight(uint32_t flight);

/// Calls the owner's `flush`.
void faa_tracer_flush(void);

/// Spans ended and spans dropped for want of room since this process began.
struct faa_tracer_counts {
    uint64_t ended, dropped;
};
struct faa_tracer_counts faa_tracer_counts(void);

#endif

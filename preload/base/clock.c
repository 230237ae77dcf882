// SPDX-License-Identifier: MIT
// The difference between the clocks, shared by all threads.
#include "base/clock.h"

#include <stdatomic.h>

enum { MAX_AGE_NS = 1000000000 };

// The release store of `read_at` pairs with the acquire load: who sees the time sees a difference
// that is at most that old. Threads that race here each store a fresh one.
static _Atomic uint64_t difference, read_at;

uint64_t faa_clock_wall_of_mono(uint64_t mono_ns)
{
    uint64_t at = atomic_load_explicit(&read_at, memory_order_acquire);
    if (at == 0 || (int64_t)(mono_ns - at) > MAX_AGE_NS) {
        uint64_t now = faa_clock_mono_ns();
        atomic_store_explicit(&difference, faa_clock_wall_ns() - now, memory_order_relaxed);
        atomic_store_explicit(&read_at, now, memory_order_release);
    }
    return mono_ns + atomic_load_explicit(&difference, memory_order_relaxed);
}

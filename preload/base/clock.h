// SPDX-License-Identifier: MIT
// The two clocks of a span: wall time says when, monotonic time says how long.
#ifndef FAA_BASE_CLOCK_H
#define FAA_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t faa_clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/// Nanoseconds since the Unix epoch.
static inline uint64_t faa_clock_wall_ns(void)
{
    return faa_clock_ns(CLOCK_REALTIME);
}

/// Nanoseconds that never go back; only differences mean anything.
static inline uint64_t faa_clock_mono_ns(void)
{
    return faa_clock_ns(CLOCK_MONOTONIC);
}

/// Wall time from monotonic time, by the difference of the two clocks; that is read anew once a
/// second at most, because a read costs more than an attribute. Any thread.
uint64_t faa_clock_wall_of_mono(uint64_t mono_ns);

#endif

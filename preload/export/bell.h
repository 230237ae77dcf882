// SPDX-License-Identifier: MIT
// How a ring's consumer sleeps and its producers wake it: a futex in the ring's own mapping, so
// that the two may be in different processes, and no descriptor is touched.
#ifndef FAA_EXPORT_BELL_H
#define FAA_EXPORT_BELL_H

#include "base/str.h"

#include <stdint.h>

/// What the consumer is doing. Only the consumer leaves FAA_BELL_AWAKE.
enum faa_bell_state {
    FAA_BELL_AWAKE,
    FAA_BELL_IDLE,     ///< The ring is empty: the next record must wake it.
    FAA_BELL_BATCHING, ///< Spans wait for company: a half-full ring may wake it.
    FAA_BELL_DEAF,     ///< Nothing can be sent yet: only its own process wakes it.
    FAA_BELL_GONE      ///< It has left: the producers' process needs a consumer of its own.
};

/// True when the consumer sleeps until a first record comes: whoever has committed one asks this,
/// and calls faa_bell_ring when it is true. One atomic instruction. Any thread,
/// async-signal-safe, as all here.
int faa_bell_is_idle(_Atomic uint32_t *bell);

/// True when the consumer has left.
int faa_bell_is_gone(_Atomic uint32_t *bell);

/// There is something in the ring, or the ring is half full. Wakes a consumer that is idle, or
/// waits for company. Never blocks.
void faa_bell_ring(_Atomic uint32_t *bell);

/// Wakes the consumer from any sleep.
void faa_bell_wake(_Atomic uint32_t *bell);

/// Consumer: sleeps in this state until woken or `until_ns` (monotonic; UINT64_MAX: for ever), if
/// `may_sleep(arg)` still holds when the state can be seen. May return early.
void faa_bell_sleep(_Atomic uint32_t *bell, enum faa_bell_state state, uint64_t until_ns,
                    int (*may_sleep)(void *arg, enum faa_bell_state state), void *arg);

/// Consumer: says that it leaves.
void faa_bell_leave(_Atomic uint32_t *bell);

/// The futex calls beneath, for words that are waited for in the same manner.
void faa_futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t until_ns);
void faa_futex_wake(_Atomic uint32_t *word);

#endif

// SPDX-License-Identifier: MIT
// The states of the futex. It is never a private one: the kernel finds the sleeper by the memory,
// whichever process has mapped it.
#include "export/bell.h"

#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void faa_futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t until_ns)
{
    struct timespec t = {.tv_sec = (time_t)(until_ns / 1000000000u),
                         .tv_nsec = (long)(until_ns % 1000000000u)};
    // FUTEX_WAIT_BITSET takes an absolute time on the monotonic clock.
    syscall(SYS_futex, word, FUTEX_WAIT_BITSET, value, until_ns == UINT64_MAX ? NULL : &t, NULL,
            FUTEX_BITSET_MATCH_ANY);
}

void faa_futex_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

// A read-modify-write and not a load, as it pairs with the exchange in faa_bell_sleep: whichever
// comes second sees the other. If that is the exchange, the consumer sees the record that was
// committed before this call; if it is this, the caller sees that it sleeps.
static uint32_t look(_Atomic uint32_t *bell)
{
    return atomic_fetch_add_explicit(bell, 0, memory_order_acq_rel);
}

int faa_bell_is_idle(_Atomic uint32_t *bell)
{
    return look(bell) == FAA_BELL_IDLE;
}

int faa_bell_is_gone(_Atomic uint32_t *bell)
{
    return atomic_load_explicit(bell, memory_order_relaxed) == FAA_BELL_GONE;
}

void faa_bell_wake(_Atomic uint32_t *bell)
{
    uint32_t state = look(bell);
    while (state != FAA_BELL_AWAKE && state != FAA_BELL_GONE)
        if (atomic_compare_exchange_weak_explicit(bell, &state, FAA_BELL_AWAKE,
                                                  memory_order_acq_rel, memory_order_acquire)) {
            faa_futex_wake(bell);
            return;
        }
}

void faa_bell_ring(_Atomic uint32_t *bell)
{
    uint32_t state = look(bell);
    if (state == FAA_BELL_IDLE || state == FAA_BELL_BATCHING)
        faa_bell_wake(bell);
}

void faa_bell_sleep(_Atomic uint32_t *bell, enum faa_bell_state state, uint64_t until_ns,
                    int (*may_sleep)(void *arg, enum faa_bell_state state), void *arg)
{
    // Pairs with the read-modify-writes above: what happened before them is seen by may_sleep, what
    // happens after them finds the state and changes it.
    atomic_exchange_explicit(bell, state, memory_order_acq_rel);
    if (may_sleep(arg, state))
        faa_futex_wait(bell, state, until_ns);
    atomic_exchange_explicit(bell, FAA_BELL_AWAKE, memory_order_acq_rel);
}

void faa_bell_leave(_Atomic uint32_t *bell)
{
    atomic_exchange_explicit(bell, FAA_BELL_GONE, memory_order_acq_rel);
}

// SPDX-License-Identifier: MIT
// One futex word: how many are within, and how many forks keep the gate closed.
#include "export/gate.h"

#include "base/clock.h"
#include "export/bell.h"

#include <stdatomic.h>

enum { CLOSED_ONCE = 1 << 16, WITHIN = CLOSED_ONCE - 1 };

static _Atomic uint32_t gate;

// Acquire and release here pair with each other: whoever forks sees what those within have done.
void faa_gate_enter(void)
{
    uint32_t now = atomic_load_explicit(&gate, memory_order_relaxed);
    for (;;) {
        if (now & ~(uint32_t)WITHIN) {
            faa_futex_wait(&gate, now, UINT64_MAX);
            now = atomic_load_explicit(&gate, memory_order_relaxed);
        } else if (atomic_compare_exchange_weak_explicit(&gate, &now, now + 1, memory_order_acquire,
                                                         memory_order_relaxed)) {
            return;
        }
    }
}

void faa_gate_leave(void)
{
    if (atomic_fetch_sub_explicit(&gate, 1, memory_order_release) & ~(uint32_t)WITHIN)
        faa_futex_wake(&gate);
}

int faa_gate_close(uint32_t timeout_ms)
{
    uint64_t until = faa_clock_mono_ns() + timeout_ms * (uint64_t)1000000;
    uint32_t now =
        atomic_fetch_add_explicit(&gate, CLOSED_ONCE, memory_order_acquire) + CLOSED_ONCE;
    while (now & WITHIN) {
        if (faa_clock_mono_ns() >= until)
            return -1;
        faa_futex_wait(&gate, now, until);
        now = atomic_load_explicit(&gate, memory_order_acquire);
    }
    return 0;
}

void faa_gate_open(void)
{
    atomic_fetch_sub_explicit(&gate, CLOSED_ONCE, memory_order_release);
    faa_futex_wake(&gate);
}

void faa_gate_forget(void)
{
    atomic_store_explicit(&gate, 0, memory_order_relaxed);
}

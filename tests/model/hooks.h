// SPDX-License-Identifier: MIT
// What the compiler's calls (hooks.c) ask of the machine.
#ifndef FAA_TESTS_MODEL_HOOKS_H
#define FAA_TESTS_MODEL_HOOKS_H

#include <stddef.h>
#include <stdint.h>

/// An atomic access as the compiler describes it; the last two are the answer.
struct machine_access {
    int kind; ///< enum kind
    size_t size;
    void *address;
    const void *code; ///< Where it stands.
    uint64_t operand, expected;
    int order, on_failure; ///< __ATOMIC_…
    uint64_t result;
    int succeeded;
};

/// Returns 0 when the memory belongs to no region: the access is then made as it stands.
int machine_atomic(struct machine_access *access);

/// A plain access is about to be made.
void machine_plain(void *address, size_t size, int is_write);

#endif

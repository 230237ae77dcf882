// SPDX-License-Identifier: MIT
// Random numbers from the kernel, for seeds.
#ifndef FAA_BASE_RANDOM_H
#define FAA_BASE_RANDOM_H

#include <stdint.h>

/// 64 random bits. Never blocks; where the kernel gives none (before Linux 3.17, or early at boot)
/// they are mixed from the clocks, the process id and the stack's place, which is enough to tell
/// processes apart. A system call: for seeds, not for ids.
uint64_t faa_random_u64(void);

/// A bijection whose every output bit depends on every input bit (the finaliser of splitmix64).
static inline uint64_t faa_random_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

#endif

// SPDX-License-Identifier: MIT
// Seeds from getrandom(2), called by number since old C libraries do not have it.
#include "base/random.h"
#include "base/clock.h"

#include <errno.h>
#include <linux/random.h>
#include <sys/syscall.h>
#include <unistd.h>

uint64_t faa_random_u64(void)
{
    int saved = errno;
    uint64_t value;
    if (syscall(SYS_getrandom, &value, sizeof(value), GRND_NONBLOCK) != (long)sizeof(value)) {
        value = faa_random_mix(faa_clock_mono_ns()) ^ (uint64_t)getpid();
        value = faa_random_mix(value) ^ faa_clock_wall_ns();
        value = faa_random_mix(value) ^ (uint64_t)(uintptr_t)&value;
        value = faa_random_mix(value);
    }
    errno = saved;
    return value;
}

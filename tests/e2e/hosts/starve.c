// SPDX-License-Identifier: MIT
// Preloaded beside the agent: allocations of the exporter's thread fail, from the n-th on
// (STARVE_FROM, from 0) and so many (STARVE_COUNT; 0: all). glibc only.
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);

static atomic_long allocations;
static long from, count;

__attribute__((constructor)) static void read_orders(void)
{
    const char *first = getenv("STARVE_FROM"), *many = getenv("STARVE_COUNT");
    from = first ? atol(first) : 0;
    count = many ? atol(many) : 0;
}

static int fails(void)
{
    char name[16] = "";
    if (gettid() == getpid() || prctl(PR_GET_NAME, name) < 0 || strcmp(name, "faa-export") != 0)
        return 0;
    long n = atomic_fetch_add(&allocations, 1);
    if (n < from || (count && n >= from + count))
        return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    return fails() ? NULL : __libc_realloc(p, size);
}

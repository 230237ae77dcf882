// SPDX-License-Identifier: MIT
// The audit hook: the road into `python` itself.
#include "shim/shim.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

typedef int audit_hook_fn(const char *event, void *args, void *data);

// PyMemAllocatorEx, the same since CPython 3.5.
struct allocator {
    void *ctx;
    void *(*malloc)(void *ctx, size_t size);
    void *(*calloc)(void *ctx, size_t count, size_t size);
    void *(*realloc)(void *ctx, void *block, size_t size);
    void (*free)(void *ctx, void *block);
};

enum { DOMAIN_RAW = 0 }; // PYMEM_DOMAIN_RAW

// Bound by the linker in `python` itself, and NULL in every other process: a dlsym that fails would
// allocate there, and leave an error for the program's dlerror to find.
#pragma weak dlsym
#pragma weak PySys_AddAuditHook
#pragma weak PyMem_GetAllocator
#pragma weak PyMem_SetAllocator
int PySys_AddAuditHook(audit_hook_fn *hook, void *data);
void PyMem_GetAllocator(int domain, struct allocator *allocator);
void PyMem_SetAllocator(int domain, struct allocator *allocator);

static atomic_int armed;

// The interpreter takes the hook's entry from the raw allocator that it has before it starts, and
// gives it to the one that it ends with. In development mode (-X dev, PYTHONMALLOC=debug) that is
// another one, which aborts on a block not its own. So the entry is remembered, and when the hooks
// are about to be cleared it is sent back to where it came from.
static struct allocator first, last;
static void *entry;

static void *malloc_entry(void *ctx, size_t size)
{
    entry = first.malloc(ctx, size);
    return entry;
}

static void free_entry(void *ctx, void *block)
{
    if (!block || block != entry) {
        last.free(ctx, block);
        return;
    }
    entry = NULL;
    first.free(first.ctx, block);
}

static void before_clear(void)
{
    PyMem_GetAllocator(DOMAIN_RAW, &last);
    if (last.free == first.free)
        return;
    struct allocator own = last;
    own.free = free_entry;
    PyMem_SetAllocator(DOMAIN_RAW, &own);
}

// A hook cannot be removed, so it is little more than a flag test from the moment the agent runs.
static int on_audit(const char *event, void *args, void *data)
{
    (void)args;
    (void)data;
    if (event[0] != 'c' || strncmp(event, "cpython.", 8) != 0)
        return 0;
    if (strncmp(event + 8, "run_", 4) == 0)
        faa_shim_start("the audit hook");
    else if (entry && strcmp(event + 8, "_PySys_ClearAuditHooks") == 0)
        before_clear();
    return 0;
}

static void arm(int (*add_hook)(audit_hook_fn *, void *))
{
    if (!add_hook || atomic_exchange(&armed, 1))
        return;
    if (!PyMem_GetAllocator || !PyMem_SetAllocator) {
        add_hook(on_audit, NULL); // The interpreter was loaded late: it has its last allocator.
        return;
    }
    PyMem_GetAllocator(DOMAIN_RAW, &first);
    struct allocator own = first;
    own.malloc = malloc_entry;
    PyMem_SetAllocator(DOMAIN_RAW, &own);
    add_hook(on_audit, NULL);
    PyMem_SetAllocator(DOMAIN_RAW, &first);
}

void faa_shim_arm_at_load(void)
{
    arm(PySys_AddAuditHook);
}

void faa_shim_arm(void)
{
    if (dlsym && !atomic_load(&armed))
        arm((int (*)(audit_hook_fn *, void *))dlsym(RTLD_DEFAULT, "PySys_AddAuditHook"));
}

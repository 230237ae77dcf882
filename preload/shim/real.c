// SPDX-License-Identifier: MIT
// Finding the function behind one that we interpose, whatever scope it was loaded into.
#include "shim/shim.h"

#include <dlfcn.h>
#include <link.h>
#include <stddef.h>

// Before glibc 2.34 these live in libdl, which a process may not have loaded.
#pragma weak dlsym
#pragma weak dlopen
#pragma weak dlclose
#pragma weak dladdr
#pragma weak dl_iterate_phdr

struct search {
    const char *name;
    const void *ours; // The base address of libfaa.so itself.
};

static const void *base_of(const void *address)
{
    Dl_info info;
    return dladdr(address, &info) ? info.dli_fbase : NULL;
}

// Looks into one object that is loaded already.
static void *look_into(const char *path, struct search *s)
{
    void *object = path && path[0] ? dlopen(path, RTLD_LAZY | RTLD_NOLOAD) : NULL;
    if (!object)
        return NULL;
    void *fn = dlsym(object, s->name);
    dlclose(object);
    return fn && base_of(fn) != s->ours ? fn : NULL;
}

// A libpython that only its plugin can see is promoted to the global scope: the agent's own calls
// must find it too. The reference is kept, as the agent needs the interpreter to stay.
static void promote(const void *fn)
{
    Dl_info info;
    if (dladdr(fn, &info) && info.dli_fname && info.dli_fname[0]) {
        void *owner = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_GLOBAL);
        (void)owner;
    }
}

struct nth {
    int left;
    const char *path;
};

static int visit(struct dl_phdr_info *object, size_t size, void *data)
{
    (void)size;
    struct nth *nth = data;
    nth->path = object->dlpi_name;
    return nth->left-- == 0;
}

// One object a call: the linker's lock, which dl_iterate_phdr holds, must not be held in dlopen.
static void *look_everywhere(struct search *s)
{
    for (int i = 0;; i++) {
        struct nth nth = {i, NULL};
        if (!dl_iterate_phdr(visit, &nth))
            return NULL;
        void *fn = look_into(nth.path, s);
        if (fn)
            return fn;
    }
}

void *faa_shim_real(const char *name, const void *caller)
{
    if (!dlsym)
        return NULL;
    void *fn = dlsym(RTLD_NEXT, name);
    if (fn || !dlopen || !dlclose || !dladdr)
        return fn;
    struct search s = {name, base_of((const void *)(size_t)&faa_shim_real)};
    Dl_info info;
    if (dladdr(caller, &info))
        fn = look_into(info.dli_fname, &s);
    if (!fn && dl_iterate_phdr)
        fn = look_everywhere(&s);
    if (fn)
        promote(fn);
    return fn;
}

// SPDX-License-Identifier: MIT
// Libraries that run other people's work on threads of their own: the threads start under no span,
// and each piece of work runs under that of who asked for it.
#include "instrumentors/carry.h"
#include "instrumentors/instrumentor.h"

// anyio gives each function a copy of its caller's context by itself.
static int install_anyio(PyObject *module)
{
    (void)module;
    static const struct faa_patch patch = {"anyio._backends._asyncio:WorkerThread.start",
                                           faa_carry_nothing_hook};
    return faa_patch_all(&patch, 1);
}

const struct faa_instrumentor faa_instrumentor_workers_anyio = {
    .name = "threading",
    .module = "anyio._backends._asyncio",
    .install = install_anyio,
};

// aiosqlite has a thread for each connection, which a pool hands from one request to the next.

// Connection._execute(self, fn, *args, **kwargs)
static PyObject *execute_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                              size_t nargsf, PyObject *kwnames)
{
    (void)data;
    if (FAA_NARGS(nargsf) < 2)
        return faa_call(wrapped, args, nargsf, kwnames);
    return faa_carry_argument(1, wrapped, args, nargsf, kwnames);
}

// Connection.__await__(self) starts the thread.
static int install_aiosqlite(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {"aiosqlite.core:Connection.__await__", faa_carry_nothing_hook},
        {"aiosqlite.core:Connection._execute", execute_hook},
    };
    return faa_patch_all(patches, FAA_COUNT(patches));
}

const struct faa_instrumentor faa_instrumentor_workers_aiosqlite = {
    .name = "threading",
    .module = "aiosqlite.core",
    .install = install_aiosqlite,
};

// SPDX-License-Identifier: MIT
// anyio's worker threads start under no span: each function that they run has a copy of its
// caller's context by itself.
#include "instrumentors/carry.h"
#include "instrumentors/instrumentor.h"

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

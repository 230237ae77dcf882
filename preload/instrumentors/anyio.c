// SPDX-License-Identifier: MIT
// anyio: how long a request waits for a thread of the pool, which `def` endpoints, `def`
// dependencies and file responses share.
#include "base/clock.h"
#include "instrumentors/asgi.h"
#include "instrumentors/carry.h"
#include "instrumentors/instrumentor.h"
#include "python/err.h"

enum { ARGS_MAX = 32 }; // A call with more is not measured; FastAPI's have one.

// The function starts in its worker thread, in a copy of the request's context. `asked` is the time
// of the call for it.
static PyObject *start_hook(PyObject *wrapped, PyObject *asked, PyObject *const *args,
                            size_t nargsf, PyObject *kwnames)
{
    int saved = errno;
    uint64_t since = (uint64_t)faa_int(asked, 0), now = faa_clock_mono_ns();
    if (since && now > since)
        faa_asgi_add_wait(FAA_WAIT_THREAD, now - since);
    errno = saved;
    return faa_call(wrapped, args, nargsf, kwnames);
}

// What the thread calls instead of `function`; NULL when nobody wants to know when it starts.
static PyObject *timed(PyObject *function)
{
    PyObject *span = faa_context_current();
    PyObject *now = span ? PyLong_FromLongLong((long long)faa_clock_mono_ns()) : NULL;
    PyObject *wrapper = now ? faa_wrapper_new(function, start_hook, now) : NULL;
    PyErr_Clear();
    Py_DecRef(span);
    Py_DecRef(now);
    return wrapper;
}

// run_sync(func, *args, …) makes a coroutine, which is awaited at once.
static PyObject *run_sync_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                               size_t nargsf, PyObject *kwnames)
{
    (void)data;
    size_t nargs = FAA_NARGS(nargsf);
    size_t count = nargs + (kwnames ? (size_t)PyTuple_Size(kwnames) : 0);
    int saved = errno;
    PyObject *function = nargs >= 1 && count <= ARGS_MAX ? timed(args[0]) : NULL;
    errno = saved;
    if (!function)
        return faa_call(wrapped, args, nargsf, kwnames);
    PyObject *own[ARGS_MAX];
    memcpy(own, args, count * sizeof(*own));
    own[0] = function;
    PyObject *result = faa_call(wrapped, own, nargs, kwnames);
    Py_DecRef(function);
    return result;
}

static int install(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {{"anyio.to_thread:run_sync", run_sync_hook}};
    return faa_patch_all(patches, FAA_COUNT(patches));
}

const struct faa_instrumentor faa_instrumentor_anyio = {
    .name = "anyio",
    .module = "anyio.to_thread",
    .install = install,
    .about =
        {
            .library = "anyio",
            .versions = "3.6 to 4.16",
            .spans = "none of its own: how long a request waits for a thread of the pool is "
                     "told by the request's SERVER span",
            .attributes = "faa.thread_pool.wait_us",
            .switches = "",
        },
};

// The worker threads start under no span: each function that they run has a copy of its caller's
// context by itself.
static int install_workers(PyObject *module)
{
    (void)module;
    static const struct faa_patch patch = {"anyio._backends._asyncio:WorkerThread.start",
                                           faa_carry_nothing_hook};
    return faa_patch_all(&patch, 1);
}

const struct faa_instrumentor faa_instrumentor_anyio_workers = {
    .name = "threading",
    .module = "anyio._backends._asyncio",
    .install = install_workers,
};

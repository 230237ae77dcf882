// SPDX-License-Identifier: MIT
// multiprocessing: a process runs under the span under which it was started, however it starts; the
// workers of a pool under none. A pool of threads carries the span of each task.
#include "instrumentors/carry.h"
#include "instrumentors/instrumentor.h"
#include "python/err.h"

// BaseProcess.start(self): a forked child finds our span current, any other one what is pickled.
static PyObject *start_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                            PyObject *kwnames)
{
    (void)data;
    int saved = errno;
    PyObject *span = FAA_NARGS(nargsf) >= 1 ? faa_context_current() : NULL;
    if (span)
        faa_carry_note_trace(args[0], span);
    errno = saved;
    PyObject *result = faa_call(wrapped, args, nargsf, kwnames);
    if (span) {
        struct faa_err e = faa_err_save();
        Py_DecRef(faa_carry_take_trace(args[0]));
        Py_DecRef(span);
        faa_err_restore(&e);
    }
    return result;
}

// BaseProcess._bootstrap(self, …), in the child.
static PyObject *bootstrap_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                size_t nargsf, PyObject *kwnames)
{
    (void)data;
    PyObject *sent = FAA_NARGS(nargsf) >= 1 ? faa_carry_take_trace(args[0]) : NULL;
    PyObject *span = faa_context_current();
    if (!span)
        span = faa_newref(sent);
    PyObject *result = faa_carry_call(span, wrapped, args, nargsf, kwnames);
    Py_DecRef(sent);
    Py_DecRef(span);
    return result;
}

static int install_process(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {"multiprocessing.process:BaseProcess.start", start_hook},
        {"multiprocessing.process:BaseProcess._bootstrap", bootstrap_hook},
    };
    return faa_patch_all(patches, FAA_COUNT(patches));
}

const struct faa_instrumentor faa_instrumentor_multiprocessing_process = {
    .name = "threading",
    .module = "multiprocessing.process",
    .install = install_process,
};

// Where the function is among the arguments; behind the last one when it is not there.
static size_t function_at(size_t nargs, PyObject *kwnames)
{
    if (nargs >= 2)
        return 1;
    Py_ssize_t named = kwnames ? PyTuple_Size(kwnames) : 0, i = 0;
    while (i < named && !faa_str_eq(faa_text(PyTuple_GetItem(kwnames, i)), FAA_STR("func")))
        i++;
    return nargs + (size_t)i;
}

// apply_async(self, func, …) and its kin, of a pool of threads: what is not pickled may be wrapped.
static PyObject *task_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                           PyObject *kwnames)
{
    (void)data;
    size_t at = function_at(FAA_NARGS(nargsf), kwnames);
    return faa_carry_argument(at, wrapped, args, nargsf, kwnames);
}

static int install_pool(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {"multiprocessing.pool:Pool.__init__", faa_carry_nothing_hook},
        {"multiprocessing.pool:ThreadPool.apply_async", task_hook},
        {"multiprocessing.pool:ThreadPool._map_async", task_hook},
        {"multiprocessing.pool:ThreadPool.imap", task_hook},
        {"multiprocessing.pool:ThreadPool.imap_unordered", task_hook},
    };
    return faa_patch_all(patches, FAA_COUNT(patches));
}

const struct faa_instrumentor faa_instrumentor_multiprocessing_pool = {
    .name = "threading",
    .module = "multiprocessing.pool",
    .install = install_pool,
};

// SPDX-License-Identifier: MIT
// concurrent.futures: each work item runs under the span under which it was submitted, or under
// none where there was none, on workers that have none of their own.
#include "instrumentors/carry.h"
#include "instrumentors/instrumentor.h"
#include "python/err.h"

// _WorkItem.__init__(self, future, …), in the caller's thread.
static PyObject *item_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                           PyObject *kwnames)
{
    (void)data;
    int saved = errno;
    if (FAA_NARGS(nargsf) >= 1)
        faa_carry_note(args[0]);
    errno = saved;
    return faa_call(wrapped, args, nargsf, kwnames);
}

// _WorkItem.run(self), in the worker's.
static PyObject *run_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                          PyObject *kwnames)
{
    (void)data;
    int saved = errno;
    PyObject *span = FAA_NARGS(nargsf) >= 1 ? faa_carry_noted(args[0]) : NULL;
    errno = saved;
    PyObject *result = faa_carry_call(span, wrapped, args, nargsf, kwnames);
    Py_DecRef(span);
    return result;
}

static int install_thread(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {"concurrent.futures.thread:_WorkItem.__init__", item_hook},
        {"concurrent.futures.thread:_WorkItem.run", run_hook},
        {"concurrent.futures.thread:ThreadPoolExecutor._adjust_thread_count",
         faa_carry_nothing_hook},
    };
    return faa_patch_all(patches, FAA_COUNT(patches));
}

const struct faa_instrumentor faa_instrumentor_futures_thread = {
    .name = "threading",
    .module = "concurrent.futures.thread",
    .install = install_thread,
};

// ---- processes --------------------------------------------------------------------------------

// The work item behind a call item: the thread that makes it, the executor's manager, has all that
// wait. New reference, or NULL.
static PyObject *pending_item(PyObject *work_id)
{
    PyObject *name = PyUnicode_FromString("threading");
    PyObject *threading = name ? PyImport_GetModule(name) : NULL, *current = NULL, *all = NULL;
    PyObject *manager = NULL, *item = NULL;
    if (threading && faa_getattr(threading, FAA_NAME(current_thread), &current) == 1)
        manager = PyObject_CallFunctionObjArgs(current, NULL);
    if (manager && faa_getattr(manager, FAA_NAME(pending_work_items), &all) == 1 &&
        faa_is_dict(all))
        faa_dict_get(all, work_id, &item);
    PyErr_Clear();
    Py_DecRef(name);
    Py_DecRef(threading);
    Py_DecRef(current);
    Py_DecRef(manager);
    Py_DecRef(all);
    return item;
}

// _CallItem.__init__(self, work_id, fn, args, kwargs): what is pickled and sent to a worker.
static PyObject *call_item_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                size_t nargsf, PyObject *kwnames)
{
    (void)data;
    PyObject *result = faa_call(wrapped, args, nargsf, kwnames);
    if (!result || FAA_NARGS(nargsf) < 2)
        return result;
    int saved = errno;
    PyObject *item = pending_item(args[1]), *span = item ? faa_carry_noted(item) : NULL;
    faa_carry_note_trace(args[0], span);
    Py_DecRef(item);
    Py_DecRef(span);
    errno = saved;
    return result;
}

// _SafeQueue.get(…), in the worker process: the call item, or None at the end.
static PyObject *get_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                          PyObject *kwnames)
{
    (void)data;
    PyObject *item = faa_call(wrapped, args, nargsf, kwnames), *function = NULL;
    if (!item || item == Py_None)
        return item;
    int saved = errno;
    PyObject *span = faa_carry_take_trace(item);
    if (span && faa_getattr(item, FAA_NAME(fn), &function) == 1) {
        PyObject *carrying = faa_carry_function(function, span);
        if (carrying && PyObject_GenericSetAttr(item, FAA_NAME(fn), carrying))
            PyErr_Clear();
        Py_DecRef(carrying);
    }
    Py_DecRef(function);
    Py_DecRef(span);
    errno = saved;
    return item;
}

static int install_process(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {"concurrent.futures.process:_WorkItem.__init__", item_hook},
        {"concurrent.futures.process:_CallItem.__init__", call_item_hook},
        {"concurrent.futures.process:_SafeQueue.get", get_hook},
        {"concurrent.futures.process:ProcessPoolExecutor._start_executor_manager_thread",
         faa_carry_nothing_hook},
        {"concurrent.futures.process:ProcessPoolExecutor._adjust_process_count",
         faa_carry_nothing_hook},
    };
    return faa_patch_all(patches, FAA_COUNT(patches));
}

const struct faa_instrumentor faa_instrumentor_futures_process = {
    .name = "threading",
    .module = "concurrent.futures.process",
    .install = install_process,
};

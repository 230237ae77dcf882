// SPDX-License-Identifier: MIT
// threading: a thread runs under the span under which it was started. It makes no spans.
//
// CPython 3.14 gives each thread a context to run in, and lets the application say which one:
// nothing is carried into one that it has chosen. Before, a thread's context is empty, and the span
// is noted on the thread until it runs.
#include "instrumentors/carry.h"
#include "instrumentors/instrumentor.h"
#include "python/err.h"

static int has_contexts; // Threads have one, from 3.14 on,
static int inherits;     // which is a copy of the starter's: our span is in it.

static void read_flags(void)
{
    PyObject *flags = PySys_GetObject("flags"); // Borrowed.
    PyObject *flag = flags ? PyObject_GetAttrString(flags, "thread_inherit_context") : NULL;
    PyErr_Clear();
    has_contexts = flag != NULL;
    inherits = flag && PyObject_IsTrue(flag) == 1;
    PyErr_Clear();
    Py_DecRef(flag);
}

// The empty context that the thread would get, with our span in it. New reference, or NULL.
static PyObject *context_with(PyObject *span)
{
    PyObject *context = PyContext_New();
    if (context && PyContext_Enter(context) == 0) {
        Py_DecRef(faa_context_swap(span));
        if (PyContext_Exit(context))
            PyErr_Clear();
    }
    PyErr_Clear();
    return context;
}

// True when something was put on the thread.
static int give_context(PyObject *thread, PyObject *span)
{
    PyObject *chosen = PyObject_GenericGetAttr(thread, FAA_NAME(_context));
    PyObject *context = chosen == Py_None && !inherits ? context_with(span) : NULL;
    int given = context && PyObject_GenericSetAttr(thread, FAA_NAME(_context), context) == 0;
    PyErr_Clear();
    Py_DecRef(chosen);
    Py_DecRef(context);
    return given;
}

static int give(PyObject *thread)
{
    PyObject *span = faa_context_current();
    int given = span != NULL;
    if (span && has_contexts)
        given = give_context(thread, span);
    else if (span)
        faa_carry_note(thread);
    Py_DecRef(span);
    return given;
}

// It did not start: it may be started again, under another span.
static void take_back(PyObject *thread)
{
    struct faa_err e = faa_err_save();
    if (!has_contexts)
        faa_carry_forget(thread);
    else if (PyObject_GenericSetAttr(thread, FAA_NAME(_context), Py_None))
        PyErr_Clear();
    faa_err_restore(&e);
}

// Thread.start(self)
static PyObject *start_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                            PyObject *kwnames)
{
    (void)data;
    int saved = errno;
    int given = FAA_NARGS(nargsf) >= 1 && give(args[0]);
    errno = saved;
    PyObject *result = faa_call(wrapped, args, nargsf, kwnames);
    if (!result && given)
        take_back(args[0]);
    return result;
}

// Thread._bootstrap_inner(self) calls self.run(), whoever has written that, in the new thread.
static PyObject *bootstrap_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                size_t nargsf, PyObject *kwnames)
{
    (void)data;
    PyObject *span = FAA_NARGS(nargsf) >= 1 ? faa_carry_noted(args[0]) : NULL;
    if (!span)
        return faa_call(wrapped, args, nargsf, kwnames);
    faa_carry_forget(args[0]);
    PyObject *result = faa_carry_call(span, wrapped, args, nargsf, kwnames);
    Py_DecRef(span);
    return result;
}

static int install(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {"threading:Thread.start", start_hook},
        {"threading:Thread._bootstrap_inner", bootstrap_hook}};
    read_flags();
    return faa_patch_all(patches, has_contexts ? 1 : 2);
}

const struct faa_instrumentor faa_instrumentor_threading = {
    .name = "threading",
    .module = "threading",
    .install = install,
    .about =
        {
            .library = "threading, concurrent.futures, multiprocessing",
            .versions = "of CPython 3.9 to 3.14",
            .spans = "none of its own: threads, and the work items of thread and process pools, "
                     "run under the span under which they were asked for",
            .attributes = "",
            .switches = "",
        },
};

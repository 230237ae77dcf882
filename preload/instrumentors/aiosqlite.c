// SPDX-License-Identifier: MIT
// aiosqlite: its statements are spans of sqlite3, executed on a thread of the connection. Here that
// thread gets the caller's context, and with it the parent.
#include "instrumentors/instrumentor.h"
#include "python/err.h"
#include "python/wrapper.h"

enum { ARGS_MAX = 16 };

// The run() of a copy of the caller's context, which is called with a function and its arguments.
// New reference, or NULL with no error set.
static PyObject *new_run(void)
{
    PyObject *context = PyContext_CopyCurrent();
    PyObject *run = context ? PyObject_GetAttrString(context, "run") : NULL;
    PyErr_Clear();
    Py_DecRef(context);
    return run;
}

// Connection._execute(fn, *args, **kwargs).
static PyObject *execute(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                         PyObject *kwnames)
{
    (void)data;
    PyObject *list[ARGS_MAX];
    size_t nargs = FAA_NARGS(nargsf);
    size_t count = nargs + (kwnames ? (size_t)PyTuple_Size(kwnames) : 0);
    PyObject *run = nargs >= 2 && count < ARGS_MAX ? new_run() : NULL;
    if (!run)
        return faa_call(wrapped, args, nargsf, kwnames);
    list[0] = args[0];
    list[1] = run;
    memcpy(list + 2, args + 1, (count - 1) * sizeof(*args));
    PyObject *result = faa_call(wrapped, list, nargs + 1, kwnames);
    Py_DecRef(run);
    return result;
}

// The connector runs on that thread too, once.
static void wrap_connector(PyObject *self)
{
    PyObject *run = new_run(), *partial = NULL;
    PyObject *connector = run ? PyObject_GetAttr(self, FAA_NAME(_connector)) : NULL;
    PyObject *functools = connector ? PyImport_ImportModule("functools") : NULL;
    if (functools)
        partial = PyObject_CallMethod(functools, "partial", "OO", run, connector);
    if (partial && PyObject_SetAttr(self, FAA_NAME(_connector), partial))
        PyErr_Clear();
    faa_err_discard();
    Py_DecRef(run);
    Py_DecRef(connector);
    Py_DecRef(functools);
    Py_DecRef(partial);
}

// Connection._connect(), which does nothing where there is a connection.
static PyObject *connect(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                         PyObject *kwnames)
{
    (void)data;
    PyObject *connection = NULL;
    if (FAA_NARGS(nargsf) == 1 && faa_getattr(args[0], FAA_NAME(_connection), &connection) == 1 &&
        connection == Py_None)
        wrap_connector(args[0]);
    Py_DecRef(connection);
    return faa_call(wrapped, args, nargsf, kwnames);
}

static int install(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {"aiosqlite.core:Connection._execute", execute},
        {"aiosqlite.core:Connection._connect", connect},
    };
    return faa_patch_all(patches, FAA_COUNT(patches));
}

const struct faa_instrumentor faa_instrumentor_aiosqlite = {
    .name = "aiosqlite",
    .module = "aiosqlite.core",
    .install = install,
    .about =
        {
            .library = "aiosqlite",
            .versions = "0.17 to 0.22",
            .spans = "those of sqlite3, under the span that awaits them",
            .attributes = "",
            .switches = "",
        },
};

// SPDX-License-Identifier: MIT
// aiosqlite: its statements are spans of sqlite3, executed on a thread of the connection, which a
// pool hands from one request to the next. The thread starts under no span, and each piece of work
// runs under that of who awaits it.
#include "instrumentors/carry.h"
#include "instrumentors/instrumentor.h"
#include "python/err.h"

// Connection._execute(self, fn, *args, **kwargs)
static PyObject *execute_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                              size_t nargsf, PyObject *kwnames)
{
    (void)data;
    if (FAA_NARGS(nargsf) < 2)
        return faa_call(wrapped, args, nargsf, kwnames);
    return faa_carry_argument(1, wrapped, args, nargsf, kwnames);
}

// The connector runs on that thread too, once.
static void carry_connector(PyObject *self)
{
    PyObject *connector, *span = faa_context_current();
    if (faa_getattr(self, FAA_NAME(_connector), &connector) == 1) {
        PyObject *carried = faa_carry_function(connector, span);
        if (carried && PyObject_SetAttr(self, FAA_NAME(_connector), carried))
            PyErr_Clear();
        Py_DecRef(carried);
    }
    Py_DecRef(connector);
    Py_DecRef(span);
}

// Connection.__await__(self) starts the thread, and has it connect where it has not.
static PyObject *await_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                            PyObject *kwnames)
{
    int saved = errno;
    PyObject *connection = NULL;
    if (FAA_NARGS(nargsf) == 1 && faa_getattr(args[0], FAA_NAME(_connection), &connection) == 1 &&
        connection == Py_None)
        carry_connector(args[0]);
    Py_DecRef(connection);
    errno = saved;
    return faa_carry_nothing_hook(wrapped, data, args, nargsf, kwnames);
}

static int install(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {"aiosqlite.core:Connection._execute", execute_hook},
        {"aiosqlite.core:Connection.__await__", await_hook},
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

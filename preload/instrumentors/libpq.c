// SPDX-License-Identifier: MIT
// Where a connection leads to, before there is one.
#include "instrumentors/libpq.h"

#include "python/err.h"

#include <string.h>

// What the connection string says, as a dict (new reference), or NULL.
static PyObject *parse(const struct faa_dbapi_call *call, const struct faa_libpq_connect *how)
{
    PyObject *dsn = faa_dbapi_argument(call, how->at, how->keyword);
    if (!faa_text(dsn).n)
        return NULL;
    PyObject *module = PyImport_ImportModule(how->module);
    PyObject *parts = module ? PyObject_CallMethod(module, how->parser, "O", dsn) : NULL;
    faa_err_discard();
    if (parts && !faa_is_dict(parts))
        faa_clear(&parts);
    Py_DecRef(module);
    return parts;
}

// Borrowed, or NULL; an argument goes before what the connection string says.
static PyObject *part(const struct faa_dbapi_call *call, PyObject *parts, PyObject *name)
{
    PyObject *given = faa_dbapi_argument(call, SIZE_MAX, faa_text(name).p);
    if (!given && parts)
        given = faa_dict_peek(parts, name);
    return given;
}

void faa_libpq_tell_connect(PyObject *operation, const struct faa_dbapi_call *call,
                            const struct faa_libpq_connect *how)
{
    PyObject *parts = parse(call, how);
    PyObject *host = part(call, parts, FAA_NAME(host));
    PyObject *database = part(call, parts, FAA_NAME(dbname));
    struct faa_str text = faa_text(host);
    faa_db_set_operation(operation, FAA_STR("connect"));
    faa_db_set_namespace(operation,
                         faa_text(database ? database : part(call, parts, FAA_NAME(database))));
    // With several hosts nobody knows yet which one it will be.
    if (text.n && !memchr(text.p, ',', text.n))
        faa_db_set_server(operation, &faa_db_postgresql, host, part(call, parts, FAA_NAME(port)));
    Py_DecRef(parts);
}

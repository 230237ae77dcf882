// SPDX-License-Identifier: MIT
// psycopg 3, sync and async: one CLIENT span per statement of a cursor, which Connection.execute
// uses too, and one per connect. A statement in a pipeline is over when it has been sent.
#include "instrumentors/instrumentor.h"
#include "instrumentors/libpq.h"

static void describe(PyObject *operation, const struct faa_db_system *system, PyObject *self)
{
    PyObject *connection, *pgconn = NULL;
    if (faa_getattr(self, FAA_NAME(connection), &connection) == 1 &&
        faa_getattr(connection, FAA_NAME(pgconn), &pgconn) == 1)
        faa_dbapi_describe(operation, system, pgconn, FAA_NAME(host), FAA_NAME(port), FAA_NAME(db));
    Py_DecRef(connection);
    Py_DecRef(pgconn);
}

static void tell_connect(PyObject *operation, const struct faa_dbapi_call *call)
{
    static const struct faa_libpq_connect how = {1, "conninfo", "psycopg.conninfo",
                                                 "conninfo_to_dict"};
    faa_libpq_tell_connect(operation, call, &how);
}

static const struct faa_dbapi driver = {"psycopg", &faa_db_postgresql, NULL, describe};
static const struct faa_dbapi connector = {"psycopg", &faa_db_postgresql, NULL, NULL};

FAA_DBAPI_HOOK(execute, .driver = &driver, .sql = "query")
FAA_DBAPI_HOOK(execute_async, .driver = &driver, .sql = "query", .manner = FAA_DBAPI_AWAITABLE)
FAA_DBAPI_HOOK(many, .driver = &driver, .sql = "query", .many = "params_seq")
FAA_DBAPI_HOOK(many_async, .driver = &driver, .sql = "query", .many = "params_seq",
               .manner = FAA_DBAPI_AWAITABLE)
FAA_DBAPI_HOOK(stream, .driver = &driver, .sql = "query", .manner = FAA_DBAPI_GENERATOR)
FAA_DBAPI_HOOK(stream_async, .driver = &driver, .sql = "query", .manner = FAA_DBAPI_ASYNC_GENERATOR)
FAA_DBAPI_HOOK(copy, .driver = &driver, .sql = "statement", .manner = FAA_DBAPI_CONTEXT)
FAA_DBAPI_HOOK(copy_async, .driver = &driver, .sql = "statement", .manner = FAA_DBAPI_ASYNC_CONTEXT)
FAA_DBAPI_HOOK(connect, .driver = &connector, .tell = tell_connect)
FAA_DBAPI_HOOK(connect_async, .driver = &connector, .tell = tell_connect,
               .manner = FAA_DBAPI_AWAITABLE)

// Connection.connect, bound to its class as it is now. New reference, or NULL.
static PyObject *bound_connect(PyObject *module)
{
    PyObject *class = PyObject_GetAttrString(module, "Connection");
    PyObject *bound = class ? PyObject_GetAttrString(class, "connect") : NULL;
    PyErr_Clear();
    Py_DecRef(class);
    return bound;
}

// psycopg.connect is that, too, unless another tool has changed one of them.
static int is_bound_connect(PyObject *module)
{
    PyObject *bound = bound_connect(module);
    PyObject *shortcut = PyObject_GetAttrString(module, "connect");
    int is = bound && shortcut && PyObject_RichCompareBool(bound, shortcut, Py_EQ) == 1;
    PyErr_Clear();
    Py_DecRef(bound);
    Py_DecRef(shortcut);
    return is;
}

static int rebind_connect(PyObject *module)
{
    PyObject *bound = bound_connect(module);
    int status = bound ? PyObject_SetAttrString(module, "connect", bound) : -1;
    Py_DecRef(bound);
    return status;
}

static int install(PyObject *module)
{
    static const struct faa_patch patches[] = {
        {"psycopg:Cursor.execute", execute},
        {"psycopg:Cursor.executemany", many},
        {"psycopg:Cursor.stream", stream},
        {"psycopg:Cursor.copy", copy},
        {"psycopg:ServerCursor.execute", execute},
        {"psycopg:Connection.connect", connect},
        {"psycopg:AsyncCursor.execute", execute_async},
        {"psycopg:AsyncCursor.executemany", many_async},
        {"psycopg:AsyncCursor.stream", stream_async},
        {"psycopg:AsyncCursor.copy", copy_async},
        {"psycopg:AsyncServerCursor.execute", execute_async},
        {"psycopg:AsyncConnection.connect", connect_async},
    };
    int rebinds = is_bound_connect(module);
    if (faa_patch_all(patches, FAA_COUNT(patches)))
        return -1;
    return rebinds ? rebind_connect(module) : 0;
}

const struct faa_instrumentor faa_instrumentor_psycopg = {
    .name = "psycopg",
    .module = "psycopg",
    .install = install,
    .about =
        {
            .library = "psycopg",
            .versions = "3.1 to 3.3",
            .spans = "one per statement, COPY and connect, sync and async; none under SQLAlchemy",
            .attributes = "db.system.name db.namespace db.operation.name db.operation.batch.size "
                          "db.query.text db.query.summary db.response.status_code "
                          "db.stored_procedure.name error.type "
                          "server.address server.port faa.event_loop.blocking",
            .switches = "FAA_DB_QUERY_TEXT",
        },
};

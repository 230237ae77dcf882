// SPDX-License-Identifier: MIT
// psycopg2: one CLIENT span per statement of a cursor of any kind, COPY, called function and
// connect.
#include "instrumentors/instrumentor.h"
#include "instrumentors/libpq.h"

static void describe(PyObject *operation, const struct faa_db_system *system, PyObject *self)
{
    PyObject *connection, *info = NULL;
    if (faa_getattr(self, FAA_NAME(connection), &connection) == 1 &&
        faa_getattr(connection, FAA_NAME(info), &info) == 1)
        faa_dbapi_describe(operation, system, info, FAA_NAME(host), FAA_NAME(port),
                           FAA_NAME(dbname));
    Py_DecRef(connection);
    Py_DecRef(info);
}

static void tell_connect(PyObject *operation, const struct faa_dbapi_call *call)
{
    static const struct faa_libpq_connect how = {0, "dsn", "psycopg2.extensions", "parse_dsn"};
    faa_libpq_tell_connect(operation, call, &how);
}

static void tell_callproc(PyObject *operation, const struct faa_dbapi_call *call)
{
    faa_dbapi_set_call(operation, "SELECT * FROM ", faa_dbapi_argument(call, 1, "procname"),
                       faa_dbapi_argument(call, 2, "parameters"));
}

static void tell_copy_from(PyObject *operation, const struct faa_dbapi_call *call)
{
    faa_dbapi_set_named(operation, "COPY ", faa_dbapi_argument(call, 2, "table"), " FROM STDIN");
}

static void tell_copy_to(PyObject *operation, const struct faa_dbapi_call *call)
{
    faa_dbapi_set_named(operation, "COPY ", faa_dbapi_argument(call, 2, "table"), " TO STDOUT");
}

static const struct faa_dbapi driver = {"psycopg2", &faa_db_postgresql, NULL, describe};
static const struct faa_dbapi connector = {"psycopg2", &faa_db_postgresql, NULL, NULL};

FAA_DBAPI_HOOK(execute, .driver = &driver, .sql = "query")
FAA_DBAPI_HOOK(many, .driver = &driver, .sql = "query", .many = "vars_list")
FAA_DBAPI_HOOK(callproc, .driver = &driver, .tell = tell_callproc)
FAA_DBAPI_HOOK(copy_expert, .driver = &driver, .sql = "sql")
FAA_DBAPI_HOOK(copy_from, .driver = &driver, .tell = tell_copy_from)
FAA_DBAPI_HOOK(copy_to, .driver = &driver, .tell = tell_copy_to)
FAA_DBAPI_HOOK(connect, .driver = &connector, .tell = tell_connect)

static int install(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {"psycopg2.extensions:cursor.execute", execute},
        {"psycopg2.extensions:cursor.executemany", many},
        {"psycopg2.extensions:cursor.callproc", callproc},
        {"psycopg2.extensions:cursor.copy_expert", copy_expert},
        {"psycopg2.extensions:cursor.copy_from", copy_from},
        {"psycopg2.extensions:cursor.copy_to", copy_to},
        {"psycopg2:connect", connect},
    };
    return faa_patch_all(patches, FAA_COUNT(patches));
}

const struct faa_instrumentor faa_instrumentor_psycopg2 = {
    .name = "psycopg2",
    .module = "psycopg2",
    .install = install,
    .about =
        {
            .library = "psycopg2",
            .versions = "2.9",
            .spans = "one per statement, COPY, called function and connect; none under SQLAlchemy",
            .attributes = "db.system.name db.namespace db.operation.name db.operation.batch.size "
                          "db.query.text db.query.summary db.response.status_code "
                          "db.stored_procedure.name error.type "
                          "server.address server.port faa.event_loop.blocking",
            .switches = "FAA_DB_QUERY_TEXT",
        },
};

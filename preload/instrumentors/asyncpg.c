// SPDX-License-Identifier: MIT
// asyncpg: one CLIENT span per statement of a connection, a prepared statement or a cursor, COPY
// and connect. What the driver sends of itself is no span: transactions, and a pool's resets.
#include "instrumentors/dbapi.h"
#include "instrumentors/instrumentor.h"
#include "python/err.h"

// `self` is a connection, or has one.
static void describe(PyObject *operation, const struct faa_db_system *system, PyObject *self)
{
    PyObject *connection, *address = NULL, *parameters = NULL, *database = NULL;
    if (faa_getattr(self, FAA_NAME(_connection), &connection) != 1)
        connection = faa_newref(self);
    faa_getattr(connection, FAA_NAME(_addr), &address);
    if (faa_getattr(connection, FAA_NAME(_params), &parameters) == 1)
        faa_getattr(parameters, FAA_NAME(database), &database);
    faa_db_set_namespace(operation, faa_text(database));
    if (address && faa_is_tuple(address))
        faa_db_set_server(operation, system, faa_sequence_item(address, 0),
                          faa_sequence_item(address, 1));
    else
        faa_db_set_server(operation, system, address, NULL); // A Unix socket.
    Py_DecRef(connection);
    Py_DecRef(address);
    Py_DecRef(parameters);
    Py_DecRef(database);
}

static void tell_prepared(PyObject *operation, const struct faa_dbapi_call *call)
{
    PyObject *query;
    if (faa_getattr(call->args[0], FAA_NAME(_query), &query) == 1)
        faa_dbapi_set_sql(operation, query, 0, NULL);
    Py_DecRef(query);
}

static void tell_prepared_many(PyObject *operation, const struct faa_dbapi_call *call)
{
    PyObject *query;
    if (faa_getattr(call->args[0], FAA_NAME(_query), &query) == 1)
        faa_dbapi_set_sql(operation, query, faa_dbapi_count(faa_dbapi_argument(call, 1, "args")),
                          NULL);
    Py_DecRef(query);
}

static void tell_copy_from(PyObject *operation, const struct faa_dbapi_call *call)
{
    faa_dbapi_set_named(operation, "COPY ", faa_dbapi_argument(call, 1, "table_name"),
                        " TO STDOUT");
}

static void tell_copy_to(PyObject *operation, const struct faa_dbapi_call *call)
{
    faa_dbapi_set_named(operation, "COPY ", faa_dbapi_argument(call, 1, "table_name"),
                        " FROM STDIN");
}

static void tell_copy_query(PyObject *operation, const struct faa_dbapi_call *call)
{
    faa_dbapi_set_named(operation, "COPY (", faa_dbapi_argument(call, 1, "query"), ") TO STDOUT");
}

// Taken apart by the parser that asyncpg uses; new references, NULL for what it does not say.
struct url {
    PyObject *host, *port, *path;
};

static struct url split_url(PyObject *dsn)
{
    struct url url = {NULL, NULL, NULL};
    PyObject *parse = faa_text(dsn).n ? PyImport_ImportModule("urllib.parse") : NULL;
    PyObject *split = parse ? PyObject_CallMethod(parse, "urlsplit", "O", dsn) : NULL;
    if (split) {
        url.path = PyObject_GetAttrString(split, "path");
        url.host = PyObject_GetAttrString(split, "hostname");
        url.port = url.host ? PyObject_GetAttrString(split, "port") : NULL;
    }
    faa_err_discard();
    Py_DecRef(parse);
    Py_DecRef(split);
    return url;
}

// As asyncpg reads them: arguments go before the URL, whose port belongs to its host.
static void tell_connect(PyObject *operation, const struct faa_dbapi_call *call)
{
    struct url url = split_url(faa_dbapi_argument(call, 0, "dsn"));
    PyObject *host = faa_dbapi_argument(call, SIZE_MAX, "host");
    PyObject *port = faa_dbapi_argument(call, SIZE_MAX, "port");
    struct faa_str database = faa_text(faa_dbapi_argument(call, SIZE_MAX, "database"));
    struct faa_str path = faa_text(url.path);
    if (!database.n && path.n)
        database = (struct faa_str){path.p + 1, path.n - 1};
    faa_db_set_operation(operation, FAA_STR("connect"));
    faa_db_set_namespace(operation, database);
    if (faa_text(host).n)
        faa_db_set_server(operation, &faa_db_postgresql, host, port);
    else
        faa_db_set_server(operation, &faa_db_postgresql, url.host, port ? port : url.port);
    Py_DecRef(url.host);
    Py_DecRef(url.port);
    Py_DecRef(url.path);
}

static const struct faa_dbapi driver = {"asyncpg", &faa_db_postgresql, NULL, describe};
static const struct faa_dbapi connector = {"asyncpg", &faa_db_postgresql, NULL, NULL};

FAA_DBAPI_HOOK(query, .driver = &driver, .sql = "query", .manner = FAA_DBAPI_AWAITABLE)
FAA_DBAPI_HOOK(many, .driver = &driver, .sql = "command", .many = "args",
               .manner = FAA_DBAPI_AWAITABLE)
FAA_DBAPI_HOOK(fetchmany, .driver = &driver, .sql = "query", .many = "args",
               .manner = FAA_DBAPI_AWAITABLE)
FAA_DBAPI_HOOK(prepare, .driver = &driver, .sql = "query", .manner = FAA_DBAPI_AWAITABLE,
               .only_failures = 1)
FAA_DBAPI_HOOK(prepared, .driver = &driver, .tell = tell_prepared, .manner = FAA_DBAPI_AWAITABLE)
FAA_DBAPI_HOOK(prepared_many, .driver = &driver, .tell = tell_prepared_many,
               .manner = FAA_DBAPI_AWAITABLE)
FAA_DBAPI_HOOK(copy_from, .driver = &driver, .tell = tell_copy_from, .manner = FAA_DBAPI_AWAITABLE)
FAA_DBAPI_HOOK(copy_to, .driver = &driver, .tell = tell_copy_to, .manner = FAA_DBAPI_AWAITABLE)
FAA_DBAPI_HOOK(copy_query, .driver = &driver, .tell = tell_copy_query,
               .manner = FAA_DBAPI_AWAITABLE)
FAA_DBAPI_HOOK(connect, .driver = &connector, .tell = tell_connect, .manner = FAA_DBAPI_AWAITABLE)

// The statement of a cursor that is iterated over is executed by the step that opens its portal;
// the others take rows that have come, or fetch more of them.
static PyObject *iterate(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                         PyObject *kwnames)
{
    PyObject *portal = NULL, *exhausted = NULL;
    int opens = FAA_NARGS(nargsf) == 1 &&
                faa_getattr(args[0], FAA_NAME(_portal_name), &portal) == 1 && portal == Py_None &&
                faa_getattr(args[0], FAA_NAME(_exhausted), &exhausted) == 1 &&
                exhausted == Py_False;
    Py_DecRef(portal);
    Py_DecRef(exhausted);
    return opens ? prepared(wrapped, data, args, nargsf, kwnames)
                 : faa_call(wrapped, args, nargsf, kwnames);
}

static PyObject *hidden(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                        PyObject *kwnames)
{
    const struct faa_dbapi_call call = {wrapped, args, nargsf, kwnames};
    (void)data;
    return faa_dbapi_run_hidden(&call);
}

static int install(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {"asyncpg:connect", connect},
        {"asyncpg.connection:connect", connect},
        {"asyncpg.connection:Connection.execute", query},
        {"asyncpg.connection:Connection.executemany", many},
        {"asyncpg.connection:Connection.fetch", query},
        {"asyncpg.connection:Connection.fetchval", query},
        {"asyncpg.connection:Connection.fetchrow", query},
        {"?asyncpg.connection:Connection.fetchmany", fetchmany},
        {"asyncpg.connection:Connection.prepare", prepare},
        {"asyncpg.connection:Connection.copy_from_table", copy_from},
        {"asyncpg.connection:Connection.copy_from_query", copy_query},
        {"asyncpg.connection:Connection.copy_to_table", copy_to},
        {"asyncpg.connection:Connection.copy_records_to_table", copy_to},
        {"asyncpg.connection:Connection.reset", hidden},
        {"asyncpg.prepared_stmt:PreparedStatement.fetch", prepared},
        {"asyncpg.prepared_stmt:PreparedStatement.fetchval", prepared},
        {"asyncpg.prepared_stmt:PreparedStatement.fetchrow", prepared},
        {"?asyncpg.prepared_stmt:PreparedStatement.fetchmany", prepared_many},
        {"asyncpg.prepared_stmt:PreparedStatement.executemany", prepared_many},
        {"asyncpg.cursor:CursorIterator.__anext__", iterate},
        {"asyncpg.cursor:Cursor._init", prepared},
        {"asyncpg.transaction:Transaction.start", hidden},
        {"asyncpg.transaction:Transaction._Transaction__commit", hidden},
        {"asyncpg.transaction:Transaction._Transaction__rollback", hidden},
    };
    return faa_patch_all(patches, FAA_COUNT(patches));
}

const struct faa_instrumentor faa_instrumentor_asyncpg = {
    .name = "asyncpg",
    .module = "asyncpg",
    .install = install,
    .about =
        {
            .library = "asyncpg",
            .versions = "0.25 to 0.32",
            .spans = "one per statement (prepared ones and cursors too), COPY and connect; none "
                     "under SQLAlchemy",
            .attributes = "db.system.name db.namespace db.operation.name db.operation.batch.size "
                          "db.query.text db.query.summary db.response.status_code "
                          "db.stored_procedure.name error.type "
                          "server.address server.port",
            .switches = "FAA_DB_QUERY_TEXT",
        },
};

// SPDX-License-Identifier: MIT
// SQLAlchemy, sync and async, Core and ORM: one CLIENT span per statement, by the events of the
// Engine class, which see every engine, made before or after.
#include "base/clock.h"
#include "instrumentors/asgi.h"
#include "instrumentors/db_client.h"
#include "instrumentors/instrumentor.h"
#include "python/blocking.h"
#include "python/err.h"

// SQLAlchemy's dialect names, and the database of a URL that names none.
static const struct dialect {
    struct faa_str name;
    const struct faa_db_system *system;
    struct faa_str database;
} dialects[] =
    {
        {FAA_STR("postgresql"), &faa_db_postgresql, FAA_STR("")},
        {FAA_STR("mysql"), &faa_db_mysql, FAA_STR("")},
        {FAA_STR("mariadb"), &faa_db_mariadb, FAA_STR("")},
        {FAA_STR("sqlite"), &faa_db_sqlite, FAA_STR(":memory:")},
        {FAA_STR("mssql"), &faa_db_mssql, FAA_STR("")},
        {FAA_STR("oracle"), &faa_db_oracle, FAA_STR("")},
},
  other_dialect = {FAA_STR(""), &faa_db_other_sql, FAA_STR("")};

static const struct dialect *dialect_of(PyObject *connection)
{
    const struct dialect *found = &other_dialect;
    PyObject *dialect, *name = NULL;
    if (faa_getattr(connection, FAA_NAME(dialect), &dialect) == 1)
        faa_getattr(dialect, FAA_NAME(name), &name);
    struct faa_str text = faa_text(name);
    for (size_t i = 0; i < FAA_COUNT(dialects); i++) {
        if (faa_str_eq(text, dialects[i].name))
            found = &dialects[i];
    }
    Py_DecRef(dialect);
    Py_DecRef(name);
    return found;
}

static void set_server(PyObject *operation, PyObject *connection, const struct dialect *dialect)
{
    PyObject *engine, *url = NULL, *database = NULL, *host = NULL, *port = NULL;
    if (faa_getattr(connection, FAA_NAME(engine), &engine) == 1 &&
        faa_getattr(engine, FAA_NAME(url), &url) == 1) {
        faa_getattr(url, FAA_NAME(database), &database);
        faa_getattr(url, FAA_NAME(host), &host);
        faa_getattr(url, FAA_NAME(port), &port);
    }
    struct faa_str namespace = faa_text(database);
    faa_db_set_namespace(operation, namespace.n ? namespace : dialect->database);
    faa_db_set_server(operation, dialect->system, host, port);
    Py_DecRef(engine);
    Py_DecRef(url);
    Py_DecRef(database);
    Py_DecRef(host);
    Py_DecRef(port);
}

// How often the statement is executed, or 0 when it is no batch. One INSERT with many rows, which
// SQLAlchemy 2 makes of several, comes as executemany too, but with parameters made for it.
static Py_ssize_t batch_size(PyObject *context, PyObject *parameters, PyObject *executemany)
{
    if (executemany != Py_True)
        return 0;
    PyObject *all = PyObject_GetAttrString(context, "parameters");
    Py_ssize_t n = all == parameters ? PyObject_Size(all) : 0;
    PyErr_Clear();
    Py_DecRef(all);
    return n >= 2 ? n : 0;
}

// The statements of an async engine wait in greenlets, beside which the loop runs on.
static int is_async(PyObject *connection)
{
    PyObject *dialect, *flag = NULL;
    if (faa_getattr(connection, FAA_NAME(dialect), &dialect) == 1)
        faa_getattr(dialect, FAA_NAME(is_async), &flag);
    int yes = flag == Py_True;
    Py_DecRef(dialect);
    Py_DecRef(flag);
    return yes;
}

// The operation stays with the execution context, and is current until it ends: the driver below
// makes no span of its own.
static void begin(PyObject *connection, PyObject *statement, PyObject *parameters,
                  PyObject *context, PyObject *executemany)
{
    const struct dialect *dialect = dialect_of(connection);
    PyObject *operation = faa_db_begin(dialect->system, "sqlalchemy");
    if (!operation)
        return;
    struct faa_span *span = &faa_pyspan(operation)->span;
    if (span->recording) {
        faa_db_set_statement(operation, faa_text(statement),
                             batch_size(context, parameters, executemany));
        set_server(operation, connection, dialect);
        if (!is_async(connection))
            faa_span_mark_blocking(span);
    }
    if (PyObject_SetAttr(context, FAA_NAME(_faa_span), operation))
        PyErr_Clear();
    else
        faa_context_activate(operation);
    Py_DecRef(operation);
}

// Takes the operation off the execution context and ends it. `error` is borrowed, or NULL.
static void end(PyObject *context, PyObject *error)
{
    PyObject *operation;
    if (!context || context == Py_None ||
        faa_getattr(context, FAA_NAME(_faa_span), &operation) != 1)
        return;
    if (PyObject_DelAttr(context, FAA_NAME(_faa_span)))
        PyErr_Clear();
    faa_context_deactivate(operation);
    faa_db_end(operation, error);
    Py_DecRef(operation);
}

// The three listeners. They are called with no error set; none of them may fail.

static PyObject *before_cursor_execute(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *connection, *cursor, *statement, *parameters, *context, *executemany;
    if (!PyArg_UnpackTuple(args, "before_cursor_execute", 6, 6, &connection, &cursor, &statement,
                           &parameters, &context, &executemany))
        return NULL;
    int saved = errno;
    begin(connection, statement, parameters, context, executemany);
    errno = saved;
    return PyTuple_Pack(2, statement, parameters);
}

static PyObject *after_cursor_execute(PyObject *self, PyObject *args)
{
    (void)self;
    int saved = errno;
    end(PyTuple_Size(args) >= 5 ? PyTuple_GetItem(args, 4) : NULL, NULL);
    errno = saved;
    return faa_newref(Py_None);
}

static PyObject *handle_error(PyObject *self, PyObject *exception_context)
{
    (void)self;
    int saved = errno;
    PyObject *context, *error;
    faa_getattr(exception_context, FAA_NAME(execution_context), &context);
    faa_getattr(exception_context, FAA_NAME(original_exception), &error);
    end(context, error);
    Py_DecRef(context);
    Py_DecRef(error);
    errno = saved;
    return faa_newref(Py_None);
}

// Pool.connect, of sync and of async engines (there in a greenlet that waits for the pool's turn):
// what a request waits for a connection, including the time to make a new one.
static PyObject *connect_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                              size_t nargsf, PyObject *kwnames)
{
    (void)data;
    uint64_t asked = faa_clock_mono_ns();
    PyObject *result = faa_call(wrapped, args, nargsf, kwnames);
    struct faa_err e = faa_err_save();
    faa_asgi_add_wait(FAA_WAIT_CONNECTION, faa_clock_mono_ns() - asked);
    faa_err_restore(&e);
    return result;
}

// `retval` lets the listener be called without a Python function of SQLAlchemy's in between.
static struct listener {
    PyMethodDef method;
    int retval;
} listeners[] = {
    {{"before_cursor_execute", before_cursor_execute, METH_VARARGS, NULL}, 1},
    {{"after_cursor_execute", after_cursor_execute, METH_VARARGS, NULL}, 0},
    {{"handle_error", handle_error, METH_O, NULL}, 1},
};

static int listen(PyObject *event, PyObject *engine, struct listener *l)
{
    int status = -1;
    PyObject *function = PyCFunction_New(&l->method, NULL);
    PyObject *call = PyObject_GetAttrString(event, "listen");
    PyObject *args = Py_BuildValue("(OsO)", engine, l->method.ml_name, function);
    PyObject *kwargs = l->retval ? Py_BuildValue("{sO}", "retval", Py_True) : NULL;
    PyObject *result = function && call && args ? PyObject_Call(call, args, kwargs) : NULL;
    if (result)
        status = 0;
    Py_DecRef(function);
    Py_DecRef(call);
    Py_DecRef(args);
    Py_DecRef(kwargs);
    Py_DecRef(result);
    return status;
}

static int install(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {{"sqlalchemy.pool.base:Pool.connect", connect_hook}};
    if (faa_patch_all(patches, FAA_COUNT(patches)))
        return -1;
    int status = -1;
    PyObject *event = PyImport_ImportModule("sqlalchemy.event");
    PyObject *package = event ? PyImport_ImportModule("sqlalchemy.engine") : NULL;
    PyObject *engine = package ? PyObject_GetAttrString(package, "Engine") : NULL;
    if (engine) {
        status = 0;
        for (size_t i = 0; status == 0 && i < FAA_COUNT(listeners); i++)
            status = listen(event, engine, &listeners[i]);
    }
    Py_DecRef(event);
    Py_DecRef(package);
    Py_DecRef(engine);
    return status;
}

const struct faa_instrumentor faa_instrumentor_sqlalchemy = {
    .name = "sqlalchemy",
    .module = "sqlalchemy",
    .install = install,
    .about =
        {
            .library = "SQLAlchemy",
            .versions = "1.4 to 2.1",
            .spans = "one CLIENT span per statement, of sync and async engines, Core and ORM; "
                     "how long a request waits for a connection of the pool is told by its "
                     "SERVER span",
            .attributes = "db.system.name db.namespace db.operation.name "
                          "db.operation.batch.size db.query.summary db.query.text "
                          "server.address server.port db.response.status_code error.type "
                          "exception.type exception.message exception.stacktrace "
                          "faa.db.pool.wait_us faa.event_loop.blocking code.function.name "
                          "code.file.path code.line.number",
            .switches = "",
        },
};

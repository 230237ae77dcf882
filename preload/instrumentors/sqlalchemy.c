// SPDX-License-Identifier: MIT
// SQLAlchemy, sync and async, Core and ORM: one CLIENT span per statement, by the events of the
// Engine class, which see every engine, made before or after.
#include "base/clock.h"
#include "instrumentors/asgi.h"
#include "instrumentors/instrumentor.h"
#include "python/blocking.h"
#include "python/err.h"
#include "python/exception.h"
#include "python/pyspan.h"
#include "span/sql.h"

enum { QUERY_MAX = 4096, TYPE_MAX = 256, MESSAGE_MAX = 512 };

static const char owner; // Its address marks the spans of this file.

// SQLAlchemy's dialect names where the conventions have others, the usual port, which goes without
// saying, and the database of a URL that names none.
static const struct dialect {
    struct faa_str name, system;
    long long port;
    struct faa_str database;
} dialects[] =
    {
        {FAA_STR("postgresql"), FAA_STR("postgresql"), 5432, FAA_STR("")},
        {FAA_STR("mysql"), FAA_STR("mysql"), 3306, FAA_STR("")},
        {FAA_STR("mariadb"), FAA_STR("mariadb"), 3306, FAA_STR("")},
        {FAA_STR("sqlite"), FAA_STR("sqlite"), 0, FAA_STR(":memory:")},
        {FAA_STR("mssql"), FAA_STR("microsoft.sql_server"), 1433, FAA_STR("")},
        {FAA_STR("oracle"), FAA_STR("oracle.db"), 1521, FAA_STR("")},
},
  other_dialect = {FAA_STR(""), FAA_STR("other_sql"), 0, FAA_STR("")};

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

static void set_server(struct faa_span *span, PyObject *connection, const struct dialect *dialect)
{
    PyObject *engine, *url = NULL, *database = NULL, *host = NULL, *port = NULL;
    if (faa_getattr(connection, FAA_NAME(engine), &engine) == 1 &&
        faa_getattr(engine, FAA_NAME(url), &url) == 1) {
        faa_getattr(url, FAA_NAME(database), &database);
        faa_getattr(url, FAA_NAME(host), &host);
        faa_getattr(url, FAA_NAME(port), &port);
    }
    struct faa_str namespace = faa_text(database);
    if (!namespace.n)
    namespace = dialect->database;
    if (namespace.n)
        faa_span_set_str(span, FAA_KEY_DB_NAMESPACE, namespace);
    faa_span_set_py(span, FAA_KEY_SERVER_ADDRESS, host);
    long long number = faa_int(port, 0);
    if (number > 0 && number != dialect->port && faa_text(host).n)
        faa_span_set_int(span, FAA_KEY_SERVER_PORT, number);
    Py_DecRef(engine);
    Py_DecRef(url);
    Py_DecRef(database);
    Py_DecRef(host);
    Py_DecRef(port);
}

// Name, summary and text. A batch says so in front of its summary and operation.
static void set_statement(struct faa_span *span, PyObject *statement, int batch,
                          const struct dialect *dialect)
{
    char text[QUERY_MAX], summary[FAA_SQL_SUMMARY_MAX] = "BATCH ";
    size_t prefix = batch ? strlen(summary) : 0;
    struct faa_str sql = faa_text(statement);
    struct faa_str plain = {summary + prefix, 0};
    plain.n = faa_sql_summary(sql, summary + prefix, sizeof(summary) - prefix);
    struct faa_str name = {summary, prefix + plain.n};
    struct faa_str operation = {summary, prefix + faa_sql_operation(plain).n};
    faa_span_set_name(span, plain.n ? name : dialect->system);
    if (plain.n) {
        faa_span_set_str(span, FAA_KEY_DB_QUERY_SUMMARY, name);
        faa_span_set_str(span, FAA_KEY_DB_OPERATION_NAME, operation);
    }
    size_t n = faa_sql_sanitize(sql, text, sizeof(text));
    faa_span_set_str(span, FAA_KEY_DB_QUERY_TEXT, (struct faa_str){text, n});
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

static void begin(PyObject *connection, PyObject *statement, PyObject *parameters,
                  PyObject *context, PyObject *executemany)
{
    PyObject *object = faa_pyspan_new();
    if (!object)
        return;
    struct faa_pyspan *s = faa_pyspan(object);
    s->owner = &owner;
    faa_context_start_child(&s->span, FAA_KIND_CLIENT, "sqlalchemy");
    if (s->span.recording) {
        const struct dialect *dialect = dialect_of(connection);
        Py_ssize_t batch = batch_size(context, parameters, executemany);
        set_statement(&s->span, statement, batch > 0, dialect);
        faa_span_set_str(&s->span, FAA_KEY_DB_SYSTEM_NAME, dialect->system);
        set_server(&s->span, connection, dialect);
        if (batch)
            faa_span_set_int(&s->span, FAA_KEY_DB_OPERATION_BATCH_SIZE, batch);
        if (faa_loop_is_running() && !is_async(connection))
            faa_span_mark_blocking(&s->span);
        if (PyObject_SetAttr(context, FAA_NAME(_faa_span), object))
            PyErr_Clear();
    }
    Py_DecRef(object);
}

// Takes the span off the execution context; NULL when there is none.
static PyObject *take_span(PyObject *context)
{
    PyObject *object;
    if (context == Py_None || faa_getattr(context, FAA_NAME(_faa_span), &object) != 1)
        return NULL;
    if (PyObject_DelAttr(context, FAA_NAME(_faa_span)))
        PyErr_Clear();
    return object;
}

// SQLSTATE where the driver has it: psycopg 3 and asyncpg, then psycopg2.
static void set_status_code(struct faa_span *span, PyObject *error)
{
    PyObject *code;
    if (faa_getattr(error, FAA_NAME(sqlstate), &code) != 1)
        faa_getattr(error, FAA_NAME(pgcode), &code);
    faa_span_set_py(span, FAA_KEY_DB_RESPONSE_STATUS_CODE, code);
    Py_DecRef(code);
}

// The driver's own exception names the failure. Its message may quote values: the first line is
// told, without what looks like a literal.
static void fail(struct faa_span *span, PyObject *error)
{
    char type[TYPE_MAX], message[MESSAGE_MAX];
    PyObject *text = PyObject_Str(error);
    PyErr_Clear();
    struct faa_str line = faa_text(text);
    const char *newline = line.n ? memchr(line.p, '\n', line.n) : NULL;
    if (newline)
        line.n = (size_t)(newline - line.p);
    size_t n = faa_sql_sanitize(line, message, sizeof(message));
    faa_span_set_status(span, FAA_STATUS_ERROR, (struct faa_str){message, n});
    n = faa_exception_type(error, type, sizeof(type));
    faa_span_set_str(span, FAA_KEY_ERROR_TYPE, (struct faa_str){type, n});
    set_status_code(span, error);
    Py_DecRef(text);
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
    PyObject *context = PyTuple_Size(args) >= 5 ? PyTuple_GetItem(args, 4) : Py_None;
    PyObject *object = take_span(context);
    if (object)
        faa_span_end(&faa_pyspan(object)->span, 0);
    Py_DecRef(object);
    errno = saved;
    return faa_newref(Py_None);
}

static PyObject *handle_error(PyObject *self, PyObject *exception_context)
{
    (void)self;
    int saved = errno;
    PyObject *context, *object = NULL, *error = NULL;
    if (faa_getattr(exception_context, FAA_NAME(execution_context), &context) == 1)
        object = take_span(context);
    if (object) {
        struct faa_span *span = &faa_pyspan(object)->span;
        if (faa_getattr(exception_context, FAA_NAME(original_exception), &error) == 1 &&
            !faa_exception_is_cancellation(error))
            fail(span, error);
        faa_span_end(span, 0);
    }
    Py_DecRef(context);
    Py_DecRef(object);
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
};

// SPDX-License-Identifier: MIT
// SQLAlchemy, sync and async, Core and ORM: one CLIENT span per statement.
//
// Every statement goes through one of three methods of the engine's dialect, and nothing else does:
// the hook is around the driver's work exactly. (The events of the Engine class are not: an error
// in a listener, or between two, is not told to the others, and a class that has listeners makes
// each statement some microseconds slower.)
#include "instrumentors/sqlalchemy.h"

#include "instrumentors/instrumentor.h"
#include "python/blocking.h"
#include "python/err.h"

const char faa_sqlalchemy_scope[] = "sqlalchemy";

// Marks the operations of statements, whose `extra` is the cursor: it tells them apart, and is
// never looked into.
static void forget_cursor(void *cursor)
{
    (void)cursor;
}

// True where the statement belongs to an operation: SQLAlchemy's own work on a connection, or the
// method of a dialect's base class, on the same cursor. A statement that one of the database's
// functions in Python executes within another one has a span.
static int is_part(PyObject *current, PyObject *cursor)
{
    if (!faa_db_is_inside(current))
        return 0;
    const struct faa_pyspan *s = faa_pyspan(current);
    return faa_db_is_hidden(current) || (s->span.scope == faa_sqlalchemy_scope &&
                                         (s->free_extra != forget_cursor || s->extra == cursor));
}

// The engine is not known when it was made before we came.
static const struct faa_sqlalchemy_database *database_of(PyObject *dialect, PyObject *context,
                                                         PyObject **holder)
{
    const struct faa_sqlalchemy_database *database = faa_sqlalchemy_database_of(dialect, holder);
    PyObject *connection, *engine = NULL;
    if (*holder || !context)
        return database;
    if (faa_getattr(context, FAA_NAME(root_connection), &connection) == 1 &&
        faa_getattr(connection, FAA_NAME(engine), &engine) == 1)
        faa_sqlalchemy_note_engine(engine);
    Py_DecRef(connection);
    Py_DecRef(engine);
    return faa_sqlalchemy_database_of(dialect, holder);
}

// `context` may be NULL or None.
static PyObject *begin(PyObject *dialect, PyObject *cursor, PyObject *statement, Py_ssize_t batch,
                       PyObject *context, PyObject *outer)
{
    PyObject *holder;
    const struct faa_sqlalchemy_database *database = database_of(dialect, context, &holder);
    PyObject *operation = faa_db_begin(database->system, faa_sqlalchemy_scope, outer);
    if (operation) {
        struct faa_span *span = &faa_pyspan(operation)->span;
        if (span->recording) {
            faa_db_set_statement(operation, faa_text(statement), batch);
            faa_sqlalchemy_set_database(operation, database);
            faa_sqlalchemy_set_pool_wait(span, context);
            if (!database->is_async)
                faa_span_mark_blocking(span);
        }
        faa_pyspan(operation)->extra = cursor;
        faa_pyspan(operation)->free_extra = forget_cursor;
        faa_context_enter(operation, outer);
    }
    Py_DecRef(holder);
    return operation;
}

static void end(PyObject *operation)
{
    struct faa_err e = faa_err_save();
    faa_err_normalize(&e);
    faa_context_leave(operation);
    faa_db_end(operation, e.value);
    Py_DecRef(operation);
    faa_err_restore(&e);
}

// self, cursor, statement, then parameters unless there are none to give, and perhaps the context.
static PyObject *execute(PyObject *wrapped, PyObject *const *args, size_t nargsf, PyObject *kwnames,
                         size_t context_at, Py_ssize_t batch)
{
    size_t nargs = FAA_NARGS(nargsf);
    int saved = errno;
    PyObject *context = nargs > context_at ? args[context_at] : NULL;
    PyObject *outer = faa_context_current(), *operation = NULL;
    if (nargs >= 3 && !is_part(outer, args[1]))
        operation = begin(args[0], args[1], args[2], batch, context, outer);
    Py_DecRef(outer);
    errno = saved;
    PyObject *result = faa_call(wrapped, args, nargsf, kwnames);
    if (operation)
        end(operation);
    return result;
}

static PyObject *execute_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                              size_t nargsf, PyObject *kwnames)
{
    (void)data;
    return execute(wrapped, args, nargsf, kwnames, 4, 0);
}

static PyObject *execute_no_params_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                        size_t nargsf, PyObject *kwnames)
{
    (void)data;
    return execute(wrapped, args, nargsf, kwnames, 3, 0);
}

static PyObject *executemany_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                  size_t nargsf, PyObject *kwnames)
{
    (void)data;
    Py_ssize_t n = FAA_NARGS(nargsf) > 3 ? PyObject_Size(args[3]) : 0;
    if (n < 0)
        faa_err_discard();
    return execute(wrapped, args, nargsf, kwnames, 4, n > 1 ? n : 0);
}

// What a dialect may have of its own, in place of DefaultDialect's or beside it.
static const struct faa_patch dialect_methods[] = {
    {"do_execute", execute_hook},
    {"do_executemany", executemany_hook},
    {"do_execute_no_params", execute_no_params_hook},
    {"do_begin", faa_sqlalchemy_begin_hook},
    {"do_commit", faa_sqlalchemy_commit_hook},
    {"do_rollback", faa_sqlalchemy_rollback_hook},
    {"do_savepoint", faa_sqlalchemy_savepoint_hook},
    {"do_rollback_to_savepoint", faa_sqlalchemy_rollback_to_hook},
    {"do_release_savepoint", faa_sqlalchemy_release_hook},
    {"do_begin_twophase", faa_sqlalchemy_begin_twophase_hook},
    {"do_prepare_twophase", faa_sqlalchemy_prepare_hook},
    {"do_commit_twophase", faa_sqlalchemy_commit_twophase_hook},
    {"do_rollback_twophase", faa_sqlalchemy_rollback_twophase_hook},
    {"set_isolation_level", faa_sqlalchemy_setting_hook},
    {"get_isolation_level", faa_sqlalchemy_setting_hook},
};

PyAPI_DATA(PyTypeObject) PyFunction_Type;

// Functions alone: what is wrapped already is none, and what another tool has put there we leave.
static void wrap_methods_of(PyObject *class)
{
    PyObject *own = PyObject_GetAttrString(class, "__dict__");
    for (size_t i = 0; own && i < FAA_COUNT(dialect_methods); i++) {
        const struct faa_patch *method = &dialect_methods[i];
        PyObject *function = PyMapping_GetItemString(own, method->target);
        PyObject *wrapper = NULL;
        if (function && faa_type_of(function) == &PyFunction_Type)
            wrapper = faa_wrapper_new(function, method->hook, NULL);
        if (wrapper)
            (void)!PyObject_SetAttrString(class, method->target, wrapper);
        PyErr_Clear();
        Py_DecRef(function);
        Py_DecRef(wrapper);
    }
    PyErr_Clear();
    Py_DecRef(own);
}

static PyObject *default_dialect; // Its own methods are wrapped by `install`. Kept for ever.

// Dialects are classes of the database's module, and of other packages: they are known when an
// engine has one.
static void wrap_dialect(PyObject *dialect)
{
    PyObject *classes = PyObject_GetAttrString((PyObject *)faa_type_of(dialect), "__mro__");
    for (Py_ssize_t i = 0; classes && i < PyTuple_Size(classes); i++) {
        PyObject *class = PyTuple_GetItem(classes, i);
        if (class == default_dialect)
            break;
        wrap_methods_of(class);
    }
    PyErr_Clear();
    Py_DecRef(classes);
}

static PyObject *engine_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                             size_t nargsf, PyObject *kwnames)
{
    (void)data;
    PyObject *result = faa_call(wrapped, args, nargsf, kwnames), *dialect;
    if (!result || FAA_NARGS(nargsf) < 1)
        return result;
    int saved = errno;
    if (faa_getattr(args[0], FAA_NAME(dialect), &dialect) == 1)
        wrap_dialect(dialect);
    Py_DecRef(dialect);
    faa_sqlalchemy_note_engine(args[0]);
    errno = saved;
    return result;
}

#define DIALECT "sqlalchemy.engine.default:DefaultDialect."
#define POOL "sqlalchemy.pool.base:"

static int install(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {DIALECT "do_execute", execute_hook},
        {DIALECT "do_executemany", executemany_hook},
        {DIALECT "do_execute_no_params", execute_no_params_hook},
        {DIALECT "do_commit", faa_sqlalchemy_commit_hook},
        {DIALECT "do_rollback", faa_sqlalchemy_rollback_hook},
        {DIALECT "do_savepoint", faa_sqlalchemy_savepoint_hook},
        {DIALECT "do_rollback_to_savepoint", faa_sqlalchemy_rollback_to_hook},
        {DIALECT "do_release_savepoint", faa_sqlalchemy_release_hook},
        {"sqlalchemy.engine.base:Engine.__init__", engine_hook},
        {POOL "Pool.connect", faa_sqlalchemy_checkout_hook},
        {"sqlalchemy.pool.impl:SingletonThreadPool.connect", faa_sqlalchemy_checkout_hook},
        {POOL "_ConnectionRecord._ConnectionRecord__connect", faa_sqlalchemy_connect_hook},
        {POOL "_finalize_fairy", faa_sqlalchemy_finalize_hook},
        // DefaultDialect's does nothing; there is no need to see it unless it is to be told.
        {DIALECT "do_begin", faa_sqlalchemy_begin_hook},
    };
    int told = (faa_settings.sqlalchemy_spans & FAA_SQLALCHEMY_TRANSACTIONS) != 0;
    if (faa_patch_all(patches, FAA_COUNT(patches) - !told))
        return -1;
    PyObject *defaults = PyImport_ImportModule("sqlalchemy.engine.default");
    default_dialect = defaults ? PyObject_GetAttrString(defaults, "DefaultDialect") : NULL;
    Py_DecRef(defaults);
    return 0;
}

const struct faa_instrumentor faa_instrumentor_sqlalchemy = {
    .name = "sqlalchemy",
    .module = "sqlalchemy",
    .install = install,
    .about =
        {
            .library = "SQLAlchemy",
            .versions = "1.4 to 2.1",
            .spans = "one CLIENT span per statement; slow or failed connects and waits for a "
                     "connection of the pool; on request every connect, every wait and the steps "
                     "of transactions",
            .attributes = "db.system.name db.namespace db.operation.name db.query.summary "
                          "db.query.text db.operation.batch.size db.response.status_code "
                          "server.address server.port error.type faa.db.pool.wait_us "
                          "faa.event_loop.blocking",
            .switches = "FAA_SQLALCHEMY_SPANS FAA_SLOW_POOL_WAIT",
        },
};

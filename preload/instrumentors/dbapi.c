// SPDX-License-Identifier: MIT
// A driver's calls as operations.
#include "instrumentors/dbapi.h"

#include "base/clock.h"
#include "instrumentors/dbapi_text.h"
#include "python/asyncgen.h"
#include "python/blocking.h"
#include "python/err.h"

PyObject *faa_dbapi_pass(const struct faa_dbapi_call *call)
{
    return faa_call(call->wrapped, call->args, call->nargsf, call->kwnames);
}

PyObject *faa_dbapi_argument(const struct faa_dbapi_call *call, size_t at, const char *keyword)
{
    size_t nargs = FAA_NARGS(call->nargsf);
    if (at < nargs)
        return call->args[at];
    Py_ssize_t count = keyword && call->kwnames ? PyTuple_Size(call->kwnames) : 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (faa_str_eq(faa_text(PyTuple_GetItem(call->kwnames, i)), faa_str_of(keyword)))
            return call->args[nargs + (size_t)i];
    }
    return NULL;
}

Py_ssize_t faa_dbapi_count(PyObject *sequence)
{
    if (!sequence)
        return 0;
    if (faa_is_list(sequence))
        return PyList_Size(sequence);
    return faa_is_tuple(sequence) ? PyTuple_Size(sequence) : 0;
}

void faa_dbapi_set_sql(PyObject *operation, PyObject *sql, Py_ssize_t batch, PyObject *self)
{
    char room[FAA_DBAPI_TEXT_MAX];
    PyObject *held = NULL;
    struct faa_str text = faa_text(sql);
    if (!text.n && sql)
        text = faa_dbapi_text(sql, self, room, sizeof(room), &held);
    if (text.n)
        faa_db_set_statement(operation, text, batch);
    Py_DecRef(held);
}

void faa_dbapi_set_named(PyObject *operation, const char *before, PyObject *name, const char *after)
{
    char room[FAA_DBAPI_TEXT_MAX];
    struct faa_str text = faa_text(name);
    int length = (int)(text.n < sizeof(room) ? text.n : sizeof(room));
    int n = snprintf(room, sizeof(room), "%s%.*s%s", before, length, text.p, after);
    if (length > 0 && n > 0)
        faa_db_set_statement(operation, faa_str_of(room), 0); // Cut where it was too long.
}

void faa_dbapi_set_call(PyObject *operation, const char *before, PyObject *name,
                        PyObject *parameters)
{
    char after[FAA_DBAPI_TEXT_MAX / 2] = "(";
    Py_ssize_t count = faa_dbapi_count(parameters);
    size_t n = 1;
    for (Py_ssize_t i = 0; i < count && n + sizeof(",%s)") <= sizeof(after); i++) {
        const char *placeholder = i ? ",%s" : "%s";
        memcpy(after + n, placeholder, strlen(placeholder));
        n += strlen(placeholder);
    }
    memcpy(after + n, ")", sizeof(")"));
    faa_dbapi_set_named(operation, before, name, after);
}

static PyObject *part(PyObject *object, PyObject *name)
{
    PyObject *value = NULL;
    if (name)
        faa_getattr(object, name, &value);
    return value;
}

void faa_dbapi_describe(PyObject *operation, const struct faa_db_system *system, PyObject *object,
                        PyObject *host, PyObject *port, PyObject *database)
{
    PyObject *values[] = {part(object, host), part(object, port), part(object, database)};
    faa_db_set_namespace(operation, faa_text(values[2]));
    faa_db_set_server(operation, system, values[0], values[1]);
    for (size_t i = 0; i < FAA_COUNT(values); i++)
        Py_DecRef(values[i]);
}

static int blocks(const struct faa_dbapi_method *method)
{
    return method->manner == FAA_DBAPI_BLOCKS || method->manner == FAA_DBAPI_GENERATOR ||
           method->manner == FAA_DBAPI_CONTEXT;
}

static PyObject *begin(const struct faa_dbapi_method *method, const struct faa_dbapi_call *call,
                       PyObject *outer)
{
    const struct faa_dbapi *driver = method->driver;
    PyObject *self = FAA_NARGS(call->nargsf) ? call->args[0] : NULL;
    const struct faa_db_system *system =
        driver->system_of && self ? driver->system_of(self) : driver->system;
    PyObject *operation = faa_db_begin(system, driver->scope, outer);
    struct faa_span *span = operation ? &faa_pyspan(operation)->span : NULL;
    if (!span || !span->recording)
        return operation;
    if (method->tell) {
        method->tell(operation, call);
    } else {
        PyObject *many = method->many ? faa_dbapi_argument(call, 2, method->many) : NULL;
        faa_dbapi_set_sql(operation, faa_dbapi_argument(call, 1, method->sql),
                          faa_dbapi_count(many), self);
    }
    if (driver->describe && self)
        driver->describe(operation, system, self);
    if (blocks(method))
        faa_span_mark_blocking(span);
    return operation;
}

static void end(PyObject *operation, PyObject *error, int only_failures)
{
    if (error || !only_failures)
        faa_db_end(operation, error);
    else
        faa_db_drop(operation);
}

// Ends the operation by what the call has come to: an error where `result` is NULL.
static void end_call(PyObject *operation, PyObject *result, int only_failures)
{
    faa_context_leave(operation);
    if (result) {
        int saved = errno;
        end(operation, NULL, only_failures);
        errno = saved;
        return;
    }
    struct faa_err e = faa_err_save();
    faa_err_normalize(&e);
    end(operation, e.value, only_failures);
    faa_err_restore(&e);
}

// The ops of what runs later. The operation begins when that does, and one that never ran leaves no
// span: `extra`, with which db_client is done when the call has been made, says which.

static char has_run, fails_only;

static void enter(PyObject *operation)
{
    struct faa_pyspan *s = faa_pyspan(operation);
    if (s->extra != &fails_only)
        s->extra = &has_run;
    faa_span_set_start(&s->span, faa_clock_mono_ns());
    faa_context_activate(operation);
}

static void leave(PyObject *operation, enum faa_outcome outcome, PyObject *value)
{
    const void *extra = faa_pyspan(operation)->extra;
    int runs = extra == &has_run || extra == &fails_only;
    PyObject *error = outcome == FAA_RAISED ? value : NULL;
    if (error && PyErr_GivenExceptionMatches(error, PyExc_StopAsyncIteration))
        error = NULL; // The end of an iteration.
    faa_context_deactivate(operation);
    if (runs)
        end(operation, error, extra == &fails_only);
    else
        faa_db_drop(operation);
}

static void resume(PyObject *operation)
{
    faa_context_activate(operation);
}

static void waits(PyObject *operation)
{
    faa_context_deactivate(operation);
}

static const struct faa_awaitable_ops awaitable_ops = {.enter = enter, .leave = leave};
static const struct faa_awaitable_ops generator_ops = {
    .enter = enter,
    .resume = resume,
    .waits = waits,
    .leave = leave,
};

// contextlib's context managers run their generator themselves: a proxy takes its place there.
static void put_around_generator(PyObject *manager, enum faa_dbapi_manner manner,
                                 PyObject *operation)
{
    PyObject *generator;
    if (faa_getattr(manager, FAA_NAME(gen), &generator) != 1)
        return;
    generator = manner == FAA_DBAPI_CONTEXT
                    ? faa_awaitable_around(generator, &generator_ops, operation)
                    : faa_asyncgen_around(generator, &generator_ops, operation);
    if (PyObject_SetAttr(manager, FAA_NAME(gen), generator))
        PyErr_Clear();
    Py_DecRef(generator);
}

static PyObject *run_later(enum faa_dbapi_manner manner, PyObject *operation, PyObject *result)
{
    switch (manner) {
    case FAA_DBAPI_GENERATOR:
        return faa_awaitable_around(result, &generator_ops, operation);
    case FAA_DBAPI_ASYNC_GENERATOR:
        return faa_asyncgen_around(result, &generator_ops, operation);
    case FAA_DBAPI_CONTEXT:
    case FAA_DBAPI_ASYNC_CONTEXT:
        put_around_generator(result, manner, operation);
        return result;
    default:
        return faa_awaitable_around(result, &awaitable_ops, operation);
    }
}

PyObject *faa_dbapi_run(const struct faa_dbapi_method *method, const struct faa_dbapi_call *call)
{
    int saved = errno;
    PyObject *outer = faa_context_current(), *operation = NULL;
    if (!faa_db_is_inside(outer))
        operation = begin(method, call, outer);
    if (operation && method->manner == FAA_DBAPI_BLOCKS)
        faa_context_enter(operation, outer);
    Py_DecRef(outer);
    errno = saved;
    if (!operation)
        return faa_dbapi_pass(call);
    PyObject *result = faa_dbapi_pass(call);
    if (method->manner == FAA_DBAPI_BLOCKS || !result) {
        end_call(operation, result, method->only_failures);
    } else {
        if (method->only_failures)
            faa_pyspan(operation)->extra = &fails_only;
        result = run_later(method->manner, operation, result);
    }
    Py_DecRef(operation);
    return result;
}

static void hide_leave(PyObject *hidden, enum faa_outcome outcome, PyObject *value)
{
    (void)outcome;
    (void)value;
    faa_context_deactivate(hidden);
    faa_db_drop(hidden);
}

PyObject *faa_dbapi_run_hidden(const struct faa_dbapi_call *call)
{
    static const struct faa_awaitable_ops ops = {.enter = resume, .leave = hide_leave};
    PyObject *outer = faa_context_current();
    PyObject *hidden = faa_db_is_inside(outer) ? NULL : faa_db_hide(outer);
    Py_DecRef(outer);
    PyObject *result = faa_dbapi_pass(call);
    if (hidden)
        result = faa_awaitable_around(result, &ops, hidden);
    Py_DecRef(hidden);
    return result;
}

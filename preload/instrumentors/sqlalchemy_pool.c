// SPDX-License-Identifier: MIT
// SQLAlchemy's pools: how long a connection is waited for, how long it takes to make one, and that
// what the driver does for the pool is no statement of the application's.
#include "base/clock.h"
#include "instrumentors/asgi.h"
#include "instrumentors/sqlalchemy.h"
#include "python/err.h"
#include "python/exception.h"

#include <stdlib.h>

// What becomes known while a connection is checked out.
struct checkout {
    uint64_t connect_ns; // For making connections.
    int connect_failed;
};

// Also marks the operations of checkouts. The memory is not on the stack of the hook: a greenlet's
// stack is elsewhere while others run.
static void free_checkout(void *extra)
{
    free(extra);
}

// What hides the driver's work; current now. NULL without memory.
static PyObject *begin_hidden(void)
{
    PyObject *outer = faa_context_current(), *hidden = faa_db_hide(outer);
    if (hidden)
        faa_context_enter(hidden, outer);
    Py_DecRef(outer);
    return hidden;
}

static void end_hidden(PyObject *hidden)
{
    faa_context_leave(hidden);
    faa_db_drop(hidden);
}

static PyObject *begin_checkout(void)
{
    struct checkout *c = calloc(1, sizeof(*c));
    PyObject *hidden = c ? begin_hidden() : NULL;
    if (!hidden) {
        free(c);
        return NULL;
    }
    faa_pyspan(hidden)->extra = c;
    faa_pyspan(hidden)->free_extra = free_checkout;
    return hidden;
}

// For the first statement on the connection.
static void note_wait(PyObject *fairy, uint64_t ns)
{
    PyObject *number = PyLong_FromUnsignedLongLong(ns / 1000);
    if (!number || PyObject_SetAttr(fairy, FAA_NAME(_faa_pool_wait), number))
        PyErr_Clear();
    Py_DecRef(number);
}

// Once: a value of None takes its place, which is found as fast. Not by the object's own look-up,
// which asks the driver's connection for what is missing.
void faa_sqlalchemy_set_pool_wait(struct faa_span *span, PyObject *context)
{
    PyObject *connection = NULL, *fairy = NULL, *wait = NULL;
    if (context && faa_getattr(context, FAA_NAME(root_connection), &connection) == 1 &&
        faa_getattr(connection, FAA_NAME(_dbapi_connection), &fairy) == 1) {
        wait = PyObject_GenericGetAttr(fairy, FAA_NAME(_faa_pool_wait));
        if (!wait)
            PyErr_Clear();
    }
    if (wait && wait != Py_None) {
        faa_span_set_int(span, FAA_KEY_FAA_DB_POOL_WAIT_US, faa_int(wait, 0));
        if (PyObject_SetAttr(fairy, FAA_NAME(_faa_pool_wait), Py_None))
            PyErr_Clear();
    }
    Py_DecRef(connection);
    Py_DecRef(fairy);
    Py_DecRef(wait);
}

// A wait for the pool is told when it was long, or in vain; that a connection could not be made is
// told by the span of that.
static void tell_checkout(PyObject *pool, const struct checkout *c, uint64_t asked, uint64_t took,
                          PyObject *error)
{
    unsigned chosen = faa_settings.sqlalchemy_spans;
    uint64_t wait = took > c->connect_ns ? took - c->connect_ns : 0;
    int failed = error && !c->connect_failed && !faa_exception_is_cancellation(error);
    int slow = (chosen & FAA_SQLALCHEMY_SLOW_POOL_WAIT) && wait >= faa_settings.slow_pool_wait_ns;
    PyObject *dialect;
    if (!chosen || !(failed || slow || (chosen & FAA_SQLALCHEMY_POOL_WAIT)))
        return;
    faa_getattr(pool, FAA_NAME(_dialect), &dialect);
    faa_sqlalchemy_tell_wait(dialect, asked, wait, failed ? error : NULL);
    Py_DecRef(dialect);
}

// Pool.connect, of sync and of async engines (there in a greenlet that waits for the pool's turn).
PyObject *faa_sqlalchemy_checkout_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                       size_t nargsf, PyObject *kwnames)
{
    (void)data;
    int saved = errno;
    PyObject *hidden = FAA_NARGS(nargsf) >= 1 ? begin_checkout() : NULL;
    uint64_t asked = faa_clock_mono_ns();
    errno = saved;
    PyObject *fairy = faa_call(wrapped, args, nargsf, kwnames);
    if (!hidden)
        return fairy;
    struct faa_err e = faa_err_save();
    faa_err_normalize(&e);
    uint64_t took = faa_clock_mono_ns() - asked;
    end_hidden(hidden);
    faa_asgi_add_wait(FAA_WAIT_CONNECTION, took);
    if (fairy)
        note_wait(fairy, took);
    tell_checkout(args[0], faa_pyspan(hidden)->extra, asked, took, e.value);
    Py_DecRef(hidden);
    faa_err_restore(&e);
    return fairy;
}

static struct checkout *checkout_of(PyObject *operation)
{
    struct faa_pyspan *s = operation ? faa_pyspan(operation) : NULL;
    return s && s->free_extra == free_checkout ? s->extra : NULL;
}

// A pool's record makes its connection: the driver connects, and SQLAlchemy and the application's
// listeners prepare the connection.
PyObject *faa_sqlalchemy_connect_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                      size_t nargsf, PyObject *kwnames)
{
    (void)data;
    int saved = errno;
    PyObject *record = FAA_NARGS(nargsf) >= 1 ? args[0] : Py_None, *pool, *dialect = NULL;
    unsigned chosen = faa_settings.sqlalchemy_spans;
    uint64_t slow =
        chosen & FAA_SQLALCHEMY_SLOW_CONNECT ? faa_settings.slow_pool_wait_ns : UINT64_MAX;
    struct faa_sqlalchemy_step step = {.name = FAA_STR("connect"),
                                       .chosen = (chosen & FAA_SQLALCHEMY_CONNECT) != 0};
    if (faa_getattr(record, FAA_NAME(_ConnectionRecord__pool), &pool) == 1)
        faa_getattr(pool, FAA_NAME(_dialect), &dialect);
    PyObject *outer = faa_context_current();
    step.dialect = dialect;
    faa_sqlalchemy_step_begin(&step);
    errno = saved;
    PyObject *result = faa_call(wrapped, args, nargsf, kwnames);
    struct faa_err e = faa_err_save();
    if (result && dialect)
        faa_sqlalchemy_note_connection(dialect, record);
    faa_err_restore(&e);
    uint64_t took = faa_sqlalchemy_step_end(&step, slow);
    struct checkout *checkout = checkout_of(outer);
    if (checkout) {
        checkout->connect_ns += took;
        checkout->connect_failed |= !result;
    }
    Py_DecRef(outer);
    Py_DecRef(pool);
    Py_DecRef(dialect);
    return result;
}

static PyObject *call_hidden(PyObject *wrapped, PyObject *const *args, size_t nargsf,
                             PyObject *kwnames)
{
    PyObject *hidden = begin_hidden();
    if (!hidden)
        return faa_call(wrapped, args, nargsf, kwnames);
    PyObject *result = faa_call(wrapped, args, nargsf, kwnames);
    struct faa_err e = faa_err_save();
    end_hidden(hidden);
    Py_DecRef(hidden);
    faa_err_restore(&e);
    return result;
}

// A connection goes back to its pool: it is reset, and perhaps closed.
PyObject *faa_sqlalchemy_finalize_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                       size_t nargsf, PyObject *kwnames)
{
    (void)data;
    return call_hidden(wrapped, args, nargsf, kwnames);
}

// Some drivers have a setting of the connection, others execute a statement for it.
PyObject *faa_sqlalchemy_setting_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                      size_t nargsf, PyObject *kwnames)
{
    (void)data;
    return call_hidden(wrapped, args, nargsf, kwnames);
}

// SPDX-License-Identifier: MIT
// What SQLAlchemy does to a connection that is no statement: hidden from the driver's instrumentor,
// and a span where it is wanted, was slow or failed.
#include "base/clock.h"
#include "instrumentors/sqlalchemy.h"
#include "python/err.h"
#include "python/exception.h"

// A new operation, or NULL. `is_sql`: the name is what the database executes.
static PyObject *begin_named(PyObject *dialect, struct faa_str name, int is_sql, PyObject *outer)
{
    PyObject *holder;
    const struct faa_sqlalchemy_database *database = faa_sqlalchemy_database_of(dialect, &holder);
    PyObject *operation = faa_db_begin(database->system, faa_sqlalchemy_scope, outer);
    struct faa_span *span = operation ? &faa_pyspan(operation)->span : NULL;
    if (span)
        faa_span_set_name(span, name);
    if (span && is_sql) {
        faa_span_set_str(span, FAA_KEY_DB_OPERATION_NAME, name);
        faa_span_set_str(span, FAA_KEY_DB_QUERY_SUMMARY, name);
    }
    Py_DecRef(holder);
    return operation;
}

// The same under what is current now.
static PyObject *begin_named_here(PyObject *dialect, struct faa_str name, int is_sql)
{
    PyObject *outer = faa_context_current();
    PyObject *operation = begin_named(dialect, name, is_sql, outer);
    Py_DecRef(outer);
    return operation;
}

// SQLAlchemy's exceptions keep the driver's.
static PyObject *driver_error(PyObject *error)
{
    PyObject *original = error ? PyObject_GetAttrString(error, "orig") : NULL;
    if (!original || !faa_is_exception(original)) {
        PyErr_Clear();
        Py_DecRef(original);
        return faa_newref(error);
    }
    return original;
}

// The attributes come last: the first connection tells what the database's are. Takes the reference
// to the operation.
static void end_named(PyObject *operation, PyObject *dialect, PyObject *error)
{
    PyObject *holder, *original = driver_error(error);
    const struct faa_sqlalchemy_database *database = faa_sqlalchemy_database_of(dialect, &holder);
    faa_sqlalchemy_set_database(operation, database);
    faa_db_end(operation, original);
    Py_DecRef(original);
    Py_DecRef(holder);
    Py_DecRef(operation);
}

void faa_sqlalchemy_tell_wait(PyObject *dialect, uint64_t start_ns, uint64_t wait_ns,
                              PyObject *error)
{
    PyObject *operation = begin_named_here(dialect, FAA_STR("pool wait"), 0);
    if (!operation)
        return;
    struct faa_span *span = &faa_pyspan(operation)->span;
    PyObject *holder;
    const struct faa_sqlalchemy_database *database = faa_sqlalchemy_database_of(dialect, &holder);
    span->kind = FAA_KIND_INTERNAL; // It waits for others of this process.
    faa_span_set_start(span, start_ns);
    if (!error) {
        faa_sqlalchemy_set_database(operation, database);
        faa_span_end(span, span->start_ns + wait_ns);
    }
    Py_DecRef(holder);
    end_named(operation, dialect, error);
}

void faa_sqlalchemy_step_begin(struct faa_sqlalchemy_step *step)
{
    PyObject *outer = faa_context_current();
    step->start_ns = faa_clock_mono_ns();
    step->operation = step->chosen ? begin_named(step->dialect, step->name, step->is_sql, outer)
                                   : faa_db_hide(outer);
    if (step->operation)
        faa_context_enter(step->operation, outer);
    Py_DecRef(outer);
}

uint64_t faa_sqlalchemy_step_end(struct faa_sqlalchemy_step *step, uint64_t slow_ns)
{
    struct faa_err e = faa_err_save();
    faa_err_normalize(&e);
    uint64_t took = faa_clock_mono_ns() - step->start_ns;
    if (step->operation)
        faa_context_leave(step->operation);
    if (step->operation && step->chosen) {
        end_named(step->operation, step->dialect, e.value);
    } else if (step->operation) {
        int failed = e.value && !faa_exception_is_cancellation(e.value);
        faa_db_drop(step->operation);
        Py_DecRef(step->operation);
        PyObject *told = NULL;
        if (took >= slow_ns || (failed && faa_settings.sqlalchemy_spans))
            told = begin_named_here(step->dialect, step->name, step->is_sql);
        if (told) {
            faa_span_set_start(&faa_pyspan(told)->span, step->start_ns);
            end_named(told, step->dialect, e.value);
        }
    }
    faa_err_restore(&e);
    return took;
}

// SPDX-License-Identifier: MIT
// What a span tells of a statement. SQLAlchemy keeps what it has compiled and executes the same str
// over and over; reading it again would take most of a span's time. So the result stays with the
// compiled statement, as long as SQLAlchemy keeps that.
#include "instrumentors/sqlalchemy.h"

#include <stdlib.h>

static const char capsule_name[] = "faa.statement";

// Constant; owned by a capsule.
struct told {
    PyObject *statement; // What it is about: as long as it is held, nothing else is at its address.
    struct faa_span_part *part;
};

static void free_told(PyObject *capsule)
{
    struct told *told = PyCapsule_GetPointer(capsule, capsule_name);
    Py_DecRef(told->statement);
    free(told->part);
    free(told);
}

// Takes over the part, which may be NULL. New reference, or NULL.
static PyObject *told_new(PyObject *statement, struct faa_span_part *part)
{
    struct told *told = part ? malloc(sizeof(*told)) : NULL;
    PyObject *capsule = told ? PyCapsule_New(told, capsule_name, free_told) : NULL;
    if (!capsule) {
        PyErr_Clear();
        free(told);
        free(part);
        return NULL;
    }
    told->statement = faa_newref(statement);
    told->part = part;
    return capsule;
}

// 0, or -1 when the compiled statement was executed as another text.
static int tell_again(struct faa_span *span, PyObject *kept, PyObject *statement)
{
    const struct told *told = kept == Py_None ? NULL : PyCapsule_GetPointer(kept, capsule_name);
    if (!told)
        PyErr_Clear();
    return told && told->statement == statement ? faa_span_put_part(span, told->part) : -1;
}

// A compiled statement that gets its text anew for each execution (a list of values, `IN (?, ?)`)
// has None: it is not looked at again.
static void keep(PyObject *compiled, PyObject *statement, struct faa_span_part *part)
{
    PyObject *text, *kept = NULL;
    if (faa_getattr(compiled, FAA_NAME(string), &text) == 1 && text == statement)
        kept = told_new(statement, part);
    else
        free(part);
    if (PyObject_SetAttr(compiled, FAA_NAME(_faa_statement), kept ? kept : Py_None))
        PyErr_Clear();
    Py_DecRef(text);
    Py_DecRef(kept);
}

void faa_sqlalchemy_set_statement(PyObject *operation, PyObject *statement, Py_ssize_t batch,
                                  PyObject *context)
{
    struct faa_span *span = &faa_pyspan(operation)->span;
    PyObject *compiled = NULL, *kept = NULL;
    if (!batch && context)
        faa_getattr(context, FAA_NAME(compiled), &compiled);
    if (compiled == Py_None)
        faa_clear(&compiled);
    int found = compiled ? faa_getattr(compiled, FAA_NAME(_faa_statement), &kept) == 1 : 0;
    if (!found || tell_again(span, kept, statement)) {
        struct faa_span_mark begin = faa_span_mark(span);
        faa_db_set_statement(operation, faa_text(statement), batch);
        if (compiled && !found)
            keep(compiled, statement, faa_span_copy_part(span, begin));
    }
    Py_DecRef(kept);
    Py_DecRef(compiled);
}

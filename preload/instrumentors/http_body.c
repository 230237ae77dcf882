// SPDX-License-Identifier: MIT
// The exchange lies in a capsule on its holder and not there itself: contexts that outlive the call
// (of timers, of tasks) keep it too, and only the capsule dies with the answer.
#include "instrumentors/http_body.h"

#include "instrumentors/http_client.h"
#include "python/err.h"

static const char name[] = "faa.http_body";

static void drop(PyObject *capsule)
{
    struct faa_err e = faa_err_save();
    PyObject *exchange = PyCapsule_GetPointer(capsule, name);
    if (exchange)
        faa_http_client_end(exchange, NULL);
    PyErr_Clear();
    Py_DecRef(exchange);
    faa_err_restore(&e);
}

int faa_http_body_prepare(PyObject *holder_class)
{
    return PyObject_SetAttr(holder_class, FAA_NAME(_faa_span), Py_None);
}

void faa_http_body_attach(PyObject *holder, PyObject *exchange)
{
    PyObject *capsule = PyCapsule_New(exchange, name, drop);
    if (capsule) {
        Py_IncRef(exchange);
        if (PyObject_SetAttr(holder, FAA_NAME(_faa_span), capsule))
            faa_err_discard();
        Py_DecRef(capsule);
    } else {
        PyErr_Clear();
        faa_http_client_end(exchange, NULL);
    }
}

// New reference, or NULL.
static PyObject *capsule_of(PyObject *holder)
{
    PyObject *capsule;
    if (faa_getattr(holder, FAA_NAME(_faa_span), &capsule) == 1 &&
        (capsule == Py_None || !PyCapsule_IsValid(capsule, name)))
        faa_clear(&capsule);
    return capsule;
}

PyObject *faa_http_body_exchange(PyObject *holder)
{
    PyObject *capsule = capsule_of(holder);
    PyObject *exchange = capsule ? faa_newref(PyCapsule_GetPointer(capsule, name)) : NULL;
    Py_DecRef(capsule);
    return exchange;
}

void faa_http_body_end(PyObject *holder, PyObject *error)
{
    PyObject *capsule = capsule_of(holder);
    if (!capsule)
        return;
    faa_http_client_end(PyCapsule_GetPointer(capsule, name), error);
    if (PyObject_DelAttr(holder, FAA_NAME(_faa_span)))
        PyErr_Clear();
    Py_DecRef(capsule);
}

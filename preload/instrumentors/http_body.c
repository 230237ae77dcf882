// SPDX-License-Identifier: MIT
// The exchange lies in an object of its own on its holder and not there itself: contexts that
// outlive the call (of timers, of tasks) keep it too, and only that object dies with the answer.
#include "instrumentors/http_body.h"

#include "instrumentors/http_client.h"
#include "python/err.h"

#include <stdatomic.h>

static _Atomic(PyObject *) type;

// Does not change while the object lives: who has found it may be on another thread.
struct body {
    PyObject *exchange;
};

static void body_dealloc(PyObject *self)
{
    struct body *b = faa_state(self);
    struct faa_err e = faa_err_save();
    faa_http_client_set_body_size(b->exchange, -1); // Nobody has read it to its end.
    faa_http_client_end(b->exchange, NULL);
    faa_clear(&b->exchange);
    faa_err_restore(&e);
    faa_free(self, 0);
}

static PyType_Slot slots[] = {
    {Py_tp_dealloc, body_dealloc},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "faa.http_body",
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};

// Threads without the GIL that race here make two types, of which one is forgotten before it has
// an instance.
static PyObject *body_type(void)
{
    PyObject *mine = atomic_load_explicit(&type, memory_order_acquire), *none = NULL;
    if (mine)
        return mine;
    mine = faa_type_new(&spec, sizeof(struct body));
    if (mine && !atomic_compare_exchange_strong(&type, &none, mine)) {
        Py_DecRef(mine);
        mine = none;
    }
    return mine;
}

int faa_http_body_prepare(PyObject *holder_class)
{
    return body_type() ? PyObject_SetAttr(holder_class, FAA_NAME(_faa_span), Py_None) : -1;
}

void faa_http_body_attach(PyObject *holder, PyObject *exchange)
{
    PyObject *own = body_type(), *body = own ? faa_alloc_raw(own, sizeof(struct body)) : NULL;
    if (body) {
        ((struct body *)faa_state(body))->exchange = faa_newref(exchange);
        if (PyObject_SetAttr(holder, FAA_NAME(_faa_span), body))
            faa_err_discard();
        Py_DecRef(body);
    } else {
        PyErr_Clear();
        faa_http_client_end(exchange, NULL);
    }
}

PyObject *faa_http_body_of(PyObject *holder)
{
    PyObject *body;
    if (faa_getattr(holder, FAA_NAME(_faa_span), &body) == 1 &&
        (PyObject *)faa_type_of(body) != atomic_load_explicit(&type, memory_order_acquire))
        faa_clear(&body);
    return body;
}

PyObject *faa_http_body_kept(PyObject *body)
{
    return ((const struct body *)faa_state(body))->exchange;
}

PyObject *faa_http_body_exchange(PyObject *holder)
{
    PyObject *body = faa_http_body_of(holder);
    PyObject *exchange = body ? faa_newref(faa_http_body_kept(body)) : NULL;
    Py_DecRef(body);
    return exchange;
}

void faa_http_body_end(PyObject *holder, PyObject *error)
{
    PyObject *body = faa_http_body_of(holder);
    if (!body)
        return;
    faa_http_client_end(faa_http_body_kept(body), error);
    if (PyObject_DelAttr(holder, FAA_NAME(_faa_span)))
        PyErr_Clear();
    Py_DecRef(body);
}

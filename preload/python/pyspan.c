// SPDX-License-Identifier: MIT
// The span's Python type and the one context variable.
#include "python/pyspan.h"

#include "python/err.h"
#include "span/baggage.h"

#include <stdatomic.h>
#include <stdlib.h>

static PyObject *type;
static PyObject *variable;

static void span_dealloc(PyObject *self)
{
    struct faa_pyspan *s = faa_pyspan(self);
    struct faa_err e = faa_err_save();
    if (s->free_extra)
        s->free_extra(s->extra);
    faa_span_fini(&s->span);
    faa_clear(&s->previous);
    faa_err_restore(&e);
    faa_free(self, 0);
}

static PyType_Slot slots[] = {
    {Py_tp_dealloc, span_dealloc},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "faa.span",
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};

int faa_pyspan_init(void)
{
    type = faa_type_new(&spec, sizeof(struct faa_pyspan));
    variable = type ? PyContextVar_New("faa.current_span", NULL) : NULL;
    return variable ? 0 : -1;
}

PyObject *faa_pyspan_new(void)
{
    return faa_pyspan_new_with(0);
}

_Static_assert(sizeof(struct faa_pyspan) % _Alignof(void *) == 0, "the owner's data lies behind");

PyObject *faa_pyspan_new_with(size_t size)
{
    PyObject *object = faa_alloc_raw(type, sizeof(struct faa_pyspan) + size);
    if (!object) {
        PyErr_Clear();
        return NULL;
    }
    struct faa_pyspan *s = faa_pyspan(object);
    memset(&s->span, 0, offsetof(struct faa_span, name)); // As faa_span_fini wants it.
    s->previous = NULL;
    atomic_init(&s->left, 0);
    s->owner = NULL;
    s->extra = size ? s + 1 : NULL;
    s->free_extra = NULL;
    return object;
}

PyObject *faa_pyspan_new_remote(const struct faa_span_context *context)
{
    PyObject *object = faa_pyspan_new();
    if (!object)
        return NULL;
    struct faa_span_context *own = &faa_pyspan(object)->span.context;
    *own = *context;
    own->remote = 1;
    own->sampling = 0;
    own->baggage = faa_baggage_ref(context->baggage);
    char *tracestate = context->tracestate_len ? malloc(context->tracestate_len) : NULL;
    if (tracestate)
        memcpy(tracestate, context->tracestate, context->tracestate_len);
    own->tracestate = tracestate;
    own->tracestate_len = tracestate ? context->tracestate_len : 0;
    return object;
}

int faa_is_pyspan(PyObject *object)
{
    return faa_type_of(object) == (PyTypeObject *)type;
}

static int is_left(PyObject *object)
{
    return atomic_load_explicit(&faa_pyspan(object)->left, memory_order_relaxed);
}

PyObject *faa_context_current(void)
{
    PyObject *value = NULL;
    if (PyContextVar_Get(variable, NULL, &value) < 0)
        PyErr_Clear();
    if (value && !faa_is_pyspan(value))
        faa_clear(&value);
    while (value && is_left(value)) { // What was current before does not change any more.
        PyObject *outer = faa_newref(faa_pyspan(value)->previous);
        Py_DecRef(value);
        value = outer;
    }
    return value;
}

static void set_current(PyObject *value)
{
    PyObject *token = PyContextVar_Set(variable, value);
    if (!token)
        PyErr_Clear();
    Py_DecRef(token);
}

void faa_context_activate(PyObject *object)
{
    struct faa_pyspan *s = faa_pyspan(object);
    faa_clear(&s->previous);
    s->previous = faa_context_current();
    set_current(object);
}

// Not by a token: the end may be seen from another context than the beginning (a coroutine closed
// by the garbage collector), whose current span is not ours to change.
void faa_context_deactivate(PyObject *object)
{
    struct faa_pyspan *s = faa_pyspan(object);
    PyObject *now = faa_context_current();
    if (now == object)
        set_current(s->previous ? s->previous : Py_None);
    Py_DecRef(now);
    faa_clear(&s->previous);
}

void faa_context_enter(PyObject *object, PyObject *outer)
{
    faa_pyspan(object)->previous = faa_newref(outer);
    set_current(object);
}

// Setting the variable makes three objects: the next one that is entered does it anyway.
void faa_context_leave(PyObject *object)
{
    atomic_store_explicit(&faa_pyspan(object)->left, 1, memory_order_relaxed);
}

PyObject *faa_context_swap(PyObject *object)
{
    PyObject *previous = faa_context_current();
    if (previous != object)
        set_current(object ? object : Py_None);
    return previous;
}

void faa_context_swap_back(PyObject *previous)
{
    Py_DecRef(faa_context_swap(previous));
    Py_DecRef(previous);
}

void faa_context_keep(PyObject *object)
{
    faa_clear(&faa_pyspan(object)->previous);
}

void faa_context_start_under(struct faa_span *span, enum faa_span_kind kind, const char *scope,
                             PyObject *parent)
{
    struct faa_span_context local;
    if (parent) {
        local = faa_pyspan(parent)->span.context;
        local.remote = 0;
    }
    faa_span_start(span, kind, scope, parent ? &local : NULL);
}

void faa_context_start_child(struct faa_span *span, enum faa_span_kind kind, const char *scope)
{
    PyObject *parent = faa_context_current();
    faa_context_start_under(span, kind, scope, parent);
    Py_DecRef(parent);
}

void faa_span_set_py(struct faa_span *span, enum faa_key key, PyObject *text)
{
    struct faa_str s = faa_text(text);
    if (s.n > 0)
        faa_span_set_str(span, key, s);
}

// SPDX-License-Identifier: MIT
// Each step of the generator is an awaitable, and gets a proxy of its own that tells this one.
#include "python/asyncgen.h"

#include "python/err.h"
#include "python/forward.h"

enum phase { NEW, RUNNING, FINISHED };

struct asyncgen {
    PyObject *inner;
    PyObject *data;
    PyObject *weakrefs;
    const struct faa_awaitable_ops *ops;
    enum phase phase;
};

static PyObject *type;
static PyObject *own_names;

static void finish(struct asyncgen *a, enum faa_outcome outcome, PyObject *value)
{
    int ran = a->phase == RUNNING;
    a->phase = FINISHED;
    if (ran)
        a->ops->leave(a->data, outcome, value);
}

// The ops of a step; its data is the proxy of the generator.

static void step_enter(PyObject *self)
{
    struct asyncgen *a = faa_state(self);
    void (*op)(PyObject * data) = NULL;
    if (a->phase == NEW)
        op = a->ops->enter;
    else if (a->phase == RUNNING)
        op = a->ops->resume;
    if (a->phase == NEW)
        a->phase = RUNNING;
    if (op)
        op(a->data);
}

static void step_leave(PyObject *self, enum faa_outcome outcome, PyObject *value)
{
    struct asyncgen *a = faa_state(self);
    if (outcome == FAA_RETURNED) {
        if (a->phase == RUNNING && a->ops->waits)
            a->ops->waits(a->data);
    } else if (outcome == FAA_RAISED && value &&
               PyErr_GivenExceptionMatches(value, PyExc_StopAsyncIteration)) {
        finish(a, FAA_RETURNED, NULL);
    } else {
        finish(a, outcome, value);
    }
}

// One that is closed before it has run does nothing.
static void close_enter(PyObject *self)
{
    struct asyncgen *a = faa_state(self);
    if (a->phase == RUNNING && a->ops->resume)
        a->ops->resume(a->data);
}

static void close_leave(PyObject *self, enum faa_outcome outcome, PyObject *value)
{
    struct asyncgen *a = faa_state(self);
    if (outcome == FAA_RETURNED)
        finish(a, FAA_CLOSED, NULL);
    else
        finish(a, outcome, value);
}

static const struct faa_awaitable_ops step_ops = {.enter = step_enter, .leave = step_leave};
static const struct faa_awaitable_ops close_ops = {.enter = close_enter, .leave = close_leave};

static PyObject *call_inner(PyObject *self, const char *method, PyObject *args,
                            const struct faa_awaitable_ops *ops)
{
    struct asyncgen *a = faa_state(self);
    PyObject *function = PyObject_GetAttrString(a->inner ? a->inner : Py_None, method);
    PyObject *awaitable = function ? PyObject_CallObject(function, args) : NULL;
    Py_DecRef(function);
    return faa_awaitable_around(awaitable, ops, self);
}

static PyObject *asyncgen_anext(PyObject *self)
{
    return call_inner(self, "__anext__", NULL, &step_ops);
}

static PyObject *asyncgen_asend(PyObject *self, PyObject *args)
{
    return call_inner(self, "asend", args, &step_ops);
}

static PyObject *asyncgen_athrow(PyObject *self, PyObject *args)
{
    return call_inner(self, "athrow", args, &step_ops);
}

static PyObject *asyncgen_aclose(PyObject *self, PyObject *args)
{
    return call_inner(self, "aclose", args, &close_ops);
}

static PyObject *asyncgen_aiter(PyObject *self)
{
    return faa_newref(self);
}

static PyObject *asyncgen_getattro(PyObject *self, PyObject *name)
{
    struct asyncgen *a = faa_state(self);
    return faa_forward_getattr(self, a->inner, own_names, name);
}

static int asyncgen_setattro(PyObject *self, PyObject *name, PyObject *value)
{
    struct asyncgen *a = faa_state(self);
    return faa_forward_setattr(self, a->inner, name, value);
}

static PyObject *asyncgen_repr(PyObject *self)
{
    struct asyncgen *a = faa_state(self);
    return PyObject_Repr(a->inner ? a->inner : Py_None);
}

static int asyncgen_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct asyncgen *a = faa_state(self);
    Py_VISIT(a->inner);
    Py_VISIT(a->data);
    return faa_visit_type(self, visit, arg);
}

// Dropped before its end: the event loop closes the generator itself, a little later.
static int asyncgen_clear(PyObject *self)
{
    struct asyncgen *a = faa_state(self);
    struct faa_err e = faa_err_save();
    finish(a, FAA_CLOSED, NULL);
    faa_clear(&a->inner);
    faa_clear(&a->data);
    faa_err_restore(&e);
    return 0;
}

static void asyncgen_dealloc(PyObject *self)
{
    struct asyncgen *a = faa_state(self);
    PyObject_GC_UnTrack(self);
    if (a->weakrefs)
        PyObject_ClearWeakRefs(self);
    asyncgen_clear(self);
    faa_free(self, 1);
}

static PyMethodDef methods[] = {
    {"asend", asyncgen_asend, METH_VARARGS, NULL},
    {"athrow", asyncgen_athrow, METH_VARARGS, NULL},
    {"aclose", asyncgen_aclose, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct asyncgen, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_am_aiter, asyncgen_aiter},
    {Py_am_anext, asyncgen_anext},
    {Py_tp_getattro, asyncgen_getattro},
    {Py_tp_setattro, asyncgen_setattro},
    {Py_tp_repr, asyncgen_repr},
    {Py_tp_traverse, asyncgen_traverse},
    {Py_tp_clear, asyncgen_clear},
    {Py_tp_dealloc, asyncgen_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "faa.async_generator",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};

int faa_asyncgen_init(void)
{
    static const char *const names[] = {"__aiter__", "__anext__", "asend",
                                        "athrow",    "aclose",    NULL};
    own_names = faa_forward_names(names);
    type = own_names ? faa_type_new(&spec, sizeof(struct asyncgen)) : NULL;
    return type ? 0 : -1;
}

PyObject *faa_asyncgen_around(PyObject *generator, const struct faa_awaitable_ops *ops,
                              PyObject *data)
{
    PyObject *self = generator ? faa_alloc_gc_raw(type) : NULL;
    if (!self) {
        if (generator)
            PyErr_Clear();
        return generator;
    }
    struct asyncgen *a = faa_state(self);
    a->inner = generator;
    a->data = faa_newref(data);
    a->weakrefs = NULL;
    a->ops = ops;
    a->phase = NEW;
    PyObject_GC_Track(self);
    return self;
}

// SPDX-License-Identifier: MIT
// The awaitable proxy's type: a coroutine in all but its C type. What is sent, thrown, yielded,
// returned and raised passes through unchanged.
#include "python/awaitable.h"

#include "python/err.h"
#include "python/forward.h"

#define AM_SEND 81 // Py_am_send, from 3.10 on.

PyAPI_DATA(PyTypeObject) PyCoro_Type, PyGen_Type;

enum phase { NEW, RUNNING, FINISHED };

struct awaitable {
    PyObject *inner;
    PyObject *iter; // What is stepped: `inner` itself if it is a coroutine.
    PyObject *data;
    PyObject *kept[2]; // See faa_awaitable_keep.
    PyObject *weakrefs;
    const struct faa_awaitable_ops *ops;
    enum phase phase;
};

static PyObject *type;
static PyObject *own_names;

// Tells the end once. The caller has no error set.
static void finish(struct awaitable *a, enum faa_outcome outcome, PyObject *value)
{
    if (a->phase == FINISHED)
        return;
    a->phase = FINISHED;
    int saved = errno;
    a->ops->leave(a->data, outcome, value);
    for (size_t i = 0; i < FAA_COUNT(a->kept); i++)
        faa_clear(&a->kept[i]);
    errno = saved;
}

// Tells one of the ops that may be NULL.
static void tell(struct awaitable *a, void (*op)(PyObject *data))
{
    if (!op || a->phase != RUNNING)
        return;
    int saved = errno;
    op(a->data);
    errno = saved;
}

// Tells the end by the error that is set, which stays set.
static void finish_with_error(struct awaitable *a)
{
    struct faa_err e = faa_err_save();
    faa_err_normalize(&e);
    finish(a, FAA_RAISED, e.value);
    faa_err_restore(&e);
}

static int begin(struct awaitable *a)
{
    a->phase = RUNNING;
    PyTypeObject *kind = faa_type_of(a->inner);
    // A generator that types.coroutine has marked is awaited as it is, too.
    if (kind == &PyCoro_Type || kind == &PyGen_Type)
        a->iter = faa_newref(a->inner);
    else
        a->iter = PyObject_CallMethodObjArgs(a->inner, FAA_NAME(__await__), NULL);
    if (!a->iter) {
        finish_with_error(a);
        return -1;
    }
    tell(a, a->ops->enter);
    return 0;
}

static enum faa_send_result step(PyObject *self, PyObject *arg, PyObject **result)
{
    struct awaitable *a = faa_state(self);
    *result = NULL;
    if (a->phase != NEW)
        tell(a, a->ops->resume);
    else if (begin(a))
        return FAA_SEND_ERROR;
    PyObject *iter = a->iter ? a->iter : a->inner;
    if (!iter) {
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
        return FAA_SEND_ERROR;
    }
    enum faa_send_result r = faa_iter_send(iter, arg, result);
    if (r == FAA_SEND_NEXT)
        tell(a, a->ops->waits);
    else if (r == FAA_SEND_ERROR)
        finish_with_error(a);
    else
        finish(a, FAA_RETURNED, *result);
    return r;
}

// As a generator does it: the value becomes that of StopIteration, whatever its type.
static PyObject *stop_with(PyObject *value)
{
    if (value == Py_None) {
        Py_DecRef(value);
        PyErr_SetNone(PyExc_StopIteration);
        return NULL;
    }
    PyObject *stop = PyObject_CallFunctionObjArgs(PyExc_StopIteration, value, NULL);
    if (stop)
        PyErr_SetObject(PyExc_StopIteration, stop);
    Py_DecRef(stop);
    Py_DecRef(value);
    return NULL;
}

static PyObject *awaitable_iternext(PyObject *self)
{
    PyObject *result;
    enum faa_send_result r = step(self, Py_None, &result);
    if (r != FAA_SEND_RETURN)
        return result;
    if (result != Py_None)
        return stop_with(result);
    Py_DecRef(result);
    return NULL; // No error set: the interpreter's short form of StopIteration(None).
}

static int awaitable_am_send(PyObject *self, PyObject *arg, PyObject **result)
{
    return (int)step(self, arg, result);
}

static PyObject *awaitable_send(PyObject *self, PyObject *arg)
{
    PyObject *result;
    return step(self, arg, &result) == FAA_SEND_RETURN ? stop_with(result) : result;
}

// What is thrown into an iterator that has no throw() comes out at the `await`.
static void raise_thrown(PyObject *args)
{
    PyObject *kind, *value = NULL, *traceback = NULL;
    if (!PyArg_UnpackTuple(args, "throw", 1, 3, &kind, &value, &traceback))
        return;
    if (faa_is_exception(kind))
        PyErr_SetObject((PyObject *)faa_type_of(kind), kind);
    else
        PyErr_Restore(faa_newref(kind), faa_newref(value), faa_newref(traceback));
}

static PyObject *awaitable_throw(PyObject *self, PyObject *args)
{
    struct awaitable *a = faa_state(self);
    PyObject *target = a->iter ? a->iter : a->inner;
    PyObject *throw, *result = NULL;
    tell(a, a->ops->resume);
    if (target && faa_getattr(target, FAA_NAME(throw), &throw) == 1) {
        result = PyObject_Call(throw, args, NULL);
        Py_DecRef(throw);
    } else {
        raise_thrown(args);
    }
    if (result) {
        tell(a, a->ops->waits);
        return result;
    }
    if (PyErr_ExceptionMatches(PyExc_StopIteration)) {
        struct faa_err e = faa_err_save();
        faa_err_normalize(&e);
        PyObject *value = e.value ? PyObject_GetAttrString(e.value, "value") : NULL;
        PyErr_Clear();
        finish(a, FAA_RETURNED, value);
        Py_DecRef(value);
        faa_err_restore(&e);
    } else {
        finish_with_error(a);
    }
    return NULL;
}

static PyObject *awaitable_close(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct awaitable *a = faa_state(self);
    PyObject *target = a->iter ? a->iter : a->inner;
    PyObject *close, *result;
    if (target && faa_getattr(target, FAA_NAME(close), &close) == 1) {
        result = PyObject_CallFunctionObjArgs(close, NULL);
        Py_DecRef(close);
    } else {
        result = faa_newref(Py_None); // Nothing to close, as `await` itself sees it.
    }
    if (result)
        finish(a, FAA_CLOSED, NULL);
    else
        finish_with_error(a);
    return result;
}

static PyObject *awaitable_iter(PyObject *self)
{
    return faa_newref(self);
}

// A coroutine that waits cannot be awaited again; to step it would break the first who does.
static PyObject *awaitable_await(PyObject *self)
{
    struct awaitable *a = faa_state(self);
    PyObject *waits_for = NULL;
    int busy = a->phase == RUNNING && a->inner &&
               faa_getattr(a->inner, FAA_NAME(cr_await), &waits_for) == 1 && waits_for != Py_None;
    Py_DecRef(waits_for);
    if (!busy)
        return faa_newref(self);
    PyErr_SetString(PyExc_RuntimeError, "coroutine is being awaited already");
    return NULL;
}

static PyObject *awaitable_getattro(PyObject *self, PyObject *name)
{
    struct awaitable *a = faa_state(self);
    return faa_forward_getattr(self, a->inner, own_names, name);
}

static int awaitable_setattro(PyObject *self, PyObject *name, PyObject *value)
{
    struct awaitable *a = faa_state(self);
    return faa_forward_setattr(self, a->inner, name, value);
}

static PyObject *awaitable_repr(PyObject *self)
{
    struct awaitable *a = faa_state(self);
    return PyObject_Repr(a->inner ? a->inner : Py_None);
}

static int awaitable_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct awaitable *a = faa_state(self);
    Py_VISIT(a->inner);
    Py_VISIT(a->iter);
    Py_VISIT(a->data);
    for (size_t i = 0; i < FAA_COUNT(a->kept); i++)
        Py_VISIT(a->kept[i]);
    return faa_visit_type(self, visit, arg);
}

// Dropping the coroutine may run the application's `finally` blocks: they still belong to what is
// traced, so the end is told after them.
static int awaitable_clear(PyObject *self)
{
    struct awaitable *a = faa_state(self);
    int is_open = a->phase != FINISHED && a->data;
    struct faa_err e = {.type = NULL};
    if (is_open)
        e = faa_err_save();
    faa_clear(&a->iter);
    faa_clear(&a->inner);
    if (is_open) {
        PyErr_Clear();
        finish(a, FAA_CLOSED, NULL);
        faa_err_restore(&e);
    }
    faa_clear(&a->data);
    return 0;
}

static void awaitable_dealloc(PyObject *self)
{
    struct awaitable *a = faa_state(self);
    PyObject_GC_UnTrack(self);
    if (a->weakrefs)
        PyObject_ClearWeakRefs(self);
    awaitable_clear(self);
    faa_free(self, 1);
}

static PyMethodDef methods[] = {
    {"send", awaitable_send, METH_O, NULL},
    {"throw", awaitable_throw, METH_VARARGS, NULL},
    {"close", awaitable_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct awaitable, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_am_await, awaitable_await},
    {Py_tp_iter, awaitable_iter},
    {Py_tp_iternext, awaitable_iternext},
    {Py_tp_getattro, awaitable_getattro},
    {Py_tp_setattro, awaitable_setattro},
    {Py_tp_repr, awaitable_repr},
    {Py_tp_traverse, awaitable_traverse},
    {Py_tp_clear, awaitable_clear},
    {Py_tp_dealloc, awaitable_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {0, NULL}, // May become AM_SEND.
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "faa.awaitable",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};

int faa_awaitable_init(void)
{
    static const char *const names[] = {"send",     "throw",    "close", "__await__",
                                        "__iter__", "__next__", NULL};
    if (faa_has_am_send())
        slots[FAA_COUNT(slots) - 2] = (PyType_Slot){AM_SEND, awaitable_am_send};
    own_names = faa_forward_names(names);
    type = own_names ? faa_type_new(&spec, sizeof(struct awaitable)) : NULL;
    return type ? 0 : -1;
}

PyObject *faa_awaitable_around(PyObject *result, const struct faa_awaitable_ops *ops,
                               PyObject *data)
{
    PyObject *self = result ? faa_alloc_gc_raw(type) : NULL;
    if (!self) {
        if (result)
            PyErr_Clear();
        return result;
    }
    struct awaitable *a = faa_state(self);
    a->inner = result;
    a->iter = NULL;
    a->data = faa_newref(data);
    a->kept[0] = a->kept[1] = NULL;
    a->weakrefs = NULL;
    a->ops = ops;
    a->phase = NEW;
    PyObject_GC_Track(self);
    return self;
}

void faa_awaitable_keep(PyObject *awaitable, PyObject *first, PyObject *second)
{
    struct awaitable *a = faa_state(awaitable);
    a->kept[0] = faa_newref(first);
    a->kept[1] = faa_newref(second);
}

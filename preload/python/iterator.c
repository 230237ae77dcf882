// SPDX-License-Identifier: MIT
// The iterator proxies' types. What is yielded and raised passes through unchanged.
#include "python/iterator.h"

#include "python/err.h"
#include "python/forward.h"

PyAPI_DATA(PyTypeObject) PyAsyncGen_Type;

struct iterator {
    PyObject *inner;
    PyObject *data;
    PyObject *weakrefs;
    faa_iterator_end *end; // NULL when it has been called.
};

static PyObject *sync_type, *async_type;
static PyObject *sync_names, *async_names;

// The caller has no error set.
static void finish(struct iterator *it, enum faa_outcome outcome, PyObject *error)
{
    faa_iterator_end *end = it->end;
    int saved = errno;
    it->end = NULL;
    if (end)
        end(it->data, outcome, error);
    errno = saved;
}

static PyObject *iterator_next(PyObject *self)
{
    struct iterator *it = faa_state(self);
    PyObject *item = it->inner ? PyIter_Next(it->inner) : NULL;
    if (item)
        return item;
    struct faa_err e = faa_err_save();
    faa_err_normalize(&e);
    finish(it, e.value ? FAA_RAISED : FAA_RETURNED, e.value);
    faa_err_restore(&e);
    return NULL;
}

static PyObject *aiterator_next(PyObject *self)
{
    struct iterator *it = faa_state(self);
    if (it->inner)
        return PyObject_CallMethodObjArgs(it->inner, FAA_NAME(__anext__), NULL);
    PyErr_SetNone(PyExc_StopAsyncIteration);
    return NULL;
}

static PyObject *iterator_self(PyObject *self)
{
    return faa_newref(self);
}

static PyObject *iterator_getattro(PyObject *self, PyObject *name)
{
    struct iterator *it = faa_state(self);
    int is_async = faa_type_of(self) == (PyTypeObject *)async_type;
    return faa_forward_getattr(self, it->inner, is_async ? async_names : sync_names, name);
}

static int iterator_setattro(PyObject *self, PyObject *name, PyObject *value)
{
    struct iterator *it = faa_state(self);
    return faa_forward_setattr(self, it->inner, name, value);
}

static PyObject *iterator_repr(PyObject *self)
{
    struct iterator *it = faa_state(self);
    return PyObject_Repr(it->inner ? it->inner : Py_None);
}

static int iterator_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct iterator *it = faa_state(self);
    Py_VISIT(it->inner);
    Py_VISIT(it->data);
    return faa_visit_type(self, visit, arg);
}

// True for an async generator that has come to its end.
static int is_finished(PyObject *generator)
{
    PyObject *frame;
    int finished = faa_getattr(generator, FAA_NAME(ag_frame), &frame) == 1 && frame == Py_None;
    Py_DecRef(frame);
    return finished;
}

// What an async generator has failed by: it has finished, and `async for` lets go of it with the
// exception on its way. Where the loop's own block has raised, the generator waits. To stand for
// each step, which is awaited, would cost more than the rest of a proxy. Borrowed, or NULL.
static PyObject *failure_of(const struct iterator *it, struct faa_err *e)
{
    if (!e->type || !it->inner || faa_type_of(it->inner) != &PyAsyncGen_Type ||
        !is_finished(it->inner))
        return NULL;
    faa_err_normalize(e);
    return e->value;
}

// Dropping a generator runs its `finally` blocks: the end is told after them.
static int iterator_clear(PyObject *self)
{
    struct iterator *it = faa_state(self);
    struct faa_err e = {.type = NULL};
    faa_iterator_end *end = it->end;
    PyObject *failure = NULL;
    if (end) {
        e = faa_err_save();
        failure = failure_of(it, &e);
    }
    faa_clear(&it->inner);
    if (end) {
        PyErr_Clear();
        finish(it, failure ? FAA_RAISED : FAA_CLOSED, failure);
        faa_err_restore(&e);
    }
    faa_clear(&it->data);
    return 0;
}

static void iterator_dealloc(PyObject *self)
{
    struct iterator *it = faa_state(self);
    PyObject_GC_UnTrack(self);
    if (it->weakrefs)
        PyObject_ClearWeakRefs(self);
    iterator_clear(self);
    faa_free(self, 1);
}

// Each type has its own: faa_type_new moves the offset.
#define MEMBERS                                                                                    \
    {                                                                                              \
        {"__weaklistoffset__", T_PYSSIZET, offsetof(struct iterator, weakrefs), READONLY, NULL},   \
            {NULL, 0, 0, 0, NULL},                                                                 \
    }
static PyMemberDef sync_members[] = MEMBERS, async_members[] = MEMBERS;

#define COMMON_SLOTS                                                                               \
    {Py_tp_getattro, iterator_getattro}, {Py_tp_setattro, iterator_setattro},                      \
        {Py_tp_repr, iterator_repr}, {Py_tp_traverse, iterator_traverse},                          \
        {Py_tp_clear, iterator_clear}, {Py_tp_dealloc, iterator_dealloc}

static PyType_Slot sync_slots[] = {
    {Py_tp_iter, iterator_self},
    {Py_tp_iternext, iterator_next},
    {Py_tp_members, sync_members},
    COMMON_SLOTS,
    {0, NULL},
};

static PyType_Slot async_slots[] = {
    {Py_am_aiter, iterator_self},
    {Py_am_anext, aiterator_next},
    {Py_tp_members, async_members},
    COMMON_SLOTS,
    {0, NULL},
};

static PyType_Spec sync_spec = {
    .name = "faa.iterator",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = sync_slots,
};

static PyType_Spec async_spec = {
    .name = "faa.aiterator",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = async_slots,
};

int faa_iterator_init(void)
{
    static const char *const own_sync[] = {"__iter__", "__next__", NULL};
    static const char *const own_async[] = {"__aiter__", "__anext__", NULL};
    sync_names = faa_forward_names(own_sync);
    async_names = faa_forward_names(own_async);
    if (!sync_names || !async_names)
        return -1;
    sync_type = faa_type_new(&sync_spec, sizeof(struct iterator));
    async_type = sync_type ? faa_type_new(&async_spec, sizeof(struct iterator)) : NULL;
    return async_type ? 0 : -1;
}

PyObject *faa_iterator_around(PyObject *iterator, faa_iterator_end *end, PyObject *data)
{
    PyObject *self = NULL;
    if (iterator)
        self = faa_alloc_gc_raw(PyIter_Check(iterator) ? sync_type : async_type);
    if (!self) {
        if (iterator)
            PyErr_Clear();
        return iterator;
    }
    struct iterator *it = faa_state(self);
    it->inner = iterator;
    it->data = faa_newref(data);
    it->weakrefs = NULL;
    it->end = end;
    PyObject_GC_Track(self);
    return self;
}

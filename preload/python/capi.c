// SPDX-License-Identifier: MIT
// The one place that knows Python versions.
#include "python/capi.h"

#include <stddef.h>

// Newer than 3.9, or not in the limited API: absent means NULL.
#pragma weak PyObject_Vectorcall
PyAPI_FUNC(PyObject *) PyObject_Vectorcall(PyObject *callable, PyObject *const *args, size_t nargsf,
                                           PyObject *kwnames);
#pragma weak PyIter_Send
PyAPI_FUNC(int) PyIter_Send(PyObject *iter, PyObject *arg, PyObject **result);

// Look-ups that make no exception of what is absent: of 3.13, and what earlier versions export.
#pragma weak PyObject_GetOptionalAttr
PyAPI_FUNC(int) PyObject_GetOptionalAttr(PyObject *object, PyObject *name, PyObject **result);
#pragma weak _PyObject_LookupAttr
PyAPI_FUNC(int) _PyObject_LookupAttr(PyObject *object, PyObject *name, PyObject **result);

#pragma weak Py_GetConstant
PyAPI_FUNC(PyObject *) Py_GetConstant(unsigned int id); // From 3.13 on.

PyObject *faa_names[FAA_NAME_COUNT];

#define DISALLOW_INSTANTIATION (1UL << 7) // Py_TPFLAGS_DISALLOW_INSTANTIATION; unused in 3.9.

struct faa_layout faa_layout;

// Looks for the one place at which objects of different types all point to their type. The object
// head is at least two words long, and in no build more than four.
static void find_type_offset(void)
{
    PyObject *samples[] = {Py_None, Py_True, (PyObject *)&PyBaseObject_Type, faa_names[0]};
    for (size_t at = sizeof(void *); at < 4 * sizeof(void *); at += sizeof(void *)) {
        size_t agree = 0;
        for (size_t i = 0; i < FAA_COUNT(samples) && at < faa_layout.head_size; i++)
            agree += *(PyTypeObject **)(void *)((char *)samples[i] + at) == faa_type_of(samples[i]);
        if (agree == FAA_COUNT(samples)) {
            faa_layout.type_offset = at;
            return;
        }
    }
}

int faa_capi_init(void)
{
    static const char *const names[] = {
#define X(name) #name,
        FAA_NAMES(X)
#undef X
    };
    for (size_t i = 0; i < FAA_COUNT(names); i++)
        if (!faa_names[i] && !(faa_names[i] = PyUnicode_InternFromString(names[i])))
            return -1;
    PyObject *size = PyObject_GetAttrString((PyObject *)&PyBaseObject_Type, "__basicsize__");
    if (!size)
        return -1;
    size_t align = _Alignof(max_align_t);
    faa_layout.head_size = ((size_t)PyLong_AsLong(size) + align - 1) / align * align;
    Py_DecRef(size);
    if (PyErr_Occurred())
        return -1;
    find_type_offset();
    return 0;
}

static PyObject *call_with_tuple(PyObject *callable, PyObject *const *args, size_t n,
                                 PyObject *kwnames)
{
    Py_ssize_t named = kwnames ? PyTuple_Size(kwnames) : 0;
    PyObject *tuple = PyTuple_New((Py_ssize_t)n);
    PyObject *dict = named > 0 ? PyDict_New() : NULL;
    PyObject *result = NULL;
    if (!tuple || (named > 0 && !dict))
        goto out;
    for (size_t i = 0; i < n; i++)
        PyTuple_SetItem(tuple, (Py_ssize_t)i, faa_newref(args[i]));
    for (Py_ssize_t i = 0; i < named; i++)
        if (PyDict_SetItem(dict, PyTuple_GetItem(kwnames, i), args[n + (size_t)i]))
            goto out;
    result = PyObject_Call(callable, tuple, dict);
out:
    Py_DecRef(tuple);
    Py_DecRef(dict);
    return result;
}

PyObject *faa_call(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    if (PyObject_Vectorcall)
        return PyObject_Vectorcall(callable, args, nargsf, kwnames);
    return call_with_tuple(callable, args, FAA_NARGS(nargsf), kwnames);
}

int faa_has_am_send(void)
{
    return PyIter_Send != NULL;
}

void faa_pending_call_nudge(void)
{
    if (!Py_GetConstant)
        PyGILState_Release(PyGILState_Ensure());
}

// Before 3.10 a finished coroutine says so by StopIteration.
static enum faa_send_result result_of_stop(PyObject **result)
{
    PyObject *type, *value, *traceback;
    if (!PyErr_ExceptionMatches(PyExc_StopIteration))
        return FAA_SEND_ERROR;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    *result = value ? PyObject_GetAttrString(value, "value") : NULL;
    Py_DecRef(type);
    Py_DecRef(value);
    Py_DecRef(traceback);
    return *result ? FAA_SEND_RETURN : FAA_SEND_ERROR;
}

enum faa_send_result faa_iter_send(PyObject *iter, PyObject *arg, PyObject **result)
{
    *result = NULL;
    if (PyIter_Send)
        return (enum faa_send_result)PyIter_Send(iter, arg, result);
    *result = PyObject_CallMethodObjArgs(iter, FAA_NAME(send), arg, NULL);
    return *result ? FAA_SEND_NEXT : result_of_stop(result);
}

int faa_getattr(PyObject *object, PyObject *name, PyObject **out)
{
    int (*look_up)(PyObject *, PyObject *, PyObject **) =
        PyObject_GetOptionalAttr ? PyObject_GetOptionalAttr : _PyObject_LookupAttr;
    if (look_up) {
        int found = look_up(object, name, out);
        if (found < 0)
            PyErr_Clear();
        return found;
    }
    *out = PyObject_GetAttr(object, name);
    if (*out)
        return 1;
    int absent = PyErr_ExceptionMatches(PyExc_AttributeError);
    PyErr_Clear();
    return absent ? 0 : -1;
}

int faa_dict_get(PyObject *dict, PyObject *key, PyObject **out)
{
    *out = PyDict_GetItemWithError(dict, key);
    if (*out) {
        Py_IncRef(*out);
        return 1;
    }
    int failed = PyErr_Occurred() != NULL;
    PyErr_Clear();
    return failed ? -1 : 0;
}

static struct faa_str text_of_str(PyObject *object)
{
    Py_ssize_t n = 0;
    const char *p = PyUnicode_AsUTF8AndSize(object, &n);
    if (p)
        return (struct faa_str){p, (size_t)n};
    PyErr_Clear();
    return (struct faa_str){"", 0};
}

static struct faa_str text_of_bytes(PyObject *object)
{
    // Both read the object and check nothing that can fail: it is a bytes object.
    return (struct faa_str){PyBytes_AsString(object), (size_t)PyBytes_Size(object)};
}

struct faa_str faa_text(PyObject *object)
{
    if (!object)
        return (struct faa_str){"", 0};
    PyTypeObject *type = faa_type_of(object);
    if (type == &PyUnicode_Type)
        return text_of_str(object);
    if (type == &PyBytes_Type)
        return text_of_bytes(object);
    unsigned long flags = PyType_GetFlags(type);
    if (flags & Py_TPFLAGS_UNICODE_SUBCLASS)
        return text_of_str(object);
    if (flags & Py_TPFLAGS_BYTES_SUBCLASS)
        return text_of_bytes(object);
    return (struct faa_str){"", 0};
}

long long faa_int(PyObject *object, long long fallback)
{
    if (!object || !faa_is_int(object))
        return fallback;
    long long value = PyLong_AsLongLong(object);
    if (value == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        return fallback;
    }
    return value;
}

static void shift_members(PyType_Spec *spec)
{
    for (PyType_Slot *slot = spec->slots; slot->slot; slot++)
        if (slot->slot == Py_tp_members)
            for (PyMemberDef *m = slot->pfunc; m->name; m++)
                m->offset += (Py_ssize_t)faa_layout.head_size;
}

PyObject *faa_type_new(PyType_Spec *spec, size_t state_size)
{
    spec->flags |= DISALLOW_INSTANTIATION;
    spec->basicsize = (int)(faa_layout.head_size + state_size);
    shift_members(spec);
    return PyType_FromSpec(spec);
}

PyObject *faa_alloc(PyObject *type)
{
    return PyType_GenericAlloc((PyTypeObject *)type, 0);
}

PyObject *faa_alloc_gc_raw(PyObject *type)
{
    return _PyObject_GC_New((PyTypeObject *)type);
}

PyObject *faa_alloc_raw(PyObject *type, size_t state_size)
{
    PyObject *self = PyObject_Malloc(faa_layout.head_size + state_size);
    return self ? PyObject_Init(self, (PyTypeObject *)type) : PyErr_NoMemory();
}

int faa_visit_type(PyObject *self, visitproc visit, void *arg)
{
    return visit((PyObject *)faa_type_of(self), arg);
}

void faa_free(PyObject *self, int is_gc)
{
    PyObject *type = (PyObject *)faa_type_of(self);
    if (is_gc)
        PyObject_GC_Del(self);
    else
        PyObject_Free(self);
    Py_DecRef(type); // Every instance of a heap type holds one.
}

// SPDX-License-Identifier: MIT
// The wrapper's type. It binds as a function does, and being a method descriptor costs no bound
// method on a call; every attribute is the wrapped function's, so that signature(),
// iscoroutinefunction() and uvicorn's choice between ASGI 2 and 3 see the original.
#include "python/wrapper.h"

#include "base/log.h"
#include "python/err.h"
#include "python/forward.h"

#include <stdio.h>
#include <string.h>

// The values are the same since 3.8; the limited headers hide them or rename them.
#define HAVE_VECTORCALL (1UL << 11)
#define METHOD_DESCRIPTOR (1UL << 17)

PyAPI_DATA(PyTypeObject) PyFunction_Type;
PyAPI_FUNC(PyObject *) PyVectorcall_Call(PyObject *callable, PyObject *tuple, PyObject *dict);

struct wrapper {
    faa_vectorcallfunc vectorcall;
    PyObject *wrapped;
    PyObject *callee; // What the hook is given: `wrapped`, or what binds it first.
    PyObject *data;
    PyObject *weakrefs;
    faa_hook *hook;
};

static PyObject *type;
static PyObject *own_names;

static PyObject *wrapper_vectorcall(PyObject *self, PyObject *const *args, size_t nargsf,
                                    PyObject *kwnames)
{
    struct wrapper *w = faa_state(self);
    return w->hook(w->callee, w->data, args, nargsf, kwnames);
}

static PyObject *wrapper_get(PyObject *self, PyObject *object, PyObject *owner)
{
    (void)owner;
    if (!object || object == Py_None)
        return faa_newref(self);
    return PyMethod_New(self, object);
}

static PyObject *wrapper_getattro(PyObject *self, PyObject *name)
{
    struct wrapper *w = faa_state(self);
    if (w->wrapped && PyObject_RichCompareBool(name, FAA_NAME(__wrapped__), Py_EQ) == 1)
        return faa_newref(w->wrapped);
    return faa_forward_getattr(self, w->wrapped, own_names, name);
}

static int wrapper_setattro(PyObject *self, PyObject *name, PyObject *value)
{
    struct wrapper *w = faa_state(self);
    return faa_forward_setattr(self, w->wrapped, name, value);
}

// A function is copied as itself and pickled by its name, and so is what stands for it.
static PyObject *wrapper_reduce(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyObject_GetAttr(self, FAA_NAME(__qualname__));
}

static PyObject *wrapper_repr(PyObject *self)
{
    struct wrapper *w = faa_state(self);
    return PyObject_Repr(w->wrapped);
}

static int wrapper_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct wrapper *w = faa_state(self);
    Py_VISIT(w->wrapped);
    Py_VISIT(w->callee);
    Py_VISIT(w->data);
    return faa_visit_type(self, visit, arg);
}

static int wrapper_clear(PyObject *self)
{
    struct wrapper *w = faa_state(self);
    faa_clear(&w->data);
    return 0; // The others stay: a cleared wrapper must still be callable.
}

static void wrapper_dealloc(PyObject *self)
{
    struct wrapper *w = faa_state(self);
    PyObject_GC_UnTrack(self);
    if (w->weakrefs)
        PyObject_ClearWeakRefs(self);
    faa_clear(&w->wrapped);
    faa_clear(&w->callee);
    faa_clear(&w->data);
    faa_free(self, 1);
}

static PyMethodDef methods[] = {
    {"__reduce__", wrapper_reduce, METH_NOARGS, NULL},
    {"__reduce_ex__", wrapper_reduce, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(struct wrapper, vectorcall), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct wrapper, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_descr_get, wrapper_get},
    {Py_tp_getattro, wrapper_getattro},
    {Py_tp_setattro, wrapper_setattro},
    {Py_tp_repr, wrapper_repr},
    {Py_tp_traverse, wrapper_traverse},
    {Py_tp_clear, wrapper_clear},
    {Py_tp_dealloc, wrapper_dealloc},
    {Py_tp_members, members},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "faa.wrapper",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | HAVE_VECTORCALL | METHOD_DESCRIPTOR,
    .slots = slots,
};

int faa_wrapper_init(void)
{
    static const char *const names[] = {"__get__", "__call__", "__reduce__", "__reduce_ex__", NULL};
    own_names = faa_forward_names(names);
    type = own_names ? faa_type_new(&spec, sizeof(struct wrapper)) : NULL;
    return type ? 0 : -1;
}

PyObject *faa_wrapper_new(PyObject *wrapped, faa_hook *hook, PyObject *data)
{
    PyObject *self = faa_alloc_gc_raw(type);
    if (!self)
        return NULL;
    struct wrapper *w = faa_state(self);
    w->vectorcall = wrapper_vectorcall;
    w->wrapped = faa_newref(wrapped);
    w->callee = faa_newref(wrapped);
    w->data = faa_newref(data);
    w->weakrefs = NULL;
    w->hook = hook;
    PyObject_GC_Track(self);
    return self;
}

// The object that holds the target ("a.b" in "module:a.b.name"), and the target's own name.
static PyObject *find_owner(const char *target, const char **name)
{
    const char *colon = strchr(target, ':'), *dot;
    PyObject *key = PyUnicode_FromStringAndSize(target, colon - target);
    PyObject *owner = key ? PyImport_GetModule(key) : NULL;
    Py_DecRef(key);
    for (*name = colon + 1; owner && (dot = strchr(*name, '.')); *name = dot + 1) {
        PyObject *outer = owner;
        key = PyUnicode_FromStringAndSize(*name, dot - *name);
        owner = key ? PyObject_GetAttr(outer, key) : NULL;
        Py_DecRef(key);
        Py_DecRef(outer);
    }
    return owner;
}

// The attribute as it lies in the object, or in a base of the class: a staticmethod must not look
// like the function that it gives. New reference, or NULL.
static PyObject *find_static(PyObject *owner, const char *name)
{
    PyObject *found = NULL;
    PyObject *bases = PyObject_GetAttrString(owner, "__mro__");
    if (!bases) {
        PyErr_Clear();
        return PyObject_GetAttrString(owner, name); // A module.
    }
    for (Py_ssize_t i = 0; !found && i < PyTuple_Size(bases); i++) {
        PyObject *class = PyTuple_GetItem(bases, i);
        PyObject *dict = PyObject_GetAttrString(class, "__dict__");
        found = dict ? PyMapping_GetItemString(dict, name) : NULL;
        PyErr_Clear();
        Py_DecRef(dict);
    }
    Py_DecRef(bases);
    return found;
}

static int is_class(PyObject *object)
{
    return (PyType_GetFlags(faa_type_of(object)) & Py_TPFLAGS_TYPE_SUBCLASS) != 0;
}

// Another tool's wrapper of a method wants to know the object, which it learns when it is bound: it
// is called as the class would have called it.
static PyObject *call_bound(PyObject *method, PyObject *args, PyObject *kwargs)
{
    PyObject *object = PyTuple_Size(args) > 0 ? PyTuple_GetItem(args, 0) : NULL; // Borrowed.
    if (!object)
        return PyObject_Call(method, args, kwargs);
    PyObject *bound = PyObject_CallMethod(method, "__get__", "OO", object, faa_type_of(object));
    PyObject *rest = bound ? PyTuple_GetSlice(args, 1, PyTuple_Size(args)) : NULL;
    PyObject *result = rest ? PyObject_Call(bound, rest, kwargs) : NULL;
    Py_DecRef(bound);
    Py_DecRef(rest);
    return result;
}

// 0, or -1 without memory.
static int bind_callee(PyObject *wrapper)
{
    static PyMethodDef method = {"call_bound", (PyCFunction)(void (*)(void))call_bound,
                                 METH_VARARGS | METH_KEYWORDS, NULL};
    struct wrapper *w = faa_state(wrapper);
    PyObject *callee = PyCFunction_New(&method, w->wrapped);
    if (!callee)
        return -1;
    faa_clear(&w->callee);
    w->callee = callee;
    return 0;
}

// What to put in the target's place: a wrapper, or itself if it is one with this hook. A wrapper
// with another hook is inherited from a base class whose method has one of its own. Only functions
// are wrapped, and what stands for one as our wrapper does (another tool's).
static PyObject *wrap_target(PyObject *owner, const char *name, faa_hook *hook)
{
    PyObject *original = owner ? find_static(owner, name) : NULL, *wrapper = NULL;
    PyTypeObject *kind = original ? faa_type_of(original) : NULL;
    if (kind == (PyTypeObject *)type && ((struct wrapper *)faa_state(original))->hook == hook)
        return original;
    if (original && PyObject_IsInstance(original, (PyObject *)&PyFunction_Type) == 1)
        wrapper = faa_wrapper_new(original, hook, NULL);
    if (wrapper && kind != &PyFunction_Type && kind != (PyTypeObject *)type && is_class(owner) &&
        bind_callee(wrapper))
        faa_clear(&wrapper);
    Py_DecRef(original);
    return wrapper;
}

enum { PATCHES_MAX = 16, LIST_MAX = 800 };

// As many lines as the names need.
static void log_hooked(const struct faa_patch *patches, size_t count)
{
    char list[LIST_MAX];
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(patches[i].target);
        if (n && n + length + 3 > sizeof(list)) {
            faa_debug("hooked %s", list);
            n = 0;
        }
        int written =
            snprintf(list + n, sizeof(list) - n, "%s%s", n ? ", " : "", patches[i].target);
        n += written > 0 ? (size_t)written : 0;
    }
    if (n)
        faa_debug("hooked %s", list);
}

int faa_patch_all(const struct faa_patch *patches, size_t count)
{
    PyObject *owners[PATCHES_MAX] = {NULL}, *wrappers[PATCHES_MAX] = {NULL};
    const char *names[PATCHES_MAX];
    int status = count <= PATCHES_MAX ? 0 : -1;
    size_t n = 0;
    for (; status == 0 && n < count; n++) {
        owners[n] = find_owner(patches[n].target, &names[n]);
        wrappers[n] = wrap_target(owners[n], names[n], patches[n].hook);
        if (!wrappers[n]) {
            faa_debug("%s is not there, or no function", patches[n].target);
            status = -1;
        }
    }
    for (size_t i = 0; status == 0 && i < n; i++)
        status = PyObject_SetAttrString(owners[i], names[i], wrappers[i]);
    for (size_t i = 0; i < n; i++) {
        Py_DecRef(owners[i]);
        Py_DecRef(wrappers[i]);
    }
    if (status == 0 && faa_log_enabled(FAA_LOG_DEBUG))
        log_hooked(patches, count);
    PyErr_Clear();
    return status;
}

// SPDX-License-Identifier: MIT
// The wrapper's type. It binds as a function does, and being a method descriptor costs no bound
// method on a call; every attribute is the wrapped function's, so that signature(),
// iscoroutinefunction() and uvicorn's choice between ASGI 2 and 3 see the original.
#include "python/wrapper.h"

#include "base/log.h"
#include "python/builtin_type.h"
#include "python/err.h"
#include "python/forward.h"

#include <stdio.h>
#include <string.h>

// The values are the same since 3.8; the limited headers hide them or rename them.
#define HAVE_VECTORCALL (1UL << 11)
#define METHOD_DESCRIPTOR (1UL << 17)

PyAPI_DATA(PyTypeObject) PyFunction_Type, PyClassMethod_Type;
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

// The wrapper that a function or classmethod is already, or NULL; borrowed.
static PyObject *as_wrapper(PyObject *object)
{
    return faa_type_of(object) == (PyTypeObject *)type ? object : NULL;
}

// Each library that Cython has compiled brings a type of its own.
static int is_cython_function(PyObject *object)
{
    PyObject *kind, *name = NULL;
    if (faa_getattr(object, FAA_NAME(__class__), &kind) == 1)
        faa_getattr(kind, FAA_NAME(__name__), &name);
    int is = faa_str_eq(faa_text(name), FAA_STR("cython_function_or_method"));
    Py_DecRef(kind);
    Py_DecRef(name);
    return is;
}

// Whether it is one, or stands for one as our wrapper does for a function: another tool's proxy
// says that it is what it wraps.
static int passes_for(PyObject *object, PyTypeObject *kind)
{
    return PyObject_IsInstance(object, (PyObject *)kind) == 1;
}

static int is_function(PyObject *object)
{
    return is_cython_function(object) || passes_for(object, &PyFunction_Type) ||
           passes_for(object, &PyCFunction_Type) || passes_for(object, &PyMethodDescr_Type);
}

// A wrapper around `function`, or itself if it is one with this hook. A wrapper with another hook
// is inherited from a base class whose method has one of its own. New reference, or NULL.
static PyObject *wrap_function(PyObject *function, faa_hook *hook)
{
    PyObject *wrapper = as_wrapper(function);
    if (wrapper && ((struct wrapper *)faa_state(wrapper))->hook == hook)
        return faa_newref(wrapper);
    return is_function(function) ? faa_wrapper_new(function, hook, NULL) : NULL;
}

// Another tool's wrapper of a method wants to know the object, which it learns when it is bound: it
// is called as the class would have called it.
static PyObject *call_bound(PyObject *method, PyObject *args, PyObject *kwargs)
{
    PyObject *object = PyTuple_Size(args) > 0 ? PyTuple_GetItem(args, 0) : NULL; // Borrowed.
    if (!object)
        return PyObject_Call(method, args, kwargs);
    PyObject *bound =
        passes_for(method, &PyClassMethod_Type)
            ? PyObject_CallMethod(method, "__get__", "OO", Py_None, object)
            : PyObject_CallMethod(method, "__get__", "OO", object, faa_type_of(object));
    PyObject *rest = bound ? PyTuple_GetSlice(args, 1, PyTuple_Size(args)) : NULL;
    PyObject *result = rest ? PyObject_Call(bound, rest, kwargs) : NULL;
    Py_DecRef(bound);
    Py_DecRef(rest);
    return result;
}

// Whether the attribute of a class is something that binds itself in its own way.
static int is_foreign(PyObject *owner, PyObject *original)
{
    PyTypeObject *kind = faa_type_of(original);
    return kind != &PyFunction_Type && kind != (PyTypeObject *)type && kind != &PyCFunction_Type &&
           kind != &PyMethodDescr_Type && kind != &PyClassMethod_Type &&
           (PyType_GetFlags(faa_type_of(owner)) & Py_TPFLAGS_TYPE_SUBCLASS) != 0;
}

// Lets the wrapper of such an attribute call it bound. Takes the reference; NULL without memory.
static PyObject *bind_callee(PyObject *wrapper)
{
    static PyMethodDef method = {"call_bound", (PyCFunction)(void (*)(void))call_bound,
                                 METH_VARARGS | METH_KEYWORDS, NULL};
    struct wrapper *w = faa_state(wrapper);
    PyObject *callee = PyCFunction_New(&method, w->wrapped);
    if (callee) {
        Py_DecRef(w->callee);
        w->callee = callee;
    } else {
        faa_clear(&wrapper);
    }
    return wrapper;
}

// Takes the reference to a function's wrapper, which may be NULL.
static PyObject *as_classmethod(PyObject *wrapper)
{
    PyObject *result = NULL;
    if (wrapper)
        result = PyObject_CallFunctionObjArgs((PyObject *)&PyClassMethod_Type, wrapper, NULL);
    Py_DecRef(wrapper);
    return result;
}

static PyObject *wrap_classmethod(PyObject *original, faa_hook *hook)
{
    PyObject *function = PyObject_GetAttrString(original, "__func__");
    PyObject *wrapper = function ? wrap_function(function, hook) : NULL;
    Py_DecRef(function);
    if (wrapper && wrapper == function) {
        Py_DecRef(wrapper);
        return faa_newref(original);
    }
    return as_classmethod(wrapper);
}

// What goes in the place of `original`. New reference, or NULL.
static PyObject *wrap(PyObject *owner, PyObject *original, faa_hook *hook)
{
    if (faa_type_of(original) == &PyClassMethod_Type)
        return wrap_classmethod(original, hook);
    int is_classmethod = passes_for(original, &PyClassMethod_Type);
    PyObject *wrapper =
        is_classmethod ? faa_wrapper_new(original, hook, NULL) : wrap_function(original, hook);
    if (wrapper && is_foreign(owner, original))
        wrapper = bind_callee(wrapper);
    return is_classmethod ? as_classmethod(wrapper) : wrapper;
}

// One target on its way: what lies there, and what goes in its place.
struct change {
    const char *name;
    PyObject *owner, *original, *wrapper;
};

// Prepares the n-th change; those before it are.
static int prepare(struct change *changes, const struct faa_patch *patches, size_t n)
{
    const struct faa_patch *patch = &patches[n];
    struct change *c = &changes[n];
    const char *target = patch->target + (*patch->target == '?');
    c->owner = find_owner(target, &c->name);
    c->original = c->owner ? find_static(c->owner, c->name) : NULL;
    for (size_t i = 0; c->original && i < n && !c->wrapper; i++)
        if (changes[i].original == c->original && patches[i].hook == patch->hook)
            c->wrapper = faa_newref(changes[i].wrapper);
    if (c->original && !c->wrapper)
        c->wrapper = wrap(c->owner, c->original, patch->hook);
    PyErr_Clear();
    if (c->wrapper)
        return 0;
    int may_be_missing = target != patch->target;
    faa_debug("%s is not there, or no function%s", target, may_be_missing ? " (it need not)" : "");
    return may_be_missing ? 0 : -1;
}

// Puts `value` where the target is; a builtin type refuses the ordinary way.
static int put(const struct change *c, PyObject *value)
{
    if (PyObject_SetAttrString(c->owner, c->name, value) == 0)
        return 0;
    PyErr_Clear();
    if (faa_builtin_type_set(c->owner, c->name, value) == 0)
        return 0;
    faa_debug("%s cannot be replaced", c->name);
    return -1;
}

enum { PATCHES_MAX = 32, LIST_MAX = 800 };

// As many lines as the names need.
static void log_hooked(const struct faa_patch *patches, const struct change *changes, size_t count)
{
    char list[LIST_MAX];
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        const char *target = patches[i].target + (*patches[i].target == '?');
        if (!changes[i].wrapper)
            continue;
        if (n && n + strlen(target) + 3 > sizeof(list)) {
            faa_debug("hooked %s", list);
            n = 0;
        }
        int more = snprintf(list + n, sizeof(list) - n, "%s%s", n ? ", " : "", target);
        n += more > 0 ? (size_t)more : 0;
    }
    if (n)
        faa_debug("hooked %s", list);
}

static void forget(struct change *changes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        Py_DecRef(changes[i].owner);
        Py_DecRef(changes[i].original);
        Py_DecRef(changes[i].wrapper);
    }
    PyErr_Clear();
}

int faa_patch_check(const struct faa_patch *patches, size_t count)
{
    struct change changes[PATCHES_MAX] = {{NULL, NULL, NULL, NULL}};
    int status = count <= PATCHES_MAX ? 0 : -1;
    size_t n = 0;
    for (; status == 0 && n < count; n++)
        status = prepare(changes, patches, n);
    forget(changes, n);
    return status;
}

int faa_patch_all(const struct faa_patch *patches, size_t count)
{
    struct change changes[PATCHES_MAX] = {{NULL, NULL, NULL, NULL}};
    int status = count <= PATCHES_MAX ? 0 : -1;
    size_t n = 0, done = 0;
    for (; status == 0 && n < count; n++)
        status = prepare(changes, patches, n);
    for (; status == 0 && done < n; done++)
        if (changes[done].wrapper)
            status = put(&changes[done], changes[done].wrapper);
    while (status && done-- > 0)
        if (changes[done].wrapper && put(&changes[done], changes[done].original))
            PyErr_Clear();
    if (status == 0 && faa_log_enabled(FAA_LOG_DEBUG))
        log_hooked(patches, changes, n);
    forget(changes, n);
    return status;
}

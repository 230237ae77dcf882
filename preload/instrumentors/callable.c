// SPDX-License-Identifier: MIT
// Functions, methods, classes, partials and callable objects, told apart by their attributes.
#include "instrumentors/callable.h"

#include "python/pyspan.h"

#include <stdio.h>

enum {
    PARTIALS_MAX = 8, // Nested; functools.partial flattens its own.
    WRAPPERS_MAX = 8, // Decorators around a function; a cycle of them must end.
    QUALIFIED_MAX = 512
};

// Its attribute in the holder's place; drops the holder. NULL when there is none.
static PyObject *step_to(PyObject *holder, PyObject *name)
{
    PyObject *next = NULL;
    if (holder)
        faa_getattr(holder, name, &next);
    Py_DecRef(holder);
    return next;
}

static int is_partial(PyObject *object)
{
    static PyObject *partial;
    if (!partial) {
        PyObject *name = PyUnicode_FromString("functools");
        PyObject *module = name ? PyImport_GetModule(name) : NULL;
        partial = module ? PyObject_GetAttrString(module, "partial") : NULL;
        PyErr_Clear();
        Py_DecRef(name);
        Py_DecRef(module);
    }
    return partial && PyType_IsSubtype(faa_type_of(object), (PyTypeObject *)partial);
}

static PyObject *without_partials(PyObject *callable)
{
    PyObject *object = faa_newref(callable);
    for (int i = 0; object && i < PARTIALS_MAX && is_partial(object); i++)
        object = step_to(object, FAA_NAME(func));
    return object;
}

// What defines the name: the callable itself, or the class of an object that has none.
static PyObject *named(PyObject *object, int *is_instance)
{
    PyObject *name;
    faa_getattr(object, FAA_NAME(__qualname__), &name);
    *is_instance = faa_text(name).n == 0;
    Py_DecRef(name);
    return *is_instance ? PyObject_Type(object) : faa_newref(object);
}

static struct faa_str cut(struct faa_str text, size_t max)
{
    return (struct faa_str){text.n ? text.p : "", text.n < max ? text.n : max};
}

// "read_item" of "create_app.<locals>.read_item": where it was defined is no part of what it is.
static struct faa_str innermost(struct faa_str qualname)
{
    static const char mark[] = "<locals>.";
    const char *at;
    while (qualname.n && (at = memmem(qualname.p, qualname.n, mark, sizeof(mark) - 1))) {
        at += sizeof(mark) - 1;
        qualname.n -= (size_t)(at - qualname.p);
        qualname.p = at;
    }
    return qualname;
}

static void set_names(struct faa_span *span, const char *what, PyObject *owner, int is_instance,
                      unsigned details)
{
    PyObject *m, *q;
    char text[QUALIFIED_MAX];
    faa_getattr(owner, FAA_NAME(__module__), &m);
    faa_getattr(owner, FAA_NAME(__qualname__), &q);
    struct faa_str module = cut(faa_text(m), QUALIFIED_MAX), name = cut(faa_text(q), QUALIFIED_MAX);
    int n = snprintf(text, sizeof(text), "%.*s%s%.*s%s", (int)module.n, module.p,
                     module.n ? "." : "", (int)name.n, name.p, is_instance ? ".__call__" : "");
    if (n > 0 && name.n)
        faa_span_set_str(span, FAA_KEY_CODE_FUNCTION_NAME, cut(faa_str_of(text), (size_t)n));
    struct faa_str shown = cut(innermost(name), FAA_SPAN_NAME_MAX);
    if (details & FAA_CALLABLE_NAME && shown.n) {
        snprintf(text, sizeof(text), "%s %.*s", what, (int)shown.n, shown.p);
        faa_span_set_name(span, faa_str_of(text));
    } else {
        faa_span_set_name(span, faa_str_of(what));
    }
    Py_DecRef(m);
    Py_DecRef(q);
}

// The code object behind a callable (new reference), or NULL: what is written in C has none.
static PyObject *code_of(PyObject *object, PyObject *owner, int is_instance)
{
    PyObject *function = faa_newref(object), *inner;
    if (is_instance || faa_is_a(object, &PyType_Type, Py_TPFLAGS_TYPE_SUBCLASS)) {
        Py_DecRef(function);
        faa_getattr(owner, is_instance ? FAA_NAME(__call__) : FAA_NAME(__init__), &function);
    }
    for (int i = 0; function && i < WRAPPERS_MAX; i++) {
        if (faa_getattr(function, FAA_NAME(__wrapped__), &inner) != 1)
            break;
        Py_DecRef(function);
        function = inner;
    }
    return step_to(function, FAA_NAME(__code__));
}

static void set_place(struct faa_span *span, PyObject *code)
{
    PyObject *file, *line;
    faa_getattr(code, FAA_NAME(co_filename), &file);
    faa_getattr(code, FAA_NAME(co_firstlineno), &line);
    long long number = faa_int(line, 0);
    faa_span_set_py(span, FAA_KEY_CODE_FILE_PATH, file);
    if (number > 0)
        faa_span_set_int(span, FAA_KEY_CODE_LINE_NUMBER, number);
    Py_DecRef(file);
    Py_DecRef(line);
}

void faa_callable_describe(struct faa_span *span, const char *what, PyObject *callable,
                           unsigned details)
{
    PyObject *object = callable ? without_partials(callable) : NULL;
    if (!object) {
        faa_span_set_name(span, faa_str_of(what));
        return;
    }
    int is_instance;
    PyObject *owner = named(object, &is_instance);
    set_names(span, what, owner, is_instance, details);
    PyObject *code = details & FAA_CALLABLE_PLACE ? code_of(object, owner, is_instance) : NULL;
    if (code)
        set_place(span, code);
    Py_DecRef(code);
    Py_DecRef(owner);
    Py_DecRef(object);
}

// SPDX-License-Identifier: MIT
// The way into a builtin type's dictionary.
//
// Types in C refuse assignment because other interpreters may share them, not because their methods
// could not change: a method is looked up in the type's dictionary, and PyType_Modified makes every
// cache forget what it found there. A subclass in the type's place, the other way, is seen by
// applications: by type(), by their own subclasses, and by whoever calls the type itself.
#include "python/builtin_type.h"

PyAPI_DATA(PyTypeObject) PyDictProxy_Type;

// The dictionary behind type.__dict__, which is a read-only view: what the view holds, as the
// garbage collector sees it. New reference, or NULL with or without an error.
static PyObject *dictionary_of(PyObject *type)
{
    PyObject *view = PyObject_GetAttrString(type, "__dict__"), *held = NULL, *dict = NULL;
    PyObject *gc = view ? PyImport_ImportModule("gc") : NULL;
    if (gc && faa_type_of(view) == &PyDictProxy_Type)
        held = PyObject_CallMethod(gc, "get_referents", "O", view);
    if (held && faa_is_list(held) && PyList_Size(held) == 1)
        dict = faa_newref(PyList_GetItem(held, 0));
    if (dict && faa_type_of(dict) != &PyDict_Type)
        faa_clear(&dict);
    Py_DecRef(view);
    Py_DecRef(gc);
    Py_DecRef(held);
    return dict;
}

// What the type has under the name as everyone sees it, borrowed by the type; NULL without it.
static PyObject *seen(PyObject *type, const char *name)
{
    PyObject *found = PyObject_GetAttrString(type, name);
    PyErr_Clear();
    Py_DecRef(found);
    return found;
}

int faa_builtin_type_set(PyObject *type, const char *name, PyObject *value)
{
    if (!(PyType_GetFlags(faa_type_of(type)) & Py_TPFLAGS_TYPE_SUBCLASS))
        return -1;
    PyObject *dict = dictionary_of(type);
    PyObject *before = dict ? faa_newref(PyDict_GetItemString(dict, name)) : NULL;
    int status = -1;
    if (before && PyDict_SetItemString(dict, name, value) == 0) {
        PyType_Modified((PyTypeObject *)type);
        if (seen(type, name) == value)
            status = 0;
        else if (PyDict_SetItemString(dict, name, before) == 0)
            PyType_Modified((PyTypeObject *)type);
    }
    PyErr_Clear();
    Py_DecRef(before);
    Py_DecRef(dict);
    return status;
}

// SPDX-License-Identifier: MIT
// Attribute forwarding for the function wrapper, the awaitable proxy and the loader.
#include "python/forward.h"

PyObject *faa_forward_names(const char *const *names)
{
    PyObject *set = PyDict_New();
    for (; set && *names; names++) {
        if (PyDict_SetItemString(set, *names, Py_None)) {
            Py_DecRef(set);
            return NULL;
        }
    }
    return set;
}

PyObject *faa_forward_getattr(PyObject *self, PyObject *target, PyObject *own, PyObject *name)
{
    if (!target || PyDict_GetItemWithError(own, name))
        return PyObject_GenericGetAttr(self, name);
    if (PyErr_Occurred())
        return NULL;
    return PyObject_GetAttr(target, name);
}

int faa_forward_setattr(PyObject *self, PyObject *target, PyObject *name, PyObject *value)
{
    return target ? PyObject_SetAttr(target, name, value)
                  : PyObject_GenericSetAttr(self, name, value);
}

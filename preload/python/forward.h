// SPDX-License-Identifier: MIT
// Objects that stand for another one: every attribute that is not their own is the other's,
// `__class__` included, so that isinstance() and inspect see what the application wrote.
#ifndef FAA_PYTHON_FORWARD_H
#define FAA_PYTHON_FORWARD_H

#include "python/capi.h"

/// A set of a stand-in's own attribute names, from a NULL-terminated list. New reference.
PyObject *faa_forward_names(const char *const *names);

/// tp_getattro and tp_setattro of a stand-in (value NULL: delete). With `target` NULL (cleared by
/// the garbage collector) they fall back to the stand-in itself.
PyObject *faa_forward_getattr(PyObject *self, PyObject *target, PyObject *own, PyObject *name);
int faa_forward_setattr(PyObject *self, PyObject *target, PyObject *name, PyObject *value);

#endif

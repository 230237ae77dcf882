// SPDX-License-Identifier: MIT
// Methods of types that are written in C.
#ifndef FAA_PYTHON_BUILTIN_TYPE_H
#define FAA_PYTHON_BUILTIN_TYPE_H

#include "python/capi.h"

/// Sets a method of a type that cannot be assigned to: `name` in the type's own dictionary, no
/// special method (those live in slots too). 0, or -1 with nothing changed and no error set.
FAA_MUSTUSE int faa_builtin_type_set(PyObject *type, const char *name, PyObject *value);

#endif

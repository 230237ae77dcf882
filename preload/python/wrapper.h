// SPDX-License-Identifier: MIT
// The function wrapper: a callable that looks like the function it wraps and calls a C hook.
#ifndef FAA_PYTHON_WRAPPER_H
#define FAA_PYTHON_WRAPPER_H

#include "python/capi.h"

/// Called instead of `wrapped`, with the vectorcall convention; for a method, args[0] is self. Must
/// call `wrapped` exactly once with these arguments, or with ones of the hook's own in their place,
/// and return its result or an equivalent one. `data` is what faa_wrapper_new was given.
typedef PyObject *faa_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                           PyObject *kwnames);

/// 0, or -1 with a Python error.
FAA_MUSTUSE int faa_wrapper_init(void);

/// A wrapper around `wrapped` (new references are taken; `data` may be NULL).
PyObject *faa_wrapper_new(PyObject *wrapped, faa_hook *hook, PyObject *data);

/// One method or function to wrap: "module:Class.method" or "module:function". The module has been
/// imported. It may be a classmethod, a builtin function, or a method of a builtin type. One that
/// begins with '?' may be missing: not every version of the library has it.
struct faa_patch {
    const char *target;
    faa_hook *hook;
};

/// Wraps all targets, or none: a library whose shape changed is left untouched. What is wrapped
/// already stays as it is; names of one function stay names of one wrapper. At most 32 targets.
/// Returns 0 with a debug line that names what is hooked, or -1 with one that names what is
/// missing.
FAA_MUSTUSE int faa_patch_all(const struct faa_patch *patches, size_t count);

/// Whether faa_patch_all could wrap them, for hooks that are put in when they are first needed.
/// Nothing is changed. Returns 0, or -1 with a debug line that names what is missing.
FAA_MUSTUSE int faa_patch_check(const struct faa_patch *patches, size_t count);

#endif

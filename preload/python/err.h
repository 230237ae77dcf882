// SPDX-License-Identifier: MIT
// The application's error indicator and errno, kept around every hook.
#ifndef FAA_PYTHON_ERR_H
#define FAA_PYTHON_ERR_H

#include "python/capi.h"

#include <errno.h>

struct faa_err {
    PyObject *type, *value, *traceback;
    int number;
};

/// Takes the error indicator away; hook code runs with none set.
static inline struct faa_err faa_err_save(void)
{
    struct faa_err e = {NULL, NULL, NULL, errno};
    PyErr_Fetch(&e.type, &e.value, &e.traceback);
    return e;
}

/// The same after a call of the application's: one that has given a result has set no error.
static inline struct faa_err faa_err_save_of(const PyObject *result)
{
    return result ? (struct faa_err){NULL, NULL, NULL, errno} : faa_err_save();
}

/// Forgets an error of ours after Python code has run. An interrupt that came in meanwhile is the
/// application's, and is raised again where it is next looked for.
static inline void faa_err_discard(void)
{
    int interrupted = PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_KeyboardInterrupt);
    PyErr_Clear();
    if (interrupted)
        PyErr_SetInterrupt();
}

/// Makes `value` an exception that carries its traceback, as an `except` clause would see it.
static inline void faa_err_normalize(struct faa_err *e)
{
    if (!e->type)
        return;
    PyErr_NormalizeException(&e->type, &e->value, &e->traceback);
    if (e->value && e->traceback)
        PyException_SetTraceback(e->value, e->traceback);
}

/// Puts it back, dropping whatever the hook left.
static inline void faa_err_restore(struct faa_err *e)
{
    if (e->type || PyErr_Occurred())
        PyErr_Restore(e->type, e->value, e->traceback);
    errno = e->number;
}

#endif

// SPDX-License-Identifier: MIT
// The awaitable proxy: stands for the application's coroutine and sees how it goes.
#ifndef FAA_PYTHON_AWAITABLE_H
#define FAA_PYTHON_AWAITABLE_H

#include "python/capi.h"

enum faa_outcome {
    FAA_RETURNED,
    FAA_RAISED, ///< Cancellation too: the exception tells.
    FAA_CLOSED  ///< Closed or dropped before it had finished.
};

/// All run with no error set, in the context in which the coroutine is stepped, and must leave no
/// error set.
struct faa_awaitable_ops {
    /// Before the first step; may be NULL.
    void (*enter)(PyObject *data);
    /// Before each later one; may be NULL.
    void (*resume)(PyObject *data);
    /// After each step at whose end the coroutine waits for something; may be NULL.
    void (*waits)(PyObject *data);
    /// After the last one, exactly once, also when there was none. `value` is borrowed: what was
    /// returned, the exception that was raised, or NULL for FAA_CLOSED.
    void (*leave)(PyObject *data, enum faa_outcome outcome, PyObject *value);
};

/// 0, or -1 with a Python error.
FAA_MUSTUSE int faa_awaitable_init(void);

/// A proxy around what a call has just returned, any awaitable, whose reference it takes. Where
/// there is no memory for one the awaitable itself, and `leave` is not called; NULL stays NULL,
/// with its error. `ops` is static; a new reference to `data` is taken.
PyObject *faa_awaitable_around(PyObject *result, const struct faa_awaitable_ops *ops,
                               PyObject *data);

/// Keeps two more objects alive, once, until `leave` has returned. `data` may borrow them: held
/// there they would be hidden from the garbage collector, and with them the cycles that a request
/// which nobody finishes is part of.
void faa_awaitable_keep(PyObject *awaitable, PyObject *first, PyObject *second);

#endif

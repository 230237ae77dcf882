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
    /// Before the first step.
    void (*enter)(PyObject *data);
    /// After each step at whose end the coroutine waits for something.
    void (*waits)(PyObject *data);
    /// After the last one, exactly once, also when there was none. `exception` is borrowed, and
    /// NULL unless FAA_RAISED.
    void (*leave)(PyObject *data, enum faa_outcome outcome, PyObject *exception);
    /// Before each step but the first, one by throw() too; may be NULL. `waits` or `leave` follows.
    void (*resume)(PyObject *data);
};

/// 0, or -1 with a Python error.
FAA_MUSTUSE int faa_awaitable_init(void);

/// A proxy around `inner`, any awaitable. Takes new references; `ops` is static. On failure NULL
/// with an error, and `leave` is not called.
PyObject *faa_awaitable_new(PyObject *inner, const struct faa_awaitable_ops *ops, PyObject *data);

#endif

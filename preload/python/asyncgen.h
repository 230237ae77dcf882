// SPDX-License-Identifier: MIT
// The proxy of an async generator, which sees how it goes.
#ifndef FAA_PYTHON_ASYNCGEN_H
#define FAA_PYTHON_ASYNCGEN_H

#include "python/awaitable.h"

/// 0, or -1 with a Python error.
FAA_MUSTUSE int faa_asyncgen_init(void);

/// A proxy around an async generator that a call has just returned, whose reference it takes. The
/// ops are those of an awaitable, with every value that it yields as a point at which it waits:
/// `enter` before the generator first runs, `waits` after each value, `resume` before it goes on,
/// `leave` at its end, exactly once unless it never ran. Where there is no memory, the generator
/// itself, and no op is called; NULL stays NULL, with its error. `ops` is static; a new reference
/// to `data` is taken.
PyObject *faa_asyncgen_around(PyObject *generator, const struct faa_awaitable_ops *ops,
                              PyObject *data);

#endif

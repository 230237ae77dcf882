// SPDX-License-Identifier: MIT
// A step of a request: an INTERNAL span for as long as a coroutine of the framework runs.
#ifndef FAA_INSTRUMENTORS_STEP_H
#define FAA_INSTRUMENTORS_STEP_H

#include "python/capi.h"

/// One kind of step. Static.
struct faa_step {
    const char *what;  ///< The span's name, or its first word.
    const char *scope; ///< The instrumentation scope's name.
    unsigned details;  ///< FAA_CALLABLE_… bits.
    /// Every exception is a failure; else those by which an application answers (HTTPException and
    /// its kin, failed validation, a WebSocket's end) are not.
    int answers_nobody;
};

/// True where a step has a place: in a request that is sampled and that we trace, since FastAPI's
/// own telemetry tells its steps by itself. A step never begins a trace.
int faa_step_wanted(void);

/// Puts a span around the coroutine that a function of the framework has returned. It begins with
/// the first step, is current until the last, and records the exception. `callable` is the
/// application's function that it is about, borrowed, or NULL. Takes the reference to `coroutine`
/// and gives one to what stands for it: itself, where there is no memory. NULL (the call has
/// raised) stays NULL.
PyObject *faa_step_trace(const struct faa_step *step, PyObject *callable, PyObject *coroutine);

/// The value of a keyword in a vectorcall, borrowed, or NULL.
PyObject *faa_step_keyword(PyObject *const *args, size_t nargsf, PyObject *kwnames,
                           PyObject *keyword);

#endif

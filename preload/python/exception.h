// SPDX-License-Identifier: MIT
// Exceptions in spans, after the semantic conventions for exceptions.
#ifndef FAA_PYTHON_EXCEPTION_H
#define FAA_PYTHON_EXCEPTION_H

#include "python/capi.h"
#include "span/span.h"

/// Marks the span as failed by `exception` (borrowed): error.type, status with the message, and an
/// `exception` event with type, message and stack trace; members of an exception group have events
/// of their own. str() of the exception is the only Python code that runs. Leaves no error set.
void faa_span_record_exception(struct faa_span *span, PyObject *exception);

/// The parts of an exception that may be left out of its event.
enum { FAA_WITH_STACK = 1 };

/// Adds the `exception` event alone: for an exception that was handled. `parts`: FAA_WITH_STACK or
/// 0.
void faa_span_add_exception(struct faa_span *span, PyObject *exception, int parts);

/// Marks the span as failed by an exception whose event it has already.
void faa_span_fail(struct faa_span *span, PyObject *exception);

/// Ends and releases the span of a call that has returned `result`, or raised where it is NULL:
/// then the error that is set is recorded, unless it is a cancellation, and stays set.
void faa_span_end_call(struct faa_span *span, PyObject *result);

/// The exception's type as `module.qualname`, without `builtins.`; written to `out`, cut at cap.
size_t faa_exception_type(PyObject *exception, char *out, size_t cap);

/// The same for the exception's class.
size_t faa_exception_type_name(PyObject *type, char *out, size_t cap);

/// True when it is an instance of the class of this name, in a module that has been imported.
int faa_exception_is(PyObject *exception, const char *module, const char *name);

/// True for asyncio.CancelledError, trio.Cancelled, GeneratorExit, KeyboardInterrupt and
/// SystemExit: the operation was stopped from outside and did not fail.
int faa_exception_is_cancellation(PyObject *exception);

/// The exception that the running code handles at this moment (new reference), or NULL. `*function`
/// is the name of the function in which it was raised, or through which it came last (a str, new
/// reference), or NULL.
PyObject *faa_exception_handled(PyObject **function);

#endif

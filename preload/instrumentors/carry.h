// SPDX-License-Identifier: MIT
// What the instrumentors of threads and pools share: how the current span gets to where work runs
// that was asked for under it.
//
// All functions need the GIL; those that are not hooks leave no error set.
#ifndef FAA_INSTRUMENTORS_CARRY_H
#define FAA_INSTRUMENTORS_CARRY_H

#include "python/pyspan.h"
#include "python/wrapper.h"

/// Notes the current span, or that there is none, on a work item: any object with a __dict__.
void faa_carry_note(PyObject *item);

/// What was noted, new reference; NULL when there was no span, or nothing was noted.
PyObject *faa_carry_noted(PyObject *item);

/// Removes the note.
void faa_carry_forget(PyObject *item);

/// Calls with `span` current, or with none where it is NULL.
PyObject *faa_carry_call(PyObject *span, PyObject *wrapped, PyObject *const *args, size_t nargsf,
                         PyObject *kwnames);

/// The hook for what starts workers: they outlive the request that happens to need one more, and
/// must not keep its span.
faa_hook faa_carry_nothing_hook;

/// A callable that stands for `function` and runs it under `span` (NULL: under none). New
/// reference; NULL when there is no memory.
PyObject *faa_carry_function(PyObject *function, PyObject *span);

/// Calls `wrapped` with a function that carries the current span in place of the one in args[at].
PyObject *faa_carry_argument(size_t at, PyObject *wrapped, PyObject *const *args, size_t nargsf,
                             PyObject *kwnames);

/// Notes what another process needs to go on with the trace, as a str on an object that is pickled
/// with its __dict__. Nothing is noted where `span` is NULL.
void faa_carry_note_trace(PyObject *object, PyObject *span);

/// Takes such a note off the object: a faa.span that stands for the span there, new reference; or
/// NULL when there is none.
PyObject *faa_carry_take_trace(PyObject *object);

#endif

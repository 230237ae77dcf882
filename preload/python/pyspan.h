// SPDX-License-Identifier: MIT
// A Python object that owns a span, and the context variable that holds the current one.
//
// The object lives as long as a context refers to it, which may be longer than its span: tasks that
// a request leaves behind still find their parent's ids in it. All functions need the GIL, and
// leave no Python error behind.
#ifndef FAA_PYTHON_PYSPAN_H
#define FAA_PYTHON_PYSPAN_H

#include "python/capi.h"
#include "span/span.h"

struct faa_pyspan {
    struct faa_span span;
    PyObject *previous; ///< What was current before it was activated.
    /// 1: left, and no longer current wherever a context has it. Any thread that has such a context
    /// reads it.
    _Atomic unsigned char left;
    const void *owner; ///< Who made it: the address of something static of its instrumentor.
    void *extra;       ///< The owner's data.
    /// Called with the GIL held when the object dies; the span is still there, and may be ended.
    void (*free_extra)(void *extra);
};

/// 0, or -1 with a Python error.
FAA_MUSTUSE int faa_pyspan_init(void);

/// A new object whose span is not started. NULL when there is no memory.
PyObject *faa_pyspan_new(void);

/// The same with `size` bytes of room for the owner's data, uninitialised, to which `extra` points.
/// They lie in the object and die with it.
PyObject *faa_pyspan_new_with(size_t size);

/// A new object that stands for a span of another process, as the parent of what happens here.
/// `context` is copied. NULL when there is no memory.
PyObject *faa_pyspan_new_remote(const struct faa_span_context *context);

/// The state of a faa.span object.
static inline struct faa_pyspan *faa_pyspan(PyObject *object)
{
    return faa_state(object);
}

/// True for a faa.span object.
int faa_is_pyspan(PyObject *object);

/// The current span's object (new reference), or NULL when there is none.
PyObject *faa_context_current(void);

/// Makes it the current one in the running context, remembering the one before.
void faa_context_activate(PyObject *object);

/// Makes the one before current again, if this one still is.
void faa_context_deactivate(PyObject *object);

/// For a call that ends before its thread does anything else, and costs half as much: makes the
/// object current within `outer`, which faa_context_current has just returned (borrowed, may be
/// NULL), and ends that. The object stays where it is in the context until another one comes in its
/// place, and is passed over: also in contexts that were copied in between.
void faa_context_enter(PyObject *object, PyObject *outer);
void faa_context_leave(PyObject *object);

/// Makes `object` current, or nothing where it is NULL, and returns what was (new reference, or
/// NULL). Unlike activation it notes nothing on the object: another thread may have it current too.
FAA_MUSTUSE PyObject *faa_context_swap(PyObject *object);

/// Makes what faa_context_swap has returned current again, and takes the reference.
void faa_context_swap_back(PyObject *previous);

/// Leaves the object current when it ends: for a context that nobody else goes on in.
void faa_context_keep(PyObject *object);

/// Starts a span as the child of the current one, or as a root where there is none.
void faa_context_start_child(struct faa_span *span, enum faa_span_kind kind, const char *scope);

/// Starts a span as the child of `parent`, a faa.span object, or as a root where it is NULL.
void faa_context_start_under(struct faa_span *span, enum faa_span_kind kind, const char *scope,
                             PyObject *parent);

/// Attribute setters that take a str or bytes object; nothing is set for another type or "".
void faa_span_set_py(struct faa_span *span, enum faa_key key, PyObject *text);

#endif

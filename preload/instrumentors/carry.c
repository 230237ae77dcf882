// SPDX-License-Identifier: MIT
// Spans noted on work items and threads, and calls under a span from somewhere else.
#include "instrumentors/carry.h"

#include "python/err.h"
#include "span/baggage.h"
#include "span/traceparent.h"

// Notes are written past a class's own __setattr__, which may have other ideas.
static void set(PyObject *object, PyObject *name, PyObject *value)
{
    if (PyObject_GenericSetAttr(object, name, value))
        PyErr_Clear();
}

static PyObject *get(PyObject *object, PyObject *name)
{
    PyObject *value = PyObject_GenericGetAttr(object, name);
    if (!value)
        PyErr_Clear();
    return value;
}

// None is noted too: to look for what is not there costs more, it makes an exception.
void faa_carry_note(PyObject *item)
{
    PyObject *span = faa_context_current();
    set(item, FAA_NAME(_faa_span), span ? span : Py_None);
    Py_DecRef(span);
}

PyObject *faa_carry_noted(PyObject *item)
{
    PyObject *span = get(item, FAA_NAME(_faa_span));
    if (span && !faa_is_pyspan(span))
        faa_clear(&span);
    return span;
}

void faa_carry_forget(PyObject *item)
{
    set(item, FAA_NAME(_faa_span), NULL);
}

PyObject *faa_carry_call(PyObject *span, PyObject *wrapped, PyObject *const *args, size_t nargsf,
                         PyObject *kwnames)
{
    int saved = errno;
    PyObject *previous = faa_context_swap(span);
    errno = saved;
    PyObject *result = faa_call(wrapped, args, nargsf, kwnames);
    struct faa_err e = faa_err_save();
    faa_context_swap_back(previous);
    faa_err_restore(&e);
    return result;
}

PyObject *faa_carry_nothing_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                 size_t nargsf, PyObject *kwnames)
{
    (void)data;
    return faa_carry_call(NULL, wrapped, args, nargsf, kwnames);
}

static PyObject *function_hook(PyObject *wrapped, PyObject *span, PyObject *const *args,
                               size_t nargsf, PyObject *kwnames)
{
    return faa_carry_call(span, wrapped, args, nargsf, kwnames);
}

PyObject *faa_carry_function(PyObject *function, PyObject *span)
{
    PyObject *wrapper = faa_wrapper_new(function, function_hook, span);
    PyErr_Clear();
    return wrapper;
}

enum { ARGS_MAX = 16 }; // A call with more is left alone.

PyObject *faa_carry_argument(size_t at, PyObject *wrapped, PyObject *const *args, size_t nargsf,
                             PyObject *kwnames)
{
    size_t nargs = FAA_NARGS(nargsf);
    size_t count = nargs + (kwnames ? (size_t)PyTuple_Size(kwnames) : 0);
    int saved = errno;
    PyObject *span = at < count && count <= ARGS_MAX ? faa_context_current() : NULL;
    PyObject *function = span ? faa_carry_function(args[at], span) : NULL;
    Py_DecRef(span);
    errno = saved;
    if (!function)
        return faa_call(wrapped, args, nargsf, kwnames);
    PyObject *own[ARGS_MAX];
    memcpy(own, args, count * sizeof(*own));
    own[at] = function;
    PyObject *result = faa_call(wrapped, own, nargs, kwnames);
    Py_DecRef(function);
    return result;
}

// ---- to another process -----------------------------------------------------------------------

// A line each: traceparent, or "suppressed" below a URL that is excluded; tracestate; baggage.
// Neither of the latter two can hold a line break.
static const struct faa_str suppressed = FAA_STR("suppressed");

void faa_carry_note_trace(PyObject *object, PyObject *span)
{
    char parent[FAA_TRACEPARENT_LEN + 1];
    if (!span)
        return;
    const struct faa_span_context *context = &faa_pyspan(span)->span.context;
    struct faa_str baggage = faa_baggage_text(context->baggage);
    faa_traceparent_format(context, parent);
    PyObject *state = PyUnicode_FromStringAndSize(context->tracestate, context->tracestate_len);
    PyObject *more = PyUnicode_FromStringAndSize(baggage.p, (Py_ssize_t)baggage.n);
    PyObject *text =
        state && more ? PyUnicode_FromFormat(
                            "%s\n%U\n%U", context->suppressed ? suppressed.p : parent, state, more)
                      : NULL;
    PyErr_Clear();
    if (text)
        set(object, FAA_NAME(_faa_trace), text);
    Py_DecRef(state);
    Py_DecRef(more);
    Py_DecRef(text);
}

// The text up to the line's end, which is taken off with it.
static struct faa_str next_line(struct faa_str *rest)
{
    const char *end = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
    struct faa_str line = {rest->p, end ? (size_t)(end - rest->p) : rest->n};
    size_t gone = line.n + (end != NULL);
    rest->p += gone;
    rest->n -= gone;
    return line;
}

// What another process has sent is read as a request's headers are.
static PyObject *parse(struct faa_str text)
{
    struct faa_span_context context;
    memset(&context, 0, sizeof(context));
    struct faa_str parent = next_line(&text);
    if (faa_str_eq(parent, suppressed))
        context.suppressed = 1;
    else if (faa_traceparent_parse(parent, &context))
        return NULL;
    struct faa_str state = next_line(&text), baggage = next_line(&text);
    if (faa_tracestate_valid(state)) {
        context.tracestate = state.p;
        context.tracestate_len = (uint16_t)state.n;
    }
    if (baggage.n)
        context.baggage = faa_baggage_new(&baggage, 1);
    PyObject *span = faa_pyspan_new_remote(&context);
    faa_baggage_unref(context.baggage);
    return span;
}

PyObject *faa_carry_take_trace(PyObject *object)
{
    PyObject *text = get(object, FAA_NAME(_faa_trace));
    if (!text)
        return NULL;
    set(object, FAA_NAME(_faa_trace), NULL);
    PyObject *span = parse(faa_text(text));
    Py_DecRef(text);
    return span;
}

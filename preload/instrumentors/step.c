// SPDX-License-Identifier: MIT
// Steps of a request, by the awaitable proxy.
#include "instrumentors/step.h"

#include "instrumentors/asgi.h"
#include "instrumentors/callable.h"
#include "python/awaitable.h"
#include "python/exception.h"
#include "python/pyspan.h"

int faa_step_wanted(void)
{
    PyObject *current = faa_context_current();
    const struct faa_span *span = current ? &faa_pyspan(current)->span : NULL;
    int wanted = span && !span->is_foreign && (span->context.flags & FAA_FLAG_SAMPLED);
    Py_DecRef(current);
    return wanted;
}

// Names in the code of a call are interned: the first look finds them, and costs no text.
PyObject *faa_step_keyword(PyObject *const *args, size_t nargsf, PyObject *kwnames,
                           PyObject *keyword)
{
    Py_ssize_t count = kwnames ? PyTuple_Size(kwnames) : 0;
    for (Py_ssize_t i = 0; i < count; i++)
        if (PyTuple_GetItem(kwnames, i) == keyword)
            return args[FAA_NARGS(nargsf) + (size_t)i];
    struct faa_str wanted = faa_text(keyword);
    for (Py_ssize_t i = 0; i < count; i++)
        if (faa_str_eq(faa_text(PyTuple_GetItem(kwnames, i)), wanted))
            return args[FAA_NARGS(nargsf) + (size_t)i];
    return NULL;
}

static void drop_callable(void *callable)
{
    Py_DecRef(callable);
}

static void enter(PyObject *object)
{
    struct faa_pyspan *s = faa_pyspan(object);
    const struct faa_step *step = s->owner;
    faa_context_start_child(&s->span, FAA_KIND_INTERNAL, step->scope);
    faa_callable_describe(&s->span, step->what, s->extra, step->details);
    faa_context_activate(object);
}

// One that was never awaited has no span: then nothing is recorded here.
static void leave(PyObject *object, enum faa_outcome outcome, PyObject *value)
{
    struct faa_pyspan *s = faa_pyspan(object);
    const struct faa_step *step = s->owner;
    faa_context_deactivate(object);
    int is_answer = outcome == FAA_RAISED && value && !step->answers_nobody &&
                    (faa_asgi_is_answer(value) || faa_asgi_is_disconnect(value));
    if (outcome == FAA_RAISED && value && !is_answer && !faa_exception_is_cancellation(value))
        faa_span_record_exception(&s->span, value);
    faa_span_end(&s->span, 0);
}

static const struct faa_awaitable_ops step_ops = {
    .enter = enter,
    .leave = leave,
};

PyObject *faa_step_trace(const struct faa_step *step, PyObject *callable, PyObject *coroutine)
{
    PyObject *object = coroutine ? faa_pyspan_new() : NULL;
    if (!object)
        return coroutine;
    struct faa_pyspan *s = faa_pyspan(object);
    s->owner = step;
    s->extra = faa_newref(callable);
    s->free_extra = drop_callable;
    coroutine = faa_awaitable_around(coroutine, &step_ops, object);
    Py_DecRef(object);
    return coroutine;
}

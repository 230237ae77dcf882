// SPDX-License-Identifier: MIT
// How a request uses the event loop: every step that its coroutine takes, from the moment that the
// loop resumes it until it waits again, is time in which no other request is served.
#include "instrumentors/asgi_request.h"

#include "base/clock.h"

// Counts the step up to then, and makes an event of one that was too long. What comes after the end
// of the request (a WebSocket's close, an error page) is no part of it.
static void count(PyObject *object, uint64_t mono_ns)
{
    const struct faa_span *span = &faa_pyspan(object)->span;
    struct faa_request *r = faa_asgi_request_of(object);
    struct faa_steps *s = &r->steps;
    uint64_t end_mono_ns = span->start_mono_ns + (r->end_ns - span->start_ns);
    if (r->end_ns && mono_ns > end_mono_ns)
        mono_ns = end_mono_ns;
    if (mono_ns <= s->since)
        return;
    uint64_t ns = mono_ns - s->since;
    s->since = mono_ns;
    s->busy += ns;
    if (ns > s->longest)
        s->longest = ns;
}

void faa_asgi_step_begins(PyObject *object)
{
    struct faa_request *r = faa_asgi_request_of(object);
    if (!faa_pyspan(object)->span.recording)
        return;
    r->steps.running = 1;
    r->steps.since = faa_clock_mono_ns();
}

void faa_asgi_step_ends(PyObject *object)
{
    struct faa_steps *s = &faa_asgi_request_of(object)->steps;
    if (s->running && faa_pyspan(object)->span.recording)
        count(object, faa_clock_mono_ns());
    s->running = 0;
}

void faa_asgi_step_cut(PyObject *object, uint64_t mono_ns)
{
    if (faa_asgi_request_of(object)->steps.running)
        count(object, mono_ns);
}

void faa_asgi_set_steps(struct faa_span *span, const struct faa_steps *steps)
{
    faa_span_set_int(span, FAA_KEY_FAA_EVENT_LOOP_BUSY_US, (int64_t)(steps->busy / 1000));
    faa_span_set_int(span, FAA_KEY_FAA_EVENT_LOOP_LONGEST_US, (int64_t)(steps->longest / 1000));
}

static void leave_task(PyObject *object, enum faa_outcome outcome, PyObject *value)
{
    (void)value;
    if (outcome != FAA_CLOSED) // By whom it is closed may be within a step of its own.
        faa_asgi_step_ends(object);
}

static const struct faa_awaitable_ops task_ops = {
    .enter = faa_asgi_step_begins,
    .resume = faa_asgi_step_begins,
    .waits = faa_asgi_step_ends,
    .leave = leave_task,
};

PyObject *faa_asgi_in_task(PyObject *result)
{
    PyObject *object = result ? faa_asgi_current_request() : NULL;
    if (object && !faa_asgi_request_of(object)->steps.running &&
        faa_pyspan(object)->span.recording) {
        PyObject *proxy = faa_awaitable_new(result, &task_ops, object);
        PyErr_Clear();
        if (proxy) {
            Py_DecRef(result);
            result = proxy;
        }
    }
    Py_DecRef(object);
    return result;
}

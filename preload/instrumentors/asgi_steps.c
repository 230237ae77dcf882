// SPDX-License-Identifier: MIT
// How a request uses the event loop: every step that its coroutine takes, from the moment that the
// loop resumes it until it waits again, is time in which no other request is served.
#include "instrumentors/asgi_request.h"

#include "base/clock.h"
#include "python/watch.h"

enum { EVENTS_MAX = 8 }; // Of one request; the attributes tell of all its steps.

// The step, or what is left of it since it was last counted, held the event loop for too long.
static void tell(struct faa_span *span, struct faa_steps *s, uint64_t ns, struct faa_str stack)
{
    if (s->events == EVENTS_MAX)
        return;
    s->events++;
    faa_span_add_event(span, FAA_STR("event loop blocked"));
    faa_span_event_set_int(span, FAA_KEY_FAA_EVENT_LOOP_BLOCKED_US, (int64_t)(ns / 1000));
    if (stack.n)
        faa_span_event_set_str(span, FAA_KEY_CODE_STACKTRACE, stack);
}

// Counts the running step up to now.
static void count(PyObject *object, uint64_t mono_ns, struct faa_str stack)
{
    struct faa_steps *s = &faa_asgi_request_of(object)->steps;
    uint64_t ns = mono_ns - s->since, limit = faa_watch_threshold();
    s->since = mono_ns;
    s->busy += ns;
    if (ns > s->longest)
        s->longest = ns;
    if (limit && ns >= limit)
        tell(&faa_pyspan(object)->span, s, ns, stack);
}

void faa_asgi_step_begins(PyObject *object)
{
    struct faa_steps *s = &faa_asgi_request_of(object)->steps;
    if (!faa_pyspan(object)->span.recording || s->running)
        return;
    s->running = 1;
    s->since = faa_clock_mono_ns();
    if (faa_watch_threshold())
        faa_watch_begin(s->since);
}

void faa_asgi_step_ends(PyObject *object)
{
    struct faa_steps *s = &faa_asgi_request_of(object)->steps;
    if (!s->running)
        return;
    struct faa_str stack = faa_watch_threshold() ? faa_watch_end() : FAA_STR("");
    if (faa_pyspan(object)->span.recording && !faa_asgi_request_of(object)->end_ns)
        count(object, faa_clock_mono_ns(), stack);
    s->running = 0;
}

uint64_t faa_asgi_step_cut(PyObject *object)
{
    const struct faa_span *span = &faa_pyspan(object)->span;
    struct faa_steps *s = &faa_asgi_request_of(object)->steps;
    unsigned events = s->events;
    uint64_t now = faa_clock_mono_ns();
    if (s->running)
        count(object, now, faa_watch_threshold() ? faa_watch_stack() : FAA_STR(""));
    // No event lies behind the end.
    return s->events == events ? span->start_ns + (now - span->start_mono_ns) : faa_span_now(span);
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
    if (object && !faa_asgi_request_of(object)->steps.running && faa_pyspan(object)->span.recording)
        result = faa_awaitable_around(result, &task_ops, object);
    Py_DecRef(object);
    return result;
}

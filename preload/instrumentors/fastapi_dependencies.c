// SPDX-License-Identifier: MIT
// Dependencies: one span for all of a request, and one for each that takes long.
//
// FastAPI solves them by recursion: `solve_dependencies` is called for a dependency to solve its
// own dependencies and parameters, and when that has returned the dependency itself is called, in
// one of four ways (coroutine, thread, generator of either kind) of which the first has no seam. So
// the call is timed from one return of the recursion to the next thing that happens on the same
// level: the recursion for its sister, the parsing of a body, or the end of the level. All of that
// is strictly sequential.
#include "instrumentors/fastapi_steps.h"

#include "base/clock.h"
#include "instrumentors/asgi.h"
#include "instrumentors/callable.h"
#include "instrumentors/settings.h"
#include "instrumentors/step.h"
#include "python/awaitable.h"
#include "python/err.h"
#include "python/exception.h"
#include "python/pyspan.h"
#include "python/wrapper.h"

#include <stdlib.h>

enum { LEVELS_MAX = 16 }; // Dependencies nested deeper than this are not timed.

// One call of solve_dependencies, and the dependency that is being called for it.
struct level {
    const void *solves;  // Whose parameters this level solves: an address to compare.
    PyObject *dependant; // What is being called; NULL: nothing.
    PyObject *cache;     // The dict that holds results; one for all dependencies of the level.
    Py_ssize_t cached;   // Its size when the call began.
    uint64_t start_ns;   // Monotonic.
    PyObject *span;      // Where every dependency has a span: of this one, current while it runs.
};

// The state of one request's dependencies. Owned by a capsule, which the context variable refers
// to.
struct solving {
    PyObject *capsule; // Borrowed.
    PyObject *before;  // What the variable held.
    int is_over;       // Tasks that a dependency left behind may still see it.
    unsigned depth;
    struct level levels[LEVELS_MAX];
};

static const char capsule_name[] = "faa.solving";
static PyObject *variable;
static int has_recursion; // Its seam was there.

static struct solving *solving_of(PyObject *capsule)
{
    return PyCapsule_IsValid(capsule, capsule_name) ? PyCapsule_GetPointer(capsule, capsule_name)
                                                    : NULL;
}

// The state in the running context, borrowed from it, or NULL.
static struct solving *current(void)
{
    PyObject *capsule = NULL;
    if (PyContextVar_Get(variable, NULL, &capsule) < 0)
        PyErr_Clear();
    struct solving *s = capsule ? solving_of(capsule) : NULL;
    Py_DecRef(capsule); // The context keeps it.
    return s && !s->is_over ? s : NULL;
}

static void set_current(PyObject *value)
{
    PyObject *token = PyContextVar_Set(variable, value);
    if (!token)
        PyErr_Clear();
    Py_DecRef(token);
}

static PyObject *call_of(PyObject *dependant)
{
    PyObject *call;
    faa_getattr(dependant, FAA_NAME(call), &call);
    return call;
}

static void start_span(struct faa_span *span, PyObject *dependant)
{
    PyObject *call = call_of(dependant);
    faa_context_start_child(span, FAA_KIND_INTERNAL, "fastapi");
    faa_callable_describe(span, "dependency", call, FAA_CALLABLE_NAME | FAA_CALLABLE_PLACE);
    Py_DecRef(call);
}

static void end_span(struct faa_span *span, PyObject *exception)
{
    if (exception && !faa_exception_is_cancellation(exception) && !faa_asgi_is_answer(exception) &&
        !faa_asgi_is_disconnect(exception))
        faa_span_record_exception(span, exception);
    faa_span_end(span, 0);
}

static Py_ssize_t cache_size(const struct level *level)
{
    return level->cache ? PyDict_Size(level->cache) : 0;
}

// The parameters of a dependency are solved, and FastAPI goes on to call it.
static void begin(struct level *level, PyObject *dependant)
{
    level->dependant = faa_newref(dependant);
    level->cached = cache_size(level);
    if (faa_settings.slow_dependency_ns == 0 && (level->span = faa_pyspan_new())) {
        start_span(&faa_pyspan(level->span)->span, dependant);
        faa_context_activate(level->span);
    }
    level->start_ns = faa_clock_mono_ns();
}

// Whether it was called at all: a result from before was taken, or its parameters were not valid.
// The first call of a dependency adds to the cache.
static int was_called(const struct level *level)
{
    if (cache_size(level) > level->cached)
        return 1;
    PyObject *use_cache;
    faa_getattr(level->dependant, FAA_NAME(use_cache), &use_cache);
    int anew = use_cache == Py_False;
    Py_DecRef(use_cache);
    return anew;
}

// The call is over, if there was one: FAA_RETURNED when its level went on, else as the level ended.
// What was abandoned (FAA_CLOSED) may be told so in a context of another request, which must not
// become the parent of a span.
static void finish(struct level *level, enum faa_outcome outcome, PyObject *value)
{
    if (!level->dependant)
        return;
    uint64_t limit = faa_settings.slow_dependency_ns;
    int told = faa_clock_mono_ns() - level->start_ns >= limit &&
               (outcome != FAA_RETURNED || was_called(level));
    PyObject *exception = outcome == FAA_RAISED ? value : NULL;
    if (level->span) {
        faa_context_deactivate(level->span);
        if (told)
            end_span(&faa_pyspan(level->span)->span, exception);
        faa_clear(&level->span); // One that is not told was not called: it has no children.
    } else if (told && outcome != FAA_CLOSED && faa_step_wanted()) {
        struct faa_span span;
        start_span(&span, level->dependant);
        faa_span_set_start(&span, level->start_ns);
        end_span(&span, exception);
        faa_span_fini(&span);
    }
    faa_clear(&level->dependant);
}

// ---- the recursion ----------------------------------------------------------------------------

// Each call of the recursion is observed with a tuple: the state's capsule, and the dependant.
static void recursion_enter(PyObject *pair)
{
    struct solving *s = solving_of(PyTuple_GetItem(pair, 0));
    if (s->is_over || s->depth + 1 >= LEVELS_MAX)
        return;
    finish(&s->levels[s->depth], FAA_RETURNED, NULL);
    s->levels[++s->depth].solves = PyTuple_GetItem(pair, 1);
}

// One that was never entered is not on this level.
static void recursion_leave(PyObject *pair, enum faa_outcome outcome, PyObject *value)
{
    struct solving *s = solving_of(PyTuple_GetItem(pair, 0));
    PyObject *dependant = PyTuple_GetItem(pair, 1);
    struct level *level = &s->levels[s->depth];
    if (s->is_over || s->depth == 0 || level->solves != dependant)
        return;
    finish(level, outcome, value);
    faa_clear(&level->cache);
    level->solves = NULL;
    s->depth--;
    if (outcome == FAA_RETURNED)
        begin(&s->levels[s->depth], dependant);
}

static const struct faa_awaitable_ops recursion_ops = {
    .enter = recursion_enter,
    .leave = recursion_leave,
};

static PyObject *recursion_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                size_t nargsf, PyObject *kwnames)
{
    (void)data;
    PyObject *result = faa_call(wrapped, args, nargsf, kwnames);
    struct solving *s = result ? current() : NULL;
    PyObject *dependant = s ? faa_step_keyword(args, nargsf, kwnames, FAA_NAME(dependant)) : NULL;
    if (!dependant || s->depth + 1 >= LEVELS_MAX)
        return result;
    struct level *level = &s->levels[s->depth];
    PyObject *cache = faa_step_keyword(args, nargsf, kwnames, FAA_NAME(dependency_cache));
    if (!level->cache && cache && faa_is_dict(cache))
        level->cache = faa_newref(cache);
    PyObject *pair = PyTuple_Pack(2, s->capsule, dependant);
    if (!pair) {
        PyErr_Clear();
        return result;
    }
    result = faa_awaitable_around(result, &recursion_ops, pair);
    Py_DecRef(pair);
    return result;
}

// Called on a level that has a body, after its last dependency.
static PyObject *body_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                           PyObject *kwnames)
{
    (void)data;
    int saved = errno;
    struct solving *s = current();
    if (s)
        finish(&s->levels[s->depth], FAA_RETURNED, NULL);
    errno = saved;
    return faa_call(wrapped, args, nargsf, kwnames);
}

// ---- the whole --------------------------------------------------------------------------------

static void free_solving(PyObject *capsule)
{
    struct faa_err e = faa_err_save();
    struct solving *s = solving_of(capsule);
    for (size_t i = 0; i < LEVELS_MAX; i++) {
        faa_clear(&s->levels[i].dependant);
        faa_clear(&s->levels[i].cache);
        faa_clear(&s->levels[i].span);
    }
    faa_clear(&s->before);
    free(s);
    faa_err_restore(&e);
}

static void solving_enter(PyObject *capsule)
{
    struct solving *s = solving_of(capsule);
    if (PyContextVar_Get(variable, NULL, &s->before) < 0)
        PyErr_Clear();
    set_current(capsule);
}

static void solving_leave(PyObject *capsule, enum faa_outcome outcome, PyObject *value)
{
    struct solving *s = solving_of(capsule);
    PyObject *now = NULL;
    for (unsigned i = s->depth + 1; i-- > 0;) {
        finish(&s->levels[i], outcome, value);
        faa_clear(&s->levels[i].cache);
    }
    s->is_over = 1;
    if (PyContextVar_Get(variable, NULL, &now) < 0)
        PyErr_Clear();
    if (now == capsule)
        set_current(s->before ? s->before : Py_None);
    Py_DecRef(now);
    faa_clear(&s->before);
}

static const struct faa_awaitable_ops solving_ops = {
    .enter = solving_enter,
    .leave = solving_leave,
};

static int has_dependencies(PyObject *dependant)
{
    PyObject *list;
    faa_getattr(dependant, FAA_NAME(dependencies), &list);
    int some = list && faa_is_list(list) && PyList_Size(list) > 0;
    Py_DecRef(list);
    return some;
}

// Times each dependency of this coroutine; takes its reference.
static PyObject *time_each(PyObject *coroutine)
{
    struct solving *s = calloc(1, sizeof(*s));
    PyObject *capsule = s ? PyCapsule_New(s, capsule_name, free_solving) : NULL;
    if (!capsule) {
        PyErr_Clear();
        free(s);
        return coroutine;
    }
    s->capsule = capsule;
    PyObject *result = faa_awaitable_around(coroutine, &solving_ops, capsule);
    Py_DecRef(capsule);
    return result;
}

static PyObject *dependencies_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                   size_t nargsf, PyObject *kwnames)
{
    static const struct faa_step step = {.what = "dependencies", .scope = "fastapi"};
    (void)data;
    PyObject *result = faa_call(wrapped, args, nargsf, kwnames);
    PyObject *dependant = faa_step_keyword(args, nargsf, kwnames, FAA_NAME(dependant));
    int times = result && has_recursion && dependant && has_dependencies(dependant);
    int tells = result && faa_settings.fastapi_spans & FAA_STEP_DEPENDENCIES;
    if ((!times && !tells) || !faa_step_wanted())
        return result;
    if (times)
        result = time_each(result);
    if (tells) {
        PyObject *call = dependant ? call_of(dependant) : NULL;
        result = faa_step_trace(&step, call, result);
        Py_DecRef(call);
    }
    return result;
}

void faa_fastapi_dependencies_install(void)
{
    static const struct faa_patch whole = {"fastapi.routing:solve_dependencies", dependencies_hook};
    static const struct faa_patch each = {"fastapi.dependencies.utils:solve_dependencies",
                                          recursion_hook};
    static const struct faa_patch body = {"fastapi.dependencies.utils:request_body_to_args",
                                          body_hook};
    if (!variable)
        variable = PyContextVar_New(capsule_name, NULL);
    PyErr_Clear();
    if (!variable)
        return;
    // A seam that is not there has its debug line. Without the recursion there is nothing to time;
    // without the body's, the last dependency of a level is told as longer than it was.
    if (faa_patch_all(&whole, 1) == 0) {
        has_recursion = faa_patch_all(&each, 1) == 0;
        (void)!faa_patch_all(&body, 1);
    }
}

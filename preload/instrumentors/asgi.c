// SPDX-License-Identifier: MIT
// One request: from the call of the application to the last chunk of the response.
#include "instrumentors/asgi.h"

#include "base/clock.h"
#include "python/awaitable.h"
#include "python/err.h"
#include "python/exception.h"
#include "python/watch.h"
#include "span/http.h"
#include "span/tracer.h"

#include <stdlib.h>

enum { PAIRS_COMPARED = 8, BLOCKED_EVENTS_MAX = 8 };

static const char owner; // Its address marks the spans of this file.

static struct faa_request *request_of(PyObject *span)
{
    struct faa_pyspan *s = faa_pyspan(span);
    return s->owner == &owner ? s->extra : NULL;
}

static void free_request(void *extra)
{
    struct faa_request *request = extra;
    faa_clear(&request->headers);
    free(request);
}

// The current request's span object (new reference), if it is not over. Spans of steps inside it
// may be current; it is what they were activated in.
static PyObject *current_request(void)
{
    PyObject *current = faa_context_current(), *span = current;
    while (span && !request_of(span))
        span = faa_pyspan(span)->previous;
    span = span && request_of(span)->headers ? faa_newref(span) : NULL;
    Py_DecRef(current);
    return span;
}

void faa_asgi_add_wait(enum faa_wait what, uint64_t ns)
{
    PyObject *span = current_request();
    if (span)
        request_of(span)->wait_ns[what] += ns;
    Py_DecRef(span);
}

static void append_route(struct faa_request *r, size_t at, struct faa_str path)
{
    size_t room = sizeof(r->route) - at;
    size_t n = path.n < room ? path.n : room;
    memcpy(r->route + at, path.p, n);
    r->route_len = at + n;
}

static PyObject *noted_routes;

void faa_asgi_set_noted_routes(PyObject *class)
{
    faa_clear(&noted_routes);
    noted_routes = faa_newref(class);
}

int faa_asgi_is_noted(PyObject *route)
{
    return noted_routes && PyType_IsSubtype(faa_type_of(route), (PyTypeObject *)noted_routes);
}

// Puts a template behind those of the mounts that the current request has gone through.
static void note(struct faa_str path, int is_mount)
{
    PyObject *span = current_request();
    if (!span)
        return;
    struct faa_request *r = request_of(span);
    append_route(r, r->mount_len, path);
    if (is_mount) {
        r->mount_len = r->route_len;
        r->has_mount = 1;
    } else {
        r->has_route = 1;
    }
    Py_DecRef(span);
}

void faa_asgi_note_mount(struct faa_str path)
{
    note(path, 1);
}

void faa_asgi_note_route(struct faa_str path)
{
    note(path, 0);
}

// The application's root (uvicorn --root-path, FastAPI(root_path=…)) belongs to the route when it
// belongs to the path.
static void note_root(struct faa_request *r, PyObject *scope)
{
    PyObject *root, *path = NULL;
    faa_dict_get(scope, FAA_NAME(root_path), &root);
    struct faa_str text = faa_text(root);
    if (text.n) {
        faa_dict_get(scope, FAA_NAME(path), &path);
        struct faa_str full = faa_text(path);
        if (full.n < text.n || memcmp(full.p, text.p, text.n) != 0)
            text.n = 0;
    }
    while (text.n && text.p[text.n - 1] == '/')
        text.n--;
    append_route(r, 0, text);
    r->mount_len = r->route_len;
    Py_DecRef(root);
    Py_DecRef(path);
}

// "GET /items/{item_id}", or the method alone where there is no route.
static void set_name(struct faa_span *span, struct faa_str method, struct faa_str route)
{
    char name[FAA_SPAN_NAME_MAX];
    size_t room = sizeof(name) - method.n - 1;
    size_t n = route.n < room ? route.n : room;
    memcpy(name, method.p, method.n);
    name[method.n] = ' ';
    memcpy(name + method.n + 1, route.p, n);
    faa_span_set_name(span, (struct faa_str){name, n ? method.n + 1 + n : method.n});
}

static void set_route(struct faa_span *span, struct faa_request *r)
{
    // A mount alone that ended in 404 matched nothing.
    int routed = r->has_route || (r->has_mount && r->status != 404);
    struct faa_str route = {r->route, routed ? r->route_len : 0};
    if (routed && !route.n)
        route = FAA_STR("/");
    if (route.n)
        faa_span_set_str(span, FAA_KEY_HTTP_ROUTE, route);
    set_name(span, r->method, route);
}

static void set_waits(struct faa_span *span, const struct faa_request *r)
{
    static const enum faa_key keys[] = {
        [FAA_WAIT_THREAD] = FAA_KEY_FAA_THREAD_POOL_WAIT_US,
        [FAA_WAIT_CONNECTION] = FAA_KEY_FAA_DB_POOL_WAIT_US,
    };
    for (size_t i = 0; i < FAA_COUNT(keys); i++)
        if (r->wait_ns[i])
            faa_span_set_int(span, keys[i], (int64_t)(r->wait_ns[i] / 1000));
}

// The step that runs, or has just run, held the event loop for too long.
static void tell_step(struct faa_span *span, struct faa_request *r, struct faa_str stack)
{
    uint64_t limit = faa_watch_threshold();
    uint64_t took = r->step_ns ? faa_clock_mono_ns() - r->step_ns : 0;
    if (!limit || took < limit || !span->recording || r->blocked_count >= BLOCKED_EVENTS_MAX)
        return;
    r->blocked_count++;
    faa_span_add_event(span, FAA_STR("event loop blocked"));
    faa_span_event_set_int(span, FAA_KEY_FAA_EVENT_LOOP_BLOCKED_US, (int64_t)(took / 1000));
    if (stack.n)
        faa_span_event_set_str(span, FAA_KEY_CODE_STACKTRACE, stack);
}

static void begin_step(PyObject *object)
{
    struct faa_request *r = request_of(object);
    if (!faa_watch_threshold() || !faa_pyspan(object)->span.recording || r->step_ns)
        return;
    r->step_ns = faa_clock_mono_ns();
    faa_watch_begin(r->step_ns);
}

static void end_step(PyObject *object)
{
    struct faa_request *r = request_of(object);
    if (!r->step_ns)
        return;
    tell_step(&faa_pyspan(object)->span, r, faa_watch_end());
    r->step_ns = 0;
}

static void end_request(PyObject *object)
{
    struct faa_span *span = &faa_pyspan(object)->span;
    struct faa_request *r = request_of(object);
    if (!span->recording)
        return;
    set_route(span, r);
    set_waits(span, r);
    faa_http_set_status(span, r->status, 500);
    faa_span_end(span, r->end_ns);
}

// The response is complete. A server error waits for the exception behind it: the framework raises
// it again after it has sent the error page.
static void complete(PyObject *object)
{
    struct faa_request *r = request_of(object);
    struct faa_span *span = &faa_pyspan(object)->span;
    if (r->status < 500 && r->step_ns) // The step goes on, without the span.
        tell_step(span, r, faa_watch_stack());
    r->end_ns = faa_span_now(span);
    if (r->status < 500)
        end_request(object);
}

static int is_true(PyObject *dict, PyObject *key)
{
    PyObject *value;
    if (faa_dict_get(dict, key, &value) != 1)
        return 0;
    int yes = value == Py_True || (value != Py_False && PyObject_IsTrue(value) == 1);
    faa_err_discard();
    Py_DecRef(value);
    return yes;
}

static void observe(PyObject *object, PyObject *message)
{
    struct faa_request *r = request_of(object);
    PyObject *type, *status;
    if (r->end_ns || !faa_is_dict(message))
        return;
    faa_dict_get(message, FAA_NAME(type), &type);
    struct faa_str name = faa_text(type);
    if (faa_str_eq(name, FAA_STR("http.response.start"))) {
        faa_dict_get(message, FAA_NAME(status), &status);
        long long code = faa_int(status, 0);
        r->status = code >= 100 && code <= 999 ? (int)code : 0;
        r->has_trailers = is_true(message, FAA_NAME(trailers));
        Py_DecRef(status);
    } else if (faa_str_eq(name, FAA_STR("http.response.body")) ||
               faa_str_eq(name, FAA_STR("http.response.zerocopysend"))) {
        if (!r->has_trailers && !is_true(message, FAA_NAME(more_body)))
            complete(object);
    } else if (faa_str_eq(name, FAA_STR("http.response.trailers"))) {
        if (!is_true(message, FAA_NAME(more_trailers)))
            complete(object);
    } else if (faa_str_eq(name, FAA_STR("http.response.pathsend"))) {
        if (!r->has_trailers)
            complete(object);
    }
    Py_DecRef(type);
}

static PyObject *send_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                           PyObject *kwnames)
{
    if (data && FAA_NARGS(nargsf) == 1) {
        int saved = errno;
        observe(data, args[0]);
        errno = saved;
    }
    return faa_call(wrapped, args, nargsf, kwnames);
}

static void enter(PyObject *object)
{
    request_of(object)->has_begun = 1;
    faa_context_activate(object);
    begin_step(object);
}

// A server error whose exception has not come by now has none: what goes on is background work.
static void waits(PyObject *object)
{
    end_step(object);
    if (request_of(object)->end_ns)
        end_request(object);
}

static void leave(PyObject *object, enum faa_outcome outcome, PyObject *exception)
{
    struct faa_request *r = request_of(object);
    struct faa_span *span = &faa_pyspan(object)->span;
    end_step(object);
    faa_context_deactivate(object);
    if (outcome == FAA_RAISED && exception) {
        // The client has gone: the error page that follows reaches nobody, and nothing has failed.
        if (faa_exception_is(exception, "starlette.requests", "ClientDisconnect"))
            r->status = 0;
        else if (!faa_exception_is_cancellation(exception))
            faa_span_record_exception(span, exception);
    }
    if (r->has_begun)
        end_request(object);
    faa_clear(&r->headers);
}

static const struct faa_awaitable_ops request_ops = {
    .enter = enter, .waits = waits, .leave = leave, .resume = begin_step};

static PyObject *new_request(PyObject *scope, PyObject *headers, const char *scope_name)
{
    struct faa_request *r = malloc(sizeof(*r));
    PyObject *object = r ? faa_pyspan_new() : NULL;
    if (!object) {
        free(r);
        return NULL;
    }
    memset(r, 0, offsetof(struct faa_request, route));
    struct faa_pyspan *s = faa_pyspan(object);
    s->owner = &owner;
    s->extra = r;
    s->free_extra = free_request;
    r->headers = faa_newref(headers);
    faa_asgi_read_scope(&s->span, r, scope, scope_name);
    note_root(r, scope);
    return object;
}

// Calls the application with our `send`, and puts the proxy around what it returns.
static PyObject *call_traced(PyObject *wrapped, PyObject *const *args, PyObject *object)
{
    PyObject *send = faa_wrapper_new(args[3], send_hook, object);
    if (!send) {
        PyErr_Clear();
        return faa_call(wrapped, args, 4, NULL);
    }
    PyObject *own[4] = {args[0], args[1], args[2], send};
    PyObject *result = faa_call(wrapped, own, 4, NULL);
    Py_DecRef(send);
    if (!result)
        return NULL;
    PyObject *proxy = faa_awaitable_new(result, &request_ops, object);
    if (!proxy) {
        PyErr_Clear();
        return result;
    }
    Py_DecRef(result);
    return proxy;
}

// The pair at this place of a header list, borrowed; NULL behind its end.
static PyObject *pair_at(PyObject *headers, Py_ssize_t i)
{
    if (faa_is_list(headers))
        return i < PyList_Size(headers) ? PyList_GetItem(headers, i) : NULL;
    return faa_is_tuple(headers) && i < PyTuple_Size(headers) ? PyTuple_GetItem(headers, i) : NULL;
}

// Starlette puts a copy of the list into the scope when headers are looked at (CORSMiddleware,
// request.headers). Its pairs stay the same objects; those of two requests never are, as long as
// both live.
static int is_same_request(PyObject *known, PyObject *headers)
{
    PyObject *pair, *old;
    if (known == headers)
        return 1;
    for (Py_ssize_t i = 0; i < PAIRS_COMPARED && (pair = pair_at(headers, i)); i++)
        for (Py_ssize_t k = 0; k < 4 * PAIRS_COMPARED && (old = pair_at(known, k)); k++)
            if (old == pair)
                return 1;
    return 0;
}

// A request of this scope that nobody has seen yet: its new span object, else NULL.
static PyObject *begin_request(PyObject *scope, const char *scope_name)
{
    PyObject *headers, *object = NULL;
    if (faa_dict_get(scope, FAA_NAME(headers), &headers) != 1)
        return NULL;
    PyObject *outer = current_request();
    if (!outer || !is_same_request(request_of(outer)->headers, headers))
        object = new_request(scope, headers, scope_name);
    Py_DecRef(outer);
    Py_DecRef(headers);
    return object;
}

static PyObject *call_request(PyObject *wrapped, PyObject *const *args, const char *scope_name)
{
    int saved = errno;
    PyObject *object = begin_request(args[1], scope_name);
    errno = saved;
    if (!object)
        return faa_call(wrapped, args, 4, NULL);
    PyObject *result = call_traced(wrapped, args, object);
    Py_DecRef(object);
    return result;
}

static void ignore(PyObject *data)
{
    (void)data;
}

// Other threads run on while this one waits.
static void after_shutdown(PyObject *data, enum faa_outcome outcome, PyObject *exception)
{
    (void)data;
    (void)outcome;
    (void)exception;
    PyThreadState *state = PyEval_SaveThread();
    faa_tracer_flush();
    PyEval_RestoreThread(state);
}

static const struct faa_awaitable_ops lifespan_ops = {
    .enter = ignore, .waits = ignore, .leave = after_shutdown};

static PyObject *call_lifespan(PyObject *wrapped, PyObject *const *args)
{
    PyObject *result = faa_call(wrapped, args, 4, NULL);
    PyObject *proxy = result ? faa_awaitable_new(result, &lifespan_ops, Py_None) : NULL;
    if (!proxy)
        return result;
    Py_DecRef(result);
    return proxy;
}

static PyObject *classes[FAA_FRAMEWORK_COUNT]; // Whose applications are traced.

void faa_asgi_trace_class(enum faa_framework framework, PyObject *class)
{
    faa_clear(&classes[framework]);
    classes[framework] = faa_newref(class);
}

static const char *scope_name_of(PyObject *application)
{
    static const char *const names[] = {
        [FAA_STARLETTE] = "starlette",
        [FAA_FASTAPI] = "fastapi",
    };
    PyTypeObject *type = faa_type_of(application);
    for (size_t i = FAA_COUNT(classes); i-- > 0;)
        if (classes[i] && PyType_IsSubtype(type, (PyTypeObject *)classes[i]))
            return names[i];
    return NULL;
}

PyObject *faa_asgi_application_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                    size_t nargsf, PyObject *kwnames)
{
    (void)data;
    const char *scope_name = FAA_NARGS(nargsf) == 4 && !kwnames ? scope_name_of(args[0]) : NULL;
    PyObject *type = NULL, *result;
    if (scope_name && faa_is_dict(args[1]))
        faa_dict_get(args[1], FAA_NAME(type), &type);
    struct faa_str text = faa_text(type);
    if (faa_str_eq(text, FAA_STR("http")))
        result = call_request(wrapped, args, scope_name);
    else if (faa_str_eq(text, FAA_STR("lifespan")))
        result = call_lifespan(wrapped, args);
    else
        result = faa_call(wrapped, args, nargsf, kwnames);
    Py_DecRef(type);
    return result;
}

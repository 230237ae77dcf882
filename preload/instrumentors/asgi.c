// SPDX-License-Identifier: MIT
// The server edge: which call of an application is a request of its own, and what is put around it.
#include "instrumentors/asgi_request.h"

#include "instrumentors/http_rules.h"
#include "python/err.h"

enum { PAIRS_COMPARED = 8 };

// By whom a request is seen: its server, or the framework of its application.
struct edge {
    const char *scope_name;
    int is_server;
    void (*adopt)(struct faa_span *span, PyObject *scope); ///< See faa_asgi_trace_class; or NULL.
};

static PyObject *classes[FAA_FRAMEWORK_COUNT]; // Whose applications are traced.

static struct edge edges[FAA_FRAMEWORK_COUNT] = {
    [FAA_STARLETTE] = {"starlette", 0, NULL},
    [FAA_FASTAPI] = {"fastapi", 0, NULL},
};

void faa_asgi_trace_class(enum faa_framework framework, PyObject *class,
                          void (*adopt)(struct faa_span *span, PyObject *scope))
{
    faa_clear(&classes[framework]);
    classes[framework] = faa_newref(class);
    edges[framework].adopt = adopt;
}

// The framework's own list goes before the one for all.
static enum faa_rule excluding_rule(void)
{
    if (classes[FAA_FASTAPI] && faa_http_rules_has(FAA_RULE_FASTAPI_EXCLUDED_URLS))
        return FAA_RULE_FASTAPI_EXCLUDED_URLS;
    if (classes[FAA_STARLETTE] && faa_http_rules_has(FAA_RULE_STARLETTE_EXCLUDED_URLS))
        return FAA_RULE_STARLETTE_EXCLUDED_URLS;
    return FAA_RULE_EXCLUDED_URLS;
}

static PyObject *new_request(PyObject *scope, const struct edge *edge)
{
    static const struct faa_span_context excluded = {.suppressed = 1};
    struct faa_scope fields;
    PyObject *object = faa_asgi_request_new();
    if (!object)
        return NULL;
    struct faa_request *r = faa_asgi_request_of(object);
    struct faa_span *span = &faa_pyspan(object)->span;
    faa_asgi_read_scope(&fields, scope);
    r->headers = faa_newref(fields.headers);
    r->is_served = r->is_at_server = edge->is_server;
    if (faa_asgi_is_excluded(&fields, scope, excluding_rule()))
        faa_span_start(span, FAA_KIND_SERVER, edge->scope_name, &excluded);
    else
        faa_asgi_start_span(span, r, &fields, edge->scope_name);
    faa_asgi_note_root(r, scope);
    return object;
}

// Starlette puts a copy of the list into the scope when headers are looked at (CORSMiddleware,
// request.headers). Its pairs stay the same objects; those of two requests never are, as long as
// both live.
static int is_same_request(PyObject *known, PyObject *headers)
{
    PyObject *pair, *old;
    if (known == headers)
        return 1;
    for (Py_ssize_t i = 0; i < PAIRS_COMPARED && (pair = faa_sequence_item(headers, i)); i++)
        for (Py_ssize_t k = 0; k < 4 * PAIRS_COMPARED && (old = faa_sequence_item(known, k)); k++)
            if (old == pair)
                return 1;
    return 0;
}

// A request of this scope that nobody has seen yet: its new span object, else NULL. Who sees it
// again is nearer to the application, and its name says more.
static PyObject *begin_request(PyObject *scope, const struct edge *edge)
{
    PyObject *headers = faa_dict_peek(scope, FAA_NAME(headers));
    if (!headers)
        return NULL;
    PyObject *outer = faa_asgi_current_request(), *object = NULL;
    struct faa_request *known = outer ? faa_asgi_request_of(outer) : NULL;
    if (!known || !is_same_request(known->headers, headers)) {
        object = new_request(scope, edge);
    } else if (known->is_at_server && !edge->is_server) {
        known->is_at_server = 0;
        faa_pyspan(outer)->span.scope = edge->scope_name;
        faa_asgi_note_root(known, scope); // FastAPI(root_path=…) is known only by now.
    }
    if (edge->adopt && (object || outer))
        edge->adopt(&faa_pyspan(object ? object : outer)->span, scope);
    Py_DecRef(outer);
    return object;
}

// The application with our `receive` and `send`, and the proxy around what it returns.
static PyObject *call_traced(PyObject *wrapped, PyObject *const *args, size_t nargs, size_t at,
                             PyObject *object, int is_websocket)
{
    PyObject *own[FAA_ASGI_ARGS_MAX], *receive = NULL;
    PyObject *send = faa_wrapper_new(
        args[at + 2], is_websocket ? faa_asgi_websocket_send_hook : faa_asgi_http_send_hook,
        object);
    if (is_websocket)
        receive = faa_wrapper_new(args[at + 1], faa_asgi_websocket_receive_hook, object);
    PyErr_Clear();
    memcpy(own, args, nargs * sizeof(own[0]));
    own[at + 1] = receive ? receive : args[at + 1];
    own[at + 2] = send ? send : args[at + 2];
    PyObject *result = faa_call(wrapped, own, nargs, NULL);
    Py_DecRef(send);
    Py_DecRef(receive);
    PyObject *proxy = faa_awaitable_around(
        result, is_websocket ? &faa_asgi_websocket_ops : &faa_asgi_http_ops, object);
    if (proxy == result)
        return result;
    struct faa_request *r = faa_asgi_request_of(object);
    r->receive = args[at + 1];
    r->send = args[at + 2];
    faa_awaitable_keep(proxy, r->receive, r->send);
    return proxy;
}

static PyObject *call_request(PyObject *wrapped, PyObject *const *args, size_t nargs, size_t at,
                              const struct edge *edge, int is_websocket)
{
    int saved = errno;
    PyObject *object = begin_request(args[at], edge);
    errno = saved;
    if (!object)
        return faa_call(wrapped, args, nargs, NULL);
    PyObject *result = call_traced(wrapped, args, nargs, at, object, is_websocket);
    Py_DecRef(object);
    return result;
}

static PyObject *call(PyObject *wrapped, PyObject *const *args, size_t nargs, size_t at,
                      const struct edge *edge)
{
    struct faa_str type = {"", 0};
    if (nargs <= FAA_ASGI_ARGS_MAX && faa_is_dict(args[at]))
        type = faa_text(faa_dict_peek(args[at], FAA_NAME(type)));
    if (faa_str_eq(type, FAA_STR("http")))
        return call_request(wrapped, args, nargs, at, edge, 0);
    if (faa_str_eq(type, FAA_STR("websocket")))
        return call_request(wrapped, args, nargs, at, edge, 1);
    if (faa_str_eq(type, FAA_STR("lifespan")))
        return faa_asgi_call_lifespan(wrapped, args, nargs, at, edge->scope_name);
    return faa_call(wrapped, args, nargs, NULL);
}

PyObject *faa_asgi_serve(PyObject *wrapped, PyObject *const *args, size_t nargs, size_t at,
                         const char *scope_name)
{
    const struct edge edge = {scope_name, 1, NULL};
    return call(wrapped, args, nargs, at, &edge);
}

static const struct edge *edge_of(PyObject *application)
{
    PyTypeObject *type = faa_type_of(application);
    for (size_t i = FAA_COUNT(classes); i-- > 0;)
        if (classes[i] && PyType_IsSubtype(type, (PyTypeObject *)classes[i]))
            return &edges[i];
    return NULL;
}

PyObject *faa_asgi_application_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                    size_t nargsf, PyObject *kwnames)
{
    (void)data;
    const struct edge *edge = FAA_NARGS(nargsf) == 4 && !kwnames ? edge_of(args[0]) : NULL;
    if (!edge)
        return faa_call(wrapped, args, nargsf, kwnames);
    return call(wrapped, args, 4, 1, edge);
}

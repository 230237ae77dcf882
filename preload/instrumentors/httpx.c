// SPDX-License-Identifier: MIT
// httpx, sync and async: one CLIENT span per exchange. Client._send_single_request is where each
// passes once, redirects and steps of an authentication one by one; what passes a transport of
// httpx's own again within it is a retry, of a transport around that one.
#include "instrumentors/http_body.h"
#include "instrumentors/http_client.h"
#include "instrumentors/httpx_request.h"
#include "instrumentors/httpx_wire.h"
#include "instrumentors/instrumentor.h"
#include "instrumentors/step.h"
#include "python/awaitable.h"
#include "python/err.h"
#include "python/iterator.h"
#include "python/wrapper.h"

#include <string.h>

static const struct faa_http_client client = {"httpx", FAA_RULE_HTTPX_EXCLUDED_URLS};

// What an exchange knows about its call; kept by it.
struct sending {
    PyObject *request; // Borrowed from the call.
    PyObject *headers; // Ours, see httpx_request.h; or NULL.
    int resend_count, passes;
    int is_connect;
    // It goes to a transport of httpx's own: the trace is told by httpx_wire.c, and not among the
    // request's headers, and what the transport gives back is what the call does.
    int by_wire;
    int entered;  // The coroutine has run.
    int shown;    // Our headers are among the request's while the call runs.
    int answered; // Of the attempt at hand: it was seen at the transport.
    int failed;
};

_Static_assert(sizeof(struct sending) <= FAA_HTTP_CLIENT_ROOM, "it lies there");

static void fini_sending(void *room)
{
    struct sending *s = room;
    Py_DecRef(s->headers);
}

static struct sending *sending_of(PyObject *exchange)
{
    return faa_http_client_room(exchange);
}

// The current exchange, if it is one of httpx's. New reference, or NULL.
static PyObject *current_exchange(void)
{
    PyObject *exchange = faa_http_client_current();
    if (exchange && faa_pyspan(exchange)->span.scope != client.scope)
        faa_clear(&exchange);
    return exchange;
}

// ---- ways out -----------------------------------------------------------------------------------

// A class of transports of httpx's own, whose requests leave by httpcore, and its method, ours.
struct way_out {
    const char *class_name;
    PyObject *class, *method_name, *method;
};

static struct way_out ways_out[] = {{.class_name = "HTTPTransport"},
                                    {.class_name = "AsyncHTTPTransport"}};

// Nothing of anybody else's comes between such a transport and our hook in it. What tests put in
// place of the method sees requests as a transport would.
static int is_way_out(PyObject *transport)
{
    for (size_t i = 0; i < FAA_COUNT(ways_out); i++) {
        const struct way_out *way = &ways_out[i];
        PyObject *now;
        if ((PyObject *)faa_type_of(transport) != way->class)
            continue;
        faa_getattr(way->class, way->method_name, &now);
        Py_DecRef(now);
        return now && now == way->method;
    }
    return 0;
}

static int are_ways_out(PyObject *mounts)
{
    PyObject *pattern, *transport;
    Py_ssize_t at = 0;
    if (!faa_is_dict(mounts))
        return 0;
    while (PyDict_Next(mounts, &at, &pattern, &transport))
        if (transport != Py_None && !is_way_out(transport))
            return 0;
    return 1;
}

// True when any request of this client leaves by a transport of httpx's own. Headers that the user
// wants to have recorded are those among the request's.
static int goes_by_wire(PyObject *sender)
{
    PyObject *transport, *mounts = NULL;
    if (!faa_httpx_wire_is_hooked() || faa_http_rules_has(FAA_RULE_CLIENT_REQUEST))
        return 0;
    int goes = faa_getattr(sender, FAA_NAME(_transport), &transport) == 1 &&
               is_way_out(transport) && faa_getattr(sender, FAA_NAME(_mounts), &mounts) == 1 &&
               are_ways_out(mounts);
    Py_DecRef(transport);
    Py_DecRef(mounts);
    return goes;
}

// Notes a class of `module` and its method. 0, or -1.
static int find_way_out(struct way_out *way, PyObject *module, PyObject *method_name)
{
    if (!way->class)
        way->class = PyObject_GetAttrString(module, way->class_name);
    if (way->class && !way->method)
        way->method = PyObject_GetAttr(way->class, method_name);
    way->method_name = method_name;
    return way->method ? 0 : -1;
}

// ---- begin and end ------------------------------------------------------------------------------

// How often this request has gone out before in the call, which our hooks have left on it.
static int take_resend_count(PyObject *request)
{
    PyObject *number;
    int count = 0;
    if (faa_getattr(request, FAA_NAME(_faa_resend_count), &number) == 1)
        count = (int)faa_int(number, 0);
    if (count > 0 && PyObject_DelAttr(request, FAA_NAME(_faa_resend_count)))
        PyErr_Clear();
    Py_DecRef(number);
    return count;
}

static void leave_resend_count(PyObject *request, Py_ssize_t count)
{
    PyObject *number = PyLong_FromSsize_t(count);
    if (!number || PyObject_SetAttr(request, FAA_NAME(_faa_resend_count), number))
        faa_err_discard();
    Py_DecRef(number);
}

static void capture(PyObject *exchange, PyObject *message, enum faa_rule rule,
                    void (*take)(PyObject *exchange, PyObject *headers))
{
    PyObject *headers, *raw = NULL;
    if (!faa_http_rules_has(rule))
        return;
    if (faa_getattr(message, FAA_NAME(headers), &headers) == 1)
        faa_getattr(headers, FAA_NAME(raw), &raw);
    take(exchange, raw);
    Py_DecRef(headers);
    Py_DecRef(raw);
}

// An exchange with our headers made and not yet put in, of a client's, under what is current; for a
// call that blocks its thread it is current from here on. New reference, or NULL.
static PyObject *begin(PyObject *sender, PyObject *request, int blocks)
{
    struct faa_httpx_line line;
    int resend_count = take_resend_count(request);
    faa_httpx_line_init(&line, request);
    struct faa_str method = faa_text(line.method);
    PyObject *outer = faa_context_current();
    PyObject *exchange =
        blocks ? faa_http_client_enter(&client, method, line.url, resend_count, outer)
               : faa_http_client_begin(&client, method, line.url, resend_count, outer);
    Py_DecRef(outer);
    if (exchange) {
        struct sending *s = sending_of(exchange);
        *s = (struct sending){.request = request, .resend_count = resend_count};
        s->is_connect = faa_str_eq(method, FAA_STR("CONNECT"));
        s->by_wire = goes_by_wire(sender);
        if (!s->by_wire)
            s->headers = faa_httpx_headers_make(exchange, request);
        faa_http_client_set_fini(exchange, fini_sending);
    }
    faa_httpx_line_fini(&line);
    return exchange;
}

// The call runs: from here until `suspend` our headers are among the request's.
static void resume(PyObject *exchange)
{
    struct sending *s = sending_of(exchange);
    if (s->shown)
        faa_httpx_headers_put(s->request, s->headers);
}

static void suspend(PyObject *exchange)
{
    struct sending *s = sending_of(exchange);
    if (s->shown)
        faa_httpx_headers_take(s->request);
}

static void start(PyObject *exchange)
{
    struct sending *s = sending_of(exchange);
    s->entered = 1;
    if (s->by_wire)
        faa_http_client_mark_sent(exchange);
    s->shown = s->headers != NULL;
    resume(exchange);
    capture(exchange, s->request, FAA_RULE_CLIENT_REQUEST, faa_http_client_capture_request);
}

// "HTTP/1.1" as 11, "HTTP/2" as 20; 0 for anything else.
static long long version_number(struct faa_str text)
{
    static const struct faa_str prefix = FAA_STR("HTTP/");
    if (text.n <= prefix.n || memcmp(text.p, prefix.p, prefix.n) != 0)
        return 0;
    const char *p = text.p + prefix.n;
    if (text.n == prefix.n + 1)
        return (p[0] - '0') * 10;
    return text.n == prefix.n + 3 && p[1] == '.' ? (p[0] - '0') * 10 + p[2] - '0' : 0;
}

static void set_answer(PyObject *exchange, PyObject *response)
{
    PyObject *status, *extensions, *version = NULL;
    faa_getattr(response, FAA_NAME(status_code), &status);
    if (faa_getattr(response, FAA_NAME(extensions), &extensions) == 1 && faa_is_dict(extensions))
        faa_dict_get(extensions, FAA_NAME(http_version), &version);
    faa_http_client_set_status(exchange, (int)faa_int(status, 0));
    faa_http_client_set_version_number(exchange, version_number(faa_text(version)));
    capture(exchange, response, FAA_RULE_CLIENT_RESPONSE, faa_http_client_capture_response);
    Py_DecRef(status);
    Py_DecRef(extensions);
    Py_DecRef(version);
}

// What is left of the exchange is to read the body, unless all of it is there (a transport without
// wire). New reference to the stream that it is read from, or NULL.
static PyObject *open_stream(const struct sending *s, PyObject *response)
{
    PyObject *closed = NULL, *stream = NULL;
    if (s->by_wire)
        faa_getattr(response, FAA_NAME(stream), &stream);
    else if (faa_getattr(response, FAA_NAME(is_closed), &closed) == 1 && closed != Py_True)
        faa_getattr(response, FAA_NAME(stream), &stream);
    Py_DecRef(closed);
    return stream;
}

// The call is over. `response` is NULL where it has raised `error`, or was given up.
static void finish(PyObject *exchange, PyObject *response, PyObject *error)
{
    struct sending *s = sending_of(exchange);
    int is_told = s->answered || s->failed;
    suspend(exchange);
    faa_context_leave(exchange);
    if (response && !is_told)
        set_answer(exchange, response);
    PyObject *stream = response ? open_stream(s, response) : NULL;
    if (stream)
        faa_http_body_attach(stream, exchange);
    else
        faa_http_client_end(exchange, is_told ? NULL : error);
    Py_DecRef(stream);
    s->request = NULL;
}

// ---- the call -----------------------------------------------------------------------------------

// The request of a call, borrowed, or NULL: after self, or by its name.
static PyObject *request_of(PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return FAA_NARGS(nargsf) >= 2 ? args[1]
                                  : faa_step_keyword(args, nargsf, kwnames, FAA_NAME(request));
}

static PyObject *send_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                           PyObject *kwnames)
{
    (void)data;
    int saved = errno;
    PyObject *request = request_of(args, nargsf, kwnames);
    PyObject *exchange = request ? begin(args[0], request, 1) : NULL;
    if (exchange)
        start(exchange);
    errno = saved;
    PyObject *response = faa_call(wrapped, args, nargsf, kwnames);
    if (exchange) {
        struct faa_err e = faa_err_save_of(response);
        faa_err_normalize(&e);
        finish(exchange, response, e.value);
        faa_err_restore(&e);
        Py_DecRef(exchange);
    }
    return response;
}

static void enter_call(PyObject *exchange)
{
    PyObject *outer = faa_context_current();
    start(exchange);
    faa_context_enter(exchange, outer);
    Py_DecRef(outer);
}

static void leave_call(PyObject *exchange, enum faa_outcome outcome, PyObject *value)
{
    if (!sending_of(exchange)->entered)
        return; // Never awaited: nothing went out.
    finish(exchange, outcome == FAA_RETURNED ? value : NULL, outcome == FAA_RAISED ? value : NULL);
}

static const struct faa_awaitable_ops wire_ops = {.enter = enter_call, .leave = leave_call};

// Where the coroutine waits other code runs, which may look at the request or send it too.
static const struct faa_awaitable_ops call_ops = {
    .enter = enter_call,
    .resume = resume,
    .waits = suspend,
    .leave = leave_call,
};

static PyObject *async_send_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                 size_t nargsf, PyObject *kwnames)
{
    (void)data;
    PyObject *request = request_of(args, nargsf, kwnames);
    PyObject *coroutine = faa_call(wrapped, args, nargsf, kwnames);
    int saved = errno;
    PyObject *exchange = request && coroutine ? begin(args[0], request, 0) : NULL;
    if (exchange) {
        PyObject *inner = coroutine;
        coroutine = faa_awaitable_around(
            coroutine, sending_of(exchange)->by_wire ? &wire_ops : &call_ops, exchange);
        if (coroutine != inner)
            faa_awaitable_keep(coroutine, request, NULL);
        Py_DecRef(exchange);
    }
    errno = saved;
    return coroutine;
}

// ---- resends ------------------------------------------------------------------------------------

// What has been answered to the call so far: steps of an authentication.
static void note_history(PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    PyObject *request = request_of(args, nargsf, kwnames);
    PyObject *history = FAA_NARGS(nargsf) >= 4
                            ? args[3]
                            : faa_step_keyword(args, nargsf, kwnames, FAA_NAME(history));
    Py_ssize_t n = request && history && faa_is_list(history) ? PyList_Size(history) : 0;
    if (n > 0)
        leave_resend_count(request, n);
}

static PyObject *redirects_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                size_t nargsf, PyObject *kwnames)
{
    (void)data;
    note_history(args, nargsf, kwnames);
    return faa_call(wrapped, args, nargsf, kwnames);
}

static PyObject *build_redirect_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                     size_t nargsf, PyObject *kwnames)
{
    (void)data;
    PyObject *request = faa_call(wrapped, args, nargsf, kwnames), *history;
    if (!request || FAA_NARGS(nargsf) < 3)
        return request;
    if (faa_getattr(args[2], FAA_NAME(history), &history) == 1 && faa_is_list(history))
        leave_resend_count(request, PyList_Size(history) + 1);
    Py_DecRef(history);
    return request;
}

// ---- transports ---------------------------------------------------------------------------------

static void begin_again(PyObject *exchange, PyObject *request)
{
    struct sending *s = sending_of(exchange);
    struct faa_httpx_line line;
    int has_own = !s->headers;
    faa_httpx_line_init(&line, request);
    faa_http_client_resend(exchange, 0, NULL, faa_text(line.method), line.url,
                           s->resend_count + s->passes - 1);
    faa_httpx_line_fini(&line);
    s->answered = s->failed = 0;
    faa_clear(&s->headers);
    if (!has_own)
        s->headers = faa_httpx_headers_make(exchange, request);
}

PyObject *faa_httpx_wire_exchange(void)
{
    PyObject *exchange = current_exchange();
    if (exchange && !sending_of(exchange)->by_wire)
        faa_clear(&exchange);
    return exchange;
}

int faa_httpx_wire_is_connect(PyObject *exchange)
{
    return sending_of(exchange)->is_connect;
}

// A request reaches the wire: new reference to its exchange, or NULL where it is none of ours.
// Before httpx 0.20 transports are given no request.
static PyObject *begin_pass(PyObject *request)
{
    PyObject *exchange = !request || faa_is_bytes(request) ? NULL : current_exchange();
    struct sending *s = exchange ? sending_of(exchange) : NULL;
    // None, or its call is over (a task goes on in a copy of its context), or is all that matters.
    if (!s || !s->request || s->by_wire) {
        Py_DecRef(exchange);
        return NULL;
    }
    if (s->passes++ == 0)
        faa_http_client_mark_sent(exchange);
    else
        begin_again(exchange, request);
    if (s->passes > 1 || request != s->request)
        faa_httpx_headers_put(request, s->headers);
    s->shown = s->headers != NULL;
    return exchange;
}

// The headers have gone out by now. What comes after, httpx's look for cookies first, is faster
// with one less.
static void end_pass(PyObject *exchange, PyObject *response, PyObject *error)
{
    struct sending *s = sending_of(exchange);
    if (s->request)
        suspend(exchange);
    s->shown = 0;
    if (response) {
        set_answer(exchange, response);
        s->answered = 1;
    } else if (error) {
        faa_http_client_fail(exchange, error);
        s->failed = 1;
    }
}

static PyObject *transport_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                size_t nargsf, PyObject *kwnames)
{
    (void)data;
    int saved = errno;
    PyObject *exchange = begin_pass(request_of(args, nargsf, kwnames));
    errno = saved;
    PyObject *response = faa_call(wrapped, args, nargsf, kwnames);
    if (exchange) {
        struct faa_err e = faa_err_save_of(response);
        faa_err_normalize(&e);
        end_pass(exchange, response, e.value);
        faa_err_restore(&e);
        Py_DecRef(exchange);
    }
    return response;
}

static void leave_pass(PyObject *exchange, enum faa_outcome outcome, PyObject *value)
{
    end_pass(exchange, outcome == FAA_RETURNED ? value : NULL,
             outcome == FAA_RAISED ? value : NULL);
}

static const struct faa_awaitable_ops pass_ops = {.leave = leave_pass};

static PyObject *async_transport_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                      size_t nargsf, PyObject *kwnames)
{
    (void)data;
    int saved = errno;
    PyObject *exchange = begin_pass(request_of(args, nargsf, kwnames));
    errno = saved;
    PyObject *coroutine = faa_call(wrapped, args, nargsf, kwnames);
    if (exchange && coroutine)
        coroutine = faa_awaitable_around(coroutine, &pass_ops, exchange);
    Py_DecRef(exchange);
    return coroutine;
}

// ---- bodies -------------------------------------------------------------------------------------

// The stream keeps its exchange until it is closed, which comes next.
static void end_body(PyObject *body, enum faa_outcome outcome, PyObject *error)
{
    if (outcome != FAA_CLOSED) // Who stops in the middle closes the stream, or drops it.
        faa_http_client_end(faa_http_body_kept(body), error);
}

static PyObject *iter_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                           PyObject *kwnames)
{
    (void)data;
    PyObject *iterator = faa_call(wrapped, args, nargsf, kwnames);
    PyObject *body = iterator && FAA_NARGS(nargsf) >= 1 ? faa_http_body_of(args[0]) : NULL;
    if (body)
        iterator = faa_iterator_around(iterator, end_body, body);
    Py_DecRef(body);
    return iterator;
}

static PyObject *close_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                            PyObject *kwnames)
{
    (void)data;
    if (FAA_NARGS(nargsf) >= 1)
        faa_http_body_end(args[0], NULL);
    return faa_call(wrapped, args, nargsf, kwnames);
}

// ---- install ------------------------------------------------------------------------------------

// The classes have what a look at an object without it finds: an absent attribute is an exception
// in the making.
static int prepare(void)
{
    PyObject *transports = PyImport_ImportModule("httpx._transports.default");
    PyObject *module = PyImport_ImportModule("httpx._client");
    PyObject *sync_stream = module ? PyObject_GetAttrString(module, "BoundSyncStream") : NULL;
    PyObject *async_stream = module ? PyObject_GetAttrString(module, "BoundAsyncStream") : NULL;
    PyObject *request = module ? PyObject_GetAttrString(module, "Request") : NULL;
    int status = -1;
    if (transports && sync_stream && async_stream && request)
        status = find_way_out(&ways_out[0], transports, FAA_NAME(handle_request)) ||
                         find_way_out(&ways_out[1], transports, FAA_NAME(handle_async_request)) ||
                         faa_http_body_prepare(sync_stream) ||
                         faa_http_body_prepare(async_stream) ||
                         PyObject_SetAttr(request, FAA_NAME(_faa_resend_count), Py_None)
                     ? -1
                     : 0;
    Py_DecRef(transports);
    Py_DecRef(module);
    Py_DecRef(sync_stream);
    Py_DecRef(async_stream);
    Py_DecRef(request);
    return status;
}

static int install(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {"httpx._client:Client._send_single_request", send_hook},
        {"httpx._client:AsyncClient._send_single_request", async_send_hook},
        {"httpx._client:Client._send_handling_redirects", redirects_hook},
        {"httpx._client:AsyncClient._send_handling_redirects", redirects_hook},
        {"httpx._client:BaseClient._build_redirect_request", build_redirect_hook},
        {"httpx._client:BoundSyncStream.__iter__", iter_hook},
        {"httpx._client:BoundSyncStream.close", close_hook},
        {"httpx._client:BoundAsyncStream.__aiter__", iter_hook},
        {"httpx._client:BoundAsyncStream.aclose", close_hook},
        {"httpx._transports.default:HTTPTransport.handle_request", transport_hook},
        {"httpx._transports.default:AsyncHTTPTransport.handle_async_request", async_transport_hook},
    };
    if (faa_httpx_headers_check() || faa_patch_all(patches, FAA_COUNT(patches)))
        return -1;
    return prepare();
}

const struct faa_instrumentor faa_instrumentor_httpx = {
    .name = "httpx",
    .module = "httpx",
    .install = install,
    .about =
        {
            .library = "httpx",
            .versions = "0.18 to 0.28",
            .spans = "one per exchange on the wire: redirects, steps of an authentication and "
                     "retries of a transport are spans of their own; it ends when the body has "
                     "been read, is closed or dropped",
            .attributes = "http.request.method http.request.method_original "
                          "http.request.resend_count url.full server.address server.port "
                          "http.response.status_code network.protocol.version error.type "
                          "http.request.header.<key> http.response.header.<key>",
            .switches = "OTEL_PYTHON_HTTPX_EXCLUDED_URLS OTEL_PYTHON_EXCLUDED_URLS "
                        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST "
                        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_RESPONSE "
                        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS",
        },
};

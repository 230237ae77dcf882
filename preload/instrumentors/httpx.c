// SPDX-License-Identifier: MIT
// httpx, sync and async: one CLIENT span per exchange. Client._send_single_request is where each
// passes once, redirects and steps of an authentication one by one; what passes a transport of
// httpx's own again within it is a retry, of a transport around that one.
#include "instrumentors/http_body.h"
#include "instrumentors/http_client.h"
#include "instrumentors/httpx_request.h"
#include "instrumentors/instrumentor.h"
#include "instrumentors/step.h"
#include "python/awaitable.h"
#include "python/blocking.h"
#include "python/err.h"
#include "python/iterator.h"
#include "python/wrapper.h"

#include <stdlib.h>

static const struct faa_http_client client = {"httpx", FAA_RULE_HTTPX_EXCLUDED_URLS};

// What an exchange knows about its call; kept by it.
struct sending {
    PyObject *request; // Borrowed from the call.
    PyObject *headers; // Ours, see httpx_request.h; or NULL.
    int resend_count, passes;
    int entered;  // The coroutine has run.
    int shown;    // Our headers are among the request's while the call runs.
    int answered; // Of the attempt at hand: it was seen at the transport.
    int failed;
};

static void free_sending(void *p)
{
    struct sending *s = p;
    Py_DecRef(s->headers);
    free(s);
}

static struct sending *sending_of(PyObject *exchange)
{
    return faa_http_client_data(exchange);
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

// An exchange with our headers made and not yet put in. New reference, or NULL.
static PyObject *begin(PyObject *request)
{
    struct faa_httpx_line line;
    int resend_count = take_resend_count(request);
    faa_httpx_line_init(&line, request);
    PyObject *exchange =
        faa_http_client_begin(&client, faa_text(line.method), line.url, resend_count);
    struct sending *s = exchange ? calloc(1, sizeof(*s)) : NULL;
    faa_httpx_line_fini(&line);
    if (!s) {
        Py_DecRef(exchange);
        return NULL;
    }
    s->request = request;
    s->resend_count = resend_count;
    s->headers = faa_httpx_headers_make(exchange, request);
    faa_http_client_set_data(exchange, s, free_sending);
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
    s->shown = s->headers != NULL;
    resume(exchange);
    capture(exchange, s->request, FAA_RULE_CLIENT_REQUEST, faa_http_client_capture_request);
    faa_context_activate(exchange);
}

static void set_answer(PyObject *exchange, PyObject *response)
{
    PyObject *status, *extensions, *version = NULL;
    faa_getattr(response, FAA_NAME(status_code), &status);
    if (faa_getattr(response, FAA_NAME(extensions), &extensions) == 1 && faa_is_dict(extensions))
        faa_dict_get(extensions, FAA_NAME(http_version), &version);
    faa_http_client_set_status(exchange, (int)faa_int(status, 0));
    faa_http_client_set_version(exchange, faa_text(version));
    capture(exchange, response, FAA_RULE_CLIENT_RESPONSE, faa_http_client_capture_response);
    Py_DecRef(status);
    Py_DecRef(extensions);
    Py_DecRef(version);
}

// What is left of the exchange is to read the body, unless all of it is there (a transport without
// wire). New reference to the stream that it is read from, or NULL.
static PyObject *open_stream(PyObject *response)
{
    PyObject *closed, *stream = NULL;
    if (faa_getattr(response, FAA_NAME(is_closed), &closed) == 1 && closed != Py_True)
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
    faa_context_deactivate(exchange);
    if (response && !is_told)
        set_answer(exchange, response);
    PyObject *stream = response ? open_stream(response) : NULL;
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
    PyObject *exchange = request ? begin(request) : NULL;
    if (exchange) {
        faa_span_mark_blocking(&faa_pyspan(exchange)->span);
        start(exchange);
    }
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

static void leave_call(PyObject *exchange, enum faa_outcome outcome, PyObject *value)
{
    if (!sending_of(exchange)->entered)
        return; // Never awaited: nothing went out.
    finish(exchange, outcome == FAA_RETURNED ? value : NULL, outcome == FAA_RAISED ? value : NULL);
}

// Where the coroutine waits other code runs, which may look at the request or send it too.
static const struct faa_awaitable_ops call_ops = {
    .enter = start,
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
    PyObject *exchange = request && coroutine ? begin(request) : NULL;
    if (exchange) {
        PyObject *inner = coroutine;
        coroutine = faa_awaitable_around(coroutine, &call_ops, exchange);
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

// A request reaches the wire: new reference to its exchange, or NULL where it is none of ours.
// Before httpx 0.20 transports are given no request.
static PyObject *begin_pass(PyObject *request)
{
    PyObject *exchange = !request || faa_is_bytes(request) ? NULL : faa_http_client_current();
    struct sending *s =
        exchange && faa_pyspan(exchange)->span.scope == client.scope ? sending_of(exchange) : NULL;
    if (!s || !s->request) { // None, or its call is over: a task goes on in a copy of its context.
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

static void end_body(PyObject *stream, enum faa_outcome outcome, PyObject *error)
{
    if (outcome != FAA_CLOSED) // Who stops in the middle closes the stream, or drops it.
        faa_http_body_end(stream, error);
}

static int is_open(PyObject *const *args, size_t nargsf)
{
    PyObject *exchange = FAA_NARGS(nargsf) >= 1 ? faa_http_body_exchange(args[0]) : NULL;
    Py_DecRef(exchange);
    return exchange != NULL;
}

static PyObject *iter_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                           PyObject *kwnames)
{
    (void)data;
    PyObject *iterator = faa_call(wrapped, args, nargsf, kwnames);
    if (iterator && is_open(args, nargsf))
        return faa_iterator_around(iterator, end_body, args[0]);
    return iterator;
}

static PyObject *aiter_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                            PyObject *kwnames)
{
    (void)data;
    PyObject *iterator = faa_call(wrapped, args, nargsf, kwnames);
    if (iterator && is_open(args, nargsf))
        return faa_aiterator_around(iterator, end_body, args[0]);
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
    PyObject *module = PyImport_ImportModule("httpx._client");
    PyObject *sync_stream = module ? PyObject_GetAttrString(module, "BoundSyncStream") : NULL;
    PyObject *async_stream = module ? PyObject_GetAttrString(module, "BoundAsyncStream") : NULL;
    PyObject *request = module ? PyObject_GetAttrString(module, "Request") : NULL;
    int status = -1;
    if (sync_stream && async_stream && request)
        status = faa_http_body_prepare(sync_stream) || faa_http_body_prepare(async_stream) ||
                         PyObject_SetAttr(request, FAA_NAME(_faa_resend_count), Py_None)
                     ? -1
                     : 0;
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
        {"httpx._client:BoundAsyncStream.__aiter__", aiter_hook},
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

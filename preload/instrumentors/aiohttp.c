// SPDX-License-Identifier: MIT
// aiohttp's client: one CLIENT span per exchange. ClientSession._request is the call, with its
// redirects, retries and middlewares; each exchange in it asks the connector for a connection once.
#include "instrumentors/http_body.h"
#include "instrumentors/http_client.h"
#include "instrumentors/instrumentor.h"
#include "python/awaitable.h"
#include "python/err.h"
#include "python/exception.h"
#include "python/wrapper.h"

#include <stdlib.h>

static const struct faa_http_client client = {"aiohttp-client",
                                              FAA_RULE_AIOHTTP_CLIENT_EXCLUDED_URLS};

// ---- the call -----------------------------------------------------------------------------------

// One call of _request, in a capsule that the context variable holds while it runs: what it sends
// is known by it, and a call within it, of a middleware, is another one.
struct call {
    PyObject *exchange; // The last one begun, or NULL.
    PyObject *outer;    // What the variable held before, or NULL.
    int attempts;
    int stands_aside; // The library that called us has made the span.
};

// One exchange; kept by it. Objects are here to be compared, and not kept.
struct attempt {
    const void *request, *response;
    const void *handled; // The exception that was being handled when the answer came.
    int sent;            // Its request has a connection; before, a CONNECT to a proxy may go out.
    int wants_headers;   // The request's headers are about to be written.
    int answered, failed;
};

static const char capsule_name[] = "faa.aiohttp_call";
static PyObject *variable;

static void free_call(PyObject *capsule)
{
    struct faa_err e = faa_err_save();
    struct call *c = PyCapsule_GetPointer(capsule, capsule_name);
    if (c) {
        Py_DecRef(c->exchange);
        Py_DecRef(c->outer);
        free(c);
    }
    PyErr_Clear();
    faa_err_restore(&e);
}

static PyObject *new_call(void)
{
    struct call *c = calloc(1, sizeof(*c));
    PyObject *capsule = c ? PyCapsule_New(c, capsule_name, free_call) : NULL;
    if (!capsule) {
        PyErr_Clear();
        free(c);
    }
    return capsule;
}

static struct call *call_of(PyObject *capsule)
{
    return PyCapsule_GetPointer(capsule, capsule_name);
}

static PyObject *get_variable(void)
{
    PyObject *value = NULL;
    if (PyContextVar_Get(variable, Py_None, &value) < 0)
        PyErr_Clear();
    return value;
}

static void set_variable(PyObject *value)
{
    PyObject *token = PyContextVar_Set(variable, value ? value : Py_None);
    if (!token)
        PyErr_Clear();
    Py_DecRef(token);
}

// Our exchange that is current and has not ended, as a new reference; NULL when there is none.
static PyObject *current_exchange(void)
{
    PyObject *exchange = faa_http_client_current();
    if (exchange && faa_pyspan(exchange)->span.scope != client.scope)
        faa_clear(&exchange);
    return exchange;
}

static struct attempt *attempt_of(PyObject *exchange)
{
    return faa_http_client_data(exchange);
}

static void enter_call(PyObject *capsule)
{
    call_of(capsule)->outer = get_variable();
    set_variable(capsule);
}

// What has been answered did not fail: what the call raises after it is about the answer.
static void end_exchange(PyObject *exchange, PyObject *error)
{
    const struct attempt *a = attempt_of(exchange);
    faa_http_client_end(exchange, a->answered || a->failed ? NULL : error);
}

// The body is still to come, unless all of it came with the headers. Nothing more belongs to an
// exchange that has switched protocols.
static int has_open_body(const struct attempt *a, PyObject *response)
{
    PyObject *status, *closed;
    if (a->response != response)
        return 0;
    faa_getattr(response, FAA_NAME(status), &status);
    faa_getattr(response, FAA_NAME(closed), &closed);
    int open = closed == Py_False && faa_int(status, 0) != 101;
    Py_DecRef(status);
    Py_DecRef(closed);
    return open;
}

// The exception that is being handled. New reference, or NULL.
static PyObject *handled_exception(void)
{
    PyObject *type = NULL, *value = NULL, *traceback = NULL;
    PyErr_GetExcInfo(&type, &value, &traceback);
    Py_DecRef(type);
    Py_DecRef(traceback);
    if (value == Py_None)
        faa_clear(&value);
    return value;
}

static void keep_open(PyObject *exchange, PyObject *response)
{
    PyObject *handled = handled_exception();
    attempt_of(exchange)->handled = handled;
    Py_DecRef(handled);
    faa_http_body_attach(response, exchange);
}

static void leave_call(PyObject *capsule, enum faa_outcome outcome, PyObject *value)
{
    struct call *c = call_of(capsule);
    PyObject *now = get_variable(), *exchange = c->exchange;
    if (now == capsule)
        set_variable(c->outer);
    Py_DecRef(now);
    faa_clear(&c->outer);
    c->exchange = NULL;
    if (!exchange)
        return;
    faa_context_deactivate(exchange);
    if (outcome == FAA_RETURNED && has_open_body(attempt_of(exchange), value))
        keep_open(exchange, value);
    else
        end_exchange(exchange, outcome == FAA_RAISED ? value : NULL);
    Py_DecRef(exchange);
}

static const struct faa_awaitable_ops call_ops = {.enter = enter_call, .leave = leave_call};

static PyObject *request_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                              size_t nargsf, PyObject *kwnames)
{
    (void)data;
    PyObject *coroutine = faa_call(wrapped, args, nargsf, kwnames);
    PyObject *capsule = coroutine ? new_call() : NULL;
    if (capsule)
        coroutine = faa_awaitable_around(coroutine, &call_ops, capsule);
    Py_DecRef(capsule);
    return coroutine;
}

// ---- exchanges ----------------------------------------------------------------------------------

// True when the request carries the context of the exchange that is current, of another library
// (httpx, with a transport of aiohttp's): then that is this one's span.
static int is_anothers(PyObject *request)
{
    struct faa_injection in = {.count = 0};
    PyObject *current = faa_http_client_current(), *headers = NULL, *name = NULL, *value = NULL;
    int same = 0;
    if (current && faa_pyspan(current)->span.scope != client.scope &&
        faa_getattr(request, FAA_NAME(headers), &headers) == 1)
        faa_http_client_context(current, &in);
    if (in.count > 0)
        name = PyUnicode_FromString(in.headers[0].name.p);
    if (name && PySequence_Contains(headers, name) == 1)
        value = PyObject_GetItem(headers, name);
    if (value)
        same = faa_str_eq(faa_text(value), in.headers[0].value);
    faa_err_discard();
    if (same)
        faa_http_client_mark_sent(current);
    Py_DecRef(current);
    Py_DecRef(headers);
    Py_DecRef(name);
    Py_DecRef(value);
    return same;
}

static PyObject *begin_exchange(PyObject *request, int resend_count)
{
    PyObject *method, *url, *text = NULL;
    faa_getattr(request, FAA_NAME(method), &method);
    if (faa_getattr(request, FAA_NAME(original_url), &url) == 1)
        text = PyObject_Str(url);
    faa_err_discard();
    PyObject *exchange =
        faa_http_client_begin(&client, faa_text(method), faa_text(text), resend_count);
    struct attempt *a = exchange ? calloc(1, sizeof(*a)) : NULL;
    Py_DecRef(method);
    Py_DecRef(url);
    Py_DecRef(text);
    if (!a) {
        Py_DecRef(exchange);
        return NULL;
    }
    a->request = request;
    faa_http_client_set_data(exchange, a, free);
    return exchange;
}

// The attempt before this one is over: the answer sends us on, or a retry follows its failure.
static void next_attempt(struct call *c, PyObject *request)
{
    if (c->exchange) {
        faa_context_deactivate(c->exchange);
        faa_http_client_end(c->exchange, NULL);
        faa_clear(&c->exchange);
    } else if (c->attempts == 0) {
        c->stands_aside = is_anothers(request);
    }
    if (c->stands_aside)
        return;
    c->exchange = begin_exchange(request, c->attempts++);
    if (c->exchange) {
        faa_http_client_mark_sent(c->exchange);
        faa_context_activate(c->exchange);
    }
}

static PyObject *connect_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                              size_t nargsf, PyObject *kwnames)
{
    (void)data;
    int saved = errno;
    PyObject *capsule = FAA_NARGS(nargsf) >= 2 ? get_variable() : NULL;
    if (capsule && capsule != Py_None)
        next_attempt(call_of(capsule), args[1]);
    Py_DecRef(capsule);
    errno = saved;
    return faa_call(wrapped, args, nargsf, kwnames);
}

// ClientRequest.send, of this exchange's request and not of a CONNECT to a proxy on its behalf:
// the next thing that it does is to write the headers.
static PyObject *send_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                           PyObject *kwnames)
{
    (void)data;
    PyObject *exchange = FAA_NARGS(nargsf) >= 1 ? current_exchange() : NULL;
    struct attempt *a = exchange ? attempt_of(exchange) : NULL;
    if (a && a->request == args[0])
        a->sent = a->wants_headers = 1;
    Py_DecRef(exchange);
    return faa_call(wrapped, args, nargsf, kwnames);
}

// The headers as they are to be written: a copy with ours in it, or NULL when there are none to put
// in. The request keeps its own, and so does what the application sees of it.
static PyObject *headers_to_write(PyObject *exchange, PyObject *headers)
{
    struct attempt *a = attempt_of(exchange);
    if (!a->wants_headers)
        return NULL;
    a->wants_headers = 0;
    PyObject *copy = PyObject_CallMethodObjArgs(headers, FAA_NAME(copy), NULL);
    if (copy && faa_http_client_inject(exchange, copy) != 1)
        faa_clear(&copy);
    faa_err_discard();
    faa_http_client_capture_request(exchange, copy ? copy : headers);
    return copy;
}

static PyObject *write_headers_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                    size_t nargsf, PyObject *kwnames)
{
    (void)data;
    int saved = errno, is_plain = FAA_NARGS(nargsf) == 3 && !kwnames;
    PyObject *exchange = is_plain ? current_exchange() : NULL;
    PyObject *headers = exchange ? headers_to_write(exchange, args[2]) : NULL, *result;
    Py_DecRef(exchange);
    errno = saved;
    if (headers) {
        PyObject *const ours[] = {args[0], args[1], headers};
        result = faa_call(wrapped, ours, 3, NULL);
        Py_DecRef(headers);
    } else {
        result = faa_call(wrapped, args, nargsf, kwnames);
    }
    return result;
}

// ---- answers ------------------------------------------------------------------------------------

// aiohttp's HttpVersion is a tuple of two numbers.
static void set_version(PyObject *exchange, PyObject *response)
{
    PyObject *version;
    if (faa_getattr(response, FAA_NAME(version), &version) == 1 && faa_is_tuple(version)) {
        PyObject *major = faa_sequence_item(version, 0), *minor = faa_sequence_item(version, 1);
        long long number = (major ? faa_int(major, 0) : 0) * 10 + (minor ? faa_int(minor, 0) : 0);
        faa_http_client_set_version(exchange, number == 11   ? FAA_STR("1.1")
                                              : number == 10 ? FAA_STR("1.0")
                                                             : FAA_STR(""));
    }
    Py_DecRef(version);
}

static void leave_start(PyObject *exchange, enum faa_outcome outcome, PyObject *value)
{
    struct attempt *a = attempt_of(exchange);
    PyObject *status, *headers = NULL;
    if (outcome == FAA_RAISED && value) {
        faa_http_client_fail(exchange, value);
        a->failed = 1;
    }
    if (outcome != FAA_RETURNED)
        return;
    a->answered = 1;
    a->response = value;
    faa_getattr(value, FAA_NAME(status), &status);
    faa_http_client_set_status(exchange, (int)faa_int(status, 0));
    set_version(exchange, value);
    if (faa_http_rules_has(FAA_RULE_CLIENT_RESPONSE))
        faa_getattr(value, FAA_NAME(raw_headers), &headers);
    faa_http_client_capture_response(exchange, headers);
    Py_DecRef(status);
    Py_DecRef(headers);
}

static const struct faa_awaitable_ops start_ops = {.leave = leave_start};

static PyObject *start_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                            PyObject *kwnames)
{
    (void)data;
    PyObject *coroutine = faa_call(wrapped, args, nargsf, kwnames);
    PyObject *exchange = coroutine ? current_exchange() : NULL;
    if (exchange && attempt_of(exchange)->sent)
        coroutine = faa_awaitable_around(coroutine, &start_ops, exchange);
    Py_DecRef(exchange);
    return coroutine;
}

// What the connection has told the body's stream to have broken it. New reference, or NULL.
static PyObject *stream_error(PyObject *response)
{
    PyObject *content, *error = NULL;
    if (faa_getattr(response, FAA_NAME(content), &content) == 1 && content != Py_None)
        error = PyObject_CallMethodObjArgs(content, FAA_NAME(exception), NULL);
    faa_err_discard();
    Py_DecRef(content);
    if (error && !faa_is_exception(error))
        faa_clear(&error);
    return error;
}

// A timeout of the call while somebody reads is told to nobody but him: it closes the response on
// its way out. One that was handled already when the response came is another's.
static PyObject *timeout_of(PyObject *exchange)
{
    PyObject *error = handled_exception();
    if (error && (attempt_of(exchange)->handled == error ||
                  !faa_exception_is(error, "asyncio.exceptions", "TimeoutError")))
        faa_clear(&error);
    return error;
}

static void close_body(PyObject *response, int may_time_out)
{
    PyObject *exchange = faa_http_body_exchange(response);
    if (!exchange)
        return;
    struct faa_err e = faa_err_save();
    PyObject *error = stream_error(response);
    if (!error && may_time_out)
        error = timeout_of(exchange);
    faa_http_body_end(response, error);
    Py_DecRef(error);
    Py_DecRef(exchange);
    faa_err_restore(&e);
}

// ClientResponse.close and release.
static PyObject *close_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                            PyObject *kwnames)
{
    (void)data;
    if (FAA_NARGS(nargsf) >= 1)
        close_body(args[0], 1);
    return faa_call(wrapped, args, nargsf, kwnames);
}

static PyObject *del_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                          PyObject *kwnames)
{
    (void)data;
    if (FAA_NARGS(nargsf) >= 1)
        close_body(args[0], 0);
    return faa_call(wrapped, args, nargsf, kwnames);
}

static PyObject *eof_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                          PyObject *kwnames)
{
    (void)data;
    if (FAA_NARGS(nargsf) >= 1)
        faa_http_body_end(args[0], NULL);
    return faa_call(wrapped, args, nargsf, kwnames);
}

// ---- install ------------------------------------------------------------------------------------

static int install(PyObject *module)
{
    static const struct faa_patch patches[] = {
        {"aiohttp.client:ClientSession._request", request_hook},
        {"aiohttp.connector:BaseConnector.connect", connect_hook},
        {"aiohttp.client_reqrep:ClientRequest.send", send_hook},
        {"aiohttp.http_writer:StreamWriter.write_headers", write_headers_hook},
        {"aiohttp.client_reqrep:ClientResponse.start", start_hook},
        {"aiohttp.client_reqrep:ClientResponse._response_eof", eof_hook},
        {"aiohttp.client_reqrep:ClientResponse.close", close_hook},
        {"aiohttp.client_reqrep:ClientResponse.release", close_hook},
        {"aiohttp.client_reqrep:ClientResponse.__del__", del_hook},
    };
    if (!variable)
        variable = PyContextVar_New("faa.aiohttp_call", NULL);
    if (!variable || faa_patch_all(patches, FAA_COUNT(patches)))
        return -1;
    PyObject *response = PyObject_GetAttrString(module, "ClientResponse");
    int status = response ? faa_http_body_prepare(response) : -1;
    Py_DecRef(response);
    return status;
}

const struct faa_instrumentor faa_instrumentor_aiohttp = {
    .name = "aiohttp-client",
    .module = "aiohttp",
    .install = install,
    .about =
        {
            .library = "aiohttp (client)",
            .versions = "3.8 to 3.14",
            .spans = "one per exchange on the wire: redirects, retries and what middlewares send "
                     "again are spans of their own, and so is the handshake of a WebSocket; it "
                     "ends when the body has been read, is closed or dropped",
            .attributes = "http.request.method http.request.method_original "
                          "http.request.resend_count url.full server.address server.port "
                          "http.response.status_code network.protocol.version error.type "
                          "http.request.header.<key> http.response.header.<key>",
            .switches = "OTEL_PYTHON_AIOHTTP_CLIENT_EXCLUDED_URLS OTEL_PYTHON_EXCLUDED_URLS "
                        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST "
                        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_RESPONSE "
                        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS",
        },
};

// SPDX-License-Identifier: MIT
// aiohttp's client: one CLIENT span per exchange. ClientSession._request is the call, with its
// redirects, retries and middlewares; each exchange in it asks the connector for a connection once.
#include "instrumentors/aiohttp_request.h"
#include "instrumentors/http_body.h"
#include "instrumentors/http_client.h"
#include "instrumentors/instrumentor.h"
#include "python/awaitable.h"
#include "python/err.h"
#include "python/exception.h"
#include "python/wrapper.h"

#include <string.h>

static const struct faa_http_client client = {"aiohttp-client",
                                              FAA_RULE_AIOHTTP_CLIENT_EXCLUDED_URLS};

// ---- the call -----------------------------------------------------------------------------------

// One call of _request, which the context variable holds while it runs: what it sends is known by
// it, and a call within it, of a middleware, is another one.
struct call {
    PyObject *exchange; // The last one begun, or NULL.
    PyObject *outer;    // What the variable held before, or NULL.
    int attempts;
    int stands_aside; // The library that called us has made the span.
    // Then it stays in the variable: to set that one costs as much as the rest of a call.
    int is_over;
};

// One exchange; kept by it. Objects are here to be compared, and not kept.
struct attempt {
    const void *response;
    const void *handled; // The exception that was being handled when the answer came.
    long long status;
    int is_connect;
    int sent; // Its head is written; before, a CONNECT to a proxy may go out.
    int answered, failed;
};

_Static_assert(sizeof(struct attempt) <= FAA_HTTP_CLIENT_ROOM, "it lies there");

static PyObject *call_type;
static PyObject *variable;

static struct call *call_of(PyObject *object)
{
    return faa_state(object);
}

static void call_dealloc(PyObject *self)
{
    struct call *c = call_of(self);
    struct faa_err e = faa_err_save();
    Py_DecRef(c->exchange);
    Py_DecRef(c->outer);
    faa_err_restore(&e);
    faa_free(self, 0);
}

static PyType_Slot call_slots[] = {
    {Py_tp_dealloc, call_dealloc},
    {0, NULL},
};

static PyType_Spec call_spec = {
    .name = "faa.aiohttp_call",
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = call_slots,
};

static PyObject *new_call(void)
{
    PyObject *call = faa_alloc_raw(call_type, sizeof(struct call));
    if (call)
        *call_of(call) = (struct call){.exchange = NULL};
    else
        PyErr_Clear();
    return call;
}

// The call that runs. New reference, or NULL.
static PyObject *current_call(void)
{
    PyObject *value = NULL;
    if (PyContextVar_Get(variable, NULL, &value) < 0)
        PyErr_Clear();
    if (value && (faa_type_of(value) != (PyTypeObject *)call_type || call_of(value)->is_over))
        faa_clear(&value);
    return value;
}

static void set_variable(PyObject *call)
{
    PyObject *token = PyContextVar_Set(variable, call);
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
    return faa_http_client_room(exchange);
}

static void enter_call(PyObject *call)
{
    call_of(call)->outer = current_call();
    set_variable(call);
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
    PyObject *closed;
    if (a->response != response || a->status == 101)
        return 0;
    if (faa_getattr(response, FAA_NAME(_closed), &closed) != 1)
        faa_getattr(response, FAA_NAME(closed), &closed);
    Py_DecRef(closed);
    return closed == Py_False;
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

static void leave_call(PyObject *call, enum faa_outcome outcome, PyObject *value)
{
    struct call *c = call_of(call);
    PyObject *exchange = c->exchange;
    PyObject *now = c->outer ? current_call() : NULL;
    c->is_over = 1;
    if (now == call)
        set_variable(c->outer);
    Py_DecRef(now);
    faa_clear(&c->outer);
    c->exchange = NULL;
    if (!exchange)
        return;
    faa_context_leave(exchange);
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
    PyObject *call = coroutine ? new_call() : NULL;
    if (call)
        coroutine = faa_awaitable_around(coroutine, &call_ops, call);
    Py_DecRef(call);
    return coroutine;
}

// ---- exchanges ----------------------------------------------------------------------------------

// True when the request carries the context of the exchange that is `current`, if it is one, of
// another library (httpx, with a transport of aiohttp's): then that is this one's span.
static int is_anothers(PyObject *request, PyObject *current)
{
    struct faa_injection in;
    PyObject *headers, *name = NULL, *value = NULL;
    int same = 0;
    if (!faa_http_client_is_exchange(current) || faa_pyspan(current)->span.scope == client.scope)
        return 0;
    in.count = 0;
    if (faa_getattr(request, FAA_NAME(headers), &headers) == 1)
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
    Py_DecRef(headers);
    Py_DecRef(name);
    Py_DecRef(value);
    return same;
}

static PyObject *begin_exchange(PyObject *request, int resend_count, PyObject *outer)
{
    PyObject *method, *original;
    struct faa_aiohttp_url url;
    faa_getattr(request, FAA_NAME(method), &method);
    faa_getattr(request, FAA_NAME(original_url), &original);
    faa_aiohttp_url_init(&url, original);
    struct faa_str name = faa_text(method);
    PyObject *exchange = faa_http_client_begin(&client, name, url.str, resend_count, outer);
    if (exchange)
        *attempt_of(exchange) =
            (struct attempt){.is_connect = faa_str_eq(name, FAA_STR("CONNECT"))};
    faa_aiohttp_url_fini(&url);
    Py_DecRef(method);
    Py_DecRef(original);
    return exchange;
}

// The attempt before this one is over: the answer sends us on, or a retry follows its failure.
static void next_attempt(struct call *c, PyObject *request)
{
    if (c->exchange) {
        faa_context_leave(c->exchange);
        faa_http_client_end(c->exchange, NULL);
        faa_clear(&c->exchange);
    }
    PyObject *outer = faa_context_current();
    if (c->attempts == 0)
        c->stands_aside = is_anothers(request, outer);
    if (!c->stands_aside)
        c->exchange = begin_exchange(request, c->attempts++, outer);
    if (c->exchange) {
        faa_http_client_mark_sent(c->exchange);
        faa_context_enter(c->exchange, outer);
    }
    Py_DecRef(outer);
}

static PyObject *connect_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                              size_t nargsf, PyObject *kwnames)
{
    (void)data;
    int saved = errno;
    PyObject *call = FAA_NARGS(nargsf) >= 2 ? current_call() : NULL;
    if (call)
        next_attempt(call_of(call), args[1]);
    Py_DecRef(call);
    errno = saved;
    return faa_call(wrapped, args, nargsf, kwnames);
}

// The headers that the user wants to have recorded; ours are among them.
static void capture_request(PyObject *exchange, PyObject *headers, int told)
{
    if (!faa_http_rules_has(FAA_RULE_CLIENT_REQUEST))
        return;
    PyObject *copy = told ? PyObject_CallMethodObjArgs(headers, FAA_NAME(copy), NULL) : NULL;
    if (copy)
        faa_http_client_inject(exchange, copy);
    faa_err_discard();
    faa_http_client_capture_request(exchange, copy ? copy : headers);
    Py_DecRef(copy);
}

// Whether a first line is that of the exchange's request: not of a CONNECT to a proxy on its
// behalf, nor of an answer, of a server that runs in the call's context.
static int is_its_own(const struct attempt *a, struct faa_str line)
{
    static const struct faa_str connect = FAA_STR("CONNECT "), answer = FAA_STR("HTTP/");
    if (line.n > connect.n && memcmp(line.p, connect.p, connect.n) == 0)
        return a->is_connect;
    return line.n > answer.n && memcmp(line.p, answer.p, answer.n) != 0;
}

// _serialize_headers(status_line, headers), which makes the bytes of a head. The headers of the
// trace go into these: the request keeps its own, and so does what the application sees of it.
static PyObject *serialize_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                size_t nargsf, PyObject *kwnames)
{
    (void)data;
    PyObject *head = faa_call(wrapped, args, nargsf, kwnames);
    if (!head || FAA_NARGS(nargsf) != 2)
        return head;
    int saved = errno;
    PyObject *exchange = current_exchange(), *told = NULL;
    struct attempt *a = exchange ? attempt_of(exchange) : NULL;
    if (a && !a->sent && is_its_own(a, faa_text(args[0]))) {
        a->sent = 1;
        told = faa_aiohttp_head_tell(head, exchange);
        capture_request(exchange, args[1], told != NULL);
    }
    Py_DecRef(exchange);
    errno = saved;
    if (!told)
        return head;
    Py_DecRef(head);
    return told;
}

// ---- answers ------------------------------------------------------------------------------------

// aiohttp's HttpVersion is a tuple of two numbers.
static void set_version(PyObject *exchange, PyObject *response)
{
    PyObject *version;
    if (faa_getattr(response, FAA_NAME(version), &version) == 1 && faa_is_tuple(version)) {
        PyObject *major = faa_sequence_item(version, 0), *minor = faa_sequence_item(version, 1);
        faa_http_client_set_version_number(exchange, faa_int(major, 0) * 10 + faa_int(minor, 0));
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
    a->status = faa_int(status, 0);
    faa_http_client_set_status(exchange, (int)a->status);
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
    PyObject *body = faa_http_body_of(response);
    if (!body)
        return;
    struct faa_err e = faa_err_save();
    PyObject *error = stream_error(response);
    if (!error && may_time_out)
        error = timeout_of(faa_http_body_kept(body));
    faa_http_body_end(response, error);
    Py_DecRef(error);
    Py_DecRef(body);
    faa_err_restore(&e);
}

// ClientResponse._notify_content: the first thing that close and release do, once.
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
        {"aiohttp.http_writer:_serialize_headers", serialize_hook},
        {"aiohttp.client_reqrep:ClientResponse.start", start_hook},
        {"aiohttp.client_reqrep:ClientResponse._response_eof", eof_hook},
        {"aiohttp.client_reqrep:ClientResponse._notify_content", close_hook},
        {"aiohttp.client_reqrep:ClientResponse.__del__", del_hook},
    };
    if (!call_type)
        call_type = faa_type_new(&call_spec, sizeof(struct call));
    if (call_type && !variable)
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

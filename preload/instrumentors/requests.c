// SPDX-License-Identifier: MIT
// requests: one CLIENT span per HTTP exchange. The adapter is where each exchange passes once:
// redirects come through it one by one.
#include "instrumentors/http_client.h"
#include "instrumentors/instrumentor.h"
#include "python/blocking.h"
#include "python/err.h"
#include "python/wrapper.h"

static const struct faa_http_client client = {"requests", FAA_RULE_REQUESTS_EXCLUDED_URLS};

// While an exchange lasts, the request has a copy of its headers with ours in it: another thread
// may send the same request at this moment, and read the application's own.
struct injected {
    PyObject *original, *copy;
};

static void inject_context(struct injected *in, PyObject *request, PyObject *exchange)
{
    if (faa_getattr(request, FAA_NAME(headers), &in->original) == 1) {
        in->copy = PyObject_CallMethodObjArgs(in->original, FAA_NAME(copy), NULL);
        if (in->copy && (faa_http_client_inject(exchange, in->copy) != 1 ||
                         PyObject_SetAttr(request, FAA_NAME(headers), in->copy)))
            faa_clear(&in->copy);
    }
    faa_err_discard();
}

static void restore_headers(struct injected *in, PyObject *request)
{
    PyObject *now = NULL;
    if (in->copy && faa_getattr(request, FAA_NAME(headers), &now) == 1 && now == in->copy &&
        PyObject_SetAttr(request, FAA_NAME(headers), in->original))
        faa_err_discard();
    Py_DecRef(now);
    faa_clear(&in->copy);
    faa_clear(&in->original);
}

static PyObject *begin(PyObject *request, struct injected *in)
{
    PyObject *method, *url;
    faa_getattr(request, FAA_NAME(method), &method);
    faa_getattr(request, FAA_NAME(url), &url);
    PyObject *exchange = faa_http_client_begin(&client, faa_text(method), faa_text(url), 0);
    Py_DecRef(method);
    Py_DecRef(url);
    if (!exchange)
        return NULL;
    faa_span_mark_blocking(&faa_pyspan(exchange)->span);
    inject_context(in, request, exchange);
    faa_http_client_capture_request(exchange, in->copy ? in->copy : in->original);
    faa_context_activate(exchange);
    return exchange;
}

// urllib3 says 10, 11 or 20.
static void set_version(PyObject *exchange, PyObject *response)
{
    PyObject *raw, *version = NULL;
    if (faa_getattr(response, FAA_NAME(raw), &raw) == 1)
        faa_getattr(raw, FAA_NAME(version), &version);
    long long number = faa_int(version, 0);
    faa_http_client_set_version(exchange, number == 10   ? FAA_STR("1.0")
                                          : number == 11 ? FAA_STR("1.1")
                                          : number == 20 ? FAA_STR("2")
                                                         : FAA_STR(""));
    Py_DecRef(raw);
    Py_DecRef(version);
}

static void set_response(PyObject *exchange, PyObject *response)
{
    PyObject *status, *headers;
    faa_getattr(response, FAA_NAME(status_code), &status);
    faa_getattr(response, FAA_NAME(headers), &headers);
    faa_http_client_set_status(exchange, (int)faa_int(status, 0));
    set_version(exchange, response);
    faa_http_client_capture_response(exchange, headers);
    Py_DecRef(status);
    Py_DecRef(headers);
}

// `response` is NULL where the call has raised.
static void end(PyObject *exchange, struct injected *in, PyObject *request, PyObject *response)
{
    struct faa_err e = faa_err_save();
    faa_err_normalize(&e);
    faa_context_deactivate(exchange);
    restore_headers(in, request);
    if (response)
        set_response(exchange, response);
    faa_http_client_end(exchange, e.value);
    faa_err_restore(&e);
    Py_DecRef(exchange);
}

// The PreparedRequest, borrowed, or NULL: the first argument of the method, or a keyword of a
// subclass that calls its parent so.
static PyObject *request_of(PyObject *const *args, size_t nargs, PyObject *kwnames)
{
    if (nargs >= 2)
        return args[1];
    Py_ssize_t count = kwnames ? PyTuple_Size(kwnames) : 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (faa_str_eq(faa_text(PyTuple_GetItem(kwnames, i)), FAA_STR("request")))
            return args[nargs + (size_t)i];
    }
    return NULL;
}

static PyObject *send_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                           PyObject *kwnames)
{
    (void)data;
    PyObject *request = request_of(args, FAA_NARGS(nargsf), kwnames);
    if (!request)
        return faa_call(wrapped, args, nargsf, kwnames);
    int saved = errno;
    struct injected in = {NULL, NULL};
    PyObject *exchange = begin(request, &in);
    errno = saved;
    PyObject *response = faa_call(wrapped, args, nargsf, kwnames);
    if (exchange)
        end(exchange, &in, request, response);
    return response;
}

static int install(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {{"requests.adapters:HTTPAdapter.send", send_hook}};
    return faa_patch_all(patches, FAA_COUNT(patches));
}

const struct faa_instrumentor faa_instrumentor_requests = {
    .name = "requests",
    .module = "requests.adapters",
    .install = install,
    .about =
        {
            .library = "requests",
            .versions = "2.25 to 2.34",
            .spans = "one CLIENT span per exchange; a redirect is an exchange of its own",
            .attributes = "http.request.method http.request.method_original url.full "
                          "server.address server.port http.response.status_code "
                          "network.protocol.version http.request.header.<key> "
                          "http.response.header.<key> error.type exception.type "
                          "exception.message exception.stacktrace faa.event_loop.blocking "
                          "code.function.name code.file.path code.line.number",
            .switches = "OTEL_PYTHON_REQUESTS_EXCLUDED_URLS OTEL_PYTHON_EXCLUDED_URLS "
                        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST "
                        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_RESPONSE "
                        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS "
                        "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS OTEL_PROPAGATORS",
        },
};

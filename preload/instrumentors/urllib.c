// SPDX-License-Identifier: MIT
// urllib.request, of the standard library: one CLIENT span per HTTP exchange. All handlers'
// requests go through do_open; redirects and answers to challenges go back to the opener first.
#include "instrumentors/http_call.h"
#include "instrumentors/http_client.h"
#include "instrumentors/http_wire.h"
#include "instrumentors/instrumentor.h"
#include "instrumentors/step.h"
#include "python/blocking.h"
#include "python/err.h"
#include "python/exception.h"
#include "python/wrapper.h"

static const struct faa_http_client client = {"urllib", FAA_RULE_URLLIB_EXCLUDED_URLS};

static PyObject *begin(PyObject *request)
{
    PyObject *url;
    PyObject *method = PyObject_CallMethodObjArgs(request, FAA_NAME(get_method), NULL);
    if (!method)
        faa_err_discard();
    faa_getattr(request, FAA_NAME(full_url), &url);
    int sent = faa_http_call_sent();
    PyObject *exchange = faa_http_client_begin(&client, faa_text(method), faa_text(url), sent);
    if (exchange) {
        faa_span_mark_blocking(&faa_pyspan(exchange)->span);
        faa_context_activate(exchange);
        faa_http_client_mark_sent(exchange);
        faa_http_call_set_sent(sent + 1);
    }
    Py_DecRef(method);
    Py_DecRef(url);
    return exchange;
}

static long long number(PyObject *object, PyObject *name)
{
    PyObject *value;
    faa_getattr(object, name, &value);
    long long n = faa_int(value, -1);
    Py_DecRef(value);
    return n;
}

static void tell(PyObject *exchange, PyObject *response)
{
    PyObject *headers;
    if (!faa_pyspan(exchange)->span.recording)
        return;
    long long version = number(response, FAA_NAME(version));
    faa_http_client_set_status(exchange, (int)number(response, FAA_NAME(status)));
    faa_http_client_set_version(exchange, version == 10   ? FAA_STR("1.0")
                                          : version == 11 ? FAA_STR("1.1")
                                                          : FAA_STR(""));
    if (!faa_http_rules_has(FAA_RULE_CLIENT_RESPONSE))
        return;
    if (faa_getattr(response, FAA_NAME(headers), &headers) == 1)
        faa_http_client_capture_response(exchange, headers);
    Py_DecRef(headers);
}

// ---- the body -----------------------------------------------------------------------------------

static int is_closed(PyObject *response)
{
    PyObject *fp;
    int open = faa_getattr(response, FAA_NAME(fp), &fp) == 1 && fp != Py_None;
    Py_DecRef(fp);
    return !open;
}

static void finish(PyObject *response, PyObject *exchange, PyObject *error)
{
    if (error || number(response, FAA_NAME(length)) > 0)
        faa_http_client_set_body_size(exchange, -1); // It has not come as a whole.
    faa_http_client_end(exchange, error);
    if (PyObject_DelAttr(response, FAA_NAME(_faa_span)))
        faa_err_discard();
}

// True for what the other side, or the way to it, has done: a wrong argument is nothing of that.
static int is_failure(PyObject *error)
{
    return error && (PyErr_GivenExceptionMatches(error, PyExc_OSError) ||
                     faa_exception_is(error, "http.client", "HTTPException"));
}

// After each call that reads; `result` is NULL where it has raised.
static void look(PyObject *response, PyObject *result)
{
    PyObject *exchange;
    struct faa_err e = faa_err_save_of(result);
    if (faa_getattr(response, FAA_NAME(_faa_span), &exchange) == 1) {
        faa_err_normalize(&e);
        if (!result && is_failure(e.value))
            finish(response, exchange, e.value);
        else if (is_closed(response))
            finish(response, exchange, NULL);
        Py_DecRef(exchange);
    }
    faa_err_restore(&e);
}

static PyObject *read_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                           PyObject *kwnames)
{
    (void)data;
    PyObject *result = faa_call(wrapped, args, nargsf, kwnames);
    if (FAA_NARGS(nargsf) > 0)
        look(args[0], result);
    return result;
}

static const struct faa_patch body_patches[] = {
    {"http.client:HTTPResponse.read", read_hook},
    {"http.client:HTTPResponse.read1", read_hook},
    {"http.client:HTTPResponse.readinto", read_hook},
    {"http.client:HTTPResponse.readline", read_hook},
    {"http.client:HTTPResponse.close", read_hook},
};

// True when the ends of bodies are seen. Clients that are built on http.client import
// urllib.request too and read by these functions several times in a call: they stay as they are
// until urllib opens something. Threads that race here do the same.
static int bodies_are_seen(void)
{
    static _Atomic(int) status = 1;
    if (status == 1)
        status = faa_patch_all(body_patches, FAA_COUNT(body_patches));
    return status == 0;
}

// The span goes on until the body has been read. `length` counts what is left of it.
static void follow(PyObject *exchange, PyObject *response)
{
    long long length = number(response, FAA_NAME(length));
    faa_http_client_set_body_size(exchange, length);
    if (length != 0 && !is_closed(response) && bodies_are_seen()) {
        if (PyObject_SetAttr(response, FAA_NAME(_faa_span), exchange) == 0)
            return;
        faa_err_discard();
    }
    faa_http_client_end(exchange, NULL);
}

// ---- the exchange -------------------------------------------------------------------------------

static PyObject *do_open_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                              size_t nargsf, PyObject *kwnames)
{
    (void)data;
    int saved = errno;
    PyObject *request =
        FAA_NARGS(nargsf) >= 3 ? args[2] : faa_step_keyword(args, nargsf, kwnames, FAA_NAME(req));
    PyObject *exchange = request && !faa_http_client_is_waiting() ? begin(request) : NULL;
    errno = saved;
    PyObject *response = faa_call(wrapped, args, nargsf, kwnames);
    if (!exchange)
        return response;
    struct faa_err e = faa_err_save_of(response);
    faa_err_normalize(&e);
    faa_context_deactivate(exchange);
    if (response) {
        tell(exchange, response);
        follow(exchange, response);
    } else {
        faa_http_client_end(exchange, e.value);
    }
    faa_err_restore(&e);
    Py_DecRef(exchange);
    return response;
}

// The handlers of redirects and challenges open what comes next by the same opener, when an
// exchange is over; while one is on its way (a body that is read from another URL), it is another
// call.
static PyObject *open_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                           PyObject *kwnames)
{
    (void)data;
    int saved = errno;
    PyObject *exchange = faa_http_client_current();
    Py_DecRef(exchange);
    errno = saved;
    return faa_http_call_run(!exchange, wrapped, args, nargsf, kwnames);
}

static int install(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {"urllib.request:AbstractHTTPHandler.do_open", do_open_hook},
        {"urllib.request:OpenerDirector.open", open_hook},
        FAA_HTTP_WIRE_PATCH,
    };
    if (faa_http_call_init() || faa_patch_check(body_patches, FAA_COUNT(body_patches)))
        return -1;
    return faa_patch_all(patches, FAA_COUNT(patches));
}

const struct faa_instrumentor faa_instrumentor_urllib = {
    .name = "urllib",
    .module = "urllib.request",
    .install = install,
    .about =
        {
            .library = "urllib.request",
            .versions = "of CPython 3.9 to 3.14",
            .spans = "one per exchange, redirects and answers to challenges included",
            .attributes = "http.request.method http.request.method_original "
                          "http.request.resend_count http.request.header.<key> url.full "
                          "server.address server.port http.response.status_code "
                          "http.response.body.size http.response.header.<key> "
                          "network.protocol.version error.type",
            .switches = "OTEL_PYTHON_URLLIB_EXCLUDED_URLS OTEL_PYTHON_EXCLUDED_URLS "
                        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST "
                        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_RESPONSE",
        },
};

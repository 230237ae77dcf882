// SPDX-License-Identifier: MIT
// urllib.request, of the standard library: one CLIENT span per HTTP exchange. All handlers'
// requests go through do_open. What an answer that is no success leads to, redirects and answers to
// challenges, happens within OpenerDirector.error.
#include "instrumentors/http_body.h"
#include "instrumentors/http_call.h"
#include "instrumentors/http_client.h"
#include "instrumentors/http_watch.h"
#include "instrumentors/http_wire.h"
#include "instrumentors/instrumentor.h"
#include "instrumentors/step.h"
#include "python/err.h"
#include "python/exception.h"
#include "python/wrapper.h"

static const struct faa_http_client client = {"urllib", FAA_RULE_URLLIB_EXCLUDED_URLS};

// A new reference, or NULL. `full_url` is a property, which costs a call of Python's.
static PyObject *url_of(PyObject *request)
{
    PyObject *url, *fragment = NULL;
    if (faa_getattr(request, FAA_NAME(_full_url), &url) == 1 &&
        faa_getattr(request, FAA_NAME(fragment), &fragment) == 1 && fragment == Py_None) {
        Py_DecRef(fragment);
        return url;
    }
    Py_DecRef(url);
    Py_DecRef(fragment);
    faa_getattr(request, FAA_NAME(full_url), &url);
    return url;
}

// The method is told by the request line; to ask for it costs a call of Python's.
static PyObject *begin(PyObject *request)
{
    PyObject *outer = faa_context_current(), *exchange = NULL;
    if (!faa_http_client_is_waiting(outer)) {
        PyObject *url = url_of(request);
        int before = faa_http_client_is_exchange(outer) ? 0 : faa_http_call_count();
        exchange = faa_http_client_enter(&client, FAA_STR(""), faa_text(url), before, outer);
        if (exchange)
            faa_http_client_mark_sent(exchange);
        Py_DecRef(url);
    }
    Py_DecRef(outer);
    return exchange;
}

// For a request that has not come to its line.
static void tell_method(PyObject *exchange, PyObject *request)
{
    PyObject *method = PyObject_CallMethodObjArgs(request, FAA_NAME(get_method), NULL);
    if (!method)
        faa_err_discard();
    faa_http_client_set_method(exchange, faa_text(method));
    Py_DecRef(method);
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
    faa_http_client_set_status(exchange, (int)number(response, FAA_NAME(status)));
    faa_http_client_set_version_number(exchange, number(response, FAA_NAME(version)));
    if (!faa_http_rules_has(FAA_RULE_CLIENT_RESPONSE))
        return;
    if (faa_getattr(response, FAA_NAME(headers), &headers) == 1)
        faa_http_client_capture_response(exchange, headers);
    Py_DecRef(headers);
}

// ---- the body -----------------------------------------------------------------------------------

// The exchange that the response is read for (new reference), or NULL.
static PyObject *exchange_of(PyObject *response)
{
    PyObject *file, *exchange = faa_http_body_exchange(response);
    if (exchange)
        return exchange;
    if (faa_getattr(response, FAA_NAME(fp), &file) == 1)
        exchange = faa_http_watch_exchange(file);
    Py_DecRef(file);
    return exchange;
}

// True for what the other side, or the way to it, has done: a wrong argument is nothing of that.
static int is_failure(PyObject *error)
{
    return error && (PyErr_GivenExceptionMatches(error, PyExc_OSError) ||
                     faa_exception_is(error, "http.client", "HTTPException"));
}

static void fail(PyObject *response)
{
    struct faa_err e = faa_err_save();
    faa_err_normalize(&e);
    PyObject *exchange = is_failure(e.value) ? exchange_of(response) : NULL;
    if (exchange) {
        faa_http_client_set_body_size(exchange, -1); // It has not come as a whole.
        faa_http_client_end(exchange, e.value);
        faa_http_body_end(response, NULL);
    }
    Py_DecRef(exchange);
    faa_err_restore(&e);
}

static PyObject *read_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                           PyObject *kwnames)
{
    (void)data;
    PyObject *result = faa_call(wrapped, args, nargsf, kwnames);
    if (!result && FAA_NARGS(nargsf) > 0)
        fail(args[0]);
    return result;
}

static const struct faa_patch body_patches[] = {
    {"http.client:HTTPResponse.read", read_hook},
    {"http.client:HTTPResponse.read1", read_hook},
    {"http.client:HTTPResponse.readinto", read_hook},
    {"http.client:HTTPResponse.readline", read_hook},
};

// True when failures to read a body are seen. Clients that are built on http.client import
// urllib.request too and read by these functions several times in a call: they stay as they are
// until urllib opens something. Threads that race here do the same.
static int bodies_are_seen(void)
{
    static _Atomic(int) status = 1;
    if (status == 1)
        status = faa_patch_all(body_patches, FAA_COUNT(body_patches));
    return status == 0;
}

// True while http.client closes the file because of an exception that it has not raised yet.
static int is_breaking(void)
{
    PyObject *function, *error = faa_exception_handled(&function);
    struct faa_str name = faa_text(function);
    int yes = error && (faa_str_eq(name, FAA_STR("read")) ||
                        faa_str_eq(name, FAA_STR("_read_next_chunk_size")));
    Py_DecRef(function);
    Py_DecRef(error);
    return yes;
}

static void file_is_gone(PyObject *exchange, PyObject *response)
{
    if (response && is_breaking()) {
        faa_http_body_attach(response, exchange); // The exception will be seen.
        return;
    }
    if (!response || number(response, FAA_NAME(length)) > 0)
        faa_http_client_set_body_size(exchange, -1);
    faa_http_client_end(exchange, NULL);
}

// The span goes on until the body has been read. `length` counts what is left of it.
static void follow(PyObject *exchange, PyObject *response)
{
    PyObject *file;
    long long length = number(response, FAA_NAME(length));
    faa_http_client_set_body_size(exchange, length);
    if (faa_getattr(response, FAA_NAME(fp), &file) != 1 || file == Py_None || length == 0 ||
        !bodies_are_seen() || faa_http_watch(exchange, file, response, file_is_gone))
        faa_http_client_end(exchange, NULL);
    Py_DecRef(file);
}

// ---- the exchange -------------------------------------------------------------------------------

static PyObject *do_open_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                              size_t nargsf, PyObject *kwnames)
{
    (void)data;
    int saved = errno;
    PyObject *request =
        FAA_NARGS(nargsf) >= 3 ? args[2] : faa_step_keyword(args, nargsf, kwnames, FAA_NAME(req));
    PyObject *exchange = request ? begin(request) : NULL;
    errno = saved;
    PyObject *response = faa_call(wrapped, args, nargsf, kwnames);
    if (!exchange)
        return response;
    struct faa_err e = faa_err_save_of(response);
    faa_err_normalize(&e);
    faa_http_client_leave(exchange);
    if (!faa_http_client_has_method(exchange))
        tell_method(exchange, request);
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

// While an exchange is on its way (its body is read from another URL), this is another call.
static PyObject *error_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
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
        {"urllib.request:OpenerDirector.error", error_hook},
        FAA_HTTP_WIRE_PATCH,
    };
    if (faa_http_call_init() || faa_http_watch_init() ||
        faa_patch_check(body_patches, FAA_COUNT(body_patches)))
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

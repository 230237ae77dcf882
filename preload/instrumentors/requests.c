// SPDX-License-Identifier: MIT
// requests: one CLIENT span per HTTP exchange. The adapter is where each exchange passes once:
// redirects come through it one by one.
#include "instrumentors/instrumentor.h"
#include "python/err.h"
#include "python/exception.h"
#include "python/pyspan.h"
#include "python/wrapper.h"
#include "span/http.h"
#include "span/traceparent.h"
#include "span/url.h"

enum { URL_MAX = 2048 };

// What was put into the outgoing headers, and is taken out again when the exchange is over: the
// application's request object ends as it was.
struct injected {
    PyObject *headers;
    int traceparent, tracestate;
};

static int inject(PyObject *headers, const char *name, const char *value, size_t n)
{
    PyObject *key = PyUnicode_FromString(name), *text = NULL;
    int done = 0;
    if (key && PySequence_Contains(headers, key) == 0) {
        text = PyUnicode_FromStringAndSize(value, (Py_ssize_t)n);
        done = text && PyObject_SetItem(headers, key, text) == 0;
    }
    PyErr_Clear();
    Py_DecRef(key);
    Py_DecRef(text);
    return done;
}

static void inject_context(struct injected *in, PyObject *request, const struct faa_span *span)
{
    char traceparent[FAA_TRACEPARENT_LEN + 1];
    if (faa_getattr(request, FAA_NAME(headers), &in->headers) != 1)
        return;
    faa_traceparent_format(&span->context, traceparent);
    in->traceparent =
        inject(in->headers, "traceparent", traceparent, FAA_TRACEPARENT_LEN);
    if (in->traceparent && span->context.tracestate_len)
        in->tracestate = inject(in->headers, "tracestate", span->context.tracestate,
                                span->context.tracestate_len);
}

static void take_out(PyObject *headers, const char *name)
{
    PyObject *key = PyUnicode_FromString(name);
    if (!key || PyObject_DelItem(headers, key))
        PyErr_Clear();
    Py_DecRef(key);
}

static void restore_headers(struct injected *in)
{
    if (in->traceparent)
        take_out(in->headers, "traceparent");
    if (in->tracestate)
        take_out(in->headers, "tracestate");
    faa_clear(&in->headers);
}

static void set_method(struct faa_span *span, PyObject *request)
{
    PyObject *method;
    faa_getattr(request, FAA_NAME(method), &method);
    faa_span_set_name(span, faa_http_set_method(span, faa_text(method)));
    Py_DecRef(method);
}

static void set_url(struct faa_span *span, PyObject *request)
{
    PyObject *object;
    char redacted[URL_MAX];
    struct faa_url parts;
    faa_getattr(request, FAA_NAME(url), &object);
    struct faa_str url = faa_text(object);
    size_t n = faa_url_redact(url, redacted, sizeof(redacted));
    faa_span_set_str(span, FAA_KEY_URL_FULL, (struct faa_str){redacted, n});
    if (faa_url_split(url, &parts) == 0) {
        faa_span_set_str(span, FAA_KEY_SERVER_ADDRESS, parts.host);
        faa_span_set_int(span, FAA_KEY_SERVER_PORT, parts.port);
    }
    Py_DecRef(object);
}

// urllib3 says 10, 11 or 20.
static void set_version(struct faa_span *span, PyObject *response)
{
    PyObject *raw, *version = NULL;
    if (faa_getattr(response, FAA_NAME(raw), &raw) == 1)
        faa_getattr(raw, FAA_NAME(version), &version);
    switch (faa_int(version, 0)) {
    case 10:
        faa_span_set_str(span, FAA_KEY_NETWORK_PROTOCOL_VERSION, FAA_STR("1.0"));
        break;
    case 11:
        faa_span_set_str(span, FAA_KEY_NETWORK_PROTOCOL_VERSION, FAA_STR("1.1"));
        break;
    case 20:
        faa_span_set_str(span, FAA_KEY_NETWORK_PROTOCOL_VERSION, FAA_STR("2"));
        break;
    default:
        break;
    }
    Py_DecRef(raw);
    Py_DecRef(version);
}

static void set_response(struct faa_span *span, PyObject *response)
{
    PyObject *object;
    faa_getattr(response, FAA_NAME(status_code), &object);
    long long status = faa_int(object, 0);
    Py_DecRef(object);
    faa_http_set_status(span, (int)status, 400);
    set_version(span, response);
}

static void end(struct faa_span *span, struct injected *in, PyObject *response)
{
    struct faa_err e = faa_err_save();
    restore_headers(in);
    if (response)
        set_response(span, response);
    faa_err_restore(&e);
    faa_span_end_call(span, response);
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
    struct faa_span span;
    struct injected in = {NULL, 0, 0};
    faa_context_start_child(&span, FAA_KIND_CLIENT, "requests");
    if (span.recording) {
        set_method(&span, request);
        set_url(&span, request);
    }
    inject_context(&in, request, &span);
    errno = saved;
    PyObject *response = faa_call(wrapped, args, nargsf, kwnames);
    end(&span, &in, response);
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
};

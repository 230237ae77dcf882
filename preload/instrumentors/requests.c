// SPDX-License-Identifier: MIT
// requests: one CLIENT span per HTTP exchange. The adapter is where each exchange passes once:
// redirects come through it one by one.
#include "instrumentors/instrumentor.h"
#include "python/blocking.h"
#include "python/err.h"
#include "python/exception.h"
#include "python/pyspan.h"
#include "python/wrapper.h"
#include "span/http.h"
#include "span/propagation.h"
#include "span/url.h"

enum { URL_MAX = 2048 };

// While an exchange lasts, the request has a copy of its headers with ours in it: another thread
// may send the same request at this moment, and read the application's own.
struct injected {
    PyObject *original, *copy;
};

static int put(PyObject *headers, const char *name, const char *value, size_t n)
{
    PyObject *key = PyUnicode_FromString(name);
    PyObject *text = PyUnicode_FromStringAndSize(value, (Py_ssize_t)n);
    int status = key && text ? PyObject_SetItem(headers, key, text) : -1;
    Py_DecRef(key);
    Py_DecRef(text);
    return status;
}

// What the application has set itself is respected.
static int has(PyObject *headers, const char *name)
{
    PyObject *key = PyUnicode_FromString(name);
    int found = key ? PySequence_Contains(headers, key) : -1;
    Py_DecRef(key);
    return found;
}

static int tells_own_trace(PyObject *headers)
{
    size_t count;
    const struct faa_str *names = faa_propagation_own_names(&count);
    for (size_t i = 0; i < count; i++)
        if (has(headers, names[i].p) != 0)
            return 1;
    return 0;
}

static PyObject *copy_with_context(PyObject *headers, const struct faa_injection *ours)
{
    PyObject *copy = PyObject_CallMethodObjArgs(headers, FAA_NAME(copy), NULL);
    for (size_t i = 0; copy && i < ours->count; i++) {
        const struct faa_header *h = &ours->headers[i];
        int found = h->yields ? has(copy, h->name.p) : 0;
        if (found < 0 || (found == 0 && put(copy, h->name.p, h->value.p, h->value.n)))
            faa_clear(&copy);
    }
    return copy;
}

static void inject_context(struct injected *in, PyObject *request, const struct faa_span *span)
{
    struct faa_injection ours;
    faa_propagation_inject(&span->context, &ours);
    if (ours.count == 0)
        return;
    if (faa_getattr(request, FAA_NAME(headers), &in->original) == 1 &&
        !tells_own_trace(in->original) &&
        (in->copy = copy_with_context(in->original, &ours)) != NULL &&
        PyObject_SetAttr(request, FAA_NAME(headers), in->copy))
        faa_clear(&in->copy);
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
    faa_http_set_status(span, status > 0 && status < 1000 ? (int)status : 0, 400);
    set_version(span, response);
}

static void end(struct faa_span *span, struct injected *in, PyObject *request, PyObject *response)
{
    struct faa_err e = faa_err_save();
    restore_headers(in, request);
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
    struct injected in = {NULL, NULL};
    faa_context_start_child(&span, FAA_KIND_CLIENT, "requests");
    if (span.recording) {
        set_method(&span, request);
        set_url(&span, request);
        if (faa_loop_is_running())
            faa_span_mark_blocking(&span);
    }
    inject_context(&in, request, &span);
    errno = saved;
    PyObject *response = faa_call(wrapped, args, nargsf, kwnames);
    end(&span, &in, request, response);
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

// SPDX-License-Identifier: MIT
// requests: one CLIENT span per HTTP exchange. The adapter is where each exchange passes once:
// redirects and answers to challenges come through it one by one, and retries are urllib3's to
// tell.
//
// How often a request has been sent is noted on the request itself, where it may be sent again:
// when it has failed, or has been answered by anything but a success. A redirect, or an answer to a
// challenge, is a copy of it that is made while the session is at it.
#include "instrumentors/http_client.h"
#include "instrumentors/http_wire.h"
#include "instrumentors/instrumentor.h"
#include "instrumentors/step.h"
#include "instrumentors/urllib3_response.h"
#include "python/err.h"
#include "python/stack.h"
#include "python/wrapper.h"

enum { SENT_MAX = 1 << 20 }; // Counted up to here.

static const struct faa_http_client client = {"requests", FAA_RULE_REQUESTS_EXCLUDED_URLS};

// A number of earlier exchanges: positive on a copy that has not been sent, negative on a request
// that has been; 0 on one without. Other values than ours are none.
static int note_on(PyObject *request)
{
    PyObject *value;
    faa_getattr(request, FAA_NAME(_faa_resend_count), &value);
    long long note = faa_int(value, 0);
    Py_DecRef(value);
    return note > -SENT_MAX && note < SENT_MAX ? (int)note : 0;
}

static void set_note(PyObject *request, int note)
{
    PyObject *value = note ? PyLong_FromLong(note) : NULL;
    if (note && !value)
        PyErr_Clear();
    else if (PyObject_SetAttr(request, FAA_NAME(_faa_resend_count), value)) // NULL: deletes it.
        faa_err_discard();
}

// How often the request has been sent in the call that it belongs to. The session itself sends each
// request once: it is a new call of the application's with the same request. Whoever else sends it
// again (the hook of an authentication) does so within the call.
static int sent_before(PyObject *request)
{
    int note = note_on(request);
    if (note >= 0)
        return note;
    return faa_stack_runs(FAA_STR("requests.sessions"), FAA_STR("send"), 1) ? 0 : -note;
}

static PyObject *copy_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                           PyObject *kwnames)
{
    (void)data;
    PyObject *copy = faa_call(wrapped, args, nargsf, kwnames);
    int saved = errno, note = copy && FAA_NARGS(nargsf) > 0 ? note_on(args[0]) : 0;
    if (note && faa_stack_runs(FAA_STR("requests.sessions"), FAA_STR("send"), FAA_STACK_FRAMES_MAX))
        set_note(copy, note < 0 ? -note : note);
    errno = saved;
    return copy;
}

static PyObject *begin(PyObject *request)
{
    PyObject *method, *url, *exchange = NULL, *outer = faa_context_current();
    if (!faa_http_client_is_waiting(outer)) { // Else a client that is built on requests has begun.
        faa_getattr(request, FAA_NAME(method), &method);
        faa_getattr(request, FAA_NAME(url), &url);
        exchange = faa_http_client_enter(&client, faa_text(method), faa_text(url),
                                         sent_before(request), outer);
        Py_DecRef(method);
        Py_DecRef(url);
    }
    Py_DecRef(outer);
    return exchange;
}

// The request may be sent again.
static void note(PyObject *exchange, PyObject *request, int is_success)
{
    int sent = faa_http_client_resend_count(exchange) + 1;
    if (!is_success)
        set_note(request, sent < SENT_MAX ? -sent : 1 - SENT_MAX);
    else if (sent > 1)
        set_note(request, 0);
}

// The span goes on with the answer's body, which requests reads when the adapter has returned.
static void succeed(PyObject *exchange, PyObject *response)
{
    PyObject *raw, *status;
    faa_getattr(response, FAA_NAME(raw), &raw);
    faa_urllib3_response_tell(exchange, raw);
    if (!faa_http_client_status(exchange)) {
        faa_getattr(response, FAA_NAME(status_code), &status); // `raw` is none of urllib3's.
        faa_http_client_set_status(exchange, (int)faa_int(status, 0));
        Py_DecRef(status);
    }
    if (raw)
        faa_urllib3_response_watch(exchange, raw);
    else
        faa_http_client_end(exchange, NULL);
    Py_DecRef(raw);
}

// `response` is NULL where the call has raised.
static void end(PyObject *exchange, PyObject *request, PyObject *response)
{
    struct faa_err e = faa_err_save_of(response);
    faa_err_normalize(&e);
    faa_http_client_leave(exchange);
    if (response)
        succeed(exchange, response);
    else
        faa_http_client_end(exchange, e.value);
    int status = faa_http_client_status(exchange);
    note(exchange, request, status >= 200 && status < 300);
    faa_err_restore(&e);
    Py_DecRef(exchange);
}

static PyObject *send_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                           PyObject *kwnames)
{
    (void)data;
    int saved = errno;
    PyObject *request = FAA_NARGS(nargsf) >= 2
                            ? args[1]
                            : faa_step_keyword(args, nargsf, kwnames, FAA_NAME(request));
    PyObject *exchange = request ? begin(request) : NULL;
    errno = saved;
    PyObject *response = faa_call(wrapped, args, nargsf, kwnames);
    if (exchange)
        end(exchange, request, response);
    return response;
}

static int install(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {"requests.adapters:HTTPAdapter.send", send_hook},
        {"requests.models:PreparedRequest.copy", copy_hook},
        FAA_HTTP_WIRE_PATCH,
    };
    return faa_urllib3_response_check() ? -1 : faa_patch_all(patches, FAA_COUNT(patches));
}

// requests.sessions is imported after the adapters, and before anything can be sent.
const struct faa_instrumentor faa_instrumentor_requests = {
    .name = "requests",
    .module = "requests.sessions",
    .install = install,
    .about =
        {
            .library = "requests",
            .versions = "2.25 to 2.34",
            .spans = "one per exchange: redirects, answers to challenges and retries included",
            .attributes = "http.request.method http.request.method_original "
                          "http.request.resend_count http.request.header.<key> url.full "
                          "server.address server.port http.response.status_code "
                          "http.response.body.size http.response.header.<key> "
                          "network.protocol.version error.type",
            .switches = "OTEL_PYTHON_REQUESTS_EXCLUDED_URLS OTEL_PYTHON_EXCLUDED_URLS "
                        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST "
                        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_RESPONSE",
        },
};

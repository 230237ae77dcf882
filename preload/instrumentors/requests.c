// SPDX-License-Identifier: MIT
// requests: one CLIENT span per HTTP exchange. The adapter is where each exchange passes once:
// redirects and answers to challenges come through it one by one, and retries are urllib3's to
// tell.
#include "instrumentors/http_call.h"
#include "instrumentors/http_client.h"
#include "instrumentors/http_wire.h"
#include "instrumentors/instrumentor.h"
#include "instrumentors/step.h"
#include "instrumentors/urllib3_response.h"
#include "python/blocking.h"
#include "python/err.h"
#include "python/wrapper.h"

static const struct faa_http_client client = {"requests", FAA_RULE_REQUESTS_EXCLUDED_URLS};

static PyObject *begin(PyObject *request)
{
    PyObject *method, *url;
    faa_getattr(request, FAA_NAME(method), &method);
    faa_getattr(request, FAA_NAME(url), &url);
    int sent = faa_http_call_sent();
    PyObject *exchange = faa_http_client_begin(&client, faa_text(method), faa_text(url), sent);
    Py_DecRef(method);
    Py_DecRef(url);
    if (!exchange)
        return NULL;
    faa_span_mark_blocking(&faa_pyspan(exchange)->span);
    faa_context_activate(exchange);
    return exchange;
}

// The span goes on with the answer's body, which requests reads when the adapter has returned.
static void succeed(PyObject *exchange, PyObject *response)
{
    PyObject *raw, *status;
    faa_getattr(response, FAA_NAME(raw), &raw);
    faa_urllib3_response_tell(exchange, raw);
    if (!faa_http_client_is_answered(exchange)) {
        faa_getattr(response, FAA_NAME(status_code), &status); // `raw` is none of urllib3's.
        faa_http_client_set_status(exchange, (int)faa_int(status, 0));
        Py_DecRef(status);
    }
    if (raw)
        faa_urllib3_response_follow(exchange, raw);
    else
        faa_http_client_end(exchange, NULL);
    Py_DecRef(raw);
}

// `response` is NULL where the call has raised.
static void end(PyObject *exchange, PyObject *response)
{
    struct faa_err e = faa_err_save_of(response);
    faa_err_normalize(&e);
    faa_context_deactivate(exchange);
    faa_http_call_set_sent(faa_http_client_resend_count(exchange) + 1);
    if (response)
        succeed(exchange, response);
    else
        faa_http_client_end(exchange, e.value);
    faa_err_restore(&e);
    Py_DecRef(exchange);
}

// A client that is built on requests has begun this exchange itself.
static PyObject *send_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                           PyObject *kwnames)
{
    (void)data;
    int saved = errno;
    PyObject *request = FAA_NARGS(nargsf) >= 2
                            ? args[1]
                            : faa_step_keyword(args, nargsf, kwnames, FAA_NAME(request));
    PyObject *exchange = request && !faa_http_client_is_waiting() ? begin(request) : NULL;
    errno = saved;
    PyObject *response = faa_call(wrapped, args, nargsf, kwnames);
    if (exchange)
        end(exchange, response);
    return response;
}

// A redirect is followed by a call of the session's own, which says that it is not to follow.
static PyObject *session_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                              size_t nargsf, PyObject *kwnames)
{
    (void)data;
    PyObject *follow = faa_step_keyword(args, nargsf, kwnames, FAA_NAME(allow_redirects));
    return faa_http_call_run(follow == Py_False, wrapped, args, nargsf, kwnames);
}

static int install(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {"requests.adapters:HTTPAdapter.send", send_hook},
        {"requests.sessions:Session.send", session_hook},
        FAA_URLLIB3_RESPONSE_PATCHES,
        FAA_HTTP_WIRE_PATCH,
    };
    return faa_http_call_init() ? -1 : faa_patch_all(patches, FAA_COUNT(patches));
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

// SPDX-License-Identifier: MIT
// urllib3: one CLIENT span per attempt to have a request answered, unless a client that is built on
// it has begun one. The pool's urlopen calls itself for the next attempt.
#include "instrumentors/http_client.h"
#include "instrumentors/http_wire.h"
#include "instrumentors/instrumentor.h"
#include "instrumentors/step.h"
#include "instrumentors/urllib3_response.h"
#include "python/blocking.h"
#include "python/err.h"
#include "python/exception.h"
#include "python/wrapper.h"

#include <stdio.h>

enum { URL_MAX = 4096 };

static const struct faa_http_client client = {"urllib3", FAA_RULE_URLLIB3_EXCLUDED_URLS};

struct call {
    PyObject *const *args;
    size_t nargsf;
    PyObject *kwnames;
};

// An argument, by its position or its name; borrowed, or NULL.
static PyObject *argument(const struct call *c, size_t position, PyObject *name)
{
    return FAA_NARGS(c->nargsf) > position ? c->args[position]
                                           : faa_step_keyword(c->args, c->nargsf, c->kwnames, name);
}

static size_t put(char out[URL_MAX], size_t at, struct faa_str text)
{
    size_t n = text.n < URL_MAX - at ? text.n : URL_MAX - at;
    if (n > 0)
        memcpy(out + at, text.p, n);
    return at + n;
}

// A port that does not go without saying, as `:8080`.
static struct faa_str port_of(PyObject *pool, struct faa_str scheme, char room[24])
{
    PyObject *port;
    long long usual = faa_str_eq(scheme, FAA_STR("https")) ? 443 : 80;
    faa_getattr(pool, FAA_NAME(port), &port);
    long long number = faa_int(port, usual);
    Py_DecRef(port);
    int n = number == usual ? 0 : snprintf(room, 24, ":%lld", number);
    return (struct faa_str){room, n > 0 ? (size_t)n : 0};
}

// What a pool calls is a path on its host, or a whole URL where its host is a proxy.
static struct faa_str put_url(PyObject *pool, struct faa_str target, char out[URL_MAX])
{
    PyObject *scheme, *host;
    char room[24];
    int is_path = target.n > 0 && target.p[0] == '/';
    if (!is_path && target.n > 0 && memmem(target.p, target.n, "://", 3))
        return target;
    faa_getattr(pool, FAA_NAME(scheme), &scheme);
    faa_getattr(pool, FAA_NAME(host), &host);
    struct faa_str s = faa_text(scheme), h = faa_text(host);
    int bare = h.n > 0 && h.p[0] != '[' && memchr(h.p, ':', h.n); // An IPv6 address.
    size_t n = put(out, put(out, 0, s), FAA_STR("://"));
    n = put(out, n, bare ? FAA_STR("[") : FAA_STR(""));
    n = put(out, n, h);
    n = put(out, n, bare ? FAA_STR("]") : FAA_STR(""));
    n = put(out, n, port_of(pool, s, room));
    n = put(out, n, is_path ? FAA_STR("") : FAA_STR("/"));
    n = put(out, n, target);
    Py_DecRef(scheme);
    Py_DecRef(host);
    return (struct faa_str){out, n};
}

// How many attempts came before: a redirect to another host is a call of its own, with the history
// of those that led there.
static int attempts_before(PyObject *retries)
{
    PyObject *history;
    Py_ssize_t n = 0;
    if (retries && faa_getattr(retries, FAA_NAME(history), &history) == 1) {
        n = faa_is_tuple(history) ? PyTuple_Size(history) : 0;
        Py_DecRef(history);
    }
    return (int)n;
}

// True when the request is one of an exchange that is under way, and has a span.
static int is_carried(const struct call *c, PyObject *current)
{
    int again;
    char room[URL_MAX];
    if (!faa_http_client_carry(current, &again))
        return 0;
    if (again) {
        struct faa_str method = faa_text(argument(c, 1, FAA_NAME(method)));
        struct faa_str target = faa_text(argument(c, 2, FAA_NAME(url)));
        int count = faa_http_client_resend_count(current) + 1;
        faa_http_client_resend(current, 0, NULL, method, put_url(c->args[0], target, room), count);
        faa_span_mark_blocking(&faa_pyspan(current)->span);
    }
    return 1;
}

// The exchange that begins here, current, or NULL.
static PyObject *begin(const struct call *c)
{
    char room[URL_MAX];
    PyObject *outer = faa_context_current(), *exchange = NULL;
    if (!is_carried(c, outer)) {
        struct faa_str method = faa_text(argument(c, 1, FAA_NAME(method)));
        struct faa_str target = faa_text(argument(c, 2, FAA_NAME(url)));
        int before = attempts_before(argument(c, 5, FAA_NAME(retries)));
        struct faa_str url = put_url(c->args[0], target, room);
        exchange = faa_http_client_enter(&client, method, url, before, outer);
        if (exchange)
            faa_http_client_mark_sent(exchange);
    }
    Py_DecRef(outer);
    return exchange;
}

// What the last attempt failed by: the reason of urllib3's own "too many", which is none where the
// attempt was answered. New reference, or NULL.
static PyObject *reason_of(PyObject *error)
{
    PyObject *reason;
    if (!error || !faa_exception_is(error, "urllib3.exceptions", "MaxRetryError") ||
        faa_getattr(error, FAA_NAME(reason), &reason) != 1)
        return faa_newref(error);
    if (!faa_is_exception(reason))
        faa_clear(&reason);
    else if (faa_exception_is(reason, "urllib3.exceptions", "ResponseError"))
        faa_clear(&reason);
    return reason;
}

static void end(PyObject *exchange, PyObject *response)
{
    struct faa_err e = faa_err_save_of(response);
    faa_err_normalize(&e);
    faa_http_client_leave(exchange);
    if (response) {
        faa_urllib3_response_tell(exchange, response);
        faa_urllib3_response_follow(exchange, response);
    } else {
        PyObject *reason = reason_of(e.value);
        faa_http_client_end(exchange, reason);
        Py_DecRef(reason);
    }
    faa_err_restore(&e);
    Py_DecRef(exchange);
}

static PyObject *urlopen_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                              size_t nargsf, PyObject *kwnames)
{
    (void)data;
    const struct call c = {args, nargsf, kwnames};
    int saved = errno;
    PyObject *exchange = FAA_NARGS(nargsf) > 0 ? begin(&c) : NULL;
    errno = saved;
    PyObject *response = faa_call(wrapped, args, nargsf, kwnames);
    if (exchange)
        end(exchange, response);
    return response;
}

// Retry.increment(method, url, response, error, _pool, _stacktrace): an attempt is over. Where it
// returns there will be another one, after a pause that is none of the exchange's; where it raises
// the call ends.
static PyObject *increment_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                size_t nargsf, PyObject *kwnames)
{
    (void)data;
    const struct call c = {args, nargsf, kwnames};
    PyObject *retries = faa_call(wrapped, args, nargsf, kwnames);
    struct faa_err e = faa_err_save_of(retries);
    PyObject *exchange = faa_http_client_current();
    if (exchange) {
        PyObject *response = argument(&c, 3, FAA_NAME(response));
        PyObject *error = argument(&c, 4, FAA_NAME(error));
        faa_urllib3_response_tell(exchange, response == Py_None ? NULL : response);
        if (retries)
            faa_http_client_end_attempt(exchange, error && faa_is_exception(error) ? error : NULL);
    }
    Py_DecRef(exchange);
    faa_err_restore(&e);
    return retries;
}

static int install(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {"urllib3.connectionpool:HTTPConnectionPool.urlopen", urlopen_hook},
        {"urllib3.util.retry:Retry.increment", increment_hook},
        FAA_HTTP_WIRE_PATCH,
    };
    return faa_urllib3_response_check() ? -1 : faa_patch_all(patches, FAA_COUNT(patches));
}

const struct faa_instrumentor faa_instrumentor_urllib3 = {
    .name = "urllib3",
    .module = "urllib3.connectionpool",
    .install = install,
    .about =
        {
            .library = "urllib3",
            .versions = "1.26 to 2.8",
            .spans = "one per attempt of a request, redirects and retries included; none under a "
                     "client that is built on it",
            .attributes = "http.request.method http.request.method_original "
                          "http.request.resend_count http.request.header.<key> url.full "
                          "server.address server.port http.response.status_code "
                          "http.response.body.size http.response.header.<key> "
                          "network.protocol.version error.type",
            .switches = "OTEL_PYTHON_URLLIB3_EXCLUDED_URLS OTEL_PYTHON_EXCLUDED_URLS "
                        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST "
                        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_RESPONSE",
        },
};

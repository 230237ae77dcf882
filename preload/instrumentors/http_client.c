// SPDX-License-Identifier: MIT
// The span of an outgoing HTTP exchange, and the headers that carry it.
#include "instrumentors/http_client.h"

#include "python/blocking.h"
#include "python/err.h"
#include "python/exception.h"
#include "span/http.h"
#include "span/url.h"

enum { URL_MAX = 2048 };

static const char owner; // Its address marks the objects of exchanges that have not ended.

// What an exchange knows beside its span; it dies with the object that holds both.
struct exchange {
    struct faa_span *span;
    int resend_count;
    int status; ///< Of the answer to the attempt that it is at; 0: none yet.
    int has_method;
    long long body_size;
    enum { WAITING, ON_ITS_WAY, BETWEEN_ATTEMPTS, ENDED } phase;
    void (*fini)(void *room);
    void *room[FAA_HTTP_CLIENT_ROOM / sizeof(void *)]; ///< The instrumentor's.
};

static struct exchange *exchange_of(PyObject *object)
{
    return faa_pyspan(object)->extra;
}

static int is_excluded(const struct faa_http_client *client, struct faa_str url)
{
    enum faa_rule rule = client->excluded;
    if (!faa_http_rules_has(rule))
        rule = FAA_RULE_EXCLUDED_URLS;
    return faa_http_rules_has(rule) && faa_http_rules_find(rule, url) == 1;
}

static void set_method(struct exchange *x, struct faa_str method)
{
    x->has_method = 1;
    if (x->span->recording)
        faa_span_set_name(x->span, faa_http_set_method(x->span, method));
}

static void set_request(struct exchange *x, struct faa_str method, struct faa_str url)
{
    char redacted[URL_MAX];
    struct faa_url parts;
    struct faa_span *span = x->span;
    x->has_method = 0;
    if (!span->recording)
        return;
    if (method.n > 0)
        set_method(x, method);
    size_t n = faa_url_describe(url, redacted, sizeof(redacted), &parts);
    faa_span_set_str(span, FAA_KEY_URL_FULL, (struct faa_str){redacted, n});
    if (parts.host.n > 0) {
        faa_span_set_str(span, FAA_KEY_SERVER_ADDRESS, parts.host);
        faa_span_set_int(span, FAA_KEY_SERVER_PORT, parts.port);
    }
    if (x->resend_count > 0)
        faa_span_set_int(span, FAA_KEY_HTTP_REQUEST_RESEND_COUNT, x->resend_count);
}

static void fail(struct faa_span *span, PyObject *error)
{
    if (error && span->recording && !faa_exception_is_cancellation(error))
        faa_span_record_exception(span, error);
}

// An exception names the failure before the answer's status does, if there are both.
static void end_attempt(struct exchange *x, PyObject *error)
{
    if (!x->has_method) // The request has not come as far as that.
        set_method(x, FAA_STR(""));
    fail(x->span, error);
    faa_http_set_status(x->span, x->status, 400);
    if (x->body_size >= 0)
        faa_span_set_int(x->span, FAA_KEY_HTTP_RESPONSE_BODY_SIZE, x->body_size);
    faa_span_end(x->span, 0);
}

static void begin_attempt(struct exchange *x, int resend_count)
{
    x->resend_count = resend_count;
    x->status = 0;
    x->body_size = -1;
}

// The object dies, and with it whatever could still have ended the exchange.
static void free_exchange(void *extra)
{
    struct exchange *x = extra;
    x->body_size = -1; // Nobody has read it to its end.
    if (x->phase != ENDED && x->phase != BETWEEN_ATTEMPTS)
        end_attempt(x, NULL);
    if (x->fini)
        x->fini(x->room);
}

// An exchange whose span has not started.
static PyObject *new_exchange(int resend_count)
{
    PyObject *object = faa_pyspan_new_with(sizeof(struct exchange));
    if (!object)
        return NULL;
    struct faa_pyspan *s = faa_pyspan(object);
    struct exchange *x = s->extra;
    s->owner = &owner;
    s->free_extra = free_exchange;
    x->span = &s->span;
    x->phase = WAITING;
    x->fini = NULL;
    begin_attempt(x, resend_count);
    return object;
}

static PyObject *begin_under(const struct faa_http_client *client, struct faa_str method,
                             struct faa_str url, int resend_count, PyObject *outer)
{
    static const struct faa_span_context excluded = {.suppressed = 1};
    PyObject *object = new_exchange(resend_count);
    if (!object)
        return NULL;
    struct faa_pyspan *s = faa_pyspan(object);
    if (is_excluded(client, url))
        faa_span_start(&s->span, FAA_KIND_CLIENT, client->scope, &excluded);
    else
        faa_context_start_under(&s->span, FAA_KIND_CLIENT, client->scope, outer);
    set_request(s->extra, method, url);
    return object;
}

PyObject *faa_http_client_begin(const struct faa_http_client *client, struct faa_str method,
                                struct faa_str url, int resend_count, PyObject *outer)
{
    int saved = errno;
    PyObject *exchange = begin_under(client, method, url, resend_count, outer);
    errno = saved;
    return exchange;
}

PyObject *faa_http_client_enter(const struct faa_http_client *client, struct faa_str method,
                                struct faa_str url, int resend_count, PyObject *outer)
{
    int saved = errno;
    PyObject *exchange = begin_under(client, method, url, resend_count, outer);
    if (exchange) {
        faa_span_mark_blocking(&faa_pyspan(exchange)->span);
        faa_context_enter(exchange, outer);
    }
    errno = saved;
    return exchange;
}

void faa_http_client_leave(PyObject *exchange)
{
    faa_context_leave(exchange);
}

void faa_http_client_set_method(PyObject *exchange, struct faa_str method)
{
    struct exchange *x = exchange_of(exchange);
    if (!x->has_method)
        set_method(x, method);
}

int faa_http_client_has_method(PyObject *exchange)
{
    return exchange_of(exchange)->has_method;
}

int faa_http_client_is_exchange(PyObject *current)
{
    return current && faa_pyspan(current)->owner == &owner;
}

PyObject *faa_http_client_current(void)
{
    PyObject *current = faa_context_current();
    if (!faa_http_client_is_exchange(current))
        faa_clear(&current);
    return current;
}

int faa_http_client_carry(PyObject *current, int *again)
{
    *again = 0;
    if (!faa_http_client_is_exchange(current))
        return 0;
    struct exchange *x = exchange_of(current);
    if (x->phase == ON_ITS_WAY)
        return 0;
    *again = x->phase == BETWEEN_ATTEMPTS;
    x->phase = ON_ITS_WAY;
    return 1;
}

int faa_http_client_is_waiting(PyObject *current)
{
    return faa_http_client_is_exchange(current) && exchange_of(current)->phase == WAITING;
}

void faa_http_client_mark_sent(PyObject *exchange)
{
    struct exchange *x = exchange_of(exchange);
    if (x->phase == WAITING)
        x->phase = ON_ITS_WAY;
}

void faa_http_client_end_attempt(PyObject *exchange, PyObject *error)
{
    struct exchange *x = exchange_of(exchange);
    int saved = errno;
    if (x->phase == ON_ITS_WAY) {
        end_attempt(x, error);
        x->phase = BETWEEN_ATTEMPTS;
    }
    errno = saved;
}

void faa_http_client_resend(PyObject *exchange, int status, PyObject *error, struct faa_str method,
                            struct faa_str url, int resend_count)
{
    struct faa_pyspan *s = faa_pyspan(exchange);
    struct exchange *x = exchange_of(exchange);
    const char *scope = s->span.scope;
    int saved = errno;
    if (x->phase == ENDED)
        return;
    faa_http_client_set_status(exchange, status);
    end_attempt(x, error); // Unless it has been: then nothing happens.
    begin_attempt(x, resend_count);
    if (!s->span.context.suppressed) {
        faa_span_fini(&s->span);
        faa_context_start_under(&s->span, FAA_KIND_CLIENT, scope, s->previous);
        set_request(x, method, url);
    }
    errno = saved;
}

void *faa_http_client_room(PyObject *exchange)
{
    return exchange_of(exchange)->room;
}

void faa_http_client_set_fini(PyObject *exchange, void (*fini)(void *room))
{
    exchange_of(exchange)->fini = fini;
}

int faa_http_client_resend_count(PyObject *exchange)
{
    return exchange_of(exchange)->resend_count;
}

void faa_http_client_set_status(PyObject *exchange, int status)
{
    if (status > 0 && status < 1000)
        exchange_of(exchange)->status = status;
}

int faa_http_client_status(PyObject *exchange)
{
    return exchange_of(exchange)->status;
}

void faa_http_client_set_body_size(PyObject *exchange, long long size)
{
    exchange_of(exchange)->body_size = size;
}

void faa_http_client_set_version(PyObject *exchange, struct faa_str version)
{
    static const struct faa_str prefix = FAA_STR("HTTP/");
    static const struct faa_str known[] = {FAA_STR("1.0"), FAA_STR("1.1"), FAA_STR("2"),
                                           FAA_STR("3")};
    if (version.n > prefix.n && memcmp(version.p, prefix.p, prefix.n) == 0)
        version = (struct faa_str){version.p + prefix.n, version.n - prefix.n};
    for (size_t i = 0; i < FAA_COUNT(known); i++)
        if (faa_str_eq(version, known[i]))
            faa_span_set_str(&faa_pyspan(exchange)->span, FAA_KEY_NETWORK_PROTOCOL_VERSION,
                             known[i]);
}

void faa_http_client_set_version_number(PyObject *exchange, long long version)
{
    struct faa_str text = version == 10   ? FAA_STR("1.0")
                          : version == 11 ? FAA_STR("1.1")
                          : version == 20 ? FAA_STR("2")
                                          : FAA_STR("");
    if (text.n > 0)
        faa_span_set_str(&faa_pyspan(exchange)->span, FAA_KEY_NETWORK_PROTOCOL_VERSION, text);
}

static void capture(PyObject *exchange, enum faa_rule rule, enum faa_key key, PyObject *headers)
{
    struct faa_span *span = &faa_pyspan(exchange)->span;
    if (!headers || !span->recording || !faa_http_rules_has(rule))
        return;
    PyObject *pairs = faa_is_list(headers) || faa_is_tuple(headers) ? faa_newref(headers) : NULL;
    PyObject *items = pairs ? NULL : PyObject_CallMethod(headers, "items", NULL);
    if (items)
        pairs = PySequence_List(items);
    if (pairs)
        faa_http_rules_capture(rule, pairs, span, key);
    faa_err_discard();
    Py_DecRef(items);
    Py_DecRef(pairs);
}

void faa_http_client_capture_request(PyObject *exchange, PyObject *headers)
{
    capture(exchange, FAA_RULE_CLIENT_REQUEST, FAA_KEY_HTTP_REQUEST_HEADER, headers);
}

void faa_http_client_capture_response(PyObject *exchange, PyObject *headers)
{
    capture(exchange, FAA_RULE_CLIENT_RESPONSE, FAA_KEY_HTTP_RESPONSE_HEADER, headers);
}

void faa_http_client_fail(PyObject *exchange, PyObject *error)
{
    int saved = errno;
    fail(&faa_pyspan(exchange)->span, error);
    errno = saved;
}

void faa_http_client_end(PyObject *exchange, PyObject *error)
{
    struct exchange *x = exchange_of(exchange);
    int saved = errno;
    if (x->phase != ENDED && x->phase != BETWEEN_ATTEMPTS)
        end_attempt(x, error);
    x->phase = ENDED;
    faa_pyspan(exchange)->owner = NULL;
    errno = saved;
}

// ---- propagation --------------------------------------------------------------------------------

void faa_http_client_context(PyObject *exchange, struct faa_injection *out)
{
    faa_propagation_inject(&faa_pyspan(exchange)->span.context, out);
}

void faa_http_client_headers(PyObject *exchange, faa_http_has *has, const void *request,
                             struct faa_injection *out)
{
    size_t count, kept = 0;
    const struct faa_str *own = faa_propagation_own_names(&count);
    faa_http_client_context(exchange, out);
    for (size_t i = 0; out->count > 0 && i < count; i++)
        if (has(request, own[i]))
            out->count = 0;
    for (size_t i = 0; i < out->count; i++) {
        const struct faa_header *h = &out->headers[i];
        if (!h->yields || !has(request, h->name))
            out->headers[kept++] = *h;
    }
    out->count = kept;
}

enum { NAMES_MAX = 16 }; // The formats have ten.

// The str of a header's name, made once and kept for ever: a new one would be hashed for each
// request. Two threads without the GIL may make one twice. Borrowed; NULL without memory.
static PyObject *name_of(struct faa_str name)
{
    static PyObject *names[NAMES_MAX];
    for (size_t i = 0; i < NAMES_MAX; i++) {
        if (!names[i])
            names[i] = PyUnicode_InternFromString(name.p);
        if (!names[i] || faa_str_eq(faa_text(names[i]), name))
            return names[i];
    }
    return NULL;
}

static int put(PyObject *headers, const struct faa_header *h)
{
    PyObject *name = name_of(h->name);
    PyObject *text = PyUnicode_FromStringAndSize(h->value.p, (Py_ssize_t)h->value.n);
    int status = name && text ? PyObject_SetItem(headers, name, text) : -1;
    Py_DecRef(text);
    return status;
}

static int has(const void *headers, struct faa_str name)
{
    PyObject *key = name_of(name);
    int found = key ? PySequence_Contains((PyObject *)headers, key) : -1;
    faa_err_discard();
    return found;
}

void faa_http_client_inject(PyObject *exchange, PyObject *headers)
{
    struct faa_injection ours;
    faa_http_client_headers(exchange, has, headers, &ours);
    int status = 0;
    for (size_t i = 0; status == 0 && i < ours.count; i++)
        status = put(headers, &ours.headers[i]);
    faa_err_discard();
}

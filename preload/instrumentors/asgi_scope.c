// SPDX-License-Identifier: MIT
// From an ASGI scope to span attributes, after the semantic conventions for HTTP servers.
#include "instrumentors/asgi.h"

#include "span/http.h"
#include "span/traceparent.h"
#include "span/url.h"

#include <strings.h>

enum { HEADERS_MAX = 1000, QUERY_MAX = 2048 };

// The headers that matter; values borrow from the scope's header list.
struct headers {
    struct faa_str traceparent, host, user_agent;
    int traceparents;
    char tracestate[FAA_SPAN_TRACESTATE_MAX];
    size_t tracestate_len;
};

// Reads a sequence without consuming it: an iterator is the application's, not ours.
static PyObject *item_of(PyObject *sequence, int is_list, Py_ssize_t i)
{
    return is_list ? PyList_GetItem(sequence, i) : PyTuple_GetItem(sequence, i);
}

static Py_ssize_t size_of(PyObject *sequence, int *is_list)
{
    *is_list = 0;
    if (!sequence)
        return 0;
    if (faa_is_tuple(sequence))
        return PyTuple_Size(sequence);
    *is_list = faa_is_list(sequence);
    return *is_list ? PyList_Size(sequence) : 0;
}

static int name_is(struct faa_str name, const char *wanted, size_t n)
{
    return name.n == n && strncasecmp(name.p, wanted, n) == 0;
}

// Several tracestate headers are one list (RFC 9110, 5.3).
static void add_tracestate(struct headers *h, struct faa_str value)
{
    size_t comma = h->tracestate_len > 0;
    if (h->tracestate_len + comma + value.n > sizeof(h->tracestate))
        return;
    if (comma)
        h->tracestate[h->tracestate_len++] = ',';
    memcpy(h->tracestate + h->tracestate_len, value.p, value.n);
    h->tracestate_len += value.n;
}

// Values are looked at only where the name is one of ours.
static void note_header(struct headers *h, struct faa_str name, PyObject *value)
{
    switch (name.n) {
    case 4:
        if (!h->host.n && name_is(name, "host", 4))
            h->host = faa_text(value);
        break;
    case 10:
        if (!h->user_agent.n && name_is(name, "user-agent", 10))
            h->user_agent = faa_text(value);
        else if (name_is(name, "tracestate", 10))
            add_tracestate(h, faa_text(value));
        break;
    case 11:
        if (name_is(name, "traceparent", 11)) {
            h->traceparent = faa_text(value);
            h->traceparents++;
        }
        break;
    default:
        break;
    }
}

static void read_headers(struct headers *h, PyObject *list)
{
    int is_list, pair_is_list;
    Py_ssize_t n = size_of(list, &is_list);
    for (Py_ssize_t i = 0; i < n && i < HEADERS_MAX; i++) {
        PyObject *pair = item_of(list, is_list, i);
        if (size_of(pair, &pair_is_list) == 2)
            note_header(h, faa_text(item_of(pair, pair_is_list, 0)),
                        item_of(pair, pair_is_list, 1));
    }
}

// The parent is what this request's own headers say, and never what the context holds: a
// connection that is kept alive hands its first request's context to all later ones.
static void start_span(struct faa_span *span, const struct headers *h, const char *scope_name)
{
    struct faa_span_context parent;
    if (h->traceparents != 1 || faa_traceparent_parse(h->traceparent, &parent)) {
        faa_span_start(span, FAA_KIND_SERVER, scope_name, NULL);
        return;
    }
    if (faa_tracestate_valid((struct faa_str){h->tracestate, h->tracestate_len})) {
        parent.tracestate = h->tracestate;
        parent.tracestate_len = (uint16_t)h->tracestate_len;
    }
    faa_span_start(span, FAA_KIND_SERVER, scope_name, &parent);
}

static void set_method(struct faa_span *span, struct faa_request *request, PyObject *scope)
{
    PyObject *method;
    faa_dict_get(scope, FAA_NAME(method), &method);
    request->method = faa_http_set_method(span, faa_text(method));
    Py_DecRef(method);
}

// The path of a request target in absolute form (RFC 9112, 3.2.2), which may hold credentials.
static struct faa_str path_of_target(struct faa_str target)
{
    const char *query = target.n ? memchr(target.p, '?', target.n) : NULL;
    if (query)
        target.n = (size_t)(query - target.p);
    if (!target.n || target.p[0] == '/')
        return target;
    const char *authority = memmem(target.p, target.n, "://", 3);
    if (!authority)
        return target;
    const char *end = target.p + target.n;
    const char *path = memchr(authority + 3, '/', (size_t)(end - authority) - 3);
    return path ? (struct faa_str){path, (size_t)(end - path)} : FAA_STR("/");
}

// url.path is the path as it was sent: in the decoded form a %2F is lost.
static void set_path(struct faa_span *span, PyObject *scope)
{
    PyObject *raw, *path = NULL;
    faa_dict_get(scope, FAA_NAME(raw_path), &raw);
    struct faa_str text = path_of_target(faa_text(raw));
    if (!text.n) {
        faa_dict_get(scope, FAA_NAME(path), &path);
        text = path_of_target(faa_text(path));
    }
    faa_span_set_str(span, FAA_KEY_URL_PATH, text);
    Py_DecRef(raw);
    Py_DecRef(path);
}

static void set_query(struct faa_span *span, PyObject *scope)
{
    PyObject *object;
    char redacted[QUERY_MAX];
    faa_dict_get(scope, FAA_NAME(query_string), &object);
    struct faa_str query = faa_text(object);
    if (query.n) {
        size_t n = faa_query_redact(query, redacted, sizeof(redacted));
        faa_span_set_str(span, FAA_KEY_URL_QUERY, (struct faa_str){redacted, n});
    }
    Py_DecRef(object);
}

// "host", "host:port" or "[v6]:port"; returns the port, or 0 when it says none.
static int split_host(struct faa_str header, struct faa_str *host)
{
    const char *colon = header.n ? memrchr(header.p, ':', header.n) : NULL;
    const char *bracket = header.n ? memrchr(header.p, ']', header.n) : NULL;
    int port = 0;
    *host = header;
    if (colon && (!bracket || bracket < colon)) {
        host->n = (size_t)(colon - header.p);
        for (const char *p = colon + 1; p < header.p + header.n; p++) {
            if (*p < '0' || *p > '9' || port > 65535)
                return 0;
            port = port * 10 + (*p - '0');
        }
    }
    if (host->n >= 2 && host->p[0] == '[' && host->p[host->n - 1] == ']') {
        host->p++;
        host->n -= 2;
    }
    return port <= 65535 ? port : 0;
}

// scope["server"] and scope["client"] are (address, port) or None.
static PyObject *address_pair(PyObject *scope, PyObject *key, struct faa_str *host, long long *port)
{
    PyObject *pair;
    int is_list;
    *host = (struct faa_str){"", 0};
    *port = 0;
    faa_dict_get(scope, key, &pair);
    if (size_of(pair, &is_list) == 2) {
        *host = faa_text(item_of(pair, is_list, 0));
        *port = faa_int(item_of(pair, is_list, 1), 0);
    }
    return pair;
}

static void set_addresses(struct faa_span *span, PyObject *scope, const struct headers *h,
                          int is_https)
{
    struct faa_str host, client;
    long long port, client_port;
    PyObject *server_pair = NULL;
    if (h->host.n) {
        port = split_host(h->host, &host);
        if (!port)
            port = is_https ? 443 : 80;
    } else {
        server_pair = address_pair(scope, FAA_NAME(server), &host, &port);
    }
    if (host.n)
        faa_span_set_str(span, FAA_KEY_SERVER_ADDRESS, host);
    if (host.n && port > 0)
        faa_span_set_int(span, FAA_KEY_SERVER_PORT, port);
    PyObject *client_pair = address_pair(scope, FAA_NAME(client), &client, &client_port);
    if (client.n) {
        faa_span_set_str(span, FAA_KEY_CLIENT_ADDRESS, client);
        faa_span_set_str(span, FAA_KEY_NETWORK_PEER_ADDRESS, client);
        if (client_port > 0)
            faa_span_set_int(span, FAA_KEY_NETWORK_PEER_PORT, client_port);
    }
    Py_DecRef(server_pair);
    Py_DecRef(client_pair);
}

void faa_asgi_read_scope(struct faa_span *span, struct faa_request *request, PyObject *scope,
                         const char *scope_name)
{
    struct headers h;
    h.traceparent = h.host = h.user_agent = (struct faa_str){"", 0};
    h.traceparents = 0;
    h.tracestate_len = 0;
    read_headers(&h, request->headers);
    start_span(span, &h, scope_name);
    set_method(span, request, scope);
    set_path(span, scope);
    set_query(span, scope);

    PyObject *scheme, *version;
    faa_dict_get(scope, FAA_NAME(scheme), &scheme);
    struct faa_str s = faa_text(scheme);
    faa_span_set_str(span, FAA_KEY_URL_SCHEME, s.n ? s : FAA_STR("http"));
    set_addresses(span, scope, &h, faa_str_eq(s, FAA_STR("https")));
    if (h.user_agent.n)
        faa_span_set_str(span, FAA_KEY_USER_AGENT_ORIGINAL, h.user_agent);
    faa_dict_get(scope, FAA_NAME(http_version), &version);
    faa_span_set_py(span, FAA_KEY_NETWORK_PROTOCOL_VERSION, version);
    Py_DecRef(scheme);
    Py_DecRef(version);
}

// SPDX-License-Identifier: MIT
// From an ASGI scope to span attributes, after the semantic conventions for HTTP servers.
#include "instrumentors/asgi_request.h"

#include "instrumentors/http_rules.h"
#include "span/forwarded.h"
#include "span/http.h"
#include "span/propagation.h"
#include "span/url.h"

#include <stdio.h>
#include <strings.h>

enum { HEADERS_MAX = 1000, QUERY_MAX = 2048, URL_MAX = 4096, HOST_MAX = 256 };

static const enum faa_name names[] = {
#define X(name) FAA_NAME_##name,
    FAA_SCOPE_FIELDS(X)
#undef X
};

void faa_asgi_read_scope(struct faa_scope *fields, PyObject *scope)
{
    PyObject **values = (PyObject **)(void *)fields;
    for (size_t i = 0; i < FAA_COUNT(names); i++)
        values[i] = faa_dict_peek(scope, faa_names[names[i]]);
}

// The headers that matter; values borrow from the scope's header list.
struct headers {
    struct faa_str host, user_agent, forwarded;
    struct faa_str x_forwarded_for, x_forwarded_host, x_forwarded_proto, content_length;
    struct faa_carrier carrier; // Not zeroed: it is large.
};

static int name_is(struct faa_str name, const char *wanted, size_t n)
{
    return name.n == n && strncasecmp(name.p, wanted, n) == 0;
}

// The first one counts, where a header must not come twice.
static void take(struct faa_str *slot, struct faa_str name, const char *wanted, PyObject *value)
{
    if (!slot->n && name_is(name, wanted, name.n))
        *slot = faa_text(value);
}

// Values are looked at only where the name is one of ours.
static void note_header(struct headers *h, struct faa_str name, PyObject *value)
{
    switch (name.n) {
    case 4:
        take(&h->host, name, "host", value);
        break;
    case 9:
        take(&h->forwarded, name, "forwarded", value);
        break;
    case 10:
        take(&h->user_agent, name, "user-agent", value);
        break;
    case 14:
        take(&h->content_length, name, "content-length", value);
        break;
    case 15:
        take(&h->x_forwarded_for, name, "x-forwarded-for", value);
        break;
    case 16:
        take(&h->x_forwarded_host, name, "x-forwarded-host", value);
        break;
    case 17:
        take(&h->x_forwarded_proto, name, "x-forwarded-proto", value);
        break;
    default:
        break;
    }
    if (faa_carrier_wants(name.n)) {
        enum faa_field field = faa_carrier_field(name);
        if (field != FAA_FIELD_NONE)
            faa_carrier_add(&h->carrier, field, faa_text(value));
    }
}

static void read_headers(struct headers *h, PyObject *list)
{
    PyObject *pair, *value;
    memset(h, 0, offsetof(struct headers, carrier));
    faa_carrier_init(&h->carrier);
    for (Py_ssize_t i = 0; i < HEADERS_MAX && (pair = faa_sequence_item(list, i)); i++)
        if ((value = faa_sequence_item(pair, 1)) != NULL)
            note_header(h, faa_text(faa_sequence_item(pair, 0)), value);
}

// The parent is what this request's own headers say, and never what the context holds: a
// connection that is kept alive hands its first request's context to all later ones.
static void start_span(struct faa_span *span, struct headers *h, const char *scope_name,
                       struct faa_str operation)
{
    struct faa_span_context parent;
    int found = faa_carrier_extract(&h->carrier, &parent) == 0;
    faa_span_start_operation(span, FAA_KIND_SERVER, scope_name, found ? &parent : NULL, operation);
    faa_carrier_fini(&h->carrier);
}

// A WebSocket's handshake is a GET; its scope has no method.
static struct faa_str method_of(const struct faa_scope *scope)
{
    if (!scope->method && faa_str_eq(faa_text(scope->type), FAA_STR("websocket")))
        return FAA_STR("GET");
    return faa_text(scope->method);
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
static void set_path(struct faa_span *span, const struct faa_scope *scope)
{
    struct faa_str text = path_of_target(faa_text(scope->raw_path));
    if (!text.n)
        text = path_of_target(faa_text(scope->path));
    faa_span_set_str(span, FAA_KEY_URL_PATH, text);
}

static void set_query(struct faa_span *span, const struct faa_scope *scope)
{
    char redacted[QUERY_MAX];
    struct faa_str query = faa_text(scope->query_string);
    if (query.n) {
        size_t n = faa_query_redact(query, redacted, sizeof(redacted));
        faa_span_set_str(span, FAA_KEY_URL_QUERY, (struct faa_str){redacted, n});
    }
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
static struct faa_str address_of(PyObject *pair, long long *port)
{
    PyObject *number = pair ? faa_sequence_item(pair, 1) : NULL;
    *port = faa_int(number, 0);
    return number ? faa_text(faa_sequence_item(pair, 0)) : (struct faa_str){"", 0};
}

static void set_text(struct faa_span *span, enum faa_key key, struct faa_str text)
{
    if (text.n)
        faa_span_set_str(span, key, text);
}

static struct faa_str either(struct faa_str first, struct faa_str second)
{
    return first.n ? first : second;
}

static int is_secure(struct faa_str scheme)
{
    return name_is(scheme, "https", 5) || name_is(scheme, "wss", 3);
}

static void set_server(struct faa_span *span, const struct faa_scope *scope, struct faa_str header,
                       struct faa_str scheme)
{
    struct faa_str host;
    long long port;
    if (header.n) {
        port = split_host(header, &host);
        if (!port)
            port = is_secure(scheme) ? 443 : 80;
    } else {
        host = address_of(scope->server, &port);
    }
    if (!host.n)
        return;
    faa_span_set_str(span, FAA_KEY_SERVER_ADDRESS, host);
    if (port > 0)
        faa_span_set_int(span, FAA_KEY_SERVER_PORT, port);
}

static void set_client(struct faa_span *span, const struct faa_scope *scope,
                       struct faa_str forwarded)
{
    long long port;
    struct faa_str peer = address_of(scope->client, &port);
    set_text(span, FAA_KEY_CLIENT_ADDRESS, either(forwarded, peer));
    set_text(span, FAA_KEY_NETWORK_PEER_ADDRESS, peer);
    if (peer.n && port > 0)
        faa_span_set_int(span, FAA_KEY_NETWORK_PEER_PORT, port);
}

// Proxies tell what the client asked for, as the conventions want it; the peer is the proxy.
static void set_addresses(struct faa_span *span, const struct faa_scope *scope,
                          const struct headers *h)
{
    struct faa_forwarded f = {{"", 0}, {"", 0}, {"", 0}};
    struct faa_str scheme = either(faa_text(scope->scheme), FAA_STR("http"));
    if (h->forwarded.n)
        f = faa_forwarded_parse(h->forwarded);
    f.proto = either(f.proto, faa_forwarded_first(h->x_forwarded_proto));
    f.host = either(f.host, faa_forwarded_first(h->x_forwarded_host));
    f.client = either(f.client, faa_forwarded_for(h->x_forwarded_for));
    if (name_is(f.proto, "http", 4) || name_is(f.proto, "https", 5))
        scheme = f.proto;
    faa_span_set_str(span, FAA_KEY_URL_SCHEME, scheme);
    set_server(span, scope, either(f.host, h->host), scheme);
    set_client(span, scope, f.client);
}

// Digits only, as RFC 9110 has it.
static void set_body_size(struct faa_span *span, struct faa_str digits)
{
    int64_t size = 0;
    if (!digits.n || digits.n > 18)
        return;
    for (size_t i = 0; i < digits.n; i++) {
        if (digits.p[i] < '0' || digits.p[i] > '9')
            return;
        size = size * 10 + (digits.p[i] - '0');
    }
    faa_span_set_int(span, FAA_KEY_HTTP_REQUEST_BODY_SIZE, size);
}

void faa_asgi_start_span(struct faa_span *span, struct faa_request *request,
                         const struct faa_scope *scope, const char *scope_name)
{
    struct headers h;
    read_headers(&h, scope->headers);
    struct faa_str method = method_of(scope);
    start_span(span, &h, scope_name, faa_http_method(method));
    if (!span->recording)
        return;
    request->method = faa_http_set_method(span, method);
    set_path(span, scope);
    set_query(span, scope);
    set_addresses(span, scope, &h);
    set_text(span, FAA_KEY_USER_AGENT_ORIGINAL, h.user_agent);
    set_text(span, FAA_KEY_NETWORK_PROTOCOL_VERSION, faa_text(scope->http_version));
    set_body_size(span, h.content_length);
    faa_http_rules_capture(FAA_RULE_SERVER_REQUEST, scope->headers, span,
                           FAA_KEY_HTTP_REQUEST_HEADER);
}

struct url {
    char text[URL_MAX];
    size_t n;
};

static void put(struct url *url, struct faa_str text)
{
    size_t room = sizeof(url->text) - url->n, n = text.n < room ? text.n : room;
    if (n > 0)
        memcpy(url->text + url->n, text.p, n);
    url->n += n;
}

// As the client wrote it. What looks like more than a host is cut off: by it a client could pass
// for a request to a path that is not traced.
static void put_host(struct url *url, const struct faa_scope *scope)
{
    struct faa_str host = {"", 0};
    PyObject *pair;
    long long port;
    for (Py_ssize_t i = 0; i < HEADERS_MAX && (pair = faa_sequence_item(scope->headers, i)); i++) {
        struct faa_str name = faa_text(faa_sequence_item(pair, 0));
        if (name.n == 4)
            take(&host, name, "host", faa_sequence_item(pair, 1));
    }
    for (size_t i = 0; i < host.n; i++)
        if (memchr("/?#\\", host.p[i], 4))
            host.n = i;
    if (host.n) {
        put(url, (struct faa_str){host.p, host.n < HOST_MAX ? host.n : HOST_MAX});
        return;
    }
    char digits[32];
    put(url, address_of(scope->server, &port));
    if (port > 0) {
        int n = snprintf(digits, sizeof(digits), ":%lld", port);
        put(url, (struct faa_str){digits, (size_t)n});
    }
}

int faa_asgi_is_excluded(struct faa_scope *fields, PyObject *scope, enum faa_rule rule)
{
    struct url url;
    if (!faa_http_rules_has(rule))
        return 0;
    url.n = 0;
    put(&url, either(faa_text(fields->scheme), FAA_STR("http")));
    put(&url, FAA_STR("://"));
    put_host(&url, fields);
    put(&url, faa_text(fields->path));
    int found = faa_http_rules_find(rule, (struct faa_str){url.text, url.n});
    PyObject *headers = fields->headers; // The request has a reference to these.
    faa_asgi_read_scope(fields, scope);
    fields->headers = headers;
    return found == 1;
}

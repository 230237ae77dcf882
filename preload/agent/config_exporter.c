// SPDX-License-Identifier: MIT
// How spans leave, from the environment.
#include "agent/config_exporter.h"

#include "agent/env.h"
#include "base/log.h"
#include "export/endpoint.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { HEADERS_MAX = 32 };

static void read_exporters(struct faa_exporter_config *e)
{
    const char *value = faa_env("OTEL_TRACES_EXPORTER");
    struct faa_str rest = faa_str_of(value ? value : "otlp"), name;
    int none = 0;
    while (faa_env_next(&rest, &name)) {
        if (name.n == 4 && strncasecmp(name.p, "otlp", 4) == 0)
            e->otlp = 1;
        else if (name.n == 7 && strncasecmp(name.p, "console", 7) == 0)
            e->console = 1;
        else if (name.n == 4 && strncasecmp(name.p, "none", 4) == 0)
            none = 1;
        else
            faa_warn("OTEL_TRACES_EXPORTER: %.*s is not known (otlp, console or none)", (int)name.n,
                     name.p);
    }
    if (!e->otlp && !e->console && !none)
        e->otlp = 1;
}

// The value of OTEL_EXPORTER_OTLP_TRACES_<what>, or of OTEL_EXPORTER_OTLP_<what>, and the name of
// the one that counts, static until the next call.
static const char *setting(const char *what, const char **name)
{
    static char buffer[64];
    static const char *const prefixes[] = {"OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"};
    const char *value = NULL;
    for (size_t i = 0; !value && i < FAA_COUNT(prefixes); i++) {
        snprintf(buffer, sizeof(buffer), "%s%s", prefixes[i], what);
        value = faa_env(buffer);
    }
    *name = buffer;
    return value;
}

// A setting's text for ever; NULL where there is none. 0, or -1 without memory.
static int keep(const char *value, const char **out)
{
    *out = value ? strdup(value) : NULL; // A path may hold any bytes.
    return value && !*out ? -1 : 0;
}

static enum faa_protocol read_protocol(void)
{
    const char *name, *value = setting("PROTOCOL", &name);
    if (!value)
        return FAA_PROTOCOL_DETECT;
    if (strcasecmp(value, "grpc") == 0)
        return FAA_PROTOCOL_GRPC;
    if (strcasecmp(value, "http/protobuf") == 0)
        return FAA_PROTOCOL_HTTP;
    faa_env_reject(name, value, "not grpc or http/protobuf; finding out by itself");
    return FAA_PROTOCOL_DETECT;
}

static int is_insecure(void)
{
    const char *name;
    return setting("INSECURE", &name) && faa_env_bool(name);
}

// Only gRPC's endpoints may have no scheme, and only for those is there
// OTEL_EXPORTER_OTLP_INSECURE.
static int may_be_bare(enum faa_protocol protocol)
{
    const char *name;
    return protocol == FAA_PROTOCOL_GRPC ||
           (protocol == FAA_PROTOCOL_DETECT && setting("INSECURE", &name));
}

// An endpoint without a scheme is secure unless the user says otherwise. What is no URL may be
// anything, secrets too: it is not shown. 0, or -1 without memory.
static int read_url(const char *name, enum faa_protocol protocol, const char **out)
{
    struct faa_endpoint endpoint;
    char text[FAA_URL_MAX];
    const char *value = faa_env(name);
    *out = NULL;
    if (!value)
        return 0;
    int bare =
        may_be_bare(protocol) && !strstr(value, "://") && strncasecmp(value, "unix:", 5) != 0;
    int n = snprintf(text, sizeof(text), "%s%s",
                     !bare           ? ""
                     : is_insecure() ? "http://"
                                     : "https://",
                     value);
    if ((size_t)n >= sizeof(text) || faa_endpoint_init(&endpoint, text, NULL)) {
        faa_warn("%s cannot be used: it is not an http:// or https:// URL with a host, nor "
                 "unix:///path%s",
                 name, strstr(value, "://") ? "" : " (for gRPC's host:port, set the protocol)");
        return 0;
    }
    return keep(text, out);
}

static int read_endpoint(struct faa_exporter_config *e)
{
    e->protocol = read_protocol();
    if (read_url("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", e->protocol, &e->traces_endpoint) ||
        read_url("OTEL_EXPORTER_OTLP_ENDPOINT", e->protocol, &e->endpoint))
        return -1;
    if (!e->endpoint)
        e->endpoint =
            e->protocol == FAA_PROTOCOL_GRPC ? "http://localhost:4317" : "http://localhost:4318";
    return 0;
}

static void read_compression(struct faa_exporter_config *e)
{
    const char *name, *value = setting("COMPRESSION", &name);
    e->gzip = value && strcasecmp(value, "gzip") == 0;
    if (value && !e->gzip && strcasecmp(value, "none") != 0)
        faa_env_reject(name, value, "not gzip or none; sending without compression");
}

// ---- headers ----------------------------------------------------------------------------------

// A token of RFC 9110.
static int is_name(const char *text)
{
    for (const char *p = text; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("!#$%&'*+-.^_`|~", *p))
            return 0;
    return *text != '\0';
}

// Values come from the user, but must not become further headers.
static int is_value(const char *text, long n)
{
    for (long i = 0; i < n; i++)
        if ((unsigned char)text[i] < ' ' && text[i] != '\t')
            return 0;
    return n >= 0;
}

// What says how the message is to be read is ours to say.
static int is_reserved(const char *name)
{
    static const char *const names[] = {
        "content-type", "content-length", "content-encoding", "transfer-encoding",
        "te",           "connection"};
    for (size_t i = 0; i < FAA_COUNT(names); i++)
        if (strcasecmp(name, names[i]) == 0)
            return 1;
    return strncasecmp(name, "grpc-", 5) == 0;
}

// "key=value", the value percent-decoded, to "key: value" in `line`. Returns 0 or -1.
static int make_line(char *text, char *line, size_t cap)
{
    char *equals = strchr(text, '=');
    if (!equals)
        return -1;
    *equals = '\0';
    char *name = text, *value = equals + 1;
    for (char *end = equals; end > name && strchr(" \t", end[-1]);)
        *--end = '\0';
    value += strspn(value, " \t");
    if (!is_name(name) || is_reserved(name) || !is_value(value, faa_env_unescape(value)))
        return -1;
    // libcurl sends a header without a value when it ends in a semicolon.
    int n =
        value[0] ? snprintf(line, cap, "%s: %s", name, value) : snprintf(line, cap, "%s;", name);
    return n > 0 && (size_t)n < cap ? 0 : -1;
}

static int read_headers(struct faa_exporter_config *e)
{
    static const char *lines[HEADERS_MAX];
    const char *name, *list = setting("HEADERS", &name);
    struct faa_str rest = faa_str_of(list), pair;
    e->headers = lines;
    while (faa_env_next(&rest, &pair)) {
        size_t cap = pair.n + 3;
        char *text = strndup(pair.p, pair.n), *line = malloc(cap);
        if (!text || !line) {
            free(text);
            free(line);
            return -1;
        }
        if (e->header_count == HEADERS_MAX || make_line(text, line, cap)) {
            faa_warn(
                "%s: a header cannot be used and is left out: it is not name=value, has a name "
                "that is not free, or is one too many",
                name);
            free(line);
        } else {
            lines[e->header_count++] = line;
        }
        free(text);
    }
    return 0;
}

// ---- connection -------------------------------------------------------------------------------

// The first of the variables that is set.
static const char *first_of(const char *name, const char *other)
{
    const char *value = faa_env(name);
    return value ? value : faa_env(other);
}

// HTTP_PROXY in capitals does not count, as in libcurl: CGI sets it from a request's header.
static int read_connection(struct faa_connection_config *c)
{
    const char *name;
    return keep(setting("CERTIFICATE", &name), &c->certificate) ||
                   keep(setting("CLIENT_CERTIFICATE", &name), &c->client_certificate) ||
                   keep(setting("CLIENT_KEY", &name), &c->client_key) ||
                   keep(faa_env("SSL_CERT_FILE"), &c->certificate_file) ||
                   keep(faa_env("SSL_CERT_DIR"), &c->certificate_dir) ||
                   keep(faa_env("http_proxy"), &c->http_proxy) ||
                   keep(first_of("https_proxy", "HTTPS_PROXY"), &c->https_proxy) ||
                   keep(first_of("all_proxy", "ALL_PROXY"), &c->all_proxy) ||
                   keep(first_of("no_proxy", "NO_PROXY"), &c->no_proxy)
               ? -1
               : 0;
}

static void read_batches(struct faa_exporter_config *e)
{
    const char *name;
    setting("TIMEOUT", &name);
    e->timeout_ms = faa_env_number(name, 10000, 1, 600000);
    uint32_t limit = faa_env_number("OTEL_BSP_EXPORT_TIMEOUT", 30000, 1, 3600000);
    if (e->timeout_ms > limit)
        e->timeout_ms = limit;
    e->schedule_delay_ms = faa_env_number("OTEL_BSP_SCHEDULE_DELAY", 5000, 1, 3600000);
    e->max_batch_size = faa_env_number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, 1, 65536);
}

static int read_spool(struct faa_exporter_config *e)
{
    e->spool_size = (uint64_t)faa_env_number("FAA_SPOOL_SIZE", 64, 1, 1 << 20) << 20;
    return keep(faa_env("FAA_SPOOL_DIR"), &e->spool_dir);
}

int faa_config_read_exporter(struct faa_exporter_config *exporter)
{
    read_exporters(exporter);
    read_compression(exporter);
    read_batches(exporter);
    return read_endpoint(exporter) || read_headers(exporter) ||
                   read_connection(&exporter->connection) || read_spool(exporter)
               ? -1
               : 0;
}

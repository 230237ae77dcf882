// SPDX-License-Identifier: MIT
// URL building after the OTLP exporter specification, with libcurl's URL parser.
#include "export/endpoint.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define EXPORT_PATH "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
#define SAMPLING_PATH "/jaeger.api_v2.SamplingManager/GetSamplingStrategy"

// Copies the whole URL out. Returns 0 or -1.
static int put_url(CURLU *url, char out[FAA_URL_MAX])
{
    char *text = NULL;
    int rc = -1;
    if (curl_url_get(url, CURLUPART_URL, &text, 0) == CURLUE_OK && strlen(text) < FAA_URL_MAX) {
        memcpy(out, text, strlen(text) + 1);
        rc = 0;
    }
    curl_free(text);
    return rc;
}

// Appends v1/traces to the path, whether or not that ends in a slash.
static int append_signal_path(CURLU *url)
{
    char path[FAA_URL_MAX];
    char *base = NULL;
    int rc = -1;
    if (curl_url_get(url, CURLUPART_PATH, &base, 0) == CURLUE_OK) {
        size_t n = strlen(base);
        const char *slash = n && base[n - 1] == '/' ? "" : "/";
        int len = snprintf(path, sizeof(path), "%s%sv1/traces", base, slash);
        if (len > 0 && (size_t)len < sizeof(path))
            rc = curl_url_set(url, CURLUPART_PATH, path, 0) == CURLUE_OK ? 0 : -1;
    }
    curl_free(base);
    return rc;
}

// What may be shown: a query can hold a token just as the user part holds a password.
static int put_shown(CURLU *url, char out[FAA_URL_MAX])
{
    static const CURLUPart secret[] = {CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_OPTIONS,
                                       CURLUPART_QUERY, CURLUPART_FRAGMENT};
    for (size_t i = 0; i < FAA_COUNT(secret); i++)
        if (curl_url_set(url, secret[i], NULL, 0) != CURLUE_OK)
            return -1;
    if (put_url(url, out) != 0)
        return -1;
    // "http://host:4317/" is what the user knows as "http://host:4317".
    size_t n = strlen(out);
    if (n && out[n - 1] == '/')
        out[n - 1] = '\0';
    return 0;
}

// Names that end in .localhost are this machine's, too (RFC 6761). IPv6 comes in brackets.
static int is_local(const char *host)
{
    static const char name[] = "localhost";
    size_t n = strlen(host), k = strlen(name);
    if (n && host[n - 1] == '.')
        n--;
    if (n >= k && strncasecmp(host + n - k, name, k) == 0 && (n == k || host[n - k - 1] == '.'))
        return 1;
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "[::1]") == 0;
}

static int read_origin(CURLU *url, struct faa_endpoint *endpoint)
{
    char *scheme = NULL, *port = NULL, *host = NULL;
    int rc = -1;
    if (curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK) {
        endpoint->tls = strcasecmp(scheme, "https") == 0;
        endpoint->port = (unsigned)strtoul(port, NULL, 10);
        endpoint->is_local = is_local(host);
        rc = endpoint->tls || strcasecmp(scheme, "http") == 0 ? 0 : -1;
    }
    curl_free(scheme);
    curl_free(port);
    curl_free(host);
    return rc;
}

static int fill_in(CURLU *url, CURLU *scratch, const char *given, int exact, const char *grpc_path,
                   struct faa_endpoint *endpoint)
{
    if (curl_url_set(url, CURLUPART_URL, given, 0) != CURLUE_OK ||
        curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0) != CURLUE_OK ||
        read_origin(url, endpoint) != 0 ||
        curl_url_set(scratch, CURLUPART_URL, given, 0) != CURLUE_OK ||
        put_shown(scratch, endpoint->shown) != 0)
        return -1;
    if ((!exact && append_signal_path(url) != 0) || put_url(url, endpoint->http_url) != 0 ||
        curl_url_set(scratch, CURLUPART_URL, endpoint->http_url, 0) != CURLUE_OK ||
        put_shown(scratch, endpoint->http_shown) != 0)
        return -1;
    if (curl_url_set(url, CURLUPART_QUERY, NULL, 0) != CURLUE_OK ||
        curl_url_set(url, CURLUPART_PATH, grpc_path, 0) != CURLUE_OK)
        return -1;
    return put_url(url, endpoint->grpc_url);
}

// unix:///path, and unix:/path as gRPC writes it too. The URL's host is what HTTP wants one for.
static int init_unix(struct faa_endpoint *endpoint, const char *given, const char *grpc_path)
{
    const char *path = given + strlen("unix:");
    if (strncmp(path, "//", 2) == 0)
        path += 2;
    size_t n = strlen(path);
    errno = EINVAL;
    if (path[0] != '/' || n < 2 || n >= sizeof(endpoint->socket_path))
        return -1;
    memset(endpoint, 0, sizeof(*endpoint));
    memcpy(endpoint->socket_path, path, n + 1);
    snprintf(endpoint->http_url, FAA_URL_MAX, "http://localhost/v1/traces");
    snprintf(endpoint->grpc_url, FAA_URL_MAX, "http://localhost%s", grpc_path);
    snprintf(endpoint->shown, FAA_URL_MAX, "unix://%s", path);
    snprintf(endpoint->http_shown, FAA_URL_MAX, "unix://%s", path);
    endpoint->is_local = 1;
    return 0;
}

static int init(struct faa_endpoint *endpoint, const char *given, int exact, const char *grpc_path)
{
    if (given && strncasecmp(given, "unix:", 5) == 0)
        return init_unix(endpoint, given, grpc_path);
    endpoint->socket_path[0] = '\0';
    errno = 0; // What libcurl allocates, and does not get, sets it.
    CURLU *url = curl_url();
    CURLU *scratch = curl_url();
    int rc = -1;
    if (given && url && scratch)
        rc = fill_in(url, scratch, given, exact, grpc_path, endpoint);
    int why = errno == ENOMEM ? ENOMEM : EINVAL;
    curl_url_cleanup(url);
    curl_url_cleanup(scratch);
    if (rc != 0)
        errno = why;
    return rc;
}

int faa_endpoint_init(struct faa_endpoint *endpoint, const char *base, const char *traces)
{
    return init(endpoint, traces ? traces : base, traces != NULL, EXPORT_PATH);
}

int faa_endpoint_init_sampling(struct faa_endpoint *endpoint, const char *base)
{
    return init(endpoint, base, 1, SAMPLING_PATH);
}

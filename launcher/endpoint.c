// SPDX-License-Identifier: MIT
// The check of a collector's base URL before anything is started with it.
#include "endpoint.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <strings.h>

#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
// The longest host name that DNS can carry, in its text form.
#define HOST_MAX 253

static size_t scheme_length(const char *url)
{
    if (strncasecmp(url, "http://", 7) == 0)
        return 7;
    return strncasecmp(url, "https://", 8) == 0 ? 8 : 0;
}

// An underscore is no part of a host name by RFC 1123, but container names have it.
static int is_host_name(const char *p, size_t n)
{
    if (n > HOST_MAX || p[0] == '.' || memmem(p, n, "..", 2))
        return 0;
    return strspn(p, ALNUM "-._") >= n;
}

static int is_ipv6(const char *p, size_t n)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr ignored;
    if (n >= sizeof(text))
        return 0;
    memcpy(text, p, n);
    text[n] = '\0';
    return inet_pton(AF_INET6, text, &ignored) == 1;
}

static int is_port(const char *p, size_t n)
{
    unsigned value = 0;
    if (n == 0 || n > 5)
        return 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9')
            return 0;
        value = value * 10 + (unsigned)(p[i] - '0');
    }
    return value >= 1 && value <= 65535;
}

// `p` to `end` is what stands between the scheme and the path.
static const char *check_authority(const char *p, const char *end)
{
    const char *host_end = memchr(p, ':', (size_t)(end - p));
    if (memchr(p, '@', (size_t)(end - p)))
        return "it must not contain a user name or password (see OTEL_EXPORTER_OTLP_HEADERS)";
    if (*p == '[') {
        const char *close = memchr(p, ']', (size_t)(end - p));
        if (!close || !is_ipv6(p + 1, (size_t)(close - p - 1)))
            return "its IPv6 address is not valid";
        host_end = close + 1;
    } else {
        if (!host_end)
            host_end = end;
        if (host_end == p)
            return "it has no host";
        if (!is_host_name(p, (size_t)(host_end - p)))
            return "its host name is not valid";
    }
    if (host_end == end)
        return NULL;
    if (*host_end != ':' || !is_port(host_end + 1, (size_t)(end - host_end - 1)))
        return "its port is not a number from 1 to 65535";
    return NULL;
}

static const char *check_path(const char *path)
{
    if (path[strspn(path, ALNUM "-._~!$&'()*+,;=:@/%")])
        return "its path contains a character that a URL cannot have";
    for (const char *p = strchr(path, '%'); p; p = strchr(p + 1, '%'))
        if (!isxdigit((unsigned char)p[1]) || !isxdigit((unsigned char)p[2]))
            return "its path contains a percent sign without two hexadecimal digits";
    return NULL;
}

// A Unix socket's path, for which sockaddr_un has 108 bytes.
static const char *check_socket(const char *path)
{
    if (strncmp(path, "//", 2) == 0)
        path += 2;
    if (path[0] != '/' || !path[1])
        return "its socket's path does not begin with a slash (unix:///run/collector.sock)";
    return strlen(path) < 108 ? NULL : "its socket's path is longer than 107 bytes";
}

const char *faa_endpoint_check(const char *url)
{
    if (strnlen(url, FAA_ENDPOINT_MAX + 1) > FAA_ENDPOINT_MAX)
        return "it is longer than 2048 bytes";
    for (const char *p = url; *p; p++)
        if ((unsigned char)*p <= 0x20 || *p == 0x7f)
            return "it contains a space or a control character";
    if (strncasecmp(url, "unix:", 5) == 0)
        return check_socket(url + 5);
    if (scheme_length(url) == 0)
        return "it does not start with http://, https:// or unix://";
    if (strpbrk(url, "?#"))
        return "it must not have a query or a fragment";
    const char *authority = url + scheme_length(url);
    const char *path = authority + strcspn(authority, "/");
    const char *why = check_authority(authority, path);
    return why ? why : check_path(path);
}

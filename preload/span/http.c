// SPDX-License-Identifier: MIT
// Methods and status codes of HTTP spans.
#include "span/http.h"

#include <stdio.h>

// RFC 9110, PATCH (RFC 5789) and QUERY.
static const struct faa_str standard[] = {
    FAA_STR("GET"),     FAA_STR("HEAD"),    FAA_STR("POST"),  FAA_STR("PUT"),   FAA_STR("DELETE"),
    FAA_STR("CONNECT"), FAA_STR("OPTIONS"), FAA_STR("TRACE"), FAA_STR("PATCH"), FAA_STR("QUERY"),
};
static struct faa_str chosen[FAA_HTTP_METHODS_MAX];
static const struct faa_str *known = standard;
static size_t known_count = FAA_COUNT(standard);

static const char unknown[] = "HTTP";

void faa_http_set_known_methods(const struct faa_str *methods, size_t count)
{
    if (count == 0 || count > FAA_COUNT(chosen))
        return;
    memcpy(chosen, methods, count * sizeof(*methods));
    known = chosen;
    known_count = count;
}

struct faa_str faa_http_method(struct faa_str method)
{
    for (size_t i = 0; i < known_count; i++)
        if (faa_str_eq(method, known[i]))
            return known[i];
    return (struct faa_str){unknown, sizeof(unknown) - 1};
}

struct faa_str faa_http_set_method(struct faa_span *span, struct faa_str method)
{
    struct faa_str name = faa_http_method(method);
    if (name.p != unknown) {
        faa_span_set_str(span, FAA_KEY_HTTP_REQUEST_METHOD, name);
        return name;
    }
    faa_span_set_str(span, FAA_KEY_HTTP_REQUEST_METHOD, FAA_STR("_OTHER"));
    if (method.n)
        faa_span_set_str(span, FAA_KEY_HTTP_REQUEST_METHOD_ORIGINAL, method);
    return name;
}

void faa_http_set_status(struct faa_span *span, int status, int error_from)
{
    if (status <= 0)
        return;
    faa_span_set_int(span, FAA_KEY_HTTP_RESPONSE_STATUS_CODE, status);
    if (status < error_from || span->status == FAA_STATUS_ERROR)
        return;
    char code[16];
    int n = snprintf(code, sizeof(code), "%d", status);
    faa_span_set_status(span, FAA_STATUS_ERROR, FAA_STR(""));
    faa_span_set_str(span, FAA_KEY_ERROR_TYPE, (struct faa_str){code, (size_t)n});
}

// SPDX-License-Identifier: MIT
// What the instrumentors go by, from the environment.
#include "agent/config.h"

#include "agent/env.h"
#include "base/log.h"
#include "span/http.h"

#include <strings.h>

// The steps of a request that are told. A name that is not known changes nothing else.
static unsigned read_steps(void)
{
    static const struct {
        struct faa_str name;
        unsigned steps;
    } known[] = {
        {FAA_STR("none"), 0},
        {FAA_STR("all"), FAA_STEP_ALL},
        {FAA_STR("dependencies"), FAA_STEP_DEPENDENCIES | FAA_STEP_SLOW_DEPENDENCY},
        {FAA_STR("slow_dependency"), FAA_STEP_SLOW_DEPENDENCY},
        {FAA_STR("endpoint"), FAA_STEP_ENDPOINT},
        {FAA_STR("validation"), FAA_STEP_VALIDATION},
        {FAA_STR("serialization"), FAA_STEP_SERIALIZATION},
        {FAA_STR("background_task"), FAA_STEP_BACKGROUND_TASK},
    };
    struct faa_str rest = faa_str_of(faa_env("FAA_FASTAPI_SPANS")), name;
    unsigned steps = 0, some = 0;
    while (faa_env_next(&rest, &name)) {
        size_t i = 0;
        while (i < FAA_COUNT(known) &&
               (known[i].name.n != name.n || strncasecmp(known[i].name.p, name.p, name.n) != 0))
            i++;
        if (i == FAA_COUNT(known)) {
            faa_warn("FAA_FASTAPI_SPANS: %.*s is not known (all, none, dependencies, "
                     "slow_dependency, endpoint, validation, serialization or background_task)",
                     (int)(name.n < 200 ? name.n : 200), name.p);
            continue;
        }
        steps |= known[i].steps;
        some = 1;
    }
    return some ? steps : FAA_STEP_DEFAULT;
}

// A variable's text for ever. 0, or -1 when there is no memory.
static int read_text(const char *name, const char **out)
{
    const char *value = faa_env(name);
    *out = value ? faa_env_keep(faa_str_of(value)) : NULL;
    return value && !*out ? -1 : 0;
}

// A method that is not in the list is _OTHER to the conventions, so that a value's spelling counts.
static int read_methods(void)
{
    static const char name[] = "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS";
    struct faa_str methods[FAA_HTTP_METHODS_MAX], rest, method;
    const char *list;
    size_t count = 0;
    if (read_text(name, &list))
        return -1;
    rest = faa_str_of(list);
    while (faa_env_next(&rest, &method)) {
        if (count == FAA_COUNT(methods)) {
            faa_warn("%s: only the first %d methods count", name, FAA_HTTP_METHODS_MAX);
            break;
        }
        methods[count++] = method;
    }
    faa_http_set_known_methods(methods, count);
    return 0;
}

#define CAPTURE "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_"

int faa_config_read_settings(struct faa_settings *settings)
{
    settings->log_correlation = faa_env_bool("OTEL_PYTHON_LOG_CORRELATION");
    settings->websocket_messages = faa_env_bool("FAA_WEBSOCKET_MESSAGES");
    settings->fastapi_spans = read_steps();
    settings->slow_dependency_ns =
        (uint64_t)faa_env_number("FAA_SLOW_DEPENDENCY", 100, 0, 3600000) * 1000000u;
    const struct {
        const char *name;
        const char **text;
    } lists[] = {
        {"OTEL_PYTHON_EXCLUDED_URLS", &settings->excluded_urls},
        {"OTEL_PYTHON_FASTAPI_EXCLUDED_URLS", &settings->fastapi_excluded_urls},
        {"OTEL_PYTHON_STARLETTE_EXCLUDED_URLS", &settings->starlette_excluded_urls},
        {"OTEL_PYTHON_REQUESTS_EXCLUDED_URLS", &settings->requests_excluded_urls},
        {"OTEL_PYTHON_HTTPX_EXCLUDED_URLS", &settings->httpx_excluded_urls},
        {"OTEL_PYTHON_AIOHTTP_CLIENT_EXCLUDED_URLS", &settings->aiohttp_excluded_urls},
        {"OTEL_PYTHON_URLLIB3_EXCLUDED_URLS", &settings->urllib3_excluded_urls},
        {"OTEL_PYTHON_URLLIB_EXCLUDED_URLS", &settings->urllib_excluded_urls},
        {CAPTURE "SERVER_REQUEST", &settings->capture_request_headers},
        {CAPTURE "SERVER_RESPONSE", &settings->capture_response_headers},
        {CAPTURE "CLIENT_REQUEST", &settings->capture_client_request_headers},
        {CAPTURE "CLIENT_RESPONSE", &settings->capture_client_response_headers},
        {CAPTURE "SANITIZE_FIELDS", &settings->sanitize_fields},
    };
    for (size_t i = 0; i < FAA_COUNT(lists); i++)
        if (read_text(lists[i].name, lists[i].text))
            return -1;
    return read_methods();
}

// SPDX-License-Identifier: MIT
// What the instrumentors go by, from the environment.
#include "agent/config.h"

#include "agent/env.h"
#include "base/log.h"
#include "span/http.h"
#include "span/message.h"
#include "span/url.h"

#include <strings.h>

// One name that a list may have, and what it chooses.
struct choice {
    struct faa_str name;
    unsigned bits;
};

static int is_name(struct faa_str name, struct faa_str given)
{
    return name.n == given.n && strncasecmp(name.p, given.p, given.n) == 0;
}

// A comma list of such names. One that is not known changes nothing else; `names` says which are.
static unsigned read_choices(const char *variable, const struct choice *known, size_t count,
                             unsigned fallback, const char *names)
{
    struct faa_str rest = faa_str_of(faa_env(variable)), name;
    unsigned bits = 0, some = 0;
    while (faa_env_next(&rest, &name)) {
        size_t i = 0;
        while (i < count && !is_name(known[i].name, name))
            i++;
        if (i == count) {
            faa_warn("%s: %.*s is not known (%s)", variable, (int)(name.n < 200 ? name.n : 200),
                     name.p, names);
            continue;
        }
        bits |= known[i].bits;
        some = 1;
    }
    return some ? bits : fallback;
}

// The steps of a request that are told.
static unsigned read_steps(void)
{
    static const struct choice known[] = {
        {FAA_STR("none"), 0},
        {FAA_STR("all"), FAA_STEP_ALL},
        {FAA_STR("dependencies"), FAA_STEP_DEPENDENCIES | FAA_STEP_SLOW_DEPENDENCY},
        {FAA_STR("slow_dependency"), FAA_STEP_SLOW_DEPENDENCY},
        {FAA_STR("endpoint"), FAA_STEP_ENDPOINT},
        {FAA_STR("validation"), FAA_STEP_VALIDATION},
        {FAA_STR("serialization"), FAA_STEP_SERIALIZATION},
        {FAA_STR("background_task"), FAA_STEP_BACKGROUND_TASK},
    };
    return read_choices("FAA_FASTAPI_SPANS", known, FAA_COUNT(known), FAA_STEP_DEFAULT,
                        "all, none, dependencies, slow_dependency, endpoint, validation, "
                        "serialization or background_task");
}

// What SQLAlchemy does besides statements, as far as it is told.
static unsigned read_sqlalchemy(void)
{
    static const struct choice known[] = {
        {FAA_STR("none"), 0},
        {FAA_STR("all"), FAA_SQLALCHEMY_ALL},
        {FAA_STR("transactions"), FAA_SQLALCHEMY_TRANSACTIONS},
        {FAA_STR("connect"), FAA_SQLALCHEMY_CONNECT | FAA_SQLALCHEMY_SLOW_CONNECT},
        {FAA_STR("slow_connect"), FAA_SQLALCHEMY_SLOW_CONNECT},
        {FAA_STR("pool_wait"), FAA_SQLALCHEMY_POOL_WAIT | FAA_SQLALCHEMY_SLOW_POOL_WAIT},
        {FAA_STR("slow_pool_wait"), FAA_SQLALCHEMY_SLOW_POOL_WAIT},
    };
    return read_choices("FAA_SQLALCHEMY_SPANS", known, FAA_COUNT(known), FAA_SQLALCHEMY_DEFAULT,
                        "all, none, transactions, connect, slow_connect, pool_wait or "
                        "slow_pool_wait");
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

static enum faa_query_text read_query_text(void)
{
    static const char name[] = "FAA_DB_QUERY_TEXT";
    const char *value = faa_env(name);
    if (!value || strcasecmp(value, "sanitized") == 0)
        return FAA_QUERY_TEXT_SANITIZED;
    if (strcasecmp(value, "off") == 0)
        return FAA_QUERY_TEXT_OFF;
    if (strcasecmp(value, "raw") == 0)
        return FAA_QUERY_TEXT_RAW;
    faa_env_reject(name, value, "not sanitized, raw or off; using sanitized");
    return FAA_QUERY_TEXT_SANITIZED;
}

static void read_secret_parameters(void)
{
    static const char name[] = "FAA_REDACT_QUERY";
    struct faa_str rest = faa_str_of(faa_env(name)), parameter;
    size_t count = 0;
    while (faa_env_next(&rest, &parameter)) {
        if (count == FAA_URL_SECRETS_MAX) {
            faa_warn("%s: only the first %d names count", name, FAA_URL_SECRETS_MAX);
            break;
        }
        if (faa_url_add_secret(parameter))
            faa_warn("%s: %.*s can be no parameter's name, and is left out", name,
                     parameter.n < 200 ? (int)parameter.n : 200, parameter.p);
        else
            count++;
    }
}

#define CAPTURE "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_"

int faa_config_read_settings(struct faa_settings *settings)
{
    settings->log_correlation = faa_env_bool("OTEL_PYTHON_LOG_CORRELATION");
    settings->websocket_messages = faa_env_bool("FAA_WEBSOCKET_MESSAGES");
    settings->fastapi_spans = read_steps();
    settings->query_text = read_query_text();
    faa_message_show_values(settings->query_text == FAA_QUERY_TEXT_RAW);
    read_secret_parameters();
    settings->slow_dependency_ns =
        (uint64_t)faa_env_number("FAA_SLOW_DEPENDENCY", 100, 0, 3600000) * 1000000u;
    settings->sqlalchemy_spans = read_sqlalchemy();
    settings->slow_pool_wait_ns =
        (uint64_t)faa_env_number("FAA_SLOW_POOL_WAIT", 100, 0, 3600000) * 1000000u;
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

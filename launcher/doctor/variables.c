// SPDX-License-Identifier: MIT
// The table, and names that are nearly in it.
#include "doctor/variables.h"

#include "doctor/report.h"

#define OTLP(what, fallback, mask)                                                                 \
    {                                                                                              \
        "OTEL_EXPORTER_OTLP_" what, "OTEL_EXPORTER_OTLP_TRACES_" what, 1, fallback, mask           \
    }
#define PLAIN(name, fallback)                                                                      \
    {                                                                                              \
        name, NULL, 0, fallback, FAA_MASK_NOTHING                                                  \
    }
#define PROXY(name, other)                                                                         \
    {                                                                                              \
        name, other, 0, "", FAA_MASK_URL                                                           \
    }
#define CAPTURE "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_"

const struct faa_variable faa_variables[] = {
    PLAIN("OTEL_SERVICE_NAME", "fastapi-application"),
    {"OTEL_RESOURCE_ATTRIBUTES", NULL, 0, "", FAA_MASK_PAIRS},
    OTLP("ENDPOINT", "http://localhost:4318", FAA_MASK_URL),
    OTLP("PROTOCOL", "", FAA_MASK_NOTHING),
    OTLP("INSECURE", "false", FAA_MASK_NOTHING),
    OTLP("HEADERS", "", FAA_MASK_VALUES),
    OTLP("COMPRESSION", "none", FAA_MASK_NOTHING),
    OTLP("CERTIFICATE", "", FAA_MASK_NOTHING),
    OTLP("CLIENT_CERTIFICATE", "", FAA_MASK_NOTHING),
    OTLP("CLIENT_KEY", "", FAA_MASK_NOTHING),
    OTLP("TIMEOUT", "10000", FAA_MASK_NOTHING),
    PLAIN("SSL_CERT_FILE", ""),
    PLAIN("SSL_CERT_DIR", ""),
    PROXY("http_proxy", NULL),
    PROXY("https_proxy", "HTTPS_PROXY"),
    PROXY("all_proxy", "ALL_PROXY"),
    {"no_proxy", "NO_PROXY", 0, "", FAA_MASK_NOTHING},
    PLAIN("FAA_SPOOL_DIR", ""),
    PLAIN("FAA_SPOOL_SIZE", "64"),
    PLAIN("OTEL_TRACES_EXPORTER", "otlp"),
    PLAIN("OTEL_BSP_SCHEDULE_DELAY", "5000"),
    PLAIN("OTEL_BSP_EXPORT_TIMEOUT", "30000"),
    PLAIN("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "512"),
    PLAIN("OTEL_PROPAGATORS", "tracecontext,baggage"),
    PLAIN("OTEL_TRACES_SAMPLER", "parentbased_always_on"),
    {"OTEL_TRACES_SAMPLER_ARG", NULL, 0, "", FAA_MASK_PAIRS},
    PLAIN("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "128"),
    PLAIN("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "128"),
    PLAIN("OTEL_ATTRIBUTE_COUNT_LIMIT", "128"),
    PLAIN("OTEL_SPAN_EVENT_COUNT_LIMIT", "128"),
    PLAIN("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", ""),
    PLAIN("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", ""),
    PLAIN("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", ""),
    PLAIN("OTEL_PYTHON_LOG_CORRELATION", "false"),
    PLAIN("OTEL_PYTHON_EXCLUDED_URLS", ""),
    PLAIN("OTEL_PYTHON_FASTAPI_EXCLUDED_URLS", ""),
    PLAIN("OTEL_PYTHON_STARLETTE_EXCLUDED_URLS", ""),
    PLAIN("OTEL_PYTHON_REQUESTS_EXCLUDED_URLS", ""),
    PLAIN("OTEL_PYTHON_HTTPX_EXCLUDED_URLS", ""),
    PLAIN("OTEL_PYTHON_AIOHTTP_CLIENT_EXCLUDED_URLS", ""),
    PLAIN("OTEL_PYTHON_URLLIB3_EXCLUDED_URLS", ""),
    PLAIN("OTEL_PYTHON_URLLIB_EXCLUDED_URLS", ""),
    PLAIN(CAPTURE "SERVER_REQUEST", ""),
    PLAIN(CAPTURE "SERVER_RESPONSE", ""),
    PLAIN(CAPTURE "CLIENT_REQUEST", ""),
    PLAIN(CAPTURE "CLIENT_RESPONSE", ""),
    PLAIN(CAPTURE "SANITIZE_FIELDS", ""),
    PLAIN("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS",
          "GET,HEAD,POST,PUT,DELETE,CONNECT,OPTIONS,TRACE,PATCH,QUERY"),
    PLAIN("FAA_DB_QUERY_TEXT", "sanitized"),
    PLAIN("FAA_REDACT_QUERY", ""),
    PLAIN("FAA_FASTAPI_SPANS", "validation,background_task,slow_dependency"),
    PLAIN("FAA_WEBSOCKET_MESSAGES", "false"),
    PLAIN("FAA_SLOW_DEPENDENCY", "100"),
    PLAIN("FAA_SQLALCHEMY_SPANS", "slow_connect,slow_pool_wait"),
    PLAIN("FAA_SLOW_POOL_WAIT", "100"),
    PLAIN("OTEL_SDK_DISABLED", "false"),
    PLAIN("FAA_DISABLED", "false"),
    {"FAA_LOG_LEVEL", "OTEL_LOG_LEVEL", 0, "warn", FAA_MASK_NOTHING},
    PLAIN("FAA_BLOCKED_THRESHOLD", "100"),
    PLAIN("FAA_FLUSH_TIMEOUT", "2000"),
};

_Static_assert(FAA_COUNT(faa_variables) <= FAA_SETTINGS_MAX, "more room is needed");

const size_t faa_variable_count = FAA_COUNT(faa_variables);

int faa_variable_is_known(const char *name)
{
    for (size_t i = 0; i < faa_variable_count; i++)
        if (strcmp(name, faa_variables[i].name) == 0 ||
            (faa_variables[i].other && strcmp(name, faa_variables[i].other) == 0))
            return 1;
    return 0;
}

enum { NAME_MAX_BYTES = 80, NEAR = 2 };

// Levenshtein's distance, of names that are no longer than a row.
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_BYTES + 1], n = strlen(b);
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n];
}

const char *faa_variable_like(const char *name)
{
    const char *found = NULL;
    size_t nearest = NEAR + 1;
    if (strlen(name) > NAME_MAX_BYTES)
        return NULL;
    for (size_t i = 0; i < faa_variable_count; i++) {
        const char *const names[] = {faa_variables[i].name, faa_variables[i].other};
        for (size_t j = 0; j < FAA_COUNT(names) && names[j]; j++) {
            size_t d = strlen(names[j]) <= NAME_MAX_BYTES ? distance(name, names[j]) : nearest;
            if (d < nearest) {
                nearest = d;
                found = names[j];
            }
        }
    }
    return found;
}

// SPDX-License-Identifier: MIT
// What the user chose for the instrumentors, which cannot see the agent's configuration.
#ifndef FAA_INSTRUMENTORS_SETTINGS_H
#define FAA_INSTRUMENTORS_SETTINGS_H

#include <stdint.h>

/// FAA_DB_QUERY_TEXT: what db.query.text holds.
enum faa_query_text {
    FAA_QUERY_TEXT_SANITIZED,
    FAA_QUERY_TEXT_RAW, ///< The statement as it is, and the messages of drivers, too.
    FAA_QUERY_TEXT_OFF  ///< There is none.
};

/// FAA_FASTAPI_SPANS, bits.
enum {
    FAA_STEP_DEPENDENCIES = 1 << 0,
    FAA_STEP_ENDPOINT = 1 << 1,
    FAA_STEP_VALIDATION = 1 << 2,
    FAA_STEP_SERIALIZATION = 1 << 3,
    FAA_STEP_BACKGROUND_TASK = 1 << 4,
    FAA_STEP_SLOW_DEPENDENCY = 1 << 5, ///< Chosen together with FAA_STEP_DEPENDENCIES, too.
    FAA_STEP_DEFAULT = FAA_STEP_VALIDATION | FAA_STEP_BACKGROUND_TASK | FAA_STEP_SLOW_DEPENDENCY,
    FAA_STEP_ALL = (1 << 6) - 1
};

/// FAA_SQLALCHEMY_SPANS, bits: what is told beside statements. With any of them, what fails.
enum {
    FAA_SQLALCHEMY_TRANSACTIONS = 1 << 0,
    FAA_SQLALCHEMY_CONNECT = 1 << 1,
    FAA_SQLALCHEMY_SLOW_CONNECT = 1 << 2, ///< Chosen together with FAA_SQLALCHEMY_CONNECT, too.
    FAA_SQLALCHEMY_POOL_WAIT = 1 << 3,
    FAA_SQLALCHEMY_SLOW_POOL_WAIT = 1 << 4, ///< And with FAA_SQLALCHEMY_POOL_WAIT.
    FAA_SQLALCHEMY_DEFAULT = FAA_SQLALCHEMY_SLOW_CONNECT | FAA_SQLALCHEMY_SLOW_POOL_WAIT,
    FAA_SQLALCHEMY_ALL = (1 << 5) - 1
};

struct faa_settings {
    unsigned fastapi_spans;    ///< FAA_STEP_… bits.
    unsigned sqlalchemy_spans; ///< FAA_SQLALCHEMY_… bits.
    /// Lists of regular expressions; NULL where the variable is not set. See http_rules.h.
    const char *excluded_urls, *fastapi_excluded_urls, *starlette_excluded_urls;
    const char *requests_excluded_urls, *httpx_excluded_urls, *aiohttp_excluded_urls;
    const char *urllib3_excluded_urls, *urllib_excluded_urls;
    const char *capture_request_headers, *capture_response_headers, *sanitize_fields;
    const char *capture_client_request_headers, *capture_client_response_headers;
    enum faa_query_text query_text;
    int log_correlation;         ///< OTEL_PYTHON_LOG_CORRELATION: log records tell their span,
    const char *service_name;    ///< and this, service.name of the resource; never NULL.
    int websocket_messages;      ///< FAA_WEBSOCKET_MESSAGES: each message is a span.
    uint64_t slow_dependency_ns; ///< FAA_SLOW_DEPENDENCY: the shortest that is told; 0: every one.
    /// FAA_SLOW_POOL_WAIT: the shortest wait for a connection, or for making one, that is told.
    uint64_t slow_pool_wait_ns;
};

/// The agent fills it before the first instrumentor is installed; it does not change after that.
extern struct faa_settings faa_settings;

#endif

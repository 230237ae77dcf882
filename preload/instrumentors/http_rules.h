// SPDX-License-Identifier: MIT
// The user's rules by regular expressions: which URLs are not traced, which headers are recorded.
//
// The expressions are Python's, as they are for OpenTelemetry's own instrumentation: its `re`
// module runs them. A list that cannot be compiled gets one line and is as if it were not there.
// All functions need the GIL and leave no error set.
#ifndef FAA_INSTRUMENTORS_HTTP_RULES_H
#define FAA_INSTRUMENTORS_HTTP_RULES_H

#include "python/capi.h"
#include "span/span.h"

/// Each named after its variable: OTEL_PYTHON_<…>_EXCLUDED_URLS, and
/// OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_<…>.
enum faa_rule {
    FAA_RULE_EXCLUDED_URLS, ///< OTEL_PYTHON_EXCLUDED_URLS
    FAA_RULE_FASTAPI_EXCLUDED_URLS,
    FAA_RULE_STARLETTE_EXCLUDED_URLS,
    FAA_RULE_REQUESTS_EXCLUDED_URLS,
    FAA_RULE_HTTPX_EXCLUDED_URLS,
    FAA_RULE_AIOHTTP_CLIENT_EXCLUDED_URLS,
    FAA_RULE_URLLIB3_EXCLUDED_URLS,
    FAA_RULE_URLLIB_EXCLUDED_URLS,
    FAA_RULE_SERVER_REQUEST,
    FAA_RULE_SERVER_RESPONSE,
    FAA_RULE_CLIENT_REQUEST,
    FAA_RULE_CLIENT_RESPONSE,
    FAA_RULE_SANITIZE_FIELDS,
    FAA_RULE_COUNT
};

/// True when there is such a rule: a plain load, for the way of every request.
int faa_http_rules_has(enum faa_rule rule);

/// 1 when one of the rule's expressions is found in the text; 0 when none is, or there is no rule;
/// -1 when they cannot be used. Python code may run: hold references to what you need after it.
int faa_http_rules_find(enum faa_rule rule, struct faa_str text);

enum { FAA_HEADERS_CAPTURED_MAX = 40 };

/// Records the headers of this list of (name, value) pairs (a list or a tuple; NULL: none) whose
/// whole names match the rule, in any case, as `key`.<name>. Values of Authorization, cookies and
/// what FAA_RULE_SANITIZE_FIELDS finds are `[REDACTED]`, and all of them are where that rule cannot
/// be used. At most FAA_HEADERS_CAPTURED_MAX different headers, and of a request's about a quarter
/// of the span's room, so that its other attributes find theirs. The caller holds a reference to
/// the list; Python code may run.
void faa_http_rules_capture(enum faa_rule rule, PyObject *headers, struct faa_span *span,
                            enum faa_key key);

#endif

// SPDX-License-Identifier: MIT
// What HTTP spans of both sides share, after the semantic conventions for HTTP.
#ifndef FAA_SPAN_HTTP_H
#define FAA_SPAN_HTTP_H

#include "span/span.h"

enum { FAA_HTTP_METHODS_MAX = 64 };

/// Replaces the methods that are known (those of RFC 9110, PATCH and QUERY). The texts are not
/// copied and must live as long as the process. At most FAA_HTTP_METHODS_MAX, and at least one.
/// Called once, before there are spans.
void faa_http_set_known_methods(const struct faa_str *methods, size_t count);

/// The method as it stands in a span's name: itself, or HTTP for one that is not known. It lives as
/// long as the process.
struct faa_str faa_http_method(struct faa_str method);

/// Sets http.request.method (and the original one where it is none of the known methods, compared
/// case-sensitively). Returns faa_http_method.
struct faa_str faa_http_set_method(struct faa_span *span, struct faa_str method);

/// Sets http.response.status_code; from `error_from` on (400 for clients, 500 for servers) the span
/// has failed, with the code as error.type unless an error is recorded already.
void faa_http_set_status(struct faa_span *span, int status, int error_from);

#endif

// SPDX-License-Identifier: MIT
// W3C Trace Context (https://www.w3.org/TR/trace-context/), level 1 headers.
#ifndef FAA_SPAN_TRACEPARENT_H
#define FAA_SPAN_TRACEPARENT_H

#include "base/str.h"
#include "span/span.h"

enum { FAA_TRACEPARENT_LEN = 55 };

/// Reads a traceparent header (surrounding blanks allowed, future versions as the specification
/// says). On 0, `out` holds a remote context without tracestate; on -1 it is untouched.
FAA_MUSTUSE int faa_traceparent_parse(struct faa_str header, struct faa_span_context *out);

/// Writes "00-…" and a NUL.
void faa_traceparent_format(const struct faa_span_context *context,
                            char out[FAA_TRACEPARENT_LEN + 1]);

/// True when the header may be passed on as tracestate: printable ASCII, at most
/// FAA_SPAN_TRACESTATE_MAX bytes, not empty. Its members are not looked into.
int faa_tracestate_valid(struct faa_str header);

#endif

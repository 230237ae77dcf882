// SPDX-License-Identifier: MIT
// Jaeger's own header, uber-trace-id
// (https://www.jaegertracing.io/docs/1.19/client-libraries/#propagation-format).
#ifndef FAA_SPAN_JAEGER_H
#define FAA_SPAN_JAEGER_H

#include "base/str.h"
#include "span/span.h"

enum { FAA_JAEGER_LEN = 53 };

/// Reads "{trace}:{span}:{parent}:{flags}": hexadecimal digits of either case, short ids with zeros
/// in front, the colons also as "%3A". 0, or -1 when it is malformed; `out` is untouched then.
FAA_MUSTUSE int faa_jaeger_parse(struct faa_str header, struct faa_span_context *out);

/// Writes "{trace}:{span}:0:{flags}" and a NUL. (The parent is deprecated, and 0 says that it is
/// not told.)
void faa_jaeger_format(const struct faa_span_context *context, char out[FAA_JAEGER_LEN + 1]);

#endif

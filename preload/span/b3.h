// SPDX-License-Identifier: MIT
// The B3 headers of Zipkin (https://github.com/openzipkin/b3-propagation), one or several.
//
// Digits are read in either case and written in lower case; a trace id of 64 bits gets zeros in
// front. A header without ids may still say whether the trace that begins here is sampled, and one
// without that word leaves it to us: see enum faa_sampling.
#ifndef FAA_SPAN_B3_H
#define FAA_SPAN_B3_H

#include "base/str.h"
#include "span/span.h"

enum { FAA_B3_LEN = 51 };

/// Reads a `b3` header, "{trace}-{span}-{sampled}-{parent}" whose last two may be absent, or a
/// decision alone: "0", "1" or "d" (debug). 0, or -1 when it is malformed; `out` is untouched then.
FAA_MUSTUSE int faa_b3_parse(struct faa_str header, struct faa_span_context *out);

/// The values of the X-B3-… headers; `p` is NULL where there is none.
struct faa_b3_fields {
    struct faa_str trace_id, span_id, parent_span_id, sampled, flags;
};

/// Reads the X-B3-… headers in the same way. -1, too, when there is none of them that says
/// anything.
FAA_MUSTUSE int faa_b3_parse_fields(const struct faa_b3_fields *fields,
                                    struct faa_span_context *out);

/// Writes "{trace}-{span}-{sampled}" and a NUL.
void faa_b3_format(const struct faa_span_context *context, char out[FAA_B3_LEN + 1]);

#endif

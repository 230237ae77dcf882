// SPDX-License-Identifier: MIT
// Fuzz target: any bytes as traceparent and as tracestate.
#include "span/traceparent.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct faa_str header = {(const char *)data, size};
    struct faa_span_context context, again;
    char written[FAA_TRACEPARENT_LEN + 1];
    (void)faa_tracestate_valid(header);
    if (faa_traceparent_parse(header, &context) < 0)
        return 0;
    // What was accepted, and written by us, must be accepted again and mean the same.
    faa_traceparent_format(&context, written);
    if (faa_traceparent_parse(faa_str_of(written), &again) < 0 ||
        memcmp(context.trace_id, again.trace_id, sizeof(again.trace_id)) != 0 ||
        memcmp(context.span_id, again.span_id, sizeof(again.span_id)) != 0 ||
        context.flags != again.flags)
        abort();
    return 0;
}

// SPDX-License-Identifier: MIT
// The traceparent header: version "-" trace-id "-" parent-id "-" flags, in lower-case hexadecimal.
#include "span/traceparent.h"
#include "span/ids.h"

// Where the fields of every version begin.
enum { TRACE_ID_AT = 3, SPAN_ID_AT = 36, FLAGS_AT = 53 };

static int parse_hex(const char *p, uint8_t *out, unsigned n)
{
    // Upper-case digits are invalid by the specification.
    for (unsigned i = 0; i < 2 * n; i++)
        if (p[i] >= 'A' && p[i] <= 'F')
            return -1;
    return faa_ids_parse((struct faa_str){p, 2 * (size_t)n}, out, n);
}

int faa_traceparent_parse(struct faa_str header, struct faa_span_context *out)
{
    header = faa_str_trim(header);
    const char *p = header.p;
    size_t n = header.n;

    struct faa_span_context context = {.remote = 1};
    uint8_t version;
    if (n < FAA_TRACEPARENT_LEN || parse_hex(p, &version, 1) < 0 || version == 0xff)
        return -1;
    // A future version may say more, after another dash; version 00 ends here.
    if (n > FAA_TRACEPARENT_LEN && (version == 0 || p[FAA_TRACEPARENT_LEN] != '-'))
        return -1;
    if (p[TRACE_ID_AT - 1] != '-' || p[SPAN_ID_AT - 1] != '-' || p[FLAGS_AT - 1] != '-')
        return -1;
    if (parse_hex(p + TRACE_ID_AT, context.trace_id, sizeof(context.trace_id)) < 0 ||
        parse_hex(p + SPAN_ID_AT, context.span_id, sizeof(context.span_id)) < 0 ||
        parse_hex(p + FLAGS_AT, &context.flags, 1) < 0)
        return -1;
    if (faa_ids_is_zero(context.trace_id, sizeof(context.trace_id)) ||
        faa_ids_is_zero(context.span_id, sizeof(context.span_id)))
        return -1;
    *out = context;
    return 0;
}

void faa_traceparent_format(const struct faa_span_context *context,
                            char out[FAA_TRACEPARENT_LEN + 1])
{
    memcpy(out, "00-", TRACE_ID_AT);
    faa_ids_hex(out + TRACE_ID_AT, context->trace_id, sizeof(context->trace_id));
    out[SPAN_ID_AT - 1] = '-';
    faa_ids_hex(out + SPAN_ID_AT, context->span_id, sizeof(context->span_id));
    out[FLAGS_AT - 1] = '-';
    faa_ids_hex(out + FLAGS_AT, &context->flags, 1);
    out[FAA_TRACEPARENT_LEN] = '\0';
}

int faa_tracestate_valid(struct faa_str header)
{
    if (header.n == 0 || header.n > FAA_SPAN_TRACESTATE_MAX)
        return 0;
    for (size_t i = 0; i < header.n; i++)
        if (header.p[i] < 0x20 || header.p[i] > 0x7e)
            return 0;
    return 1;
}

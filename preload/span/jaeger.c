// SPDX-License-Identifier: MIT
// uber-trace-id: four numbers between colons, which some clients percent-encode.
#include "span/jaeger.h"
#include "span/ids.h"

enum { TRACE_DIGITS = 32, SPAN_DIGITS = 16, FLAG_SAMPLED = 1, FLAG_DEBUG = 2 };

// Where the next colon is, as it is or encoded; `rest->n` when there is none.
static size_t find_colon(struct faa_str rest, size_t *width)
{
    size_t at = 0;
    for (*width = 1; at < rest.n && rest.p[at] != ':'; at++) {
        if (rest.n - at >= 3 && rest.p[at] == '%' && rest.p[at + 1] == '3' &&
            (rest.p[at + 2] | 0x20) == 'a') {
            *width = 3;
            break;
        }
    }
    return at;
}

// Takes a number and the colon behind it (the last one has none) off the front, into n bytes.
static int take(struct faa_str *rest, uint8_t *out, unsigned n, int is_last)
{
    size_t width, at = find_colon(*rest, &width);
    struct faa_str digits = {rest->p, at};
    if ((at == rest->n) != is_last || faa_ids_parse(digits, out, n) < 0)
        return -1;
    if (!is_last) {
        rest->p += at + width;
        rest->n -= at + width;
    }
    return 0;
}

int faa_jaeger_parse(struct faa_str header, struct faa_span_context *out)
{
    struct faa_span_context context = {.remote = 1};
    struct faa_str rest = faa_str_trim(header);
    uint8_t parent[8], flags;
    if (take(&rest, context.trace_id, sizeof(context.trace_id), 0) < 0 ||
        take(&rest, context.span_id, sizeof(context.span_id), 0) < 0 ||
        take(&rest, parent, sizeof(parent), 0) < 0 || take(&rest, &flags, 1, 1) < 0)
        return -1;
    if (faa_ids_is_zero(context.trace_id, sizeof(context.trace_id)) ||
        faa_ids_is_zero(context.span_id, sizeof(context.span_id)))
        return -1;
    // Debug goes with sampled, and means nothing without it.
    context.flags = flags & FLAG_SAMPLED ? FAA_FLAG_SAMPLED : 0;
    context.debug = (flags & FLAG_SAMPLED) && (flags & FLAG_DEBUG);
    *out = context;
    return 0;
}

void faa_jaeger_format(const struct faa_span_context *context, char out[FAA_JAEGER_LEN + 1])
{
    int sampled = context->flags & FAA_FLAG_SAMPLED;
    faa_ids_hex(out, context->trace_id, sizeof(context->trace_id));
    out[TRACE_DIGITS] = ':';
    faa_ids_hex(out + TRACE_DIGITS + 1, context->span_id, sizeof(context->span_id));
    memcpy(out + TRACE_DIGITS + 1 + SPAN_DIGITS, ":0:", 3);
    out[FAA_JAEGER_LEN - 1] = '0';
    if (sampled)
        out[FAA_JAEGER_LEN - 1] = context->debug ? '3' : '1';
    out[FAA_JAEGER_LEN] = '\0';
}

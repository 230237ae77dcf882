// SPDX-License-Identifier: MIT
// B3 as one header and as several: the same fields, and the same rules for them.
#include "span/b3.h"
#include "span/ids.h"

#include <strings.h>

enum { TRACE_DIGITS = 32, SHORT_TRACE_DIGITS = 16, SPAN_DIGITS = 16 };

static int is_one_of(struct faa_str text, const char *word)
{
    return text.n == strlen(word) && strncasecmp(text.p, word, text.n) == 0;
}

// Both ids, without blanks.
static int read_ids(struct faa_str trace, struct faa_str span, struct faa_span_context *out)
{
    if ((trace.n != TRACE_DIGITS && trace.n != SHORT_TRACE_DIGITS) || span.n != SPAN_DIGITS)
        return -1;
    if (faa_ids_parse(trace, out->trace_id, sizeof(out->trace_id)) < 0 ||
        faa_ids_parse(span, out->span_id, sizeof(out->span_id)) < 0)
        return -1;
    return faa_ids_is_zero(out->trace_id, sizeof(out->trace_id)) ||
                   faa_ids_is_zero(out->span_id, sizeof(out->span_id))
               ? -1
               : 0;
}

// Nothing is done with the parent's parent, but where it is broken, so may be the rest.
static int check_parent(struct faa_str parent)
{
    uint8_t id[8];
    return parent.n == SPAN_DIGITS ? faa_ids_parse(parent, id, sizeof(id)) : -1;
}

static void order(struct faa_span_context *out, int sampled, int debug)
{
    out->flags = sampled ? FAA_FLAG_SAMPLED : 0;
    out->debug = (uint8_t)debug;
    out->sampling = FAA_SAMPLING_BY_PARENT;
}

static int read_decision(struct faa_str text, struct faa_span_context *out)
{
    int debug = faa_str_eq(text, FAA_STR("d"));
    if (!debug && !faa_str_eq(text, FAA_STR("0")) && !faa_str_eq(text, FAA_STR("1")))
        return -1;
    order(out, text.p[0] != '0', debug);
    return 0;
}

// Tracers older than the specification write words.
static int read_old_decision(struct faa_str text, struct faa_span_context *out)
{
    if (is_one_of(text, "true"))
        text = FAA_STR("1");
    else if (is_one_of(text, "false"))
        text = FAA_STR("0");
    return read_decision(text, out);
}

// Takes the next field off the front; 0 when there is none.
static int next_field(struct faa_str *rest, struct faa_str *field)
{
    if (!rest->p)
        return 0;
    const char *dash = rest->n > 0 ? memchr(rest->p, '-', rest->n) : NULL;
    field->p = rest->p;
    field->n = dash ? (size_t)(dash - rest->p) : rest->n;
    rest->p = dash ? dash + 1 : NULL;
    rest->n -= dash ? field->n + 1 : field->n;
    return 1;
}

int faa_b3_parse(struct faa_str header, struct faa_span_context *out)
{
    struct faa_span_context context = {.remote = 1, .sampling = FAA_SAMPLING_DEFERRED};
    struct faa_str rest = faa_str_trim(header), trace, span, field;
    if (!next_field(&rest, &trace))
        return -1;
    if (!next_field(&rest, &span)) {
        if (read_decision(trace, &context) < 0)
            return -1;
        context.sampling = FAA_SAMPLING_ORDERED;
        *out = context;
        return 0;
    }
    if (read_ids(trace, span, &context) < 0 ||
        (next_field(&rest, &field) && read_decision(field, &context) < 0) ||
        (next_field(&rest, &field) && check_parent(field) < 0) || rest.p)
        return -1;
    *out = context;
    return 0;
}

int faa_b3_parse_fields(const struct faa_b3_fields *fields, struct faa_span_context *out)
{
    struct faa_span_context context = {.remote = 1, .sampling = FAA_SAMPLING_DEFERRED};
    int has_ids = fields->trace_id.p || fields->span_id.p || fields->parent_span_id.p;
    if (has_ids &&
        read_ids(faa_str_trim(fields->trace_id), faa_str_trim(fields->span_id), &context) < 0)
        return -1;
    if (fields->parent_span_id.p && check_parent(faa_str_trim(fields->parent_span_id)) < 0)
        return -1;
    if (fields->sampled.p && read_old_decision(faa_str_trim(fields->sampled), &context) < 0)
        return -1;
    // Debug is an order to sample; any other value may be ignored.
    if (fields->flags.p && faa_str_eq(faa_str_trim(fields->flags), FAA_STR("1")))
        order(&context, 1, 1);
    if (!has_ids) {
        if (context.sampling == FAA_SAMPLING_DEFERRED)
            return -1;
        context.sampling = FAA_SAMPLING_ORDERED;
    }
    *out = context;
    return 0;
}

void faa_b3_format(const struct faa_span_context *context, char out[FAA_B3_LEN + 1])
{
    int sampled = context->flags & FAA_FLAG_SAMPLED;
    faa_ids_hex(out, context->trace_id, sizeof(context->trace_id));
    out[TRACE_DIGITS] = '-';
    faa_ids_hex(out + TRACE_DIGITS + 1, context->span_id, sizeof(context->span_id));
    out[TRACE_DIGITS + 1 + SPAN_DIGITS] = '-';
    out[FAA_B3_LEN - 1] = '0';
    if (sampled)
        out[FAA_B3_LEN - 1] = context->debug ? 'd' : '1';
    out[FAA_B3_LEN] = '\0';
}

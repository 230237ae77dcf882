// SPDX-License-Identifier: MIT
// The formats in use, and what is common to them: which headers they read, and who wins.
#include "span/propagation.h"
#include "span/ids.h"

#include <strings.h>

enum { BIT_W3C = 1, BIT_BAGGAGE = 2, BIT_B3 = 4, BIT_JAEGER = 8 };

// One header that a format reads. `tells` when its presence in an outgoing request means that the
// application has a trace of its own there.
struct known {
    struct faa_str name;
    uint8_t field, format, tells;
};

// What is looked for, in the order of how often it is found.
static const struct known known[] = {
    {FAA_STR("traceparent"), FAA_FIELD_TRACEPARENT, BIT_W3C, 1},
    {FAA_STR("tracestate"), FAA_FIELD_TRACESTATE, BIT_W3C, 0},
    {FAA_STR("baggage"), FAA_FIELD_BAGGAGE, BIT_BAGGAGE, 0},
    {FAA_STR("b3"), FAA_FIELD_B3, BIT_B3, 1},
    {FAA_STR("x-b3-traceid"), FAA_FIELD_B3_TRACE_ID, BIT_B3, 1},
    {FAA_STR("x-b3-spanid"), FAA_FIELD_B3_SPAN_ID, BIT_B3, 0},
    {FAA_STR("x-b3-parentspanid"), FAA_FIELD_B3_PARENT_SPAN_ID, BIT_B3, 0},
    {FAA_STR("x-b3-sampled"), FAA_FIELD_B3_SAMPLED, BIT_B3, 1},
    {FAA_STR("x-b3-flags"), FAA_FIELD_B3_FLAGS, BIT_B3, 1},
    {FAA_STR("uber-trace-id"), FAA_FIELD_JAEGER, BIT_JAEGER, 1},
};

// Written by faa_propagation_set only, before any span.
uint32_t faa_carrier_lengths;
static enum faa_propagator order[FAA_PROPAGATOR_COUNT];
static size_t order_count;
static struct known wanted[FAA_COUNT(known)];
static size_t wanted_count;
static struct faa_str own_names[FAA_COUNT(known)];
static size_t own_count;

static unsigned format_bit(enum faa_propagator propagator)
{
    switch (propagator) {
    case FAA_PROPAGATE_TRACECONTEXT:
        return BIT_W3C;
    case FAA_PROPAGATE_BAGGAGE:
        return BIT_BAGGAGE;
    case FAA_PROPAGATE_B3:
    case FAA_PROPAGATE_B3MULTI:
        return BIT_B3;
    case FAA_PROPAGATE_JAEGER:
        return BIT_JAEGER;
    default:
        return 0;
    }
}

void faa_propagation_set(const enum faa_propagator *list, size_t count)
{
    unsigned formats = 0;
    order_count = wanted_count = own_count = 0;
    faa_carrier_lengths = 0;
    unsigned chosen = 0;
    for (size_t i = 0; i < count; i++) {
        if (chosen >> list[i] & 1)
            continue;
        chosen |= 1u << list[i];
        order[order_count++] = list[i];
        formats |= format_bit(list[i]);
    }
    for (size_t i = 0; i < FAA_COUNT(known); i++) {
        if (!(known[i].format & formats))
            continue;
        wanted[wanted_count++] = known[i];
        faa_carrier_lengths |= (uint32_t)1 << known[i].name.n;
        if (known[i].tells)
            own_names[own_count++] = known[i].name;
    }
}

// ---- in ---------------------------------------------------------------------------------------

// Servers write names in lower case, and names of the same length mostly differ in the first
// letter.
static int is_name(struct faa_str name, struct faa_str wanted_name)
{
    return name.n == wanted_name.n && (name.p[0] | 0x20) == wanted_name.p[0] &&
           (memcmp(name.p, wanted_name.p, name.n) == 0 ||
            strncasecmp(name.p, wanted_name.p, name.n) == 0);
}

enum faa_field faa_carrier_field(struct faa_str name)
{
    for (size_t i = 0; i < wanted_count; i++)
        if (is_name(name, wanted[i].name))
            return wanted[i].field;
    return FAA_FIELD_NONE;
}

// Several lines are one list (RFC 9110, 5.3). One that is too long is left behind as a whole, as it
// is when it comes in one line.
static void add_tracestate(struct faa_carrier *c, struct faa_str value)
{
    size_t comma = c->tracestate_len > 0;
    if (c->tracestate_len + comma + value.n > sizeof(c->tracestate)) {
        c->twice |= 1u << FAA_FIELD_TRACESTATE;
        return;
    }
    if (value.n == 0)
        return;
    if (comma)
        c->tracestate[c->tracestate_len++] = ',';
    memcpy(c->tracestate + c->tracestate_len, value.p, value.n);
    c->tracestate_len += (uint16_t)value.n;
}

static void add_baggage(struct faa_carrier *c, struct faa_str value)
{
    if (c->baggage_count < FAA_CARRIER_BAGGAGE_MAX)
        c->baggage_lines[c->baggage_count++] = value;
    else
        faa_baggage_drop(1);
}

void faa_carrier_add(struct faa_carrier *carrier, enum faa_field field, struct faa_str value)
{
    uint16_t bit = (uint16_t)(1u << field);
    switch (field) {
    case FAA_FIELD_NONE:
    case FAA_FIELD_COUNT:
        return;
    case FAA_FIELD_TRACESTATE:
        add_tracestate(carrier, value);
        break;
    case FAA_FIELD_BAGGAGE:
        add_baggage(carrier, value);
        break;
    default:
        if (carrier->seen & bit)
            carrier->twice |= bit;
        carrier->values[field] = value.p ? value : FAA_STR("");
        break;
    }
    carrier->seen |= bit;
}

static int was_seen(const struct faa_carrier *c, enum faa_field field)
{
    return c->seen >> field & 1;
}

static int was_seen_twice(const struct faa_carrier *c, enum faa_field field)
{
    return c->twice >> field & 1;
}

static struct faa_str value_of(const struct faa_carrier *c, enum faa_field field)
{
    return was_seen(c, field) ? c->values[field] : (struct faa_str){NULL, 0};
}

static int extract_w3c(const struct faa_carrier *c, struct faa_span_context *out)
{
    if (!was_seen(c, FAA_FIELD_TRACEPARENT) || was_seen_twice(c, FAA_FIELD_TRACEPARENT) ||
        faa_traceparent_parse(c->values[FAA_FIELD_TRACEPARENT], out) < 0)
        return -1;
    if (was_seen(c, FAA_FIELD_TRACESTATE) && !was_seen_twice(c, FAA_FIELD_TRACESTATE) &&
        faa_tracestate_valid((struct faa_str){c->tracestate, c->tracestate_len})) {
        out->tracestate = c->tracestate;
        out->tracestate_len = c->tracestate_len;
    }
    return 0;
}

static int extract_b3(const struct faa_carrier *c, struct faa_span_context *out)
{
    const uint16_t several = 1u << FAA_FIELD_B3_TRACE_ID | 1u << FAA_FIELD_B3_SPAN_ID |
                             1u << FAA_FIELD_B3_PARENT_SPAN_ID | 1u << FAA_FIELD_B3_SAMPLED |
                             1u << FAA_FIELD_B3_FLAGS;
    if (was_seen(c, FAA_FIELD_B3) && !was_seen_twice(c, FAA_FIELD_B3) &&
        faa_b3_parse(c->values[FAA_FIELD_B3], out) == 0)
        return 0;
    if (!(c->seen & several) || (c->twice & several))
        return -1;
    struct faa_b3_fields fields = {
        .trace_id = value_of(c, FAA_FIELD_B3_TRACE_ID),
        .span_id = value_of(c, FAA_FIELD_B3_SPAN_ID),
        .parent_span_id = value_of(c, FAA_FIELD_B3_PARENT_SPAN_ID),
        .sampled = value_of(c, FAA_FIELD_B3_SAMPLED),
        .flags = value_of(c, FAA_FIELD_B3_FLAGS),
    };
    return faa_b3_parse_fields(&fields, out);
}

static int extract_jaeger(const struct faa_carrier *c, struct faa_span_context *out)
{
    return was_seen(c, FAA_FIELD_JAEGER) && !was_seen_twice(c, FAA_FIELD_JAEGER)
               ? faa_jaeger_parse(c->values[FAA_FIELD_JAEGER], out)
               : -1;
}

static int extract(enum faa_propagator propagator, const struct faa_carrier *c,
                   struct faa_span_context *out)
{
    switch (propagator) {
    case FAA_PROPAGATE_TRACECONTEXT:
        return extract_w3c(c, out);
    case FAA_PROPAGATE_B3:
    case FAA_PROPAGATE_B3MULTI:
        return extract_b3(c, out);
    case FAA_PROPAGATE_JAEGER:
        return extract_jaeger(c, out);
    default:
        return -1;
    }
}

static int has_trace(const struct faa_span_context *context)
{
    return !faa_ids_is_zero(context->trace_id, sizeof(context->trace_id));
}

int faa_carrier_extract(struct faa_carrier *carrier, struct faa_span_context *out)
{
    if (!carrier->seen)
        return -1;
    struct faa_span_context best, one;
    int found = 0;
    for (size_t i = 0; i < order_count; i++) {
        if (extract(order[i], carrier, &one) == 0 &&
            (!found || has_trace(&one) || !has_trace(&best))) {
            best = one;
            found = 1;
        }
    }
    if (carrier->baggage_count > 0 && !carrier->baggage)
        carrier->baggage = faa_baggage_new(carrier->baggage_lines, carrier->baggage_count);
    if (!found && !carrier->baggage)
        return -1;
    if (!found)
        best = (struct faa_span_context){.remote = 1};
    best.baggage = carrier->baggage;
    *out = best;
    return 0;
}

// ---- out --------------------------------------------------------------------------------------

static void put(struct faa_injection *out, struct faa_str name, const char *value, size_t n,
                int yields)
{
    out->headers[out->count++] = (struct faa_header){name, {value, n}, yields};
}

static void inject_w3c(const struct faa_span_context *context, struct faa_injection *out)
{
    faa_traceparent_format(context, out->traceparent);
    put(out, FAA_STR("traceparent"), out->traceparent, FAA_TRACEPARENT_LEN, 0);
    if (context->tracestate_len > 0)
        put(out, FAA_STR("tracestate"), context->tracestate, context->tracestate_len, 1);
}

static void inject_b3(const struct faa_span_context *context, struct faa_injection *out)
{
    faa_b3_format(context, out->b3);
    put(out, FAA_STR("b3"), out->b3, FAA_B3_LEN, 0);
}

// A span's own parent is told to no one (OpenTelemetry's rule for B3).
static void inject_b3_fields(const struct faa_span_context *context, struct faa_injection *out)
{
    enum { SPAN_AT = 33, SAMPLED_AT = 50 };
    faa_b3_format(context, out->ids);
    put(out, FAA_STR("x-b3-traceid"), out->ids, SPAN_AT - 1, 0);
    put(out, FAA_STR("x-b3-spanid"), out->ids + SPAN_AT, SAMPLED_AT - SPAN_AT - 1, 0);
    // Debug has a header of its own, which implies the other.
    if (out->ids[SAMPLED_AT] == 'd')
        put(out, FAA_STR("x-b3-flags"), "1", 1, 0);
    else
        put(out, FAA_STR("x-b3-sampled"), out->ids + SAMPLED_AT, 1, 0);
}

static void inject_jaeger(const struct faa_span_context *context, struct faa_injection *out)
{
    faa_jaeger_format(context, out->jaeger);
    put(out, FAA_STR("uber-trace-id"), out->jaeger, FAA_JAEGER_LEN, 0);
}

static void inject_baggage(const struct faa_span_context *context, struct faa_injection *out)
{
    struct faa_str text = faa_baggage_text(context->baggage);
    if (text.n > 0)
        put(out, FAA_STR("baggage"), text.p, text.n, 1);
}

void faa_propagation_inject(const struct faa_span_context *context, struct faa_injection *out)
{
    static void (*const injectors[FAA_PROPAGATOR_COUNT])(const struct faa_span_context *,
                                                         struct faa_injection *) = {
        [FAA_PROPAGATE_TRACECONTEXT] = inject_w3c,
        [FAA_PROPAGATE_BAGGAGE] = inject_baggage,
        [FAA_PROPAGATE_B3] = inject_b3,
        [FAA_PROPAGATE_B3MULTI] = inject_b3_fields,
        [FAA_PROPAGATE_JAEGER] = inject_jaeger,
    };
    out->count = 0;
    for (size_t i = 0; i < order_count; i++)
        if (has_trace(context) || order[i] == FAA_PROPAGATE_BAGGAGE)
            injectors[order[i]](context, out);
}

const struct faa_str *faa_propagation_own_names(size_t *count)
{
    *count = own_count;
    return own_names;
}

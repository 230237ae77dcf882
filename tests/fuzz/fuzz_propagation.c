// SPDX-License-Identifier: MIT
// Fuzz target: any headers in any formats. The first line lists propagators by their numbers, the
// others are headers, "name:value".
#include "span/propagation.h"
#include "span/ids.h"
#include "require.h"

enum { MAX_LIST = 16 };

// Takes the next line off the front, without its end.
static int next_line(struct faa_str *rest, struct faa_str *line)
{
    if (rest->n == 0)
        return 0;
    const char *end = memchr(rest->p, '\n', rest->n);
    *line = (struct faa_str){rest->p, end ? (size_t)(end - rest->p) : rest->n};
    rest->p += line->n + (end != NULL);
    rest->n -= line->n + (end != NULL);
    return 1;
}

static void choose(struct faa_str line)
{
    enum faa_propagator list[MAX_LIST] = {FAA_PROPAGATE_TRACECONTEXT};
    size_t count = 0;
    for (size_t i = 0; i < line.n && count < MAX_LIST; i++)
        if (line.p[i] >= '0' && line.p[i] < '0' + FAA_PROPAGATOR_COUNT)
            list[count++] = (enum faa_propagator)(line.p[i] - '0');
    faa_propagation_set(list, count);
}

static void add(struct faa_carrier *carrier, struct faa_str name, struct faa_str value)
{
    enum faa_field field = faa_carrier_field(name);
    REQUIRE(field == FAA_FIELD_NONE || faa_carrier_wants(name.n));
    if (field != FAA_FIELD_NONE)
        faa_carrier_add(carrier, field, value);
}

static int has_trace(const struct faa_span_context *context)
{
    return !faa_ids_is_zero(context->trace_id, sizeof(context->trace_id));
}

static void check_context(const struct faa_span_context *context)
{
    REQUIRE(has_trace(context) == !faa_ids_is_zero(context->span_id, sizeof(context->span_id)));
    REQUIRE(!context->debug || (context->flags & FAA_FLAG_SAMPLED));
    REQUIRE((context->sampling == FAA_SAMPLING_ORDERED) <= !has_trace(context));
    REQUIRE((context->sampling == FAA_SAMPLING_DEFERRED) <= has_trace(context));
    REQUIRE(context->tracestate_len <= FAA_SPAN_TRACESTATE_MAX);
    REQUIRE(context->tracestate_len == 0 || has_trace(context));
    struct faa_str text = faa_baggage_text(context->baggage);
    REQUIRE(text.n <= FAA_BAGGAGE_MAX && (text.n > 0) == (context->baggage != NULL));
}

// What goes out is fit for a header, and comes in again with the same meaning.
static void check_injection(const struct faa_span_context *context)
{
    struct faa_injection out;
    struct faa_carrier carrier;
    struct faa_span_context again;
    uint64_t dropped = faa_baggage_dropped();
    faa_propagation_inject(context, &out);
    REQUIRE(out.count <= FAA_INJECT_MAX);
    faa_carrier_init(&carrier);
    for (size_t i = 0; i < out.count; i++) {
        struct faa_str value = out.headers[i].value;
        for (size_t k = 0; k < value.n; k++)
            REQUIRE((value.p[k] >= 0x20 && value.p[k] < 0x7f) || value.p[k] == '\t');
        add(&carrier, out.headers[i].name, value);
    }
    if (faa_carrier_extract(&carrier, &again) == 0) {
        check_context(&again);
        REQUIRE(memcmp(again.trace_id, context->trace_id, sizeof(again.trace_id)) == 0);
        REQUIRE(memcmp(again.span_id, context->span_id, sizeof(again.span_id)) == 0);
        REQUIRE(!has_trace(context) || (again.flags & 1) == (context->flags & 1));
        REQUIRE(faa_str_eq(faa_baggage_text(again.baggage), faa_baggage_text(context->baggage)));
    } else {
        REQUIRE(out.count == 0);
    }
    REQUIRE(faa_baggage_dropped() == dropped);
    faa_carrier_fini(&carrier);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct faa_str rest = {(const char *)data, size}, line = {NULL, 0};
    struct faa_carrier carrier;
    struct faa_span_context context;
    (void)next_line(&rest, &line);
    choose(line);
    faa_carrier_init(&carrier);
    while (next_line(&rest, &line)) {
        const char *colon = line.n > 0 ? memchr(line.p, ':', line.n) : NULL;
        if (!colon)
            continue;
        size_t n = (size_t)(colon - line.p);
        add(&carrier, (struct faa_str){line.p, n}, (struct faa_str){colon + 1, line.n - n - 1});
    }
    if (faa_carrier_extract(&carrier, &context) == 0) {
        check_context(&context);
        check_injection(&context);
    }
    faa_carrier_fini(&carrier);
    return 0;
}

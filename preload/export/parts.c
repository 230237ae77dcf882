// SPDX-License-Identifier: MIT
// Parts are cut out of the encoded message: the records it was made of have left the ring.
#include "export/parts.h"

#include "export/otlp.h"

#include <opentelemetry/proto/collector/trace/v1/trace_service.pb-c.h>
#include <stdlib.h>

typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceRequest pb_request;
typedef Opentelemetry__Proto__Trace__V1__ResourceSpans pb_resource_spans;
typedef Opentelemetry__Proto__Trace__V1__ScopeSpans pb_scope_spans;
typedef Opentelemetry__Proto__Trace__V1__Span pb_span;

// Leaves `count` spans from `first` on in the list, in its order.
static void keep(pb_scope_spans *scope, size_t first, size_t count)
{
    for (size_t i = 0; i < scope->n_spans; i++) {
        pb_span *span = scope->spans[i];
        if (i < first || i >= first + count)
            opentelemetry__proto__trace__v1__span__free_unpacked(span, NULL);
        else
            scope->spans[i - first] = span;
    }
    scope->n_spans = count;
}

// Leaves `count` spans from `first` on in the resource, and no scope without any.
static void keep_range(pb_resource_spans *resource, size_t first, size_t count)
{
    size_t scopes = 0;
    for (size_t i = 0; i < resource->n_scope_spans; i++) {
        pb_scope_spans *scope = resource->scope_spans[i];
        size_t n = scope->n_spans, from = first < n ? first : n;
        size_t kept = count < n - from ? count : n - from;
        keep(scope, from, kept);
        first -= from;
        count -= kept;
        if (kept)
            resource->scope_spans[scopes++] = scope;
        else
            opentelemetry__proto__trace__v1__scope_spans__free_unpacked(scope, NULL);
    }
    resource->n_scope_spans = scopes;
}

static int slice(struct faa_parts *parts, unsigned first, unsigned count, struct faa_batch *out)
{
    const struct faa_batch *whole = &parts->whole;
    pb_request *request =
        opentelemetry__proto__collector__trace__v1__export_trace_service_request__unpack(
            NULL, whole->len, whole->message);
    if (!request)
        return -1;
    keep_range(request->resource_spans[0], first, count); // The one that faa_otlp_pack makes.
    size_t n = protobuf_c_message_get_packed_size(&request->base);
    uint8_t *memory = malloc(FAA_OTLP_HEADROOM + n);
    if (memory) {
        protobuf_c_message_pack(&request->base, memory + FAA_OTLP_HEADROOM);
        free(parts->memory);
        parts->memory = memory;
        *out = (struct faa_batch){memory + FAA_OTLP_HEADROOM, n, count};
    }
    opentelemetry__proto__collector__trace__v1__export_trace_service_request__free_unpacked(request,
                                                                                            NULL);
    return memory ? 0 : -1;
}

int faa_parts_cut(struct faa_parts *parts, struct faa_batch *batch)
{
    if (batch->spans < 2)
        return -1;
    if (!parts->memory) {
        parts->whole = *batch;
        parts->next = batch->spans;
    }
    unsigned first = parts->next - batch->spans, half = (batch->spans + 1) / 2;
    if (slice(parts, first, half, batch))
        return -1;
    parts->size = half;
    parts->next = first + half;
    return 0;
}

unsigned faa_parts_next(struct faa_parts *parts, struct faa_batch *batch)
{
    unsigned left = faa_parts_left(parts), count = left < parts->size ? left : parts->size;
    batch->spans = 0;
    if (count && slice(parts, parts->next, count, batch) == 0) {
        parts->next += count;
        return 0;
    }
    faa_parts_clear(parts);
    return left;
}

unsigned faa_parts_left(const struct faa_parts *parts)
{
    return parts->memory ? parts->whole.spans - parts->next : 0;
}

void faa_parts_clear(struct faa_parts *parts)
{
    free(parts->memory);
    memset(parts, 0, sizeof(*parts));
}

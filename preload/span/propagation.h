// SPDX-License-Identifier: MIT
// How a trace comes in with a request's headers and goes out with others, in the formats that
// OTEL_PROPAGATORS names.
//
// Formats are asked in the order of the list, and of those that find a trace the last one wins, as
// in the SDK's composite propagator; a B3 decision without ids counts where none finds one. What is
// malformed, or is there twice where it may be there once, is as good as absent: never an error.
#ifndef FAA_SPAN_PROPAGATION_H
#define FAA_SPAN_PROPAGATION_H

#include "base/str.h"
#include "span/baggage.h"
#include "span/span.h"
#include "span/b3.h"
#include "span/jaeger.h"
#include "span/traceparent.h"

enum faa_propagator {
    FAA_PROPAGATE_TRACECONTEXT, ///< traceparent, tracestate
    FAA_PROPAGATE_BAGGAGE,      ///< baggage
    FAA_PROPAGATE_B3,           ///< b3; reads X-B3-… too, where there is no valid b3.
    FAA_PROPAGATE_B3MULTI,      ///< X-B3-…; reads b3 too, and first.
    FAA_PROPAGATE_JAEGER,       ///< uber-trace-id
    FAA_PROPAGATOR_COUNT
};

/// Chooses the formats; one that is in the list twice counts where it is first. Before, there is
/// none at all. At start, while no other thread uses this module.
void faa_propagation_set(const enum faa_propagator *list, size_t count);

// ---- in ---------------------------------------------------------------------------------------

/// The headers that may matter.
enum faa_field {
    FAA_FIELD_NONE, ///< Any other.
    FAA_FIELD_TRACEPARENT,
    FAA_FIELD_TRACESTATE,
    FAA_FIELD_B3,
    FAA_FIELD_B3_TRACE_ID,
    FAA_FIELD_B3_SPAN_ID,
    FAA_FIELD_B3_PARENT_SPAN_ID,
    FAA_FIELD_B3_SAMPLED,
    FAA_FIELD_B3_FLAGS,
    FAA_FIELD_JAEGER,
    FAA_FIELD_BAGGAGE,
    FAA_FIELD_COUNT
};

/// More `baggage` header lines than this are not read, and counted.
enum { FAA_CARRIER_BAGGAGE_MAX = 64 };

/// What one request's headers say, for as long as it takes to start its span. On the stack; only
/// what faa_carrier_init sets has a value at first.
struct faa_carrier {
    uint16_t seen, twice; ///< One bit for each enum faa_field.
    uint16_t tracestate_len, baggage_count;
    struct faa_baggage *baggage;            ///< A reference, after faa_carrier_extract.
    struct faa_str values[FAA_FIELD_COUNT]; ///< Of the fields seen that may be there once.
    struct faa_str baggage_lines[FAA_CARRIER_BAGGAGE_MAX];
    char tracestate[FAA_SPAN_TRACESTATE_MAX]; ///< All lines as one list.
};

static inline void faa_carrier_init(struct faa_carrier *carrier)
{
    carrier->seen = carrier->twice = 0;
    carrier->tracestate_len = carrier->baggage_count = 0;
    carrier->baggage = NULL;
}

/// One bit for each length that a header's name may have to be one of ours; see below.
extern uint32_t faa_carrier_lengths;

/// Whether a header whose name has this length may be one of ours: most are not, and cost no more.
static inline int faa_carrier_wants(size_t name_len)
{
    return name_len < 32 && (faa_carrier_lengths >> name_len & 1);
}

/// Which header of the formats in use it is, in any case of letters.
enum faa_field faa_carrier_field(struct faa_str name);

/// Notes the value of such a header. It is borrowed until faa_carrier_fini.
void faa_carrier_add(struct faa_carrier *carrier, enum faa_field field, struct faa_str value);

/// What the headers say, for faa_span_start. Returns 0; or -1 when they say nothing, and `out` is
/// untouched. `out` may lack a trace and have baggage or a decision only; it borrows from the
/// carrier until faa_carrier_fini.
FAA_MUSTUSE int faa_carrier_extract(struct faa_carrier *carrier, struct faa_span_context *out);

/// Drops what the carrier holds; the span has its own by now.
static inline void faa_carrier_fini(struct faa_carrier *carrier)
{
    if (carrier->baggage)
        faa_baggage_unref(carrier->baggage);
}

// ---- out --------------------------------------------------------------------------------------

/// traceparent, tracestate, b3, three of X-B3-…, uber-trace-id, baggage.
enum { FAA_INJECT_MAX = 8 };

struct faa_header {
    struct faa_str name; ///< Static, NUL-terminated, in lower case.
    struct faa_str value;
    int yields; ///< 1: not put in where the request has a header of this name already.
};

/// Headers for an outgoing request, and room for the values that are made here.
struct faa_injection {
    struct faa_header headers[FAA_INJECT_MAX];
    size_t count;
    char traceparent[FAA_TRACEPARENT_LEN + 1];
    char b3[FAA_B3_LEN + 1];
    char ids[FAA_B3_LEN + 1]; ///< As in b3; the X-B3-… headers are slices of it.
    char jaeger[FAA_JAEGER_LEN + 1];
};

/// Fills in the headers that tell this context. Values are printable ASCII; some point into `out`,
/// and tracestate and baggage into the context.
void faa_propagation_inject(const struct faa_span_context *context, struct faa_injection *out);

/// The names (static, NUL-terminated) by which a request tells a trace in the formats in use: where
/// the application has set one of them itself, it is respected, and nothing of ours is put in.
const struct faa_str *faa_propagation_own_names(size_t *count);

#endif

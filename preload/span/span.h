// SPDX-License-Identifier: MIT
// A span being built, and its way into the ring.
//
// A span belongs to one thread at a time; its owner serialises access (in Python code, the object
// that holds it). Nothing here blocks, does I/O or calls Python.
#ifndef FAA_SPAN_SPAN_H
#define FAA_SPAN_SPAN_H

#include "span/record.h"
#include "span/semconv.h"

enum {
    FAA_SPAN_NAME_MAX = 256,       ///< Bytes, with the NUL; longer names are cut.
    FAA_SPAN_TRACESTATE_MAX = 512, ///< W3C asks for at least 512 characters to be kept.
    FAA_SPAN_VALUE_MAX = 8192,     ///< Bytes of one string value; longer ones are cut.
    FAA_SPAN_ITEMS_MAX = 32768,    ///< Bytes of all attributes and events; more are dropped.
    FAA_SPAN_HEADER_MAX = 256,     ///< Bytes of a header's name; one with a longer name is dropped.
    FAA_SPAN_COUNT_MAX = 128       ///< Attributes of a span, its events, attributes of an event.
};

struct faa_baggage;

/// Whose word it is whether a parent's trace is sampled.
enum faa_sampling {
    FAA_SAMPLING_BY_PARENT, ///< The flags say it, where there is a trace; else nobody has decided.
    FAA_SAMPLING_DEFERRED,  ///< There is a trace, and the parent leaves the decision to us (B3).
    FAA_SAMPLING_ORDERED    ///< The flags say it although there is no trace: one begins here (B3).
};

/// The limits of the OpenTelemetry specification. They lower the ceilings above and never raise
/// them. Lengths count characters (code points); UINT32_MAX: no limit.
struct faa_span_limits {
    uint32_t value_length;       ///< Of a span's string attributes.
    uint32_t event_value_length; ///< Of those of its events.
    uint32_t attributes, events; ///< Of a span.
    uint32_t event_attributes;   ///< Of an event.
};

/// Sets the limits for spans that start later. Called once, before there are spans.
void faa_span_set_limits(const struct faa_span_limits *limits);

/// What travels from a span to its children, in and between processes.
struct faa_span_context {
    uint8_t trace_id[16]; ///< All zero: no trace.
    uint8_t span_id[8];
    uint8_t flags;      ///< W3C trace flags.
    uint8_t remote;     ///< 1 when it came from another process.
    uint8_t suppressed; ///< Nothing is recorded below it, and nothing goes out (excluded URLs).
    uint8_t sampling;   ///< enum faa_sampling; always 0 in a span that has started.
    uint8_t debug; ///< 1: the caller asks for this trace in any case (B3's and Jaeger's debug).
    uint16_t tracestate_len;
    const char *tracestate;      ///< Borrowed; NULL when there is none. The span copies it.
    struct faa_baggage *baggage; ///< Borrowed, or NULL. The span takes a reference of its own.
};

struct faa_span {
    struct faa_span_context context; ///< tracestate and baggage owned by the span, or NULL.
    uint8_t parent_span_id[8];
    uint8_t kind;
    uint8_t status;
    uint8_t recording; ///< 0: not sampled, or ended. Setters do nothing then.
    uint8_t parent_remote;
    uint8_t in_event;    ///< 1 while the last event was kept: its attributes may follow.
    uint8_t is_foreign;  ///< It stands for a span of another tracer; see faa_span_follow.
    uint16_t item_count; ///< The sum of attributes, events and attributes of events.
    uint16_t attribute_count, event_count;
    uint16_t event_attribute_count; ///< Of the last event.
    uint16_t name_len;
    uint16_t message_len;
    uint16_t dropped_events;     ///< Stays at UINT16_MAX.
    uint32_t dropped_attributes; ///< And what else was left out for want of memory.
    uint32_t flight;             ///< See faa_span_announce; 0: none.
    uint32_t event_at;           ///< Where in the items the last event is; counts with in_event.
    uint32_t generation;         ///< See faa_tracer_generation; another one: it is not ours to end.
    uint64_t start_ns, start_mono_ns;
    const char *scope; ///< Static string: the instrumentation scope's name.
    size_t items_len, items_cap;
    char *items;   ///< `room`, or on the heap when that was too small.
    char *message; ///< Status description; heap, or NULL.
    char name[FAA_SPAN_NAME_MAX];
    char room[512];
};

/// Starts a span in caller-owned memory. `parent` may be NULL (a new trace) and is copied; one
/// without a trace id gives its baggage, and its decision where it has one, to a new trace.
/// The sampler decides whether it is recorded (see sampler.h).
void faa_span_start(struct faa_span *span, enum faa_span_kind kind, const char *scope,
                    const struct faa_span_context *parent);

/// The same for a span whose operation is known, which remote sampling strategies go by. It is not
/// set as the span's name: at its start a request has only its method, and no route.
void faa_span_start_operation(struct faa_span *span, enum faa_span_kind kind, const char *scope,
                              const struct faa_span_context *parent, struct faa_str operation);

/// Moves the start to a reading of the monotonic clock (faa_clock_mono_ns) of this process: for
/// work that turned out to be worth a span when it was done, or that began later than its span.
/// Nothing happens unless it is recording.
void faa_span_set_start(struct faa_span *span, uint64_t mono_ns);

/// Sets the name; cleaned and cut.
void faa_span_set_name(struct faa_span *span, struct faa_str name);

/// Setters. A key is set at most once in a span (and once in an event). Values are copied;
/// strings are made valid UTF-8 and cut at FAA_SPAN_VALUE_MAX bytes and at the limit of characters.
/// What a limit leaves out is counted in the record: an attribute for the span or event it belongs
/// to, an event with all its attributes as one event.
void faa_span_set_str(struct faa_span *span, enum faa_key key, struct faa_str value);
void faa_span_set_int(struct faa_span *span, enum faa_key key, int64_t value);
void faa_span_set_bool(struct faa_span *span, enum faa_key key, int value);

/// Sets the attribute `key`.`name` to the list of these values: a header, which may come several
/// times. The name is written in lower case; values are cut at
/// OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT, all together at FAA_SPAN_VALUE_MAX.
void faa_span_set_header(struct faa_span *span, enum faa_key key, struct faa_str name,
                         const struct faa_str *values, size_t count);

/// Sets the status; `message` may be empty. An error stays an error.
void faa_span_set_status(struct faa_span *span, enum faa_status status, struct faa_str message);

/// Begins an event that happens now. The faa_span_event_set_… calls that follow belong to it.
void faa_span_add_event(struct faa_span *span, struct faa_str name);
void faa_span_event_set_str(struct faa_span *span, enum faa_key key, struct faa_str value);
void faa_span_event_set_int(struct faa_span *span, enum faa_key key, int64_t value);

/// Shows the span as it is now to whoever watches over this process: if the process is killed
/// before the span ends, it is told so, under `name` where it has none yet. May be called again
/// when the span tells more. Costs a load where nobody watches.
void faa_span_announce(struct faa_span *span, struct faa_str name);

/// The end time for a span that ends now: its start plus the monotonic time gone by.
uint64_t faa_span_now(const struct faa_span *span);

/// Ends the span at `end_ns` (Unix time; 0: now), writes its record to the tracer's ring when it
/// is sampled, and releases what it holds. Ending twice does nothing, and no record is written of
/// what a fork's parent began: it tells that. Its context stays readable until faa_span_fini.
void faa_span_end(struct faa_span *span, uint64_t end_ns);

/// Gives the span up for another tracer's of the same operation: nothing is recorded any more, and
/// its children become children of `other`, whose tracestate is not taken over.
void faa_span_follow(struct faa_span *span, const struct faa_span_context *other);

/// Makes a span that was never started (all zero up to its name) stand for `parent`, which may be
/// NULL: it records nothing and tells nothing, and its children are children of `parent`, or roots.
void faa_span_stand_for(struct faa_span *span, const struct faa_span_context *parent);

/// Releases the span's memory; one that did not end is abandoned and leaves no record.
void faa_span_fini(struct faa_span *span);

#endif

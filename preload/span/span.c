// SPDX-License-Identifier: MIT
// Building a span: its items grow in the form they have in the record, which is copied once.
#include "span/span.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "ring/flights.h"
#include "span/baggage.h"
#include "span/ids.h"
#include "span/sampler.h"
#include "span/traceparent.h"
#include "span/tracer.h"

#include <stdlib.h>

enum { SCOPE_MAX = 255 };

_Static_assert(offsetof(struct faa_span, room) % 8 == 0, "items are read as numbers");
_Static_assert(sizeof(struct faa_record) % 8 == 0 && sizeof(struct faa_item) == 8, "no padding");

// Written by faa_span_set_limits, before there are spans.
static struct faa_span_limits limits = {UINT32_MAX, UINT32_MAX, FAA_SPAN_COUNT_MAX,
                                        FAA_SPAN_COUNT_MAX, FAA_SPAN_COUNT_MAX};

static uint32_t at_most(uint32_t n, uint32_t ceiling)
{
    return n < ceiling ? n : ceiling;
}

void faa_span_set_limits(const struct faa_span_limits *wanted)
{
    limits = *wanted;
    limits.attributes = at_most(limits.attributes, FAA_SPAN_COUNT_MAX);
    limits.events = at_most(limits.events, FAA_SPAN_COUNT_MAX);
    limits.event_attributes = at_most(limits.event_attributes, FAA_SPAN_COUNT_MAX);
}

static size_t align8(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

// A text on its way into the span: how much room it may need, and whether it must be cleaned.
struct text {
    struct faa_str in;
    size_t bound; // Of the bytes that text_put writes, without the NUL.
    int plain;
};

static struct text text_of(struct faa_str in, uint32_t chars)
{
    // No character has more than four bytes.
    if (chars < FAA_SPAN_VALUE_MAX / 4 && in.n > 4 * chars)
        in.n = 4 * chars;
    // Cleaning never shortens: what lies further back than this cannot come through. The three
    // bytes more keep the last character whole.
    if (in.n > FAA_SPAN_VALUE_MAX + 3)
        in.n = FAA_SPAN_VALUE_MAX + 3;
    if (in.n <= FAA_SPAN_VALUE_MAX && faa_utf8_valid(in))
        return (struct text){in, in.n, 1};
    size_t bound = FAA_UTF8_CLEAN_MAX(in.n) - 1;
    return (struct text){in, bound < FAA_SPAN_VALUE_MAX ? bound : FAA_SPAN_VALUE_MAX, 0};
}

static char *put_str(char *at, const char *text, size_t n)
{
    if (n > 0)
        memcpy(at, text, n);
    at[n] = '\0';
    return at + n + 1;
}

// Returns the length written, without the NUL.
static size_t text_put(const struct text *text, uint32_t chars, char *out)
{
    size_t n = text->in.n;
    if (text->plain)
        put_str(out, text->in.p, n);
    else
        n = faa_utf8_clean(text->in, out, text->bound + 1);
    if (n > chars) {
        n = faa_utf8_prefix((struct faa_str){out, n}, chars);
        out[n] = '\0';
    }
    return n;
}

// ---- start ------------------------------------------------------------------------------------

static void copy_tracestate(struct faa_span *span, const struct faa_span_context *parent)
{
    struct faa_str in = {parent->tracestate, parent->tracestate_len};
    if (!faa_tracestate_valid(in))
        return;
    char *copy = malloc(in.n);
    if (!copy) {
        span->dropped_attributes++;
        return;
    }
    memcpy(copy, in.p, in.n);
    span->context.tracestate = copy;
    span->context.tracestate_len = (uint16_t)in.n;
}

static int has_trace(const struct faa_span_context *context)
{
    static const uint8_t none[sizeof(context->trace_id)];
    return context && memcmp(context->trace_id, none, sizeof(none)) != 0;
}

// What the parent has decided; a trace that nobody has decided about is as one that begins here.
static enum faa_parent decision_of(const struct faa_span_context *parent)
{
    int decided = has_trace(parent) ? parent->sampling != FAA_SAMPLING_DEFERRED
                                    : parent && parent->sampling == FAA_SAMPLING_ORDERED;
    if (!decided)
        return FAA_PARENT_NONE;
    return parent->flags & FAA_FLAG_SAMPLED ? FAA_PARENT_SAMPLED : FAA_PARENT_UNSAMPLED;
}

void faa_span_start_operation(struct faa_span *span, enum faa_span_kind kind, const char *scope,
                              const struct faa_span_context *parent, struct faa_str operation)
{
    memset(span, 0, offsetof(struct faa_span, name));
    span->name[0] = '\0';
    span->kind = (uint8_t)kind;
    span->scope = scope ? scope : "";
    span->items = span->room;
    span->items_cap = sizeof(span->room);
    if (parent && parent->suppressed) {
        span->context.suppressed = 1;
        return;
    }
    if (has_trace(parent)) {
        faa_ids_new_span_id(span->context.span_id);
        memcpy(span->context.trace_id, parent->trace_id, sizeof(parent->trace_id));
        memcpy(span->parent_span_id, parent->span_id, sizeof(parent->span_id));
        span->parent_remote = parent->remote;
        if (parent->tracestate_len > 0)
            copy_tracestate(span, parent);
    } else {
        faa_ids_new_root(span->context.trace_id, span->context.span_id);
    }
    if (parent) {
        span->context.debug = parent->debug;
        span->context.baggage = faa_baggage_ref(parent->baggage);
    }
    if (!faa_sampler_decide(span->context.trace_id, decision_of(parent), operation))
        return;
    // The other bits of the parent's flags are reserved, and the specification wants them zero in
    // what we send.
    span->context.flags = FAA_FLAG_SAMPLED;
    span->recording = 1;
    span->generation = faa_tracer_generation();
    span->start_mono_ns = faa_clock_mono_ns();
    span->start_ns = faa_clock_wall_of_mono(span->start_mono_ns);
}

void faa_span_start(struct faa_span *span, enum faa_span_kind kind, const char *scope,
                    const struct faa_span_context *parent)
{
    faa_span_start_operation(span, kind, scope, parent, FAA_STR(""));
}

void faa_span_set_start(struct faa_span *span, uint64_t mono_ns)
{
    if (!span->recording)
        return;
    span->start_ns -= span->start_mono_ns - mono_ns;
    span->start_mono_ns = mono_ns;
}

// ---- attributes and events --------------------------------------------------------------------

// Makes room for `need` more bytes of items. 0, or -1 at the ceiling or without memory.
static int make_room(struct faa_span *span, size_t need)
{
    size_t wanted = span->items_len + need;
    if (wanted <= span->items_cap)
        return 0;
    if (wanted > FAA_SPAN_ITEMS_MAX)
        return -1;
    size_t cap = span->items_cap * 2;
    while (cap < wanted)
        cap *= 2;
    int inside = span->items == span->room;
    char *grown = realloc(inside ? NULL : span->items, cap);
    if (!grown)
        return -1;
    if (inside)
        memcpy(grown, span->room, span->items_len);
    span->items = grown;
    span->items_cap = cap;
    return 0;
}

// A place for an item of `size` bytes, a multiple of 8; NULL at the ceiling or without memory.
static inline char *place_of(struct faa_span *span, size_t size)
{
    if (size > span->items_cap - span->items_len && make_room(span, size) < 0)
        return NULL;
    return span->items + span->items_len;
}

static inline void keep(struct faa_span *span, char *at, struct faa_item item, size_t size)
{
    memcpy(at, &item, sizeof(item));
    span->items_len += size;
    span->item_count++;
}

// Any text behind an item and `fixed` bytes of its own, of which the first are the item's. The
// length is added to item.len. 0, or -1 without room. Not inline: it would make the common way pay
// for its registers.
__attribute__((noinline)) static int add_text(struct faa_span *span, struct faa_item item,
                                              size_t fixed, struct faa_str value, uint32_t chars)
{
    struct text text = text_of(value, chars);
    char *at = place_of(span, align8(fixed + text.bound + 1));
    if (!at)
        return -1;
    size_t len = text_put(&text, chars, at + fixed);
    item.len += (uint32_t)len;
    keep(span, at, item, align8(fixed + len + 1));
    return 0;
}

static inline int add_str(struct faa_span *span, struct faa_item item, struct faa_str value,
                          uint32_t chars)
{
    size_t size = sizeof(item) + FAA_UTF8_WORDS(value.n);
    char *at = span->items + span->items_len;
    if (value.n > chars || value.n > FAA_SPAN_VALUE_MAX ||
        size > span->items_cap - span->items_len || !faa_utf8_copy_ascii(value, at + sizeof(item)))
        return add_text(span, item, sizeof(item), value, chars);
    item.len = (uint32_t)value.n;
    keep(span, at, item, size);
    return 0;
}

// A number, and the empty string that ends every item.
static inline int add_number(struct faa_span *span, struct faa_item item, int64_t number)
{
    enum { SIZE = sizeof(item) + 2 * sizeof(number) };
    char *at = place_of(span, SIZE);
    if (!at)
        return -1;
    item.len = sizeof(number);
    memcpy(at + sizeof(item), &number, sizeof(number));
    memset(at + sizeof(item) + sizeof(number), 0, sizeof(number));
    keep(span, at, item, SIZE);
    return 0;
}

static void count_attribute(struct faa_span *span, int added)
{
    if (added == 0)
        span->attribute_count++;
    else
        span->dropped_attributes++;
}

void faa_span_set_str(struct faa_span *span, enum faa_key key, struct faa_str value)
{
    struct faa_item item = {.type = FAA_ITEM_STR, .key = (uint16_t)key};
    if (span->recording)
        count_attribute(span, span->attribute_count < limits.attributes
                                  ? add_str(span, item, value, limits.value_length)
                                  : -1);
}

static void set_number(struct faa_span *span, struct faa_item item, int64_t number)
{
    if (span->recording)
        count_attribute(
            span, span->attribute_count < limits.attributes ? add_number(span, item, number) : -1);
}

void faa_span_set_int(struct faa_span *span, enum faa_key key, int64_t value)
{
    set_number(span, (struct faa_item){.type = FAA_ITEM_INT, .key = (uint16_t)key}, value);
}

void faa_span_set_bool(struct faa_span *span, enum faa_key key, int value)
{
    set_number(span, (struct faa_item){.type = FAA_ITEM_BOOL, .key = (uint16_t)key}, value != 0);
}

// A line of the header's text; what would begin another one is a blank.
static size_t put_line(char *at, size_t room, struct faa_str text)
{
    size_t n = text.n < room ? text.n : room;
    for (size_t i = 0; i < n; i++)
        at[i] = text.p[i] == '\n' ? ' ' : text.p[i];
    return n;
}

// A value as a line. It is cleaned before it is cut: what replaces an invalid byte is a character.
static size_t put_value(char *at, size_t room, struct faa_str value)
{
    char clean[FAA_SPAN_VALUE_MAX + 1];
    struct text text = text_of(value, limits.value_length);
    size_t n = text_put(&text, limits.value_length, clean);
    if (n > room)
        for (n = room; n > 0 && ((unsigned char)clean[n] & 0xc0) == 0x80;)
            n--;
    return put_line(at, room, (struct faa_str){clean, n});
}

void faa_span_set_header(struct faa_span *span, enum faa_key key, struct faa_str name,
                         const struct faa_str *values, size_t count)
{
    struct faa_item item = {.type = FAA_ITEM_HEADER, .key = (uint16_t)key};
    char text[FAA_SPAN_VALUE_MAX];
    if (!span->recording)
        return;
    if (span->attribute_count >= limits.attributes || !name.n || name.n > FAA_SPAN_HEADER_MAX) {
        span->dropped_attributes++;
        return;
    }
    size_t n = put_line(text, sizeof(text), name);
    for (size_t i = 0; i < n; i++)
        if (text[i] >= 'A' && text[i] <= 'Z')
            text[i] = (char)(text[i] | 0x20);
    for (size_t i = 0; i < count && n + 1 < sizeof(text); i++) {
        text[n++] = '\n';
        n += put_value(text + n, sizeof(text) - n, values[i]);
    }
    count_attribute(span, add_str(span, item, (struct faa_str){text, n}, UINT32_MAX));
}

void faa_span_add_event(struct faa_span *span, struct faa_str name)
{
    if (!span->recording)
        return;
    size_t at = span->items_len;
    uint64_t now = faa_span_now(span);
    struct faa_item item = {.type = FAA_ITEM_EVENT, .len = sizeof(now)};
    // Attributes of an event that was left out must not become those of the one before it.
    span->in_event = span->event_count < limits.events &&
                     add_text(span, item, sizeof(item) + sizeof(now), name, UINT32_MAX) == 0;
    if (!span->in_event) {
        span->dropped_events += span->dropped_events < UINT16_MAX;
        return;
    }
    memcpy(span->items + at + sizeof(item), &now, sizeof(now));
    span->event_at = (uint32_t)at;
    span->event_count++;
    span->event_attribute_count = 0;
}

static int may_add_to_event(const struct faa_span *span)
{
    return span->recording && span->in_event;
}

static void count_event_attribute(struct faa_span *span, int added)
{
    if (added == 0) {
        span->event_attribute_count++;
        return;
    }
    char *event = span->items + span->event_at;
    struct faa_item item;
    memcpy(&item, event, sizeof(item));
    item.key += item.key < UINT16_MAX; // Its count of these, see record.h.
    memcpy(event, &item, sizeof(item));
}

void faa_span_event_set_str(struct faa_span *span, enum faa_key key, struct faa_str value)
{
    struct faa_item item = {.type = FAA_ITEM_STR, .of_event = 1, .key = (uint16_t)key};
    if (may_add_to_event(span))
        count_event_attribute(span, span->event_attribute_count < limits.event_attributes
                                        ? add_str(span, item, value, limits.event_value_length)
                                        : -1);
}

void faa_span_event_set_int(struct faa_span *span, enum faa_key key, int64_t value)
{
    struct faa_item item = {.type = FAA_ITEM_INT, .of_event = 1, .key = (uint16_t)key};
    if (may_add_to_event(span))
        count_event_attribute(span, span->event_attribute_count < limits.event_attributes
                                        ? add_number(span, item, value)
                                        : -1);
}

// ---- name, status and time --------------------------------------------------------------------

void faa_span_set_name(struct faa_span *span, struct faa_str name)
{
    if (!span->recording)
        return;
    span->name_len = (uint16_t)name.n;
    if (name.n < FAA_SPAN_NAME_MAX && faa_utf8_copy_ascii(name, span->name))
        return;
    if (name.n > FAA_SPAN_NAME_MAX + 3)
        name.n = FAA_SPAN_NAME_MAX + 3;
    span->name_len = (uint16_t)faa_utf8_clean(name, span->name, sizeof(span->name));
}

void faa_span_set_status(struct faa_span *span, enum faa_status status, struct faa_str message)
{
    if (!span->recording || status < span->status)
        return;
    span->status = (uint8_t)status;
    if (status != FAA_STATUS_ERROR || message.n == 0)
        return; // Only errors have a message.
    struct text text = text_of(message, UINT32_MAX);
    char *copy = malloc(text.bound + 1);
    if (!copy) {
        span->dropped_attributes++;
        return;
    }
    free(span->message);
    span->message_len = (uint16_t)text_put(&text, UINT32_MAX, copy);
    span->message = copy;
}

uint64_t faa_span_now(const struct faa_span *span)
{
    return span->start_ns + (faa_clock_mono_ns() - span->start_mono_ns);
}

// ---- end --------------------------------------------------------------------------------------

// How long the parts of a record are.
struct lengths {
    size_t scope, strings, record;
};

static struct lengths measure(const struct faa_span *span)
{
    size_t scope = strnlen(span->scope, SCOPE_MAX);
    size_t strings = (size_t)span->name_len + 1 + scope + 1 + span->context.tracestate_len + 1 +
                     span->message_len + 1;
    return (struct lengths){scope, strings,
                            sizeof(struct faa_record) + align8(strings) + span->items_len};
}

static void fill_record(const struct faa_span *span, const struct lengths *n,
                        struct faa_record *record, uint64_t end_ns)
{
    *record = (struct faa_record){
        .size = (uint32_t)n->record,
        .kind = span->kind,
        .status = span->status,
        .item_count = span->item_count,
        .start_ns = span->start_ns,
        .end_ns = end_ns > span->start_ns ? end_ns : span->start_ns,
        .flags = (uint16_t)(span->context.flags | FAA_FLAG_HAS_IS_REMOTE |
                            (span->parent_remote ? FAA_FLAG_IS_REMOTE : 0)),
        .dropped_events = span->dropped_events,
        .dropped_attributes = span->dropped_attributes,
        .name_len = span->name_len,
        .scope_len = (uint16_t)n->scope,
        .tracestate_len = span->context.tracestate_len,
        .message_len = span->message_len,
    };
    memcpy(record->trace_id, span->context.trace_id, sizeof(record->trace_id));
    memcpy(record->span_id, span->context.span_id, sizeof(record->span_id));
    memcpy(record->parent_span_id, span->parent_span_id, sizeof(record->parent_span_id));
    char *at = (char *)(record + 1);
    char *items = at + align8(n->strings);
    at = put_str(at, span->name, span->name_len);
    at = put_str(at, span->scope, n->scope);
    at = put_str(at, span->context.tracestate, span->context.tracestate_len);
    put_str(at, span->message, span->message_len);
    memcpy(items, span->items, span->items_len);
}

// False in a child that was forked while the span was in progress: its parent tells it.
static int is_ours(const struct faa_span *span)
{
    return span->generation == faa_tracer_generation();
}

// A span that has grown too large for a flight is shown without its attributes.
void faa_span_announce(struct faa_span *span, struct faa_str name)
{
    uint32_t flight;
    void *room = span->recording && is_ours(span) ? faa_tracer_take_flight(&flight) : NULL;
    if (!room)
        return;
    struct faa_span shown = *span;
    if (shown.name_len == 0)
        faa_span_set_name(&shown, name);
    struct lengths n = measure(&shown);
    if (n.record > FAA_FLIGHT_SIZE_MAX) {
        shown.items_len = 0;
        shown.item_count = 0;
        shown.context.tracestate_len = 0;
        shown.message_len = 0;
        n = measure(&shown);
    }
    fill_record(&shown, &n, room, span->start_ns);
    faa_tracer_publish_flight(flight, n.record);
    faa_tracer_drop_flight(span->flight);
    span->flight = flight;
}

static void write_record(const struct faa_span *span, uint64_t end_ns)
{
    struct lengths n = measure(span);
    struct faa_record *record = faa_tracer_reserve(n.record);
    if (record) {
        fill_record(span, &n, record, end_ns);
        faa_tracer_commit(record, span->flight);
    } else {
        faa_tracer_drop_flight(span->flight);
    }
}

// Releases all but the context.
static void release(struct faa_span *span)
{
    if (span->recording)
        faa_tracer_drop_flight(span->flight); // It never ends.
    span->recording = 0;
    span->flight = 0;
    if (span->items != span->room) {
        free(span->items);
        span->items = span->room;
    }
    if (span->message) {
        free(span->message);
        span->message = NULL;
    }
}

void faa_span_end(struct faa_span *span, uint64_t end_ns)
{
    if (!span->recording)
        return;
    if (is_ours(span))
        write_record(span, end_ns ? end_ns : faa_span_now(span));
    span->recording = 0;
    release(span);
}

void faa_span_follow(struct faa_span *span, const struct faa_span_context *other)
{
    release(span);
    memcpy(span->context.trace_id, other->trace_id, sizeof(other->trace_id));
    memcpy(span->context.span_id, other->span_id, sizeof(other->span_id));
    span->context.flags = other->flags & FAA_FLAG_SAMPLED;
    span->is_foreign = 1;
}

void faa_span_stand_for(struct faa_span *span, const struct faa_span_context *parent)
{
    span->items = span->room;
    if (!parent)
        return;
    span->context = *parent;
    span->context.tracestate = NULL;
    span->context.tracestate_len = 0;
    if (parent->tracestate_len > 0)
        copy_tracestate(span, parent);
    span->context.baggage = faa_baggage_ref(parent->baggage);
}

void faa_span_fini(struct faa_span *span)
{
    release(span);
    // The span's own copy, which everyone else only borrows.
    free((char *)(uintptr_t)span->context.tracestate);
    span->context.tracestate = NULL;
    span->context.tracestate_len = 0;
    faa_baggage_unref(span->context.baggage);
    span->context.baggage = NULL;
}

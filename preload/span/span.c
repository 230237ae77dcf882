// SPDX-License-Identifier: MIT
// Building a span: its items grow in the form they have in the record, which is copied once.
#include "span/span.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "span/ids.h"
#include "span/traceparent.h"
#include "span/tracer.h"

#include <stdlib.h>

enum { SCOPE_MAX = 255 };

_Static_assert(offsetof(struct faa_span, room) % 8 == 0, "items are read as numbers");
_Static_assert(sizeof(struct faa_record) % 8 == 0 && sizeof(struct faa_item) == 8, "no padding");

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

static struct text text_of(struct faa_str in)
{
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
static size_t text_put(const struct text *text, char *out)
{
    if (!text->plain)
        return faa_utf8_clean(text->in, out, text->bound + 1);
    put_str(out, text->in.p, text->in.n);
    return text->in.n;
}

// ---- start ------------------------------------------------------------------------------------

static void copy_tracestate(struct faa_span *span, const struct faa_span_context *parent)
{
    struct faa_str in = {parent->tracestate, parent->tracestate_len};
    if (!faa_tracestate_valid(in))
        return;
    char *copy = malloc(in.n);
    if (!copy) {
        span->dropped++;
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

void faa_span_start(struct faa_span *span, enum faa_span_kind kind, const char *scope,
                    const struct faa_span_context *parent)
{
    memset(span, 0, offsetof(struct faa_span, name));
    span->name[0] = '\0';
    span->kind = (uint8_t)kind;
    span->scope = scope ? scope : "";
    span->items = span->room;
    span->items_cap = sizeof(span->room);
    faa_ids_new_span_id(span->context.span_id);
    if (has_trace(parent)) {
        memcpy(span->context.trace_id, parent->trace_id, sizeof(parent->trace_id));
        memcpy(span->parent_span_id, parent->span_id, sizeof(parent->span_id));
        // The other bits are reserved, and the specification wants them zero in what we send.
        span->context.flags = parent->flags & FAA_FLAG_SAMPLED;
        span->parent_remote = parent->remote;
        if (parent->tracestate_len > 0)
            copy_tracestate(span, parent);
    } else {
        faa_ids_new_trace_id(span->context.trace_id);
        span->context.flags = FAA_FLAG_SAMPLED;
    }
    span->recording = span->context.flags & FAA_FLAG_SAMPLED;
    if (span->recording) {
        span->start_mono_ns = faa_clock_mono_ns();
        span->start_ns = faa_clock_wall_of_mono(span->start_mono_ns);
    }
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

// Appends an item: its number, for all but strings, then its text. 0, or -1: left out and counted.
static int add_item(struct faa_span *span, struct faa_item item, int64_t number,
                    struct faa_str value)
{
    size_t fixed = sizeof(item) + (item.type == FAA_ITEM_STR ? 0 : sizeof(number));
    struct text text = text_of(value);
    if (span->item_count >= FAA_SPAN_ATTRIBUTES_MAX ||
        make_room(span, align8(fixed + text.bound + 1)) < 0) {
        span->dropped++;
        return -1;
    }
    char *at = span->items + span->items_len;
    size_t len = text_put(&text, at + fixed);
    item.len = (uint32_t)(fixed - sizeof(item) + len);
    memcpy(at, &item, sizeof(item));
    if (item.type != FAA_ITEM_STR)
        memcpy(at + sizeof(item), &number, sizeof(number));
    span->items_len += align8(fixed + len + 1);
    span->item_count++;
    return 0;
}

void faa_span_set_str(struct faa_span *span, enum faa_key key, struct faa_str value)
{
    if (span->recording)
        (void)add_item(span, (struct faa_item){.type = FAA_ITEM_STR, .key = (uint16_t)key}, 0,
                       value);
}

void faa_span_set_int(struct faa_span *span, enum faa_key key, int64_t value)
{
    if (span->recording)
        (void)add_item(span, (struct faa_item){.type = FAA_ITEM_INT, .key = (uint16_t)key}, value,
                       FAA_STR(""));
}

void faa_span_set_bool(struct faa_span *span, enum faa_key key, int value)
{
    if (span->recording)
        (void)add_item(span, (struct faa_item){.type = FAA_ITEM_BOOL, .key = (uint16_t)key},
                       value != 0, FAA_STR(""));
}

void faa_span_add_event(struct faa_span *span, struct faa_str name)
{
    if (!span->recording)
        return;
    struct faa_item item = {.type = FAA_ITEM_EVENT};
    // Attributes of an event that was left out must not become those of the one before it.
    span->in_event = add_item(span, item, (int64_t)faa_span_now(span), name) == 0;
}

static void add_event_item(struct faa_span *span, struct faa_item item, int64_t number,
                           struct faa_str text)
{
    if (!span->recording)
        return;
    item.of_event = 1;
    if (span->in_event)
        (void)add_item(span, item, number, text);
    else
        span->dropped++;
}

void faa_span_event_set_str(struct faa_span *span, enum faa_key key, struct faa_str value)
{
    add_event_item(span, (struct faa_item){.type = FAA_ITEM_STR, .key = (uint16_t)key}, 0, value);
}

void faa_span_event_set_int(struct faa_span *span, enum faa_key key, int64_t value)
{
    add_event_item(span, (struct faa_item){.type = FAA_ITEM_INT, .key = (uint16_t)key}, value,
                   FAA_STR(""));
}

// ---- name, status and time --------------------------------------------------------------------

void faa_span_set_name(struct faa_span *span, struct faa_str name)
{
    if (!span->recording)
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
    struct text text = text_of(message);
    char *copy = malloc(text.bound + 1);
    if (!copy) {
        span->dropped++;
        return;
    }
    free(span->message);
    span->message_len = (uint16_t)text_put(&text, copy);
    span->message = copy;
}

uint64_t faa_span_now(const struct faa_span *span)
{
    return span->start_ns + (faa_clock_mono_ns() - span->start_mono_ns);
}

// ---- end --------------------------------------------------------------------------------------

static void write_record(const struct faa_span *span, uint64_t end_ns)
{
    size_t scope_len = strnlen(span->scope, SCOPE_MAX);
    size_t strings = (size_t)span->name_len + 1 + scope_len + 1 + span->context.tracestate_len + 1 +
                     span->message_len + 1;
    size_t size = sizeof(struct faa_record) + align8(strings) + span->items_len;
    struct faa_record *record = faa_tracer_reserve(size);
    if (!record)
        return;
    *record = (struct faa_record){
        .size = (uint32_t)size,
        .kind = span->kind,
        .status = span->status,
        .item_count = span->item_count,
        .start_ns = span->start_ns,
        .end_ns = end_ns > span->start_ns ? end_ns : span->start_ns,
        .flags = span->context.flags | FAA_FLAG_HAS_IS_REMOTE |
                 (span->parent_remote ? FAA_FLAG_IS_REMOTE : 0u),
        .dropped = span->dropped,
        .name_len = span->name_len,
        .scope_len = (uint16_t)scope_len,
        .tracestate_len = span->context.tracestate_len,
        .message_len = span->message_len,
    };
    memcpy(record->trace_id, span->context.trace_id, sizeof(record->trace_id));
    memcpy(record->span_id, span->context.span_id, sizeof(record->span_id));
    memcpy(record->parent_span_id, span->parent_span_id, sizeof(record->parent_span_id));
    char *at = (char *)(record + 1);
    char *items = at + align8(strings);
    at = put_str(at, span->name, span->name_len);
    at = put_str(at, span->scope, scope_len);
    at = put_str(at, span->context.tracestate, span->context.tracestate_len);
    put_str(at, span->message, span->message_len);
    memcpy(items, span->items, span->items_len);
    faa_tracer_commit(record);
}

// Releases all but the context.
static void release(struct faa_span *span)
{
    span->recording = 0;
    if (span->items != span->room)
        free(span->items);
    span->items = span->room;
    free(span->message);
    span->message = NULL;
}

void faa_span_end(struct faa_span *span, uint64_t end_ns)
{
    if (!span->recording)
        return;
    write_record(span, end_ns ? end_ns : faa_span_now(span));
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

void faa_span_fini(struct faa_span *span)
{
    release(span);
    // The span's own copy, which everyone else only borrows.
    free((char *)(uintptr_t)span->context.tracestate);
    span->context.tracestate = NULL;
    span->context.tracestate_len = 0;
}

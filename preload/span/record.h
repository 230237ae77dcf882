// SPDX-License-Identifier: MIT
// The flat record: a finished span as it lies in the ring, readable by any process that maps it.
//
//     struct faa_record | name \0 | scope \0 | tracestate \0 | status message \0 | pad | items …
//
// An item is a struct faa_item, its value, a NUL and padding to 8 bytes. Strings are valid UTF-8
// without inner NULs (the span sees to it), so that an encoder may point into the record.
#ifndef FAA_SPAN_RECORD_H
#define FAA_SPAN_RECORD_H

#include "base/str.h"

#include <stdint.h>

/// The numbers are OTLP's (opentelemetry/proto/trace/v1/trace.proto).
enum faa_span_kind {
    FAA_KIND_INTERNAL = 1,
    FAA_KIND_SERVER = 2,
    FAA_KIND_CLIENT = 3,
    FAA_KIND_PRODUCER = 4,
    FAA_KIND_CONSUMER = 5
};

enum faa_status { FAA_STATUS_UNSET = 0, FAA_STATUS_OK = 1, FAA_STATUS_ERROR = 2 };

/// OTLP's span flags: the low byte is W3C trace flags.
enum {
    FAA_FLAG_SAMPLED = 0x01,
    FAA_FLAG_HAS_IS_REMOTE = 0x100, ///< The next bit is meaningful.
    FAA_FLAG_IS_REMOTE = 0x200      ///< The parent is in another process.
};

struct faa_record {
    uint32_t size; ///< Of the whole record, a multiple of 8.
    uint8_t kind;
    uint8_t status;
    uint16_t item_count;
    uint8_t trace_id[16];
    uint8_t span_id[8];
    uint8_t parent_span_id[8]; ///< All zero: a root.
    uint64_t start_ns;         ///< Unix time.
    uint64_t end_ns;           ///< Unix time, not before start_ns.
    uint16_t flags;
    uint16_t dropped_events;     ///< Left out by a limit; UINT16_MAX: that many or more.
    uint32_t dropped_attributes; ///< Left out by a limit, or other things for want of memory.
    uint16_t name_len, scope_len, tracestate_len, message_len; ///< Without their NULs.
};

enum faa_item_type {
    FAA_ITEM_STR = 1,
    FAA_ITEM_INT = 2,   ///< int64_t
    FAA_ITEM_BOOL = 3,  ///< int64_t, 0 or 1
    FAA_ITEM_EVENT = 4, ///< uint64_t Unix time, then the event's name
};

/// One attribute or event. Attributes of an event follow it with FAA_ITEM_OF_EVENT set.
struct faa_item {
    uint8_t type;
    uint8_t of_event;
    uint16_t key; ///< enum faa_key. FAA_ITEM_EVENT: attributes of it that were left out.
    uint32_t len; ///< Of the value, without NUL and padding.
};

/// What faa_record_view fills in: slices into the record.
struct faa_record_view {
    const struct faa_record *record;
    struct faa_str name, scope, tracestate, message;
    const char *items, *end; ///< The cursor and the limit of faa_record_next.
};

/// A decoded item; `str` and `event` point into the record and are NUL-terminated.
struct faa_item_view {
    enum faa_item_type type;
    int of_event;
    unsigned key;       ///< 0 for an event.
    unsigned dropped;   ///< FAA_ITEM_EVENT: attributes of it that were left out.
    struct faa_str str; ///< FAA_ITEM_STR: the value. FAA_ITEM_EVENT: the event's name.
    int64_t number;     ///< FAA_ITEM_INT, FAA_ITEM_BOOL: the value. FAA_ITEM_EVENT: Unix ns.
};

/// Checks a record of `size` bytes at 8-byte aligned `p` and fills `view`. The bytes are not
/// trusted: they may come from a process that died. Returns 0, or -1 when they are no record.
FAA_MUSTUSE int faa_record_open(const void *p, size_t size, struct faa_record_view *view);

/// Reads the next item. Returns 1, 0 at the end, -1 when the rest is damaged.
FAA_MUSTUSE int faa_record_next(struct faa_record_view *view, struct faa_item_view *item);

#endif

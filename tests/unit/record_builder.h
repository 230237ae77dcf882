// SPDX-License-Identifier: MIT
// Flat records for tests, with every field as the test wants it.
#ifndef FAA_TESTS_RECORD_BUILDER_H
#define FAA_TESTS_RECORD_BUILDER_H

#include "span/record.h"
#include "span/semconv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct record_builder {
    union {
        struct faa_record head;
        unsigned char bytes[65536];
    } u;
};

static inline void builder_put(struct record_builder *b, const void *p, size_t n)
{
    if (b->u.head.size + n + 16 > sizeof(b->u.bytes))
        abort();
    memcpy(b->u.bytes + b->u.head.size, p, n);
    b->u.head.size += (uint32_t)n;
}

static inline void builder_align(struct record_builder *b)
{
    while (b->u.head.size % 8)
        b->u.bytes[b->u.head.size++] = 0;
}

// A span of trace `trace` (the first and last byte of its id) that ran from `start` to `end` ms.
static inline void builder_begin(struct record_builder *b, enum faa_span_kind kind, uint8_t trace,
                                 uint8_t span, uint8_t parent, unsigned start, unsigned end,
                                 const char *name, const char *scope)
{
    memset(&b->u.head, 0, sizeof(b->u.head));
    struct faa_record *r = &b->u.head;
    r->size = sizeof(*r);
    r->kind = (uint8_t)kind;
    r->trace_id[0] = r->trace_id[15] = trace;
    r->span_id[7] = span;
    r->parent_span_id[7] = parent;
    r->start_ns = 1700000000000000000u + start * 1000000u;
    r->end_ns = 1700000000000000000u + end * 1000000u;
    r->flags = FAA_FLAG_SAMPLED | FAA_FLAG_HAS_IS_REMOTE;
    r->name_len = (uint16_t)strlen(name);
    r->scope_len = (uint16_t)strlen(scope);
    builder_put(b, name, strlen(name) + 1);
    builder_put(b, scope, strlen(scope) + 1);
    builder_put(b, "", 1);
    builder_put(b, "", 1);
    builder_align(b);
}

// Like builder_begin's, with a tracestate and a status message; only before any item.
static inline void builder_texts(struct record_builder *b, const char *tracestate,
                                 const char *message)
{
    struct faa_record *r = &b->u.head;
    r->size = (uint32_t)(sizeof(*r) + r->name_len + r->scope_len + 2u);
    r->tracestate_len = (uint16_t)strlen(tracestate);
    r->message_len = (uint16_t)strlen(message);
    builder_put(b, tracestate, strlen(tracestate) + 1);
    builder_put(b, message, strlen(message) + 1);
    builder_align(b);
}

static inline void builder_item(struct record_builder *b, enum faa_item_type type, int of_event,
                                enum faa_key key, const void *p, size_t n)
{
    struct faa_item item = {(uint8_t)type, (uint8_t)of_event, (uint16_t)key, (uint32_t)n};
    b->u.head.item_count++;
    builder_put(b, &item, sizeof(item));
    builder_put(b, p, n);
    builder_put(b, "", 1);
    builder_align(b);
}

static inline void builder_str(struct record_builder *b, int of_event, enum faa_key key,
                               const char *value)
{
    builder_item(b, FAA_ITEM_STR, of_event, key, value, strlen(value));
}

// A header: its name, and each value behind a newline.
static inline void builder_header(struct record_builder *b, enum faa_key key, const char *text)
{
    builder_item(b, FAA_ITEM_HEADER, 0, key, text, strlen(text));
}

static inline void builder_int(struct record_builder *b, int of_event, enum faa_key key,
                               int64_t value)
{
    builder_item(b, FAA_ITEM_INT, of_event, key, &value, sizeof(value));
}

static inline void builder_bool(struct record_builder *b, enum faa_key key, int64_t value)
{
    builder_item(b, FAA_ITEM_BOOL, 0, key, &value, sizeof(value));
}

// An event of which `dropped` attributes were left out.
static inline void builder_cut_event(struct record_builder *b, uint64_t ns, const char *name,
                                     unsigned dropped)
{
    unsigned char value[128];
    memcpy(value, &ns, sizeof(ns));
    memcpy(value + sizeof(ns), name, strlen(name));
    builder_item(b, FAA_ITEM_EVENT, 0, (enum faa_key)dropped, value, sizeof(ns) + strlen(name));
}

static inline void builder_event(struct record_builder *b, uint64_t ns, const char *name)
{
    builder_cut_event(b, ns, name, 0);
}

#endif

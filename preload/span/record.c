// SPDX-License-Identifier: MIT
// Reading a flat record whose bytes may be anything.
#include "span/record.h"
#include "base/utf8.h"
#include "span/semconv.h"

// Takes a string of n bytes and its NUL from the front of the view's unread part.
static int take_str(struct faa_record_view *view, size_t n, struct faa_str *out)
{
    size_t left = (size_t)(view->end - view->items);
    if (n >= left || view->items[n] != '\0')
        return -1;
    *out = (struct faa_str){view->items, n};
    view->items += n + 1;
    return faa_utf8_valid(*out) ? 0 : -1;
}

// Steps to the next multiple of 8 in the record, whose end is one.
static void align(struct faa_record_view *view)
{
    size_t at = (size_t)(view->items - (const char *)view->record);
    view->items += -at & 7;
}

static int is_zero(const uint8_t *p, size_t n)
{
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++)
        any |= p[i];
    return any == 0;
}

static int check_header(const struct faa_record *record, size_t size)
{
    return record->size == size && record->kind >= FAA_KIND_INTERNAL &&
           record->kind <= FAA_KIND_CONSUMER && record->status <= FAA_STATUS_ERROR &&
           record->end_ns >= record->start_ns &&
           !is_zero(record->trace_id, sizeof(record->trace_id)) &&
           !is_zero(record->span_id, sizeof(record->span_id));
}

// The items must be what the header says, so that a reader may count on item_count.
static int check_items(struct faa_record_view view)
{
    struct faa_item_view item;
    unsigned count = 0;
    int found, in_event = 0;
    while ((found = faa_record_next(&view, &item)) > 0) {
        count++;
        in_event |= item.type == FAA_ITEM_EVENT;
        if (item.of_event && !in_event)
            return 0;
    }
    return found == 0 && count == view.record->item_count;
}

int faa_record_open(const void *p, size_t size, struct faa_record_view *view)
{
    const struct faa_record *record = p;
    if ((uintptr_t)p % 8 != 0 || size < sizeof(*record) || size % 8 != 0 ||
        !check_header(record, size))
        return -1;
    view->record = record;
    view->items = (const char *)p + sizeof(*record);
    view->end = (const char *)p + size;
    if (take_str(view, record->name_len, &view->name) < 0 ||
        take_str(view, record->scope_len, &view->scope) < 0 ||
        take_str(view, record->tracestate_len, &view->tracestate) < 0 ||
        take_str(view, record->message_len, &view->message) < 0)
        return -1;
    align(view);
    return check_items(*view) ? 0 : -1;
}

int faa_record_next(struct faa_record_view *view, struct faa_item_view *item)
{
    if (view->items == view->end)
        return 0;
    // What is left is a multiple of 8 and not 0, so there is at least a struct faa_item.
    const struct faa_item *raw = (const struct faa_item *)(const void *)view->items;
    view->items += sizeof(*raw);
    int is_event = raw->type == FAA_ITEM_EVENT, is_str = raw->type == FAA_ITEM_STR;
    *item = (struct faa_item_view){.type = raw->type, .of_event = raw->of_event};
    *(is_event ? &item->dropped : &item->key) = raw->key;
    if (raw->type < FAA_ITEM_STR || raw->type > FAA_ITEM_EVENT || raw->of_event > !is_event ||
        item->key >= FAA_KEY_COUNT || (item->key == FAA_KEY_NONE) != is_event)
        return -1;
    size_t len = raw->len;
    if (!is_str) {
        if (len < sizeof(item->number) || (size_t)(view->end - view->items) < len)
            return -1;
        memcpy(&item->number, view->items, sizeof(item->number));
        view->items += sizeof(item->number);
        len -= sizeof(item->number);
        if (len > 0 && !is_event)
            return -1;
    }
    if (take_str(view, len, &item->str) < 0)
        return -1;
    align(view);
    return 1;
}

// SPDX-License-Identifier: MIT
// The record again, with other strings and one more attribute.
#include "guard/report.h"

#include "span/semconv.h"

#include <stdio.h>

struct writer {
    char *out;
    size_t n;
};

static void put(struct writer *w, const void *p, size_t n)
{
    memcpy(w->out + w->n, p, n);
    w->n += n;
}

static void put_str(struct writer *w, struct faa_str text)
{
    put(w, text.p, text.n);
    put(w, "", 1);
}

static void align(struct writer *w)
{
    while (w->n % 8)
        w->out[w->n++] = '\0';
}

// A span that has failed already keeps its own error.
static int has_error_type(struct faa_record_view view)
{
    struct faa_item_view item;
    while (faa_record_next(&view, &item) > 0)
        if (item.key == FAA_KEY_ERROR_TYPE && !item.of_event)
            return 1;
    return 0;
}

static void put_error_type(struct writer *w, struct faa_str cause)
{
    struct faa_item item = {.type = FAA_ITEM_STR, .key = FAA_KEY_ERROR_TYPE};
    item.len = (uint32_t)cause.n;
    put(w, &item, sizeof(item));
    put_str(w, cause);
    align(w);
}

size_t faa_report_make(const void *record, size_t size, uint64_t end_ns, const char *cause,
                       char out[FAA_REPORT_MAX])
{
    struct faa_record_view view;
    char text[96];
    int n =
        snprintf(text, sizeof(text), "the process ended by %s while this was in progress", cause);
    struct faa_str message = {text, (size_t)n}, type = faa_str_of(cause);
    if (faa_record_open(record, size, &view) || size > FAA_REPORT_MAX - 512)
        return 0;
    struct faa_record head = *view.record;
    int adds_type = !has_error_type(view);
    if (head.end_ns < end_ns)
        head.end_ns = end_ns;
    head.status = FAA_STATUS_ERROR;
    head.message_len = (uint16_t)message.n;
    head.item_count = (uint16_t)(head.item_count + adds_type);
    struct writer w = {out, 0};
    put(&w, &head, sizeof(head));
    put_str(&w, view.name);
    put_str(&w, view.scope);
    put_str(&w, view.tracestate);
    put_str(&w, message);
    align(&w);
    // Attributes of the span stand before those of its events.
    if (adds_type)
        put_error_type(&w, type);
    put(&w, view.items, (size_t)(view.end - view.items));
    ((struct faa_record *)(void *)out)->size = (uint32_t)w.n;
    return w.n;
}

// SPDX-License-Identifier: MIT
// The messages of a batch are built in an arena, with strings that point into the records.
#include "export/otlp.h"

#include "export/exporter.h"
#include "span/record.h"
#include "span/semconv.h"

#include <opentelemetry/proto/collector/trace/v1/trace_service.pb-c.h>
#include <stdlib.h>
#include <sys/mman.h>

enum {
    // Address space, not memory: pages are touched as the batch grows, and given back when a batch
    // was unusually large. Pointers into it stay valid, which a growing block would not allow.
    ARENA_SIZE = 16 << 20,
    ARENA_KEEP = 2 << 20,
    BUFFER_KEEP = 4 << 20,
    BUFFER_STEP = 64 << 10,
    SCOPES_MAX = 32
};

typedef Opentelemetry__Proto__Common__V1__AnyValue pb_value;
typedef Opentelemetry__Proto__Common__V1__ArrayValue pb_array;
typedef Opentelemetry__Proto__Common__V1__KeyValue pb_pair;
typedef Opentelemetry__Proto__Trace__V1__Span pb_span;
typedef Opentelemetry__Proto__Trace__V1__Span__Event pb_event;
typedef Opentelemetry__Proto__Trace__V1__Status pb_status;

static const pb_array array_init = OPENTELEMETRY__PROTO__COMMON__V1__ARRAY_VALUE__INIT;
static const pb_value value_init = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__INIT;
static const pb_pair pair_init = OPENTELEMETRY__PROTO__COMMON__V1__KEY_VALUE__INIT;
static const pb_span span_init = OPENTELEMETRY__PROTO__TRACE__V1__SPAN__INIT;
static const pb_event event_init = OPENTELEMETRY__PROTO__TRACE__V1__SPAN__EVENT__INIT;
static const pb_status status_init = OPENTELEMETRY__PROTO__TRACE__V1__STATUS__INIT;

struct attribute {
    pb_pair pair;
    pb_value value;
};

// Spans of one scope, linked in the order they came.
struct link {
    struct link *next;
    pb_span span;
    pb_status status;
};

struct scope {
    struct faa_str name;
    struct link *first, **last;
    unsigned count;
};

struct faa_otlp {
    const struct faa_exporter_config *config;
    struct attribute *resource;
    pb_pair **resource_pairs;
    char *arena;
    size_t used, touched; // touched: by the batches since the last trim.
    uint8_t *buffer;      // A mapping: to free a large block changes how malloc gets the next ones.
    size_t capacity;
    unsigned count, scope_count;
    struct scope scopes[SCOPES_MAX];
};

static void *take(struct faa_otlp *otlp, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if (size > ARENA_SIZE - otlp->used)
        return NULL;
    void *p = otlp->arena + otlp->used;
    otlp->used += size;
    return p;
}

// protobuf-c's strings are not const, although packing only reads them.
static char *unconst(const char *p)
{
    return (char *)(uintptr_t)p;
}

static pb_pair *set_attribute(struct attribute *a, const char *key)
{
    a->value = value_init;
    a->pair = pair_init;
    a->pair.key = unconst(key);
    a->pair.value = &a->value;
    return &a->pair;
}

static void set_str(pb_value *value, const char *p)
{
    value->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_STRING_VALUE;
    value->string_value = unconst(p);
}

static void set_int(pb_value *value, int64_t number)
{
    value->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_INT_VALUE;
    value->int_value = number;
}

struct faa_otlp *faa_otlp_new(const struct faa_exporter_config *config)
{
    struct faa_otlp *otlp = calloc(1, sizeof(*otlp));
    if (!otlp)
        return NULL;
    size_t n = config->resource_count;
    otlp->config = config;
    otlp->resource = calloc(n + 1, sizeof(*otlp->resource));
    otlp->resource_pairs = calloc(n + 1, sizeof(pb_pair *));
    void *arena = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    otlp->arena = arena == MAP_FAILED ? NULL : arena;
    if (!otlp->resource || !otlp->resource_pairs || !otlp->arena) {
        faa_otlp_free(otlp);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        const struct faa_resource_attribute *a = &config->resource[i];
        otlp->resource_pairs[i] = set_attribute(&otlp->resource[i], a->key);
        if (a->is_int)
            set_int(&otlp->resource[i].value, a->number);
        else
            set_str(&otlp->resource[i].value, a->value);
    }
    return otlp;
}

static void free_buffer(struct faa_otlp *otlp)
{
    if (otlp->buffer)
        munmap(otlp->buffer, otlp->capacity);
    otlp->buffer = NULL;
    otlp->capacity = 0;
}

void faa_otlp_free(struct faa_otlp *otlp)
{
    if (!otlp)
        return;
    if (otlp->arena)
        munmap(otlp->arena, ARENA_SIZE);
    free(otlp->resource);
    free(otlp->resource_pairs);
    free_buffer(otlp);
    free(otlp);
}

static struct scope *find_scope(struct faa_otlp *otlp, struct faa_str name)
{
    for (unsigned i = 0; i < otlp->scope_count; i++)
        if (faa_str_eq(otlp->scopes[i].name, name))
            return &otlp->scopes[i];
    if (otlp->scope_count == SCOPES_MAX)
        return NULL;
    struct scope *scope = &otlp->scopes[otlp->scope_count++];
    *scope = (struct scope){.name = name, .last = &scope->first};
    return scope;
}

static void set_span(struct link *link, const struct faa_record_view *view)
{
    // The view is const, but protobuf-c's binary data is not.
    struct faa_record *r = (struct faa_record *)(uintptr_t)view->record;
    static const uint8_t none[8];
    pb_span *span = &link->span;
    *span = span_init;
    span->trace_id = (ProtobufCBinaryData){sizeof(r->trace_id), r->trace_id};
    span->span_id = (ProtobufCBinaryData){sizeof(r->span_id), r->span_id};
    if (memcmp(r->parent_span_id, none, sizeof(none)) != 0)
        span->parent_span_id = (ProtobufCBinaryData){sizeof(r->parent_span_id), r->parent_span_id};
    span->trace_state = unconst(view->tracestate.p);
    span->name = unconst(view->name.p);
    span->flags = r->flags;
    span->kind = (Opentelemetry__Proto__Trace__V1__Span__SpanKind)r->kind;
    span->start_time_unix_nano = r->start_ns;
    span->end_time_unix_nano = r->end_ns;
    span->dropped_attributes_count = r->dropped_attributes;
    span->dropped_events_count = r->dropped_events;
    if (r->status != FAA_STATUS_UNSET || view->message.n) {
        link->status = status_init;
        link->status.code = (Opentelemetry__Proto__Trace__V1__Status__StatusCode)r->status;
        link->status.message = unconst(view->message.p);
        span->status = &link->status;
    }
}

// Where the items of one span go. An item is an attribute or an event, so that each array has
// room for all of them.
struct items {
    struct attribute *attributes;
    pb_event *events;
    pb_pair **of_span, **of_events;
    pb_event **event_list;
    size_t attribute_count, of_span_count, of_events_count, event_count;
};

static int take_items(struct faa_otlp *otlp, struct items *items, const struct faa_record *record)
{
    size_t n = record->item_count; // Opening the record has counted them.
    *items = (struct items){.attributes = take(otlp, n * sizeof(struct attribute)),
                            .events = take(otlp, n * sizeof(pb_event)),
                            .of_span = take(otlp, n * sizeof(pb_pair *)),
                            .of_events = take(otlp, n * sizeof(pb_pair *)),
                            .event_list = take(otlp, n * sizeof(pb_event *))};
    return items->attributes && items->events && items->of_span && items->of_events &&
                   items->event_list
               ? 0
               : -1;
}

static void add_event(struct items *items, const struct faa_item_view *item)
{
    pb_event *event = &items->events[items->event_count];
    *event = event_init;
    event->time_unix_nano = (uint64_t)item->number;
    event->name = unconst(item->str.p);
    event->dropped_attributes_count = item->dropped;
    event->attributes = items->of_events + items->of_events_count;
    items->event_list[items->event_count++] = event;
}

// A header's attribute: the key and the header's name make its name, and its values are a list. The
// text is copied, since the record has newlines where strings must end. NULL when there is no room.
static const char *set_header(struct faa_otlp *otlp, pb_value *value, const char *prefix,
                              struct faa_str text)
{
    size_t prefix_len = strlen(prefix), count = 0;
    for (size_t i = 0; i < text.n; i++)
        count += text.p[i] == '\n';
    char *name = take(otlp, prefix_len + 1 + text.n + 1);
    pb_array *list = take(otlp, sizeof(*list));
    pb_value *values = take(otlp, count * sizeof(*values)),
             **all = take(otlp, count * sizeof(pb_value *));
    if (!name || !list || !values || !all)
        return NULL;
    memcpy(name, prefix, prefix_len);
    name[prefix_len] = '.';
    memcpy(name + prefix_len + 1, text.p, text.n + 1);
    char *at = name;
    for (size_t i = 0; i < count; i++) {
        at = strchr(at, '\n');
        *at++ = '\0';
        values[i] = value_init;
        set_str(&values[i], at);
        all[i] = &values[i];
    }
    *list = array_init;
    list->n_values = count;
    list->values = all;
    value->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_ARRAY_VALUE;
    value->array_value = list;
    return name;
}

static void add_attribute(struct faa_otlp *otlp, struct items *items,
                          const struct faa_item_view *item)
{
    const char *key = faa_key_name(item->key);
    if (!*key)
        return;
    struct attribute *a = &items->attributes[items->attribute_count];
    pb_pair *pair = set_attribute(a, key);
    if (item->type == FAA_ITEM_HEADER) {
        pair->key = unconst(set_header(otlp, &a->value, key, item->str));
        if (!pair->key)
            return;
    } else if (item->type == FAA_ITEM_STR) {
        set_str(&a->value, item->str.p);
    } else if (item->type == FAA_ITEM_INT) {
        set_int(&a->value, item->number);
    } else {
        a->value.value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_BOOL_VALUE;
        a->value.bool_value = item->number != 0;
    }
    items->attribute_count++;
    if (item->of_event) {
        items->of_events[items->of_events_count++] = pair;
        items->event_list[items->event_count - 1]->n_attributes++;
    } else {
        items->of_span[items->of_span_count++] = pair;
    }
}

// Returns how many attributes there was no room for.
static uint32_t set_items(struct faa_otlp *otlp, struct faa_record_view *view, struct items *items,
                          pb_span *span)
{
    struct faa_item_view item;
    while (faa_record_next(view, &item) == 1) {
        if (item.type == FAA_ITEM_EVENT)
            add_event(items, &item);
        else
            add_attribute(otlp, items, &item);
    }
    uint32_t left_out =
        (uint32_t)(view->record->item_count - items->attribute_count - items->event_count);
    span->dropped_attributes_count += left_out;
    span->attributes = items->of_span;
    span->n_attributes = items->of_span_count;
    span->events = items->event_list;
    span->n_events = items->event_count;
    return left_out;
}

int faa_otlp_add(struct faa_otlp *otlp, const void *record, size_t size)
{
    struct faa_record_view view;
    if (faa_record_open(record, size, &view) != 0)
        return -1;
    size_t mark = otlp->used;
    struct items items;
    struct link *link = take(otlp, sizeof(*link));
    struct scope *scope = find_scope(otlp, view.scope);
    if (!link || !scope || take_items(otlp, &items, view.record) != 0) {
        otlp->used = mark;
        return otlp->count ? 0 : -1;
    }
    set_span(link, &view);
    // Headers are copied: where they find no room the next batch may have it.
    if (set_items(otlp, &view, &items, &link->span) > 0 && otlp->count > 0) {
        otlp->used = mark;
        return 0;
    }
    link->next = NULL;
    *scope->last = link;
    scope->last = &link->next;
    scope->count++;
    otlp->count++;
    return 1;
}

unsigned faa_otlp_count(const struct faa_otlp *otlp)
{
    return otlp->count;
}

static uint8_t *need_buffer(struct faa_otlp *otlp, size_t size)
{
    if (size > FAA_OTLP_MESSAGE_MAX)
        return NULL;
    if (size > otlp->capacity || (otlp->capacity > BUFFER_KEEP && size < BUFFER_KEEP / 2)) {
        free_buffer(otlp);
        size_t capacity = (size + BUFFER_STEP - 1) & ~(size_t)(BUFFER_STEP - 1);
        void *made = mmap(NULL, capacity, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (made == MAP_FAILED)
            return NULL;
        otlp->buffer = made;
        otlp->capacity = capacity;
    }
    return otlp->buffer;
}

static void empty(struct faa_otlp *otlp)
{
    if (otlp->used > ARENA_KEEP)
        madvise(otlp->arena + ARENA_KEEP, ARENA_SIZE - ARENA_KEEP, MADV_DONTNEED);
    if (otlp->touched < otlp->used)
        otlp->touched = otlp->used;
    otlp->used = 0;
    otlp->count = otlp->scope_count = 0;
}

void faa_otlp_trim(struct faa_otlp *otlp)
{
    if (otlp->touched)
        madvise(otlp->arena, ARENA_SIZE, MADV_DONTNEED);
    otlp->touched = 0;
    free_buffer(otlp);
}

// The messages above the spans. Returns -1 when the arena has no room for them.
static int build(struct faa_otlp *otlp, Opentelemetry__Proto__Trace__V1__ResourceSpans *root)
{
    typedef Opentelemetry__Proto__Trace__V1__ScopeSpans pb_scope_spans;
    typedef Opentelemetry__Proto__Common__V1__InstrumentationScope pb_scope;
    pb_scope_spans **list = take(otlp, otlp->scope_count * sizeof(*list));
    if (!list)
        return -1;
    root->scope_spans = list;
    root->n_scope_spans = 0;
    for (unsigned i = 0; i < otlp->scope_count; i++) {
        const struct scope *scope = &otlp->scopes[i];
        pb_scope_spans *spans = take(otlp, sizeof(*spans));
        pb_scope *name = take(otlp, sizeof(*name));
        pb_span **items = take(otlp, scope->count * sizeof(*items));
        if (!spans || !name || !items)
            return -1;
        if (scope->count == 0)
            continue;
        *spans = (pb_scope_spans)OPENTELEMETRY__PROTO__TRACE__V1__SCOPE_SPANS__INIT;
        *name = (pb_scope)OPENTELEMETRY__PROTO__COMMON__V1__INSTRUMENTATION_SCOPE__INIT;
        name->name = unconst(scope->name.p);
        name->version = unconst(otlp->config->version);
        spans->scope = name;
        spans->spans = items;
        for (struct link *link = scope->first; link; link = link->next)
            items[spans->n_spans++] = &link->span;
        list[root->n_scope_spans++] = spans;
    }
    return 0;
}

int faa_otlp_pack(struct faa_otlp *otlp, uint8_t **message, size_t *len)
{
    Opentelemetry__Proto__Resource__V1__Resource resource =
        OPENTELEMETRY__PROTO__RESOURCE__V1__RESOURCE__INIT;
    Opentelemetry__Proto__Trace__V1__ResourceSpans spans =
        OPENTELEMETRY__PROTO__TRACE__V1__RESOURCE_SPANS__INIT;
    Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceRequest request =
        OPENTELEMETRY__PROTO__COLLECTOR__TRACE__V1__EXPORT_TRACE_SERVICE_REQUEST__INIT;
    Opentelemetry__Proto__Trace__V1__ResourceSpans *list[] = {&spans};
    resource.attributes = otlp->resource_pairs;
    resource.n_attributes = otlp->config->resource_count;
    spans.resource = &resource;
    request.resource_spans = list;
    request.n_resource_spans = 1;

    int rc = build(otlp, &spans);
    if (rc == 0) {
        size_t size = protobuf_c_message_get_packed_size(&request.base);
        uint8_t *buffer = need_buffer(otlp, FAA_OTLP_HEADROOM + size);
        if (buffer) {
            protobuf_c_message_pack(&request.base, buffer + FAA_OTLP_HEADROOM);
            *message = buffer + FAA_OTLP_HEADROOM;
            *len = size;
        }
        rc = buffer ? 0 : -1;
    }
    empty(otlp);
    return rc;
}

// SPDX-License-Identifier: MIT
// Records are encoded so that protobuf's own decoder gives every field back.
#include "export/exporter.h"
#include "export/otlp.h"
#include "tests/unit/record_builder.h"

#include <check.h>
#include <opentelemetry/proto/collector/trace/v1/trace_service.pb-c.h>

typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceRequest pb_request;
typedef Opentelemetry__Proto__Common__V1__KeyValue pb_pair;
typedef Opentelemetry__Proto__Trace__V1__ScopeSpans pb_scope_spans;
typedef Opentelemetry__Proto__Trace__V1__Span pb_span;

static const struct faa_resource_attribute resource[] = {
    {"service.name", "sh\xc3\xb6p", 0, 0}, {"process.pid", NULL, 4711, 1}, {"empty", "", 0, 0}};
static const struct faa_exporter_config config = {
    .version = "1.2.3", .resource = resource, .resource_count = FAA_COUNT(resource)};

static struct faa_otlp *otlp;
static pb_request *request;
static struct record_builder builders[4];

static void set_up(void)
{
    otlp = faa_otlp_new(&config);
    ck_assert_ptr_nonnull(otlp);
}

static void forget(void)
{
    if (request)
        opentelemetry__proto__collector__trace__v1__export_trace_service_request__free_unpacked(
            request, NULL);
    request = NULL;
}

static void tear_down(void)
{
    forget();
    faa_otlp_free(otlp);
}

static void add(const struct record_builder *b)
{
    ck_assert_int_eq(faa_otlp_add(otlp, b, b->u.head.size), 1);
}

static void pack(void)
{
    uint8_t *message;
    size_t len;
    forget();
    ck_assert_int_eq(faa_otlp_pack(otlp, &message, &len), 0);
    memset(message - FAA_OTLP_HEADROOM, 0xff, FAA_OTLP_HEADROOM);
    request = opentelemetry__proto__collector__trace__v1__export_trace_service_request__unpack(
        NULL, len, message);
    ck_assert_ptr_nonnull(request);
    ck_assert_uint_eq(request->n_resource_spans, 1);
}

static pb_scope_spans *scope(size_t i)
{
    ck_assert_uint_gt(request->resource_spans[0]->n_scope_spans, i);
    return request->resource_spans[0]->scope_spans[i];
}

static void expect_str(const pb_pair *pair, const char *key, const char *value)
{
    ck_assert_str_eq(pair->key, key);
    ck_assert_int_eq(pair->value->value_case,
                     OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_STRING_VALUE);
    ck_assert_str_eq(pair->value->string_value, value);
}

static void expect_int(const pb_pair *pair, const char *key, int64_t value)
{
    ck_assert_str_eq(pair->key, key);
    ck_assert_int_eq(pair->value->value_case,
                     OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_INT_VALUE);
    ck_assert_int_eq(pair->value->int_value, value);
}

START_TEST(resource_and_scope_are_said_once)
{
    builder_begin(&builders[0], FAA_KIND_SERVER, 1, 1, 0, 0, 9, "GET /", "faa.fastapi");
    builder_begin(&builders[1], FAA_KIND_CLIENT, 1, 2, 1, 1, 2, "SELECT", "faa.sqlalchemy");
    builder_begin(&builders[2], FAA_KIND_SERVER, 2, 3, 0, 3, 9, "POST /", "faa.fastapi");
    for (int i = 0; i < 3; i++)
        add(&builders[i]);
    ck_assert_uint_eq(faa_otlp_count(otlp), 3);
    pack();
    ck_assert_uint_eq(faa_otlp_count(otlp), 0);
    const Opentelemetry__Proto__Resource__V1__Resource *r = request->resource_spans[0]->resource;
    ck_assert_uint_eq(r->n_attributes, 3);
    expect_str(r->attributes[0], "service.name", "sh\xc3\xb6p");
    expect_int(r->attributes[1], "process.pid", 4711);
    expect_str(r->attributes[2], "empty", "");
    ck_assert_uint_eq(request->resource_spans[0]->n_scope_spans, 2);
    ck_assert_str_eq(scope(0)->scope->name, "faa.fastapi");
    ck_assert_str_eq(scope(0)->scope->version, "1.2.3");
    ck_assert_uint_eq(scope(0)->n_spans, 2);
    ck_assert_str_eq(scope(0)->spans[0]->name, "GET /");
    ck_assert_str_eq(scope(0)->spans[1]->name, "POST /");
    ck_assert_str_eq(scope(1)->scope->name, "faa.sqlalchemy");
    ck_assert_uint_eq(scope(1)->n_spans, 1);
}
END_TEST

START_TEST(every_field_of_a_span_is_encoded)
{
    struct record_builder *b = &builders[0];
    builder_begin(b, FAA_KIND_CLIENT, 0xab, 7, 6, 1, 13, "name \xe2\x82\xac", "scope");
    builder_texts(b, "vendor=1,other=2", "it broke");
    b->u.head.status = FAA_STATUS_ERROR;
    b->u.head.flags |= FAA_FLAG_IS_REMOTE;
    b->u.head.dropped_attributes = 3;
    b->u.head.dropped_events = 4;
    builder_str(b, 0, FAA_KEY_URL_FULL, "http://h/");
    builder_int(b, 0, FAA_KEY_SERVER_PORT, -1);
    builder_bool(b, FAA_KEY_HTTP_ROUTE, 1);
    builder_str(b, 0, FAA_KEY_URL_PATH, "");
    add(b);
    pack();
    const pb_span *s = scope(0)->spans[0];
    ck_assert_uint_eq(s->trace_id.len, 16);
    ck_assert_mem_eq(s->trace_id.data, b->u.head.trace_id, 16);
    ck_assert_uint_eq(s->span_id.len, 8);
    ck_assert_mem_eq(s->span_id.data, b->u.head.span_id, 8);
    ck_assert_uint_eq(s->parent_span_id.len, 8);
    ck_assert_mem_eq(s->parent_span_id.data, b->u.head.parent_span_id, 8);
    ck_assert_str_eq(s->name, "name \xe2\x82\xac");
    ck_assert_str_eq(s->trace_state, "vendor=1,other=2");
    ck_assert_int_eq(s->kind, FAA_KIND_CLIENT);
    ck_assert_uint_eq(s->start_time_unix_nano, b->u.head.start_ns);
    ck_assert_uint_eq(s->end_time_unix_nano, b->u.head.end_ns);
    ck_assert_uint_eq(s->flags, 0x301);
    ck_assert_uint_eq(s->dropped_attributes_count, 3);
    ck_assert_uint_eq(s->dropped_events_count, 4);
    ck_assert_int_eq(s->status->code, FAA_STATUS_ERROR);
    ck_assert_str_eq(s->status->message, "it broke");
    ck_assert_uint_eq(s->n_attributes, 4);
    expect_str(s->attributes[0], "url.full", "http://h/");
    expect_int(s->attributes[1], "server.port", -1);
    ck_assert_int_eq(s->attributes[2]->value->value_case,
                     OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_BOOL_VALUE);
    ck_assert_int_eq(s->attributes[2]->value->bool_value, 1);
    expect_str(s->attributes[3], "url.path", "");
}
END_TEST

START_TEST(a_root_has_no_parent_and_no_status)
{
    builder_begin(&builders[0], FAA_KIND_SERVER, 1, 1, 0, 0, 9, "GET /", "s");
    add(&builders[0]);
    pack();
    ck_assert_uint_eq(scope(0)->spans[0]->parent_span_id.len, 0);
    ck_assert_ptr_null(scope(0)->spans[0]->status);
}
END_TEST

START_TEST(events_keep_their_own_attributes)
{
    struct record_builder *b = &builders[0];
    builder_begin(b, FAA_KIND_SERVER, 1, 1, 0, 0, 9, "GET /", "s");
    builder_str(b, 0, FAA_KEY_URL_PATH, "/a");
    builder_event(b, 77, "exception");
    builder_str(b, 1, FAA_KEY_EXCEPTION_TYPE, "ValueError");
    builder_str(b, 0, FAA_KEY_URL_SCHEME, "http");
    builder_str(b, 1, FAA_KEY_EXCEPTION_MESSAGE, "bad");
    builder_cut_event(b, 78, "", 65535);
    builder_event(b, 79, "retry");
    builder_int(b, 1, FAA_KEY_HTTP_REQUEST_RESEND_COUNT, 2);
    add(b);
    pack();
    const pb_span *s = scope(0)->spans[0];
    ck_assert_uint_eq(s->n_attributes, 2);
    expect_str(s->attributes[0], "url.path", "/a");
    expect_str(s->attributes[1], "url.scheme", "http");
    ck_assert_uint_eq(s->n_events, 3);
    ck_assert_uint_eq(s->events[0]->time_unix_nano, 77);
    ck_assert_str_eq(s->events[0]->name, "exception");
    ck_assert_uint_eq(s->events[0]->n_attributes, 2);
    expect_str(s->events[0]->attributes[0], "exception.type", "ValueError");
    expect_str(s->events[0]->attributes[1], "exception.message", "bad");
    ck_assert_uint_eq(s->events[0]->dropped_attributes_count, 0);
    ck_assert_uint_eq(s->events[1]->n_attributes, 0);
    ck_assert_uint_eq(s->events[1]->dropped_attributes_count, 65535);
    ck_assert_uint_eq(s->events[2]->n_attributes, 1);
    expect_int(s->events[2]->attributes[0], "http.request.resend_count", 2);
}
END_TEST

static void expect_list(const pb_pair *pair, const char *key, const char *const *values, size_t n)
{
    ck_assert_str_eq(pair->key, key);
    ck_assert_int_eq(pair->value->value_case,
                     OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_ARRAY_VALUE);
    ck_assert_uint_eq(pair->value->array_value->n_values, n);
    for (size_t i = 0; i < n; i++) {
        ck_assert_int_eq(pair->value->array_value->values[i]->value_case,
                         OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_STRING_VALUE);
        ck_assert_str_eq(pair->value->array_value->values[i]->string_value, values[i]);
    }
}

START_TEST(headers_are_lists_of_strings)
{
    static const char *const values[] = {"one", "", "caf\xc3\xa9"};
    struct record_builder *b = &builders[0];
    builder_begin(b, FAA_KIND_SERVER, 1, 1, 0, 0, 9, "GET /", "s");
    builder_str(b, 0, FAA_KEY_URL_PATH, "/a");
    builder_header(b, FAA_KEY_HTTP_REQUEST_HEADER, "x-multi\none\n\ncaf\xc3\xa9");
    builder_header(b, FAA_KEY_HTTP_RESPONSE_HEADER, "x-one\none");
    builder_event(b, 77, "event");
    builder_header(b, FAA_KEY_HTTP_RESPONSE_HEADER, "x-empty\n");
    // As only a damaged record has them.
    builder_header(b, FAA_KEY_HTTP_REQUEST_HEADER, "x-none");
    builder_header(b, FAA_KEY_HTTP_REQUEST_HEADER, "\none");
    builder_header(b, FAA_KEY_HTTP_REQUEST_HEADER, "");
    add(b);
    pack();
    const pb_span *s = scope(0)->spans[0];
    ck_assert_uint_eq(s->dropped_attributes_count, 0);
    ck_assert_uint_eq(s->events[0]->n_attributes, 0);
    ck_assert_uint_eq(s->n_attributes, 7);
    expect_str(s->attributes[0], "url.path", "/a");
    expect_list(s->attributes[1], "http.request.header.x-multi", values, 3);
    expect_list(s->attributes[2], "http.response.header.x-one", values, 1);
    expect_list(s->attributes[3], "http.response.header.x-empty", values + 1, 1);
    expect_list(s->attributes[4], "http.request.header.x-none", NULL, 0);
    expect_list(s->attributes[5], "http.request.header.", values, 1);
    expect_list(s->attributes[6], "http.request.header.", NULL, 0);
    // The record itself is as it was: it may be sent again.
    ck_assert_int_eq(faa_otlp_add(otlp, b, b->u.head.size), 1);
    pack();
    expect_list(scope(0)->spans[0]->attributes[1], "http.request.header.x-multi", values, 3);
}
END_TEST

START_TEST(a_header_without_room_waits_for_the_next_batch_or_is_counted)
{
    struct record_builder *b = &builders[0], *flood = &builders[1];
    static char newlines[60001];
    unsigned added = 0;
    int rc;
    memset(newlines, '\n', sizeof(newlines) - 1);
    builder_begin(b, FAA_KIND_SERVER, 1, 1, 0, 0, 9, "GET /", "s");
    builder_header(b, FAA_KEY_HTTP_REQUEST_HEADER, newlines);
    while ((rc = faa_otlp_add(otlp, b, b->u.head.size)) == 1)
        added++;
    ck_assert_int_eq(rc, 0);
    ck_assert_uint_gt(added, 1);
    pack();
    ck_assert_uint_eq(scope(0)->n_spans, added);
    for (unsigned i = 0; i < added; i++) {
        ck_assert_uint_eq(scope(0)->spans[i]->n_attributes, 1);
        ck_assert_uint_eq(scope(0)->spans[i]->dropped_attributes_count, 0);
    }
    // More than a batch holds, as no span of ours is: what else it tells arrives.
    struct record_builder *huge = malloc(sizeof(*huge) + (4 << 20));
    ck_assert_ptr_nonnull(huge);
    builder_begin(flood, FAA_KIND_SERVER, 1, 1, 0, 0, 9, "GET /flood", "s");
    builder_str(flood, 0, FAA_KEY_URL_PATH, "/a");
    memcpy(huge, flood, flood->u.head.size);
    const struct faa_item item = {FAA_ITEM_HEADER, 0, FAA_KEY_HTTP_REQUEST_HEADER, 2 << 20};
    char *at = (char *)huge + huge->u.head.size;
    memcpy(at, &item, sizeof(item));
    memset(at + sizeof(item), '\n', item.len);
    memset(at + sizeof(item) + item.len, 0, 8);
    huge->u.head.size += (uint32_t)(sizeof(item) + item.len + 8);
    huge->u.head.item_count++;
    ck_assert_int_eq(faa_otlp_add(otlp, huge, huge->u.head.size), 1);
    pack();
    ck_assert_str_eq(scope(0)->spans[0]->name, "GET /flood");
    ck_assert_uint_eq(scope(0)->spans[0]->n_attributes, 1);
    ck_assert_uint_eq(scope(0)->spans[0]->dropped_attributes_count, 1);
    free(huge);
}
END_TEST

START_TEST(damaged_records_are_refused_and_leave_the_batch_whole)
{
    struct record_builder *good = &builders[0], *bad = &builders[1];
    builder_begin(good, FAA_KIND_SERVER, 1, 1, 0, 0, 9, "GET /", "s");
    builder_str(good, 0, FAA_KEY_URL_PATH, "/a");
    builder_header(good, FAA_KEY_HTTP_REQUEST_HEADER, "x-a\n1\n\n2");
    add(good);
    // Whatever one byte of a record becomes, nothing else of the batch is harmed.
    for (size_t at = 0; at < good->u.head.size; at++)
        for (int flip = 1; flip < 256; flip <<= 1) {
            *bad = *good;
            bad->u.bytes[at] ^= (unsigned char)flip;
            int rc = faa_otlp_add(otlp, bad, good->u.head.size);
            ck_assert(rc == 1 || rc == -1);
        }
    memset(bad->u.head.trace_id, 0, 16);
    ck_assert_int_eq(faa_otlp_add(otlp, bad, bad->u.head.size), -1);
    ck_assert_int_eq(faa_otlp_add(otlp, bad, 0), -1);
    pack();
    ck_assert_str_eq(scope(0)->spans[0]->name, "GET /");
}
END_TEST

START_TEST(a_full_batch_says_so_and_packs)
{
    struct record_builder *b = &builders[0];
    unsigned added = 0;
    int rc;
    builder_begin(b, FAA_KIND_SERVER, 1, 1, 0, 0, 9, "GET /", "s");
    for (int i = 0; i < 1500; i++)
        builder_int(b, 0, FAA_KEY_SERVER_PORT, i);
    while ((rc = faa_otlp_add(otlp, b, b->u.head.size)) == 1)
        added++;
    ck_assert_int_eq(rc, 0);
    ck_assert_uint_gt(added, 10);
    pack();
    ck_assert_uint_eq(scope(0)->n_spans, added);
    ck_assert_uint_eq(scope(0)->spans[added - 1]->n_attributes, 1500);
    add(b); // There is room again.
    pack();
    ck_assert_uint_eq(scope(0)->n_spans, 1);
}
END_TEST

START_TEST(many_scopes_end_a_batch)
{
    static struct record_builder kept[64]; // Until the batch is packed.
    char name[16];
    int rc = 1;
    unsigned added = 0;
    while (rc == 1 && added < FAA_COUNT(kept)) {
        struct record_builder *b = &kept[added];
        snprintf(name, sizeof(name), "scope-%u", added);
        builder_begin(b, FAA_KIND_SERVER, 1, 1, 0, 0, 9, "GET /", name);
        rc = faa_otlp_add(otlp, b, b->u.head.size);
        added += rc == 1;
    }
    ck_assert_int_eq(rc, 0);
    pack();
    ck_assert_uint_eq(request->resource_spans[0]->n_scope_spans, added);
    ck_assert_str_eq(scope(7)->scope->name, "scope-7");
}
END_TEST

static long resident_pages(void)
{
    long total, resident = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    ck_assert_int_eq(fscanf(statm, "%ld %ld", &total, &resident), 2);
    fclose(statm);
    return resident;
}

START_TEST(what_a_batch_needed_is_given_back)
{
    uint8_t *message;
    size_t len;
    builder_begin(&builders[0], FAA_KIND_SERVER, 1, 2, 3, 0, 5, "GET /", "fastapi");
    builder_str(&builders[0], 0, FAA_KEY_URL_PATH, "/items/7");
    faa_otlp_trim(otlp); // Of nothing.
    for (int i = 0; i < 8000; i++)
        add(&builders[0]);
    ck_assert_int_eq(faa_otlp_pack(otlp, &message, &len), 0);
    long before = resident_pages();
    faa_otlp_trim(otlp);
    // What is larger is given back by pack itself; this is the rest of it, and the message.
    ck_assert_int_lt(resident_pages(), before - (2 << 20) / 4096);
    add(&builders[0]);
    pack();
    ck_assert_uint_eq(scope(0)->n_spans, 1);
    ck_assert_str_eq(scope(0)->spans[0]->name, "GET /");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("otlp");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, resource_and_scope_are_said_once);
    tcase_add_test(tests, every_field_of_a_span_is_encoded);
    tcase_add_test(tests, a_root_has_no_parent_and_no_status);
    tcase_add_test(tests, events_keep_their_own_attributes);
    tcase_add_test(tests, headers_are_lists_of_strings);
    tcase_add_test(tests, a_header_without_room_waits_for_the_next_batch_or_is_counted);
    tcase_add_test(tests, damaged_records_are_refused_and_leave_the_batch_whole);
    tcase_add_test(tests, a_full_batch_says_so_and_packs);
    tcase_add_test(tests, many_scopes_end_a_batch);
    tcase_add_test(tests, what_a_batch_needed_is_given_back);
    Suite *suite = suite_create("otlp");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

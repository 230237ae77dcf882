// SPDX-License-Identifier: MIT
// Propagation: which headers are read in which format, who wins, and what goes out.
#include "span/propagation.h"

#include "span/ids.h"

#include <check.h>

#define TRACE_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define TRACE_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define TRACE_C "cccccccccccccccccccccccccccccccc"
#define SPAN "1111111111111111"
#define W3C FAA_STR("00-" TRACE_A "-" SPAN "-01")
#define B3 FAA_STR(TRACE_B "-" SPAN "-1")
#define UBER FAA_STR(TRACE_C ":" SPAN ":0:1")

struct line {
    const char *name;
    struct faa_str value;
};

// A list of propagators ends with FAA_PROPAGATOR_COUNT.
#define USE(...) use((enum faa_propagator[]){__VA_ARGS__, FAA_PROPAGATOR_COUNT})
static void use(const enum faa_propagator *list)
{
    size_t n = 0;
    while (list[n] != FAA_PROPAGATOR_COUNT)
        n++;
    faa_propagation_set(list, n);
}

// As an instrumentor does it.
#define LINES(...)                                                                                 \
    (const struct line[]){__VA_ARGS__},                                                            \
        sizeof((const struct line[]){__VA_ARGS__}) / sizeof(struct line)
static int read_lines(struct faa_carrier *c, const struct line *lines, size_t count,
                      struct faa_span_context *out)
{
    memset(c, 0xee, sizeof(*c));
    faa_carrier_init(c);
    for (size_t i = 0; i < count; i++) {
        struct faa_str name = faa_str_of(lines[i].name);
        if (faa_carrier_wants(name.n)) {
            enum faa_field field = faa_carrier_field(name);
            if (field != FAA_FIELD_NONE)
                faa_carrier_add(c, field, lines[i].value);
        }
    }
    return faa_carrier_extract(c, out);
}

// The first byte of the trace id tells which header was believed; 0: none.
static int believed(const struct line *lines, size_t count)
{
    struct faa_carrier carrier;
    struct faa_span_context context;
    int first = read_lines(&carrier, lines, count, &context) == 0 ? context.trace_id[0] : 0;
    faa_carrier_fini(&carrier);
    return first;
}

static struct faa_span_context some_context(void)
{
    struct faa_span_context context = {.flags = FAA_FLAG_SAMPLED};
    memset(context.trace_id, 0xaa, sizeof(context.trace_id));
    memset(context.span_id, 0x11, sizeof(context.span_id));
    return context;
}

static void check_header(const struct faa_header *got, const char *name, const char *value)
{
    ck_assert_str_eq(got->name.p, name);
    ck_assert_uint_eq(got->name.n, strlen(name));
    ck_assert_msg(got->value.n == strlen(value) && memcmp(got->value.p, value, got->value.n) == 0,
                  "%s: %.*s", name, (int)got->value.n, got->value.p);
}

// ---- in ---------------------------------------------------------------------------------------

START_TEST(each_format_reads_its_own_headers_only)
{
    static const struct line all[] = {{"traceparent", W3C}, {"b3", B3}, {"uber-trace-id", UBER}};
    USE(FAA_PROPAGATE_TRACECONTEXT);
    ck_assert_int_eq(believed(all, 3), 0xaa);
    USE(FAA_PROPAGATE_B3);
    ck_assert_int_eq(believed(all, 3), 0xbb);
    USE(FAA_PROPAGATE_B3MULTI);
    ck_assert_int_eq(believed(all, 3), 0xbb);
    USE(FAA_PROPAGATE_JAEGER);
    ck_assert_int_eq(believed(all, 3), 0xcc);
    USE(FAA_PROPAGATE_BAGGAGE);
    ck_assert_int_eq(believed(all, 3), 0);
    faa_propagation_set(NULL, 0);
    ck_assert_int_eq(believed(all, 3), 0);
    for (size_t n = 0; n < 100; n++)
        ck_assert(!faa_carrier_wants(n));
}
END_TEST

START_TEST(the_last_format_that_finds_a_trace_wins)
{
    static const struct line all[] = {{"uber-trace-id", UBER}, {"b3", B3}, {"traceparent", W3C}};
    USE(FAA_PROPAGATE_TRACECONTEXT, FAA_PROPAGATE_B3, FAA_PROPAGATE_JAEGER);
    ck_assert_int_eq(believed(all, 3), 0xcc);
    ck_assert_int_eq(believed(all + 1, 2), 0xbb);
    ck_assert_int_eq(believed(all + 2, 1), 0xaa);
    USE(FAA_PROPAGATE_JAEGER, FAA_PROPAGATE_B3, FAA_PROPAGATE_TRACECONTEXT);
    ck_assert_int_eq(believed(all, 3), 0xaa);
    USE(FAA_PROPAGATE_B3, FAA_PROPAGATE_TRACECONTEXT, FAA_PROPAGATE_B3); // Where it is first.
    ck_assert_int_eq(believed(all, 3), 0xaa);
    // One that is malformed is no reason to forget the others.
    USE(FAA_PROPAGATE_TRACECONTEXT, FAA_PROPAGATE_B3);
    ck_assert_int_eq(believed(LINES({"traceparent", W3C}, {"b3", FAA_STR("nonsense")})), 0xaa);
}
END_TEST

START_TEST(a_header_that_is_there_twice_is_malformed)
{
    USE(FAA_PROPAGATE_TRACECONTEXT, FAA_PROPAGATE_B3, FAA_PROPAGATE_JAEGER);
    ck_assert_int_eq(believed(LINES({"traceparent", W3C}, {"traceparent", W3C})), 0);
    ck_assert_int_eq(believed(LINES({"b3", B3}, {"B3", B3})), 0);
    ck_assert_int_eq(believed(LINES({"uber-trace-id", UBER}, {"uber-trace-id", UBER})), 0);
    static const char *const names[] = {"x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags",
                                        "x-b3-parentspanid"};
    static const struct faa_str values[] = {FAA_STR(TRACE_B), FAA_STR(SPAN), FAA_STR("1"),
                                            FAA_STR("0"), FAA_STR(SPAN)};
    for (size_t twice = 0; twice < FAA_COUNT(names); twice++) {
        struct line lines[FAA_COUNT(names) + 1];
        for (size_t i = 0; i < FAA_COUNT(names); i++)
            lines[i] = (struct line){names[i], values[i]};
        lines[FAA_COUNT(names)] = lines[twice];
        ck_assert_int_eq(believed(lines, FAA_COUNT(names)), 0xbb);
        ck_assert_int_eq(believed(lines, FAA_COUNT(lines)), 0);
    }
}
END_TEST

START_TEST(names_are_read_in_any_case)
{
    USE(FAA_PROPAGATE_TRACECONTEXT, FAA_PROPAGATE_B3, FAA_PROPAGATE_JAEGER);
    ck_assert_int_eq(believed(LINES({"TraceParent", W3C})), 0xaa);
    ck_assert_int_eq(believed(LINES({"Uber-Trace-Id", UBER})), 0xcc);
    ck_assert_int_eq(
        believed(LINES({"X-B3-TraceId", FAA_STR(TRACE_B)}, {"X-B3-SpanId", FAA_STR(SPAN)},
                       {"X-B3-Sampled", FAA_STR("1")})),
        0xbb);
    static const char *const others[] = {"traceparenu", "b4", "user-agent", "x-b3-spanie", "", "b"};
    for (size_t i = 0; i < FAA_COUNT(others); i++)
        ck_assert_int_eq(faa_carrier_field(faa_str_of(others[i])), FAA_FIELD_NONE);
}
END_TEST

START_TEST(one_b3_header_goes_before_several)
{
    struct line lines[] = {
        {"x-b3-traceid", FAA_STR(TRACE_C)}, {"x-b3-spanid", FAA_STR(SPAN)}, {"b3", B3}};
    static const enum faa_propagator both[] = {FAA_PROPAGATE_B3, FAA_PROPAGATE_B3MULTI};
    for (size_t i = 0; i < FAA_COUNT(both); i++) {
        faa_propagation_set(&both[i], 1);
        lines[2].value = B3;
        ck_assert_int_eq(believed(lines, 3), 0xbb);
        lines[2].value = FAA_STR("nonsense");
        ck_assert_int_eq(believed(lines, 3), 0xcc);
    }
}
END_TEST

START_TEST(a_decision_without_ids_counts_where_no_format_finds_any)
{
    struct faa_carrier carrier;
    struct faa_span_context context;
    USE(FAA_PROPAGATE_TRACECONTEXT, FAA_PROPAGATE_B3);
    ck_assert_int_eq(read_lines(&carrier, LINES({"b3", FAA_STR("0")}), &context), 0);
    ck_assert_int_eq(context.sampling, FAA_SAMPLING_ORDERED);
    ck_assert(faa_ids_is_zero(context.trace_id, sizeof(context.trace_id)));
    ck_assert_int_eq(
        read_lines(&carrier, LINES({"b3", FAA_STR("0")}, {"traceparent", W3C}), &context), 0);
    ck_assert_int_eq(context.trace_id[0], 0xaa);
    ck_assert_int_eq(context.flags, 1);
    USE(FAA_PROPAGATE_B3, FAA_PROPAGATE_TRACECONTEXT);
    ck_assert_int_eq(
        read_lines(&carrier, LINES({"b3", FAA_STR("0")}, {"traceparent", W3C}), &context), 0);
    ck_assert_int_eq(context.trace_id[0], 0xaa);
}
END_TEST

static void check_tracestate(const struct line *lines, size_t count, const char *wanted)
{
    struct faa_carrier carrier;
    struct faa_span_context context;
    ck_assert_int_eq(read_lines(&carrier, lines, count, &context), 0);
    ck_assert_uint_eq(context.tracestate_len, strlen(wanted));
    if (wanted[0])
        ck_assert_mem_eq(context.tracestate, wanted, strlen(wanted));
    else
        ck_assert_ptr_null(context.tracestate);
    faa_carrier_fini(&carrier);
}

START_TEST(tracestate_lines_are_one_list_that_goes_with_its_traceparent)
{
    static char half[FAA_SPAN_TRACESTATE_MAX / 2 + 1];
    memset(half, 'a', sizeof(half) - 1);
    struct faa_str fits = {half, sizeof(half) - 2}, too_long = {half, sizeof(half) - 1};
    USE(FAA_PROPAGATE_TRACECONTEXT, FAA_PROPAGATE_JAEGER);
    check_tracestate(LINES({"tracestate", FAA_STR("a=1")}, {"traceparent", W3C},
                           {"Tracestate", FAA_STR("")}, {"tracestate", FAA_STR("b=2")}),
                     "a=1,b=2");
    check_tracestate(LINES({"traceparent", W3C}, {"tracestate", FAA_STR("a=\x01")}), "");
    struct faa_carrier carrier;
    struct faa_span_context context;
    ck_assert_int_eq(
        read_lines(&carrier,
                   LINES({"traceparent", W3C}, {"tracestate", fits}, {"tracestate", fits}),
                   &context),
        0);
    ck_assert_uint_eq(context.tracestate_len, FAA_SPAN_TRACESTATE_MAX - 1);
    check_tracestate(LINES({"traceparent", W3C}, {"tracestate", too_long}, {"tracestate", too_long},
                           {"tracestate", FAA_STR("a=1")}),
                     "");
    // Another format's trace is not the one that it tells about.
    check_tracestate(
        LINES({"traceparent", W3C}, {"tracestate", FAA_STR("a=1")}, {"uber-trace-id", UBER}), "");
    ck_assert_int_eq(read_lines(&carrier, LINES({"tracestate", FAA_STR("a=1")}), &context), -1);
}
END_TEST

START_TEST(baggage_needs_no_trace)
{
    struct faa_carrier carrier;
    struct faa_span_context context;
    USE(FAA_PROPAGATE_TRACECONTEXT, FAA_PROPAGATE_BAGGAGE);
    ck_assert_int_eq(read_lines(&carrier,
                                LINES({"baggage", FAA_STR("a=1")}, {"Baggage", FAA_STR("b=2")},
                                      {"traceparent", FAA_STR("nonsense")}),
                                &context),
                     0);
    ck_assert(faa_ids_is_zero(context.trace_id, sizeof(context.trace_id)));
    ck_assert_int_eq(context.sampling, FAA_SAMPLING_BY_PARENT);
    ck_assert(faa_str_eq(faa_baggage_text(context.baggage), FAA_STR("a=1,b=2")));
    faa_carrier_fini(&carrier);
    ck_assert_int_eq(read_lines(&carrier, LINES({"baggage", FAA_STR("nonsense")}), &context), -1);
    ck_assert_int_eq(
        read_lines(&carrier, LINES({"traceparent", W3C}, {"baggage", FAA_STR("a=1")}), &context),
        0);
    ck_assert_int_eq(context.trace_id[0], 0xaa);
    ck_assert(faa_str_eq(faa_baggage_text(context.baggage), FAA_STR("a=1")));
    faa_carrier_fini(&carrier);
}
END_TEST

START_TEST(more_baggage_lines_than_there_is_room_for_are_counted)
{
    struct line lines[FAA_CARRIER_BAGGAGE_MAX + 3];
    struct faa_carrier carrier;
    struct faa_span_context context;
    for (size_t i = 0; i < FAA_COUNT(lines); i++)
        lines[i] = (struct line){"baggage", FAA_STR("a=1")};
    USE(FAA_PROPAGATE_BAGGAGE);
    faa_baggage_forget_count();
    ck_assert_int_eq(read_lines(&carrier, lines, FAA_COUNT(lines), &context), 0);
    ck_assert_uint_eq(faa_baggage_dropped(), 3);
    ck_assert_uint_eq(faa_baggage_text(context.baggage).n, 4 * FAA_CARRIER_BAGGAGE_MAX - 1);
    faa_carrier_fini(&carrier);
}
END_TEST

// ---- out --------------------------------------------------------------------------------------

START_TEST(each_format_writes_its_own_headers)
{
    struct faa_span_context context = some_context();
    struct faa_injection out;
    context.tracestate = "a=1";
    context.tracestate_len = 3;
    USE(FAA_PROPAGATE_TRACECONTEXT);
    faa_propagation_inject(&context, &out);
    ck_assert_uint_eq(out.count, 2);
    check_header(&out.headers[0], "traceparent", "00-" TRACE_A "-" SPAN "-01");
    check_header(&out.headers[1], "tracestate", "a=1");
    USE(FAA_PROPAGATE_B3);
    faa_propagation_inject(&context, &out);
    ck_assert_uint_eq(out.count, 1);
    check_header(&out.headers[0], "b3", TRACE_A "-" SPAN "-1");
    USE(FAA_PROPAGATE_B3MULTI);
    faa_propagation_inject(&context, &out);
    ck_assert_uint_eq(out.count, 3);
    check_header(&out.headers[0], "x-b3-traceid", TRACE_A);
    check_header(&out.headers[1], "x-b3-spanid", SPAN);
    check_header(&out.headers[2], "x-b3-sampled", "1");
    USE(FAA_PROPAGATE_JAEGER);
    faa_propagation_inject(&context, &out);
    ck_assert_uint_eq(out.count, 1);
    check_header(&out.headers[0], "uber-trace-id", TRACE_A ":" SPAN ":0:1");
    USE(FAA_PROPAGATE_BAGGAGE);
    faa_propagation_inject(&context, &out);
    ck_assert_uint_eq(out.count, 0);
    faa_propagation_set(NULL, 0);
    faa_propagation_inject(&context, &out);
    ck_assert_uint_eq(out.count, 0);
}
END_TEST

START_TEST(all_formats_at_once_fill_the_room_and_no_more)
{
    struct faa_str list = FAA_STR("a=1");
    struct faa_span_context context = some_context();
    struct faa_injection out;
    context.tracestate = "a=1";
    context.tracestate_len = 3;
    context.baggage = faa_baggage_new(&list, 1);
    USE(FAA_PROPAGATE_BAGGAGE, FAA_PROPAGATE_JAEGER, FAA_PROPAGATE_B3, FAA_PROPAGATE_B3MULTI,
        FAA_PROPAGATE_B3MULTI, FAA_PROPAGATE_TRACECONTEXT, FAA_PROPAGATE_TRACECONTEXT);
    faa_propagation_inject(&context, &out);
    ck_assert_uint_eq(out.count, FAA_INJECT_MAX);
    check_header(&out.headers[0], "baggage", "a=1");
    for (size_t i = 0; i < out.count; i++) {
        const char *name = out.headers[i].name.p;
        ck_assert_int_eq(out.headers[i].yields,
                         strcmp(name, "baggage") == 0 || strcmp(name, "tracestate") == 0);
    }
    // Without a trace there is none to tell.
    memset(context.trace_id, 0, sizeof(context.trace_id));
    faa_propagation_inject(&context, &out);
    ck_assert_uint_eq(out.count, 1);
    check_header(&out.headers[0], "baggage", "a=1");
    faa_baggage_unref(context.baggage);
}
END_TEST

START_TEST(debug_goes_out_with_sampled_alone)
{
    struct faa_span_context context = some_context();
    struct faa_injection out;
    context.debug = 1;
    USE(FAA_PROPAGATE_B3MULTI, FAA_PROPAGATE_B3, FAA_PROPAGATE_JAEGER);
    faa_propagation_inject(&context, &out);
    ck_assert_uint_eq(out.count, 5);
    check_header(&out.headers[2], "x-b3-flags", "1");
    check_header(&out.headers[3], "b3", TRACE_A "-" SPAN "-d");
    check_header(&out.headers[4], "uber-trace-id", TRACE_A ":" SPAN ":0:3");
    context.flags = 0;
    faa_propagation_inject(&context, &out);
    check_header(&out.headers[2], "x-b3-sampled", "0");
    check_header(&out.headers[3], "b3", TRACE_A "-" SPAN "-0");
    check_header(&out.headers[4], "uber-trace-id", TRACE_A ":" SPAN ":0:0");
}
END_TEST

START_TEST(what_goes_out_comes_in_again)
{
    static const enum faa_propagator formats[] = {FAA_PROPAGATE_TRACECONTEXT, FAA_PROPAGATE_B3,
                                                  FAA_PROPAGATE_B3MULTI, FAA_PROPAGATE_JAEGER};
    struct faa_span_context context = some_context();
    for (size_t f = 0; f < FAA_COUNT(formats); f++) {
        struct faa_injection out;
        struct faa_carrier carrier;
        struct faa_span_context again;
        struct line lines[FAA_INJECT_MAX];
        faa_propagation_set(&formats[f], 1);
        for (context.flags = 0; context.flags < 2; context.flags++) {
            faa_propagation_inject(&context, &out);
            for (size_t i = 0; i < out.count; i++)
                lines[i] = (struct line){out.headers[i].name.p, out.headers[i].value};
            ck_assert_int_eq(read_lines(&carrier, lines, out.count, &again), 0);
            ck_assert_mem_eq(again.trace_id, context.trace_id, sizeof(again.trace_id));
            ck_assert_mem_eq(again.span_id, context.span_id, sizeof(again.span_id));
            ck_assert_uint_eq(again.flags, context.flags);
            ck_assert_uint_eq(again.sampling, FAA_SAMPLING_BY_PARENT);
        }
    }
}
END_TEST

START_TEST(the_applications_own_trace_is_known_by_the_names_in_use)
{
    size_t count;
    const struct faa_str *names;
    USE(FAA_PROPAGATE_TRACECONTEXT, FAA_PROPAGATE_BAGGAGE);
    names = faa_propagation_own_names(&count);
    ck_assert_uint_eq(count, 1);
    ck_assert_str_eq(names[0].p, "traceparent");
    USE(FAA_PROPAGATE_B3MULTI);
    names = faa_propagation_own_names(&count);
    ck_assert_uint_eq(count, 4);
    ck_assert_str_eq(names[0].p, "b3");
    ck_assert_str_eq(names[1].p, "x-b3-traceid");
    faa_propagation_set(NULL, 0);
    faa_propagation_own_names(&count);
    ck_assert_uint_eq(count, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("propagation");
    TCase *cases = tcase_create("propagation");
    tcase_add_test(cases, each_format_reads_its_own_headers_only);
    tcase_add_test(cases, the_last_format_that_finds_a_trace_wins);
    tcase_add_test(cases, a_header_that_is_there_twice_is_malformed);
    tcase_add_test(cases, names_are_read_in_any_case);
    tcase_add_test(cases, one_b3_header_goes_before_several);
    tcase_add_test(cases, a_decision_without_ids_counts_where_no_format_finds_any);
    tcase_add_test(cases, tracestate_lines_are_one_list_that_goes_with_its_traceparent);
    tcase_add_test(cases, baggage_needs_no_trace);
    tcase_add_test(cases, more_baggage_lines_than_there_is_room_for_are_counted);
    tcase_add_test(cases, each_format_writes_its_own_headers);
    tcase_add_test(cases, all_formats_at_once_fill_the_room_and_no_more);
    tcase_add_test(cases, debug_goes_out_with_sampled_alone);
    tcase_add_test(cases, what_goes_out_comes_in_again);
    tcase_add_test(cases, the_applications_own_trace_is_known_by_the_names_in_use);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

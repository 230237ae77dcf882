// SPDX-License-Identifier: MIT
// B3: what is accepted in one header and in several, what is refused, and what is written.
#include "span/b3.h"

#include "base/random.h"

#include <check.h>
#include <stdlib.h>

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SHORT "8448eb211c80319c"
#define SPAN "b7ad6b7169203331"
#define PARENT "05e3ac9a4f6e3b90"

static const uint8_t trace_id[] = {0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd,
                                   0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c};
static const uint8_t span_id[] = {0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31};
static const uint8_t none[16];

// Parses from a heap block of the exact size, so that a sanitizer sees a byte too far.
static int parse(struct faa_str header, struct faa_span_context *out)
{
    char *copy = malloc(header.n ? header.n : 1);
    if (header.n > 0)
        memcpy(copy, header.p, header.n);
    int result = faa_b3_parse((struct faa_str){copy, header.n}, out);
    free(copy);
    return result;
}

struct expected {
    struct faa_str header;
    int flags, debug, sampling;
};

static void check_decision(const struct faa_span_context *got, const struct expected *wanted)
{
    ck_assert_msg(got->flags == wanted->flags && got->debug == wanted->debug &&
                      got->sampling == wanted->sampling,
                  "%s: flags %d, debug %d, sampling %d", wanted->header.p, got->flags, got->debug,
                  got->sampling);
    ck_assert_ptr_null(got->tracestate);
    ck_assert_ptr_null(got->baggage);
}

START_TEST(ids_in_one_header_are_a_remote_parent)
{
    static const struct expected cases[] = {
        {FAA_STR(TRACE "-" SPAN), 0, 0, FAA_SAMPLING_DEFERRED},
        {FAA_STR(TRACE "-" SPAN "-1"), 1, 0, FAA_SAMPLING_BY_PARENT},
        {FAA_STR(TRACE "-" SPAN "-0"), 0, 0, FAA_SAMPLING_BY_PARENT},
        {FAA_STR(TRACE "-" SPAN "-d"), 1, 1, FAA_SAMPLING_BY_PARENT},
        {FAA_STR(TRACE "-" SPAN "-1-" PARENT), 1, 0, FAA_SAMPLING_BY_PARENT},
        {FAA_STR(TRACE "-" SPAN "-0-0000000000000000"), 0, 0, FAA_SAMPLING_BY_PARENT},
        {FAA_STR(" \t" TRACE "-" SPAN "-1\t "), 1, 0, FAA_SAMPLING_BY_PARENT},
        {FAA_STR("0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-1"), 1, 0,
         FAA_SAMPLING_BY_PARENT},
    };
    for (size_t i = 0; i < FAA_COUNT(cases); i++) {
        struct faa_span_context context;
        memset(&context, 0xee, sizeof(context));
        ck_assert_msg(parse(cases[i].header, &context) == 0, "%s", cases[i].header.p);
        ck_assert_mem_eq(context.trace_id, trace_id, sizeof(trace_id));
        ck_assert_mem_eq(context.span_id, span_id, sizeof(span_id));
        ck_assert_uint_eq(context.remote, 1);
        check_decision(&context, &cases[i]);
    }
}
END_TEST

START_TEST(a_trace_id_of_64_bits_gets_zeros_in_front)
{
    struct faa_span_context context;
    ck_assert_int_eq(parse(FAA_STR(SHORT "-" SPAN "-1"), &context), 0);
    ck_assert_mem_eq(context.trace_id, none, 8);
    ck_assert_mem_eq(context.trace_id + 8, trace_id + 8, 8);
}
END_TEST

START_TEST(a_decision_alone_is_one_without_ids)
{
    static const struct expected cases[] = {
        {FAA_STR("0"), 0, 0, FAA_SAMPLING_ORDERED},
        {FAA_STR("1"), 1, 0, FAA_SAMPLING_ORDERED},
        {FAA_STR("d"), 1, 1, FAA_SAMPLING_ORDERED},
        {FAA_STR(" 0 "), 0, 0, FAA_SAMPLING_ORDERED},
    };
    for (size_t i = 0; i < FAA_COUNT(cases); i++) {
        struct faa_span_context context;
        memset(&context, 0xee, sizeof(context));
        ck_assert_int_eq(parse(cases[i].header, &context), 0);
        ck_assert_mem_eq(context.trace_id, none, sizeof(context.trace_id));
        ck_assert_mem_eq(context.span_id, none, sizeof(context.span_id));
        check_decision(&context, &cases[i]);
    }
}
END_TEST

START_TEST(these_headers_are_refused)
{
    static const struct faa_str headers[] = {
        FAA_STR(""),
        FAA_STR(" "),
        FAA_STR("-"),
        FAA_STR("--"),
        FAA_STR("---"),
        FAA_STR("2"),
        FAA_STR("D"),
        FAA_STR("dd"),
        FAA_STR("true"),
        FAA_STR("1-"),
        FAA_STR(TRACE),
        FAA_STR(TRACE "-"),
        FAA_STR("-" SPAN),
        FAA_STR(TRACE "--1"),
        // The trace id.
        FAA_STR("00000000000000000000000000000000-" SPAN "-1"),
        FAA_STR("0000000000000000-" SPAN "-1"),
        FAA_STR("0af7651916cd43dd8448eb211c80319-" SPAN "-1"),
        FAA_STR(TRACE "0-" SPAN "-1"),
        FAA_STR("0af7651916cd43dd8-" SPAN "-1"),
        FAA_STR("0af7651916cd43d-" SPAN "-1"),
        FAA_STR("0af7651916cd43dd8448eb211c80319g-" SPAN "-1"),
        FAA_STR("0xf7651916cd43dd8448eb211c80319c-" SPAN "-1"),
        // The span id.
        FAA_STR(TRACE "-0000000000000000-1"),
        FAA_STR(TRACE "-b7ad6b716920333-1"),
        FAA_STR(TRACE "-" SPAN "0-1"),
        FAA_STR(TRACE "-b7ad6b716920333z-1"),
        FAA_STR(TRACE "- b7ad6b716920333-1"),
        // The decision.
        FAA_STR(TRACE "-" SPAN "-"),
        FAA_STR(TRACE "-" SPAN "-2"),
        FAA_STR(TRACE "-" SPAN "-01"),
        FAA_STR(TRACE "-" SPAN "-D"),
        FAA_STR(TRACE "-" SPAN "-true"),
        FAA_STR(TRACE "-" SPAN "-" PARENT),
        // The parent's parent, and more.
        FAA_STR(TRACE "-" SPAN "-1-"),
        FAA_STR(TRACE "-" SPAN "-1-05e3ac9a4f6e3b9"),
        FAA_STR(TRACE "-" SPAN "-1-05e3ac9a4f6e3b9g"),
        FAA_STR(TRACE "-" SPAN "-1-" PARENT "0"),
        FAA_STR(TRACE "-" SPAN "-1-" PARENT "-"),
        FAA_STR(TRACE "-" SPAN "-1-" PARENT "-1"),
        FAA_STR(TRACE "-" SPAN "-1," TRACE "-" SPAN "-1"),
        FAA_STR(TRACE "-" SPAN "-1\0"),
        FAA_STR("\n" TRACE "-" SPAN "-1"),
        FAA_STR(TRACE "_" SPAN "_1"),
        FAA_STR(TRACE "-" SPAN "-\xc3\xa9"),
    };
    for (size_t i = 0; i < FAA_COUNT(headers); i++) {
        struct faa_span_context context, before;
        memset(&context, 0xee, sizeof(context));
        before = context;
        ck_assert_msg(parse(headers[i], &context) == -1, "header %zu: %s", i, headers[i].p);
        ck_assert_mem_eq(&context, &before, sizeof(context));
    }
}
END_TEST

#define ABSENT                                                                                     \
    {                                                                                              \
        NULL, 0                                                                                    \
    }

struct fields_case {
    struct faa_b3_fields fields; // trace, span, parent, sampled, flags
    int flags, debug, sampling;
};

START_TEST(several_headers_say_the_same)
{
    static const struct fields_case cases[] = {
        {{FAA_STR(TRACE), FAA_STR(SPAN), ABSENT, ABSENT, ABSENT}, 0, 0, FAA_SAMPLING_DEFERRED},
        {{FAA_STR(TRACE), FAA_STR(SPAN), ABSENT, FAA_STR("1"), ABSENT}, 1, 0, 0},
        {{FAA_STR(TRACE), FAA_STR(SPAN), ABSENT, FAA_STR("0"), ABSENT}, 0, 0, 0},
        {{FAA_STR(TRACE), FAA_STR(SPAN), ABSENT, FAA_STR("true"), ABSENT}, 1, 0, 0},
        {{FAA_STR(TRACE), FAA_STR(SPAN), ABSENT, FAA_STR("False"), ABSENT}, 0, 0, 0},
        {{FAA_STR(TRACE), FAA_STR(SPAN), ABSENT, FAA_STR("d"), ABSENT}, 1, 1, 0},
        {{FAA_STR(TRACE), FAA_STR(SPAN), FAA_STR(PARENT), FAA_STR("1"), ABSENT}, 1, 0, 0},
        {{FAA_STR(TRACE), FAA_STR(SPAN), ABSENT, ABSENT, FAA_STR("1")}, 1, 1, 0},
        {{FAA_STR(TRACE), FAA_STR(SPAN), ABSENT, FAA_STR("0"), FAA_STR("1")}, 1, 1, 0},
        {{FAA_STR(TRACE), FAA_STR(SPAN), ABSENT, FAA_STR("0"), FAA_STR("0")}, 0, 0, 0},
        {{FAA_STR(TRACE), FAA_STR(SPAN), ABSENT, FAA_STR("1"), FAA_STR("nonsense")}, 1, 0, 0},
        {{FAA_STR(" " TRACE), FAA_STR(SPAN "\t"), ABSENT, FAA_STR(" 1 "), ABSENT}, 1, 0, 0},
    };
    for (size_t i = 0; i < FAA_COUNT(cases); i++) {
        struct faa_span_context context;
        struct expected wanted = {FAA_STR("fields"), cases[i].flags, cases[i].debug,
                                  cases[i].sampling};
        memset(&context, 0xee, sizeof(context));
        ck_assert_msg(faa_b3_parse_fields(&cases[i].fields, &context) == 0, "case %zu", i);
        ck_assert_mem_eq(context.trace_id, trace_id, sizeof(trace_id));
        ck_assert_mem_eq(context.span_id, span_id, sizeof(span_id));
        ck_assert_uint_eq(context.remote, 1);
        check_decision(&context, &wanted);
    }
}
END_TEST

START_TEST(several_headers_may_hold_a_decision_alone)
{
    static const struct fields_case cases[] = {
        {{ABSENT, ABSENT, ABSENT, FAA_STR("0"), ABSENT}, 0, 0, FAA_SAMPLING_ORDERED},
        {{ABSENT, ABSENT, ABSENT, FAA_STR("1"), ABSENT}, 1, 0, FAA_SAMPLING_ORDERED},
        {{ABSENT, ABSENT, ABSENT, ABSENT, FAA_STR("1")}, 1, 1, FAA_SAMPLING_ORDERED},
    };
    for (size_t i = 0; i < FAA_COUNT(cases); i++) {
        struct faa_span_context context;
        struct expected wanted = {FAA_STR("fields"), cases[i].flags, cases[i].debug,
                                  cases[i].sampling};
        ck_assert_int_eq(faa_b3_parse_fields(&cases[i].fields, &context), 0);
        ck_assert_mem_eq(context.trace_id, none, sizeof(context.trace_id));
        check_decision(&context, &wanted);
    }
}
END_TEST

START_TEST(these_fields_are_refused)
{
    static const struct faa_b3_fields cases[] = {
        {ABSENT, ABSENT, ABSENT, ABSENT, ABSENT},
        {ABSENT, ABSENT, ABSENT, ABSENT, FAA_STR("0")},
        {ABSENT, ABSENT, FAA_STR(PARENT), ABSENT, ABSENT},
        {ABSENT, ABSENT, FAA_STR(PARENT), FAA_STR("1"), ABSENT},
        {FAA_STR(TRACE), ABSENT, ABSENT, FAA_STR("1"), ABSENT},
        {ABSENT, FAA_STR(SPAN), ABSENT, FAA_STR("1"), ABSENT},
        {FAA_STR(""), FAA_STR(SPAN), ABSENT, FAA_STR("1"), ABSENT},
        {FAA_STR(TRACE), FAA_STR(""), ABSENT, FAA_STR("1"), ABSENT},
        {FAA_STR(TRACE "0"), FAA_STR(SPAN), ABSENT, FAA_STR("1"), ABSENT},
        {FAA_STR("8448eb211c80319"), FAA_STR(SPAN), ABSENT, FAA_STR("1"), ABSENT},
        {FAA_STR("0000000000000000"), FAA_STR(SPAN), ABSENT, FAA_STR("1"), ABSENT},
        {FAA_STR(TRACE), FAA_STR("0000000000000000"), ABSENT, FAA_STR("1"), ABSENT},
        {FAA_STR(TRACE), FAA_STR(SPAN), FAA_STR("05e3"), FAA_STR("1"), ABSENT},
        {FAA_STR(TRACE), FAA_STR(SPAN), FAA_STR(""), FAA_STR("1"), ABSENT},
        {FAA_STR(TRACE), FAA_STR(SPAN), ABSENT, FAA_STR(""), ABSENT},
        {FAA_STR(TRACE), FAA_STR(SPAN), ABSENT, FAA_STR("2"), ABSENT},
        {FAA_STR(TRACE), FAA_STR(SPAN), ABSENT, FAA_STR("yes"), ABSENT},
        {ABSENT, ABSENT, ABSENT, FAA_STR("maybe"), ABSENT},
    };
    for (size_t i = 0; i < FAA_COUNT(cases); i++) {
        struct faa_span_context context, before;
        memset(&context, 0xee, sizeof(context));
        before = context;
        ck_assert_msg(faa_b3_parse_fields(&cases[i], &context) == -1, "case %zu", i);
        ck_assert_mem_eq(&context, &before, sizeof(context));
    }
}
END_TEST

START_TEST(what_is_written_is_read_again)
{
    for (uint64_t seed = 1; seed < 3000; seed++) {
        struct faa_span_context context = {0}, again;
        char header[FAA_B3_LEN + 1];
        for (size_t i = 0; i < sizeof(context.trace_id); i++)
            context.trace_id[i] = (uint8_t)faa_random_mix(seed << 8 | i);
        for (size_t i = 0; i < sizeof(context.span_id); i++)
            context.span_id[i] = (uint8_t)faa_random_mix(~(seed << 8 | i));
        context.flags = seed & 1;
        context.debug = seed >> 1 & 1;
        faa_b3_format(&context, header);
        ck_assert_uint_eq(strlen(header), FAA_B3_LEN);
        ck_assert_int_eq(parse(faa_str_of(header), &again), 0);
        ck_assert_mem_eq(again.trace_id, context.trace_id, sizeof(context.trace_id));
        ck_assert_mem_eq(again.span_id, context.span_id, sizeof(context.span_id));
        ck_assert_uint_eq(again.flags, context.flags);
        ck_assert_uint_eq(again.debug, context.debug && context.flags);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("b3");
    TCase *cases = tcase_create("b3");
    tcase_add_test(cases, ids_in_one_header_are_a_remote_parent);
    tcase_add_test(cases, a_trace_id_of_64_bits_gets_zeros_in_front);
    tcase_add_test(cases, a_decision_alone_is_one_without_ids);
    tcase_add_test(cases, these_headers_are_refused);
    tcase_add_test(cases, several_headers_say_the_same);
    tcase_add_test(cases, several_headers_may_hold_a_decision_alone);
    tcase_add_test(cases, these_fields_are_refused);
    tcase_add_test(cases, what_is_written_is_read_again);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

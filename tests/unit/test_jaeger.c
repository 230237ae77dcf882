// SPDX-License-Identifier: MIT
// uber-trace-id: what is accepted, what is refused, and what is written.
#include "span/jaeger.h"

#include "base/random.h"

#include <check.h>
#include <stdlib.h>

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN "b7ad6b7169203331"
#define PARENT "05e3ac9a4f6e3b90"

static const uint8_t trace_id[] = {0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd,
                                   0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c};
static const uint8_t span_id[] = {0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31};

// Parses from a heap block of the exact size, so that a sanitizer sees a byte too far.
static int parse(struct faa_str header, struct faa_span_context *out)
{
    char *copy = malloc(header.n ? header.n : 1);
    if (header.n > 0)
        memcpy(copy, header.p, header.n);
    int result = faa_jaeger_parse((struct faa_str){copy, header.n}, out);
    free(copy);
    return result;
}

START_TEST(a_good_header_gives_a_remote_context)
{
    static const struct {
        struct faa_str header;
        int flags, debug;
    } cases[] = {
        {FAA_STR(TRACE ":" SPAN ":0:1"), 1, 0},
        {FAA_STR(TRACE ":" SPAN ":0:0"), 0, 0},
        {FAA_STR(TRACE ":" SPAN ":0:01"), 1, 0},
        {FAA_STR(TRACE ":" SPAN ":0:3"), 1, 1},
        {FAA_STR(TRACE ":" SPAN ":0:2"), 0, 0},
        {FAA_STR(TRACE ":" SPAN ":0:8"), 0, 0},
        {FAA_STR(TRACE ":" SPAN ":0:fF"), 1, 1},
        {FAA_STR(TRACE ":" SPAN ":" PARENT ":1"), 1, 0},
        {FAA_STR(TRACE ":" SPAN ":0000000000000000:1"), 1, 0},
        {FAA_STR("af7651916cd43dd8448eb211c80319c:" SPAN ":0:1"), 1, 0},
        {FAA_STR("0AF7651916CD43DD8448EB211C80319C:B7AD6B7169203331:0:1"), 1, 0},
        {FAA_STR(TRACE "%3A" SPAN "%3A0%3A1"), 1, 0},
        {FAA_STR(TRACE "%3a" SPAN ":0%3a1"), 1, 0},
        {FAA_STR(" " TRACE ":" SPAN ":0:1\t"), 1, 0},
    };
    for (size_t i = 0; i < FAA_COUNT(cases); i++) {
        struct faa_span_context context;
        memset(&context, 0xee, sizeof(context));
        ck_assert_msg(parse(cases[i].header, &context) == 0, "%s", cases[i].header.p);
        ck_assert_mem_eq(context.trace_id, trace_id, sizeof(trace_id));
        ck_assert_mem_eq(context.span_id, span_id, sizeof(span_id));
        ck_assert_msg(context.flags == cases[i].flags && context.debug == cases[i].debug,
                      "%s: flags %d, debug %d", cases[i].header.p, context.flags, context.debug);
        ck_assert_uint_eq(context.remote, 1);
        ck_assert_uint_eq(context.sampling, FAA_SAMPLING_BY_PARENT);
        ck_assert_ptr_null(context.tracestate);
        ck_assert_ptr_null(context.baggage);
    }
}
END_TEST

START_TEST(short_ids_get_zeros_in_front)
{
    static const uint8_t zeros[15];
    struct faa_span_context context;
    ck_assert_int_eq(parse(FAA_STR("abc:1:0:1"), &context), 0);
    ck_assert_mem_eq(context.trace_id, zeros, 14);
    ck_assert_uint_eq(context.trace_id[14], 0x0a);
    ck_assert_uint_eq(context.trace_id[15], 0xbc);
    ck_assert_mem_eq(context.span_id, zeros, 7);
    ck_assert_uint_eq(context.span_id[7], 1);
    ck_assert_int_eq(parse(FAA_STR("8448eb211c80319c:" SPAN ":0:1"), &context), 0);
    ck_assert_mem_eq(context.trace_id, zeros, 8);
    ck_assert_mem_eq(context.trace_id + 8, trace_id + 8, 8);
}
END_TEST

START_TEST(these_headers_are_refused)
{
    static const struct faa_str headers[] = {
        FAA_STR(""),
        FAA_STR(" "),
        FAA_STR(":"),
        FAA_STR(":::"),
        FAA_STR("::::"),
        FAA_STR("nonsense"),
        FAA_STR(TRACE),
        FAA_STR(TRACE ":" SPAN),
        FAA_STR(TRACE ":" SPAN ":0"),
        FAA_STR(TRACE ":" SPAN ":0:"),
        FAA_STR(TRACE ":" SPAN ":0:1:"),
        FAA_STR(TRACE ":" SPAN ":0:1:1"),
        FAA_STR(TRACE ":" SPAN "::1"),
        FAA_STR(TRACE "::0:1"),
        FAA_STR(":" SPAN ":0:1"),
        FAA_STR(TRACE "0:" SPAN ":0:1"),
        FAA_STR(TRACE ":" SPAN "0:0:1"),
        FAA_STR(TRACE ":" SPAN ":" PARENT "0:1"),
        FAA_STR(TRACE ":" SPAN ":0:100"),
        FAA_STR(TRACE ":" SPAN ":0:001"),
        FAA_STR("0:" SPAN ":0:1"),
        FAA_STR("00000000000000000000000000000000:" SPAN ":0:1"),
        FAA_STR(TRACE ":0:0:1"),
        FAA_STR("0af7651916cd43dd8448eb211c80319g:" SPAN ":0:1"),
        FAA_STR("0xaf7651916cd43dd8448eb211c80319:" SPAN ":0:1"),
        FAA_STR(TRACE ":-7ad6b7169203331:0:1"),
        FAA_STR(TRACE ":b7ad6b716920333 :0:1"),
        FAA_STR(TRACE ":" SPAN ":x:1"),
        FAA_STR(TRACE ":" SPAN ":0:x"),
        FAA_STR(TRACE ":" SPAN ":0:+1"),
        FAA_STR(TRACE "%3" SPAN ":0:1"),
        FAA_STR(TRACE "%" SPAN ":0:1"),
        FAA_STR(TRACE ":" SPAN ":0%3"),
        FAA_STR(TRACE ":" SPAN ":0:1%3A"),
        FAA_STR(TRACE "%253A" SPAN ":0:1"),
        FAA_STR("%30af7651916cd43dd8448eb211c80319c:" SPAN ":0:1"),
        FAA_STR(TRACE "-" SPAN "-0-1"),
        FAA_STR(TRACE ":" SPAN ":0:1," TRACE ":" SPAN ":0:1"),
        FAA_STR(TRACE ":" SPAN ":0:1\0"),
        FAA_STR(TRACE ":" SPAN ":0:\xc3\xa9"),
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

START_TEST(what_is_written_is_read_again)
{
    for (uint64_t seed = 1; seed < 3000; seed++) {
        struct faa_span_context context = {0}, again;
        char header[FAA_JAEGER_LEN + 1];
        for (size_t i = 0; i < sizeof(context.trace_id); i++)
            context.trace_id[i] = (uint8_t)faa_random_mix(seed << 8 | i);
        for (size_t i = 0; i < sizeof(context.span_id); i++)
            context.span_id[i] = (uint8_t)faa_random_mix(~(seed << 8 | i));
        context.flags = seed & 1;
        context.debug = seed >> 1 & 1;
        faa_jaeger_format(&context, header);
        ck_assert_uint_eq(strlen(header), FAA_JAEGER_LEN);
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
    Suite *suite = suite_create("jaeger");
    TCase *cases = tcase_create("jaeger");
    tcase_add_test(cases, a_good_header_gives_a_remote_context);
    tcase_add_test(cases, short_ids_get_zeros_in_front);
    tcase_add_test(cases, these_headers_are_refused);
    tcase_add_test(cases, what_is_written_is_read_again);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

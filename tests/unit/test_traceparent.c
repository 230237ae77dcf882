// SPDX-License-Identifier: MIT
// The W3C headers: what is accepted, what is refused, and that writing and reading agree.
#include "span/traceparent.h"

#include "base/random.h"

#include <check.h>
#include <stdlib.h>

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define PARENT "b7ad6b7169203331"
#define GOOD "00-" TRACE "-" PARENT "-01"

// Parses from a heap block of the exact size, so that a sanitizer sees a byte too far.
static int parse(struct faa_str header, struct faa_span_context *out)
{
    char *copy = malloc(header.n ? header.n : 1);
    if (header.n > 0)
        memcpy(copy, header.p, header.n);
    int result = faa_traceparent_parse((struct faa_str){copy, header.n}, out);
    free(copy);
    return result;
}

START_TEST(a_good_header_gives_a_remote_context)
{
    static const uint8_t trace[] = {0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd,
                                    0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c};
    static const uint8_t parent[] = {0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31};
    struct faa_span_context context;
    memset(&context, 0xee, sizeof(context));
    ck_assert_int_eq(parse(FAA_STR(GOOD), &context), 0);
    ck_assert_mem_eq(context.trace_id, trace, sizeof(trace));
    ck_assert_mem_eq(context.span_id, parent, sizeof(parent));
    ck_assert_uint_eq(context.flags, 1);
    ck_assert_uint_eq(context.remote, 1);
    ck_assert_ptr_null(context.tracestate);
    ck_assert_uint_eq(context.tracestate_len, 0);
}
END_TEST

START_TEST(these_headers_are_accepted)
{
    static const struct faa_str headers[] = {
        FAA_STR("00-" TRACE "-" PARENT "-00"),
        FAA_STR("00-" TRACE "-" PARENT "-ff"),
        FAA_STR(" " GOOD),
        FAA_STR(GOOD " "),
        FAA_STR("\t " GOOD " \t"),
        FAA_STR("00-00000000000000000000000000000001-0000000000000001-01"),
        // Future versions, which may say more behind another dash.
        FAA_STR("01-" TRACE "-" PARENT "-01"),
        FAA_STR("cc-" TRACE "-" PARENT "-01"),
        FAA_STR("fe-" TRACE "-" PARENT "-01"),
        FAA_STR("cc-" TRACE "-" PARENT "-01-"),
        FAA_STR("cc-" TRACE "-" PARENT "-01-what-the-future-will-be-like"),
        FAA_STR("cc-" TRACE "-" PARENT "-01-\xff"),
    };
    for (size_t i = 0; i < FAA_COUNT(headers); i++) {
        struct faa_span_context context;
        ck_assert_msg(parse(headers[i], &context) == 0, "header %zu: %s", i, headers[i].p);
    }
}
END_TEST

START_TEST(these_headers_are_refused)
{
    static const struct faa_str headers[] = {
        FAA_STR(""),
        FAA_STR(" "),
        FAA_STR("00"),
        FAA_STR("00-"),
        FAA_STR("-"),
        // The version.
        FAA_STR("ff-" TRACE "-" PARENT "-01"),
        FAA_STR("0x-" TRACE "-" PARENT "-01"),
        FAA_STR(".0-" TRACE "-" PARENT "-01"),
        FAA_STR("0-" TRACE "-" PARENT "-01"),
        FAA_STR("000-" TRACE "-" PARENT "-01"),
        FAA_STR("FE-" TRACE "-" PARENT "-01"),
        // Version 00 has nothing behind its flags, and later ones have a dash there.
        FAA_STR(GOOD "-"),
        FAA_STR(GOOD "-what"),
        FAA_STR(GOOD "0"),
        FAA_STR(GOOD "."),
        FAA_STR("cc-" TRACE "-" PARENT "-01.what"),
        FAA_STR("cc-" TRACE "-" PARENT "-010"),
        // The trace id.
        FAA_STR("00-00000000000000000000000000000000-" PARENT "-01"),
        FAA_STR("00-0AF7651916CD43DD8448EB211C80319C-" PARENT "-01"),
        FAA_STR("00-.af7651916cd43dd8448eb211c80319c-" PARENT "-01"),
        FAA_STR("00-0af7651916cd43dd8448eb211c80319g-" PARENT "-01"),
        FAA_STR("00-0af7651916cd43dd8448eb211c80319-" PARENT "-01"),
        FAA_STR("00-" TRACE "0-" PARENT "-01"),
        // The parent id.
        FAA_STR("00-" TRACE "-0000000000000000-01"),
        FAA_STR("00-" TRACE "-B7AD6B7169203331-01"),
        FAA_STR("00-" TRACE "-.7ad6b7169203331-01"),
        FAA_STR("00-" TRACE "-b7ad6b716920333-01"),
        FAA_STR("00-" TRACE "-b7ad6b71692033310-01"),
        // The flags.
        FAA_STR("00-" TRACE "-" PARENT "-.0"),
        FAA_STR("00-" TRACE "-" PARENT "-0."),
        FAA_STR("00-" TRACE "-" PARENT "-1"),
        FAA_STR("00-" TRACE "-" PARENT "-"),
        FAA_STR("00-" TRACE "-" PARENT "-0A"),
        FAA_STR("00-" TRACE "-" PARENT),
        // Separators, blanks, and two headers in one.
        FAA_STR("00_" TRACE "-" PARENT "-01"),
        FAA_STR("00-" TRACE "_" PARENT "-01"),
        FAA_STR("00-" TRACE "-" PARENT "_01"),
        FAA_STR("00-" TRACE "- " PARENT "-01"),
        FAA_STR("\n" GOOD),
        FAA_STR(GOOD "\r"),
        FAA_STR(GOOD "," GOOD),
        FAA_STR(GOOD "\0"),
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

START_TEST(no_single_byte_may_be_anything_but_what_it_was)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t at = 0; at < FAA_TRACEPARENT_LEN; at++) {
        int dash = GOOD[at] == '-';
        for (int c = 0; c < 256; c++) {
            char header[] = GOOD;
            struct faa_span_context context;
            header[at] = (char)c;
            int good = dash ? c == '-' : c != 0 && strchr(hex, c) != NULL;
            ck_assert_msg(parse((struct faa_str){header, FAA_TRACEPARENT_LEN}, &context) ==
                              (good ? 0 : -1),
                          "byte %zu: 0x%02x", at, (unsigned)c);
        }
    }
    for (size_t n = 0; n < FAA_TRACEPARENT_LEN; n++) {
        struct faa_span_context context;
        ck_assert_int_eq(parse((struct faa_str){GOOD, n}, &context), -1);
    }
}
END_TEST

START_TEST(what_is_written_is_read_again)
{
    for (uint64_t seed = 1; seed < 10000; seed++) {
        struct faa_span_context context = {0}, again;
        char header[FAA_TRACEPARENT_LEN + 1];
        for (size_t i = 0; i < sizeof(context.trace_id); i++)
            context.trace_id[i] = (uint8_t)faa_random_mix(seed << 8 | i);
        for (size_t i = 0; i < sizeof(context.span_id); i++)
            context.span_id[i] = (uint8_t)faa_random_mix(~(seed << 8 | i));
        context.flags = seed & 1;
        faa_traceparent_format(&context, header);
        ck_assert_uint_eq(strlen(header), FAA_TRACEPARENT_LEN);
        ck_assert_int_eq(parse(faa_str_of(header), &again), 0);
        ck_assert_mem_eq(again.trace_id, context.trace_id, sizeof(context.trace_id));
        ck_assert_mem_eq(again.span_id, context.span_id, sizeof(context.span_id));
        ck_assert_uint_eq(again.flags, context.flags);
    }
}
END_TEST

START_TEST(tracestate_is_printable_and_bounded)
{
    char longest[FAA_SPAN_TRACESTATE_MAX + 1];
    memset(longest, 'a', sizeof(longest));
    ck_assert(faa_tracestate_valid((struct faa_str){longest, FAA_SPAN_TRACESTATE_MAX}));
    ck_assert(!faa_tracestate_valid((struct faa_str){longest, FAA_SPAN_TRACESTATE_MAX + 1}));
    ck_assert(!faa_tracestate_valid((struct faa_str){NULL, 0}));
    ck_assert(faa_tracestate_valid(FAA_STR("rojo=00f067aa0ba902b7, congo=t61rcWkgMzE~")));
    for (int c = 0; c < 256; c++) {
        char text[] = {'a', '=', (char)c};
        ck_assert_int_eq(faa_tracestate_valid((struct faa_str){text, sizeof(text)}),
                         c >= 0x20 && c <= 0x7e);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("traceparent");
    TCase *cases = tcase_create("traceparent");
    tcase_add_test(cases, a_good_header_gives_a_remote_context);
    tcase_add_test(cases, these_headers_are_accepted);
    tcase_add_test(cases, these_headers_are_refused);
    tcase_add_test(cases, no_single_byte_may_be_anything_but_what_it_was);
    tcase_add_test(cases, what_is_written_is_read_again);
    tcase_add_test(cases, tracestate_is_printable_and_bounded);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

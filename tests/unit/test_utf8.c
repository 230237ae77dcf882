// SPDX-License-Identifier: MIT
// UTF-8 cleaning, against the table of RFC 3629 and a slow decoder of its own.
#include "base/utf8.h"

#include "base/random.h"

#include <check.h>
#include <stdlib.h>

#define BAD "\xef\xbf\xbd"

static void check_clean(struct faa_str in, size_t cap, struct faa_str expected)
{
    // Heap blocks of the exact sizes, so that a sanitizer sees a byte too far.
    char *copy = malloc(in.n ? in.n : 1), *out = malloc(cap);
    if (in.n > 0)
        memcpy(copy, in.p, in.n);
    struct faa_str input = {copy, in.n};
    size_t n = faa_utf8_clean(input, out, cap);
    struct faa_str result = {out, n};
    if (!faa_str_eq(result, expected) || out[n] != '\0')
        ck_abort_msg("%zu bytes within %zu: got \"%s\"", in.n, cap, out);
    if (!faa_utf8_valid(result))
        ck_abort_msg("\"%s\" is not valid", out);
    if (cap >= FAA_UTF8_CLEAN_MAX(in.n) && faa_utf8_valid(input) != faa_str_eq(in, result))
        ck_abort_msg("\"%s\" was %s", out, faa_utf8_valid(input) ? "valid" : "invalid");
    free(copy);
    free(out);
}

START_TEST(valid_text_stays_as_it_is)
{
    static const struct faa_str texts[] = {
        FAA_STR(""),
        FAA_STR("a"),
        FAA_STR("plain text of some length, over eight bytes\x7f\x01"),
        FAA_STR("\xc2\x80 \xdf\xbf"),
        FAA_STR("\xe0\xa0\x80 \xed\x9f\xbf \xee\x80\x80 \xef\xbf\xbf"),
        FAA_STR("\xf0\x90\x80\x80 \xf4\x8f\xbf\xbf"),
        FAA_STR("12345678\xc3\xa9"
                "12345678\xe2\x82\xac"
                "1234567\xf0\x9f\x98\x80")};
    for (size_t i = 0; i < FAA_COUNT(texts); i++)
        check_clean(texts[i], FAA_UTF8_CLEAN_MAX(texts[i].n), texts[i]);
}
END_TEST

START_TEST(each_invalid_byte_becomes_the_replacement_character)
{
    static const struct {
        struct faa_str in, out;
    } cases[] = {
        {FAA_STR("\0"), FAA_STR(BAD)},
        {FAA_STR("1234567\0"
                 "1234567\0"),
         FAA_STR("1234567" BAD "1234567" BAD)},
        {FAA_STR("a\x80z"), FAA_STR("a" BAD "z")},
        {FAA_STR("\xc0\xaf"), FAA_STR(BAD BAD)}, // Overlong.
        {FAA_STR("\xc1\xbf"), FAA_STR(BAD BAD)},
        {FAA_STR("\xe0\x9f\xbf"), FAA_STR(BAD BAD BAD)},
        {FAA_STR("\xf0\x8f\xbf\xbf"), FAA_STR(BAD BAD BAD BAD)},
        {FAA_STR("\xed\xa0\x80"), FAA_STR(BAD BAD BAD)}, // A surrogate.
        {FAA_STR("\xed\xbf\xbf"), FAA_STR(BAD BAD BAD)},
        {FAA_STR("\xf4\x90\x80\x80"), FAA_STR(BAD BAD BAD BAD)}, // Above U+10FFFF.
        {FAA_STR("\xf5\x80\x80\x80"), FAA_STR(BAD BAD BAD BAD)},
        {FAA_STR("\xfe\xff"), FAA_STR(BAD BAD)},
        {FAA_STR("\xe2\x82"), FAA_STR(BAD BAD)}, // Cut off.
        {FAA_STR("\xe2\x82z"), FAA_STR(BAD BAD "z")},
        {FAA_STR("\xf0\x9f\x98"), FAA_STR(BAD BAD BAD)},
        {FAA_STR("\xe2\x28\xa1"), FAA_STR(BAD "\x28" BAD)},
    };
    for (size_t i = 0; i < FAA_COUNT(cases); i++)
        check_clean(cases[i].in, FAA_UTF8_CLEAN_MAX(cases[i].in.n), cases[i].out);
}
END_TEST

START_TEST(text_is_cut_on_a_character_boundary)
{
    const struct faa_str text = FAA_STR("ab\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z");
    const size_t kept[] = {0, 0, 1, 2, 2, 4, 4, 4, 7, 7, 7, 7, 11, 12, 12};
    for (size_t cap = 1; cap < FAA_COUNT(kept); cap++) {
        struct faa_str expected = {text.p, kept[cap]};
        check_clean(text, cap, expected);
    }
    check_clean(FAA_STR("a\xff"), 4, FAA_STR("a"));
    check_clean(FAA_STR("a\xff"), 5, FAA_STR("a" BAD));
    check_clean(FAA_STR("a\xff"), 1, FAA_STR(""));
}
END_TEST

// A decoder that knows nothing but the definition: decode, then look whether the value may be.
static size_t slow_sequence(const unsigned char *p, size_t n)
{
    static const uint32_t least[] = {0, 1, 0x80, 0x800, 0x10000};
    size_t len = p[0] < 0x80 ? 1 : 0;
    len = p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : len;
    if (len == 0 || len > n)
        return 0;
    uint32_t value = len == 1 ? p[0] : p[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if (p[i] >> 6 != 2)
            return 0;
        value = value << 6 | (p[i] & 0x3f);
    }
    return value < least[len] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000) ? 0 : len;
}

START_TEST(random_bytes_give_what_a_slow_decoder_gives)
{
    // Bytes that meet the edges of the table often.
    static const unsigned char edge[] = {0x00, 0x01, 0x41, 0x7f, 0x80, 0x8f, 0x90,
                                         0x9f, 0xa0, 0xbf, 0xc1, 0xc2, 0xdf, 0xe0,
                                         0xe1, 0xed, 0xef, 0xf0, 0xf3, 0xf4, 0xf5};
    for (uint64_t seed = 0; seed < 200000; seed++) {
        unsigned char in[40];
        char expected[128];
        size_t n = faa_random_mix(seed) % sizeof(in), o = 0;
        for (size_t i = 0; i < n; i++) {
            uint64_t r = faa_random_mix(seed << 8 | i);
            in[i] = r % 3 == 0 ? 'x' : edge[(r >> 8) % sizeof(edge)];
        }
        size_t cap = 1 + faa_random_mix(~seed) % sizeof(expected);
        for (size_t i = 0; i < n;) {
            size_t len = slow_sequence(in + i, n - i), put = len ? len : 3;
            if (o + put >= cap)
                break;
            memcpy(expected + o, len ? (char *)in + i : BAD, put);
            o += put;
            i += len ? len : 1;
        }
        check_clean((struct faa_str){(char *)in, n}, cap, (struct faa_str){expected, o});
    }
}
END_TEST

START_TEST(ascii_is_copied_whole_and_anything_else_is_told)
{
    for (size_t n = 0; n < 40; n++) {
        // Blocks of the exact sizes, so that a sanitizer sees a byte too far.
        char *in = malloc(n ? n : 1), *out = malloc(FAA_UTF8_WORDS(n));
        ck_assert(in && out);
        for (size_t i = 0; i < n; i++)
            in[i] = (char)(1 + (i * 61) % 127);
        struct faa_str text = {in, n};
        memset(out, 'x', FAA_UTF8_WORDS(n));
        ck_assert_int_eq(faa_utf8_copy_ascii(text, out), 1);
        if (n)
            ck_assert_mem_eq(out, in, n);
        for (size_t i = n; i < FAA_UTF8_WORDS(n); i++)
            ck_assert_int_eq(out[i], 0);
        for (size_t i = 0; i < n; i++) {
            char saved = in[i];
            in[i] = '\0';
            ck_assert_int_eq(faa_utf8_copy_ascii(text, out), 0);
            in[i] = '\x80';
            ck_assert_int_eq(faa_utf8_copy_ascii(text, out), 0);
            in[i] = '\xff';
            ck_assert_int_eq(faa_utf8_copy_ascii(text, out), 0);
            in[i] = saved;
        }
        free(in);
        free(out);
    }
    ck_assert_uint_eq(FAA_UTF8_WORDS(0), 8);
    ck_assert_uint_eq(FAA_UTF8_WORDS(7), 8);
    ck_assert_uint_eq(FAA_UTF8_WORDS(8), 16);
}
END_TEST

START_TEST(a_prefix_counts_characters)
{
    // One, two, three and four bytes.
    struct faa_str text = FAA_STR("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z");
    static const size_t ends[] = {0, 1, 3, 6, 10, 11, 11, 11};
    for (size_t chars = 0; chars < FAA_COUNT(ends); chars++)
        ck_assert_uint_eq(faa_utf8_prefix(text, chars), ends[chars]);
    ck_assert_uint_eq(faa_utf8_prefix(text, SIZE_MAX), text.n);
    ck_assert_uint_eq(faa_utf8_prefix((struct faa_str){NULL, 0}, 3), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("utf8");
    TCase *cases = tcase_create("utf8");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, valid_text_stays_as_it_is);
    tcase_add_test(cases, each_invalid_byte_becomes_the_replacement_character);
    tcase_add_test(cases, text_is_cut_on_a_character_boundary);
    tcase_add_test(cases, ascii_is_copied_whole_and_anything_else_is_told);
    tcase_add_test(cases, a_prefix_counts_characters);
    tcase_add_test(cases, random_bytes_give_what_a_slow_decoder_gives);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

// SPDX-License-Identifier: MIT
// Reading records: damaged ones are refused or read within their bounds.
#include "span/record.h"

#include "base/random.h"
#include "base/utf8.h"
#include "span/semconv.h"

#include <check.h>
#include <stdlib.h>

// A record put together by hand, so that nothing but the format's description is trusted.
struct builder {
    union {
        struct faa_record head;
        char bytes[2048];
    } u;
    size_t len;
};

static void put(struct builder *b, const void *p, size_t n)
{
    ck_assert_uint_le(b->len + n + 8, sizeof(b->u.bytes));
    memcpy(b->u.bytes + b->len, p, n);
    b->len += n;
}

static void put_item(struct builder *b, struct faa_item item, const void *value)
{
    put(b, &item, sizeof(item));
    put(b, value, item.len);
    put(b, "\0\0\0\0\0\0\0", 8 - item.len % 8); // The NUL and the padding.
    b->u.head.size = (uint32_t)b->len;
}

static void build_header(struct builder *b)
{
    memset(b, 0, sizeof(*b));
    b->u.head = (struct faa_record){.kind = FAA_KIND_SERVER,
                                    .status = FAA_STATUS_ERROR,
                                    .start_ns = 1000,
                                    .end_ns = 2000,
                                    .flags = FAA_FLAG_SAMPLED,
                                    .name_len = 4,
                                    .scope_len = 5,
                                    .tracestate_len = 3,
                                    .message_len = 4};
    b->u.head.trace_id[15] = 1;
    b->u.head.span_id[0] = 1;
    b->len = sizeof(struct faa_record);
    put(b, "name\0scope\0a=b\0oops", 20); // 20 bytes with the last NUL, and 4 of padding.
    put(b, "\0\0\0\0", 4);
    b->u.head.size = (uint32_t)b->len;
}

static void build(struct builder *b)
{
    const int64_t number = -5, yes = 1;
    build_header(b);
    put_item(b, (struct faa_item){FAA_ITEM_STR, 0, FAA_KEY_URL_PATH, 6}, "/a/b/c");
    put_item(b, (struct faa_item){FAA_ITEM_INT, 0, FAA_KEY_SERVER_PORT, 8}, &number);
    put_item(b, (struct faa_item){FAA_ITEM_BOOL, 0, FAA_KEY_URL_SCHEME, 8}, &yes);
    put_item(b, (struct faa_item){FAA_ITEM_EVENT, 0, 12345, 13}, "\x01\0\0\0\0\0\0\0event");
    put_item(b, (struct faa_item){FAA_ITEM_STR, 1, FAA_KEY_EXCEPTION_TYPE, 3}, "\xe2\x82\xac");
    put_item(b, (struct faa_item){FAA_ITEM_HEADER, 0, FAA_KEY_HTTP_REQUEST_HEADER, 8},
             "x-a\n1\n\n2");
    b->u.head.item_count = 6;
}

// Opens a copy in a heap block of the exact size, so that a sanitizer sees a byte too far, and
// reads all of it. 0, or -1 when it was refused.
static int read_all(const void *bytes, size_t size)
{
    char *copy = malloc(size ? size : 1);
    struct faa_record_view view;
    struct faa_item_view item;
    unsigned count = 0;
    memcpy(copy, bytes, size);
    int result = faa_record_open(copy, size, &view);
    if (result == 0) {
        const struct faa_str strings[] = {view.name, view.scope, view.tracestate, view.message};
        for (size_t i = 0; i < FAA_COUNT(strings); i++)
            if (strlen(strings[i].p) != strings[i].n || !faa_utf8_valid(strings[i]))
                ck_abort_msg("string %zu is not as promised", i);
        int found;
        while ((found = faa_record_next(&view, &item)) > 0) {
            count++;
            if (item.str.n > 0 && strlen(item.str.p) != item.str.n)
                ck_abort_msg("item %u is not terminated", count);
            if (item.type != FAA_ITEM_EVENT && faa_key_name(item.key)[0] == '\0')
                ck_abort_msg("item %u has no key", count);
        }
        if (found < 0 || count != view.record->item_count)
            ck_abort_msg("an opened record did not read to its end");
    }
    free(copy);
    return result;
}

START_TEST(a_record_is_read_as_it_is_described)
{
    struct builder b;
    struct faa_record_view view;
    struct faa_item_view item;
    build(&b);
    ck_assert_int_eq(faa_record_open(&b, b.len, &view), 0);
    ck_assert_ptr_eq(view.record, &b.u.head);
    ck_assert(faa_str_eq(view.name, FAA_STR("name")));
    ck_assert(faa_str_eq(view.scope, FAA_STR("scope")));
    ck_assert(faa_str_eq(view.tracestate, FAA_STR("a=b")));
    ck_assert(faa_str_eq(view.message, FAA_STR("oops")));
    ck_assert_int_eq(faa_record_next(&view, &item), 1);
    ck_assert(item.type == FAA_ITEM_STR && item.key == FAA_KEY_URL_PATH && !item.of_event);
    ck_assert(faa_str_eq(item.str, FAA_STR("/a/b/c")));
    ck_assert_int_eq(faa_record_next(&view, &item), 1);
    ck_assert(item.type == FAA_ITEM_INT && item.key == FAA_KEY_SERVER_PORT && item.number == -5);
    ck_assert_int_eq(faa_record_next(&view, &item), 1);
    ck_assert(item.type == FAA_ITEM_BOOL && item.key == FAA_KEY_URL_SCHEME && item.number == 1);
    ck_assert_int_eq(faa_record_next(&view, &item), 1);
    ck_assert(item.type == FAA_ITEM_EVENT && item.key == FAA_KEY_NONE && item.number == 1);
    ck_assert_uint_eq(item.dropped, 12345);
    ck_assert(faa_str_eq(item.str, FAA_STR("event")));
    ck_assert_int_eq(faa_record_next(&view, &item), 1);
    ck_assert(item.type == FAA_ITEM_STR && item.of_event && item.key == FAA_KEY_EXCEPTION_TYPE);
    ck_assert_uint_eq(item.dropped, 0);
    ck_assert_int_eq(faa_record_next(&view, &item), 1);
    ck_assert(item.type == FAA_ITEM_HEADER && item.key == FAA_KEY_HTTP_REQUEST_HEADER);
    ck_assert(!item.of_event && faa_str_eq(item.str, FAA_STR("x-a\n1\n\n2")));
    ck_assert_int_eq(faa_record_next(&view, &item), 0);
    ck_assert_int_eq(faa_record_next(&view, &item), 0);
}
END_TEST

START_TEST(a_record_without_items_is_one)
{
    struct builder b;
    build_header(&b);
    ck_assert_int_eq(read_all(&b, b.len), 0);
}
END_TEST

START_TEST(impossible_headers_are_refused)
{
    struct builder b;
#define REFUSED(change)                                                                            \
    do {                                                                                           \
        build(&b);                                                                                 \
        change;                                                                                    \
        ck_assert_msg(read_all(&b, b.len) == -1, #change);                                         \
    } while (0)
    REFUSED(b.u.head.size += 8);
    REFUSED(b.u.head.size -= 8);
    REFUSED(b.u.head.kind = 0);
    REFUSED(b.u.head.kind = FAA_KIND_CONSUMER + 1);
    REFUSED(b.u.head.status = FAA_STATUS_ERROR + 1);
    REFUSED(b.u.head.end_ns = b.u.head.start_ns - 1);
    REFUSED(b.u.head.trace_id[15] = 0);
    REFUSED(b.u.head.span_id[0] = 0);
    REFUSED(b.u.head.item_count--);
    REFUSED(b.u.head.item_count++);
    REFUSED(b.u.head.name_len = UINT16_MAX);
    REFUSED(b.u.head.scope_len++);
    REFUSED(b.u.head.tracestate_len = 2);
    REFUSED(b.u.head.message_len = 3);
    REFUSED(b.u.bytes[sizeof(struct faa_record)] = '\xff'); // Not UTF-8.
    REFUSED(b.u.bytes[sizeof(struct faa_record) + 1] = '\0');
#undef REFUSED
    build(&b);
    struct faa_record_view view;
    ck_assert_int_eq(faa_record_open(b.u.bytes + 4, b.len - 8, &view), -1); // Not aligned.
}
END_TEST

START_TEST(impossible_items_are_refused)
{
    static const char value[64] = "1234567812345678";
    static const struct faa_item items[] = {
        {0, 0, FAA_KEY_URL_PATH, 8},
        {FAA_ITEM_HEADER + 1, 0, FAA_KEY_URL_PATH, 8},
        {FAA_ITEM_HEADER, 1, FAA_KEY_HTTP_REQUEST_HEADER, 8},
        {FAA_ITEM_HEADER, 0, FAA_KEY_NONE, 8},
        {FAA_ITEM_HEADER, 0, FAA_KEY_COUNT, 8},
        {FAA_ITEM_HEADER, 0, FAA_KEY_HTTP_REQUEST_HEADER, 17}, // With a NUL inside.
        {FAA_ITEM_STR, 0, FAA_KEY_NONE, 8},
        {FAA_ITEM_STR, 0, FAA_KEY_COUNT, 8},
        {FAA_ITEM_STR, 2, FAA_KEY_URL_PATH, 8},
        {FAA_ITEM_STR, 1, FAA_KEY_URL_PATH, 8},  // Of no event.
        {FAA_ITEM_STR, 0, FAA_KEY_URL_PATH, 17}, // With a NUL inside.
        {FAA_ITEM_INT, 0, FAA_KEY_URL_PATH, 7},
        {FAA_ITEM_INT, 0, FAA_KEY_URL_PATH, 16},
        {FAA_ITEM_BOOL, 0, FAA_KEY_URL_PATH, 0},
        {FAA_ITEM_EVENT, 0, FAA_KEY_NONE, 7},
        {FAA_ITEM_EVENT, 1, FAA_KEY_NONE, 8},
    };
    for (size_t i = 0; i < FAA_COUNT(items); i++) {
        struct builder b;
        build_header(&b);
        put_item(&b, items[i], value);
        b.u.head.item_count = 1;
        ck_assert_msg(read_all(&b, b.len) == -1, "item %zu", i);
    }
    // A length that reaches past the end, by little and by much.
    static const uint32_t lengths[] = {8, 15, 16, 4096, UINT32_MAX - 8, UINT32_MAX};
    for (size_t i = 0; i < FAA_COUNT(lengths); i++) {
        struct builder b;
        build_header(&b);
        size_t at = b.len;
        put_item(&b, (struct faa_item){FAA_ITEM_STR, 0, FAA_KEY_URL_PATH, 7}, "1234567");
        b.u.head.item_count = 1;
        ck_assert_int_eq(read_all(&b, b.len), 0);
        ((struct faa_item *)(void *)(b.u.bytes + at))->len = lengths[i];
        ck_assert_msg(read_all(&b, b.len) == -1, "length %u", lengths[i]);
    }
}
END_TEST

START_TEST(every_truncation_is_refused)
{
    struct builder b;
    build(&b);
    ck_assert_int_eq(read_all(&b, b.len), 0);
    for (size_t n = 0; n < b.len; n++) {
        b.u.head.size = (uint32_t)b.len;
        if (read_all(&b, n) != -1)
            ck_abort_msg("%zu bytes of %zu were accepted", n, b.len);
        b.u.head.size = (uint32_t)n; // It may even say so.
        if (read_all(&b, n) != -1)
            ck_abort_msg("a record of %zu bytes was accepted", n);
    }
}
END_TEST

START_TEST(every_flipped_bit_is_refused_or_read_within_bounds)
{
    struct builder b;
    build(&b);
    for (size_t bit = 0; bit < 8 * b.len; bit++) {
        b.u.bytes[bit / 8] ^= (char)(1 << bit % 8);
        (void)read_all(&b, b.len);
        b.u.bytes[bit / 8] ^= (char)(1 << bit % 8);
    }
}
END_TEST

START_TEST(random_damage_is_refused_or_read_within_bounds)
{
    struct builder good, b;
    build(&good);
    for (uint64_t seed = 0; seed < 100000; seed++) {
        b = good;
        for (uint64_t i = 0; i <= seed % 8; i++) {
            uint64_t r = faa_random_mix(seed << 8 | i);
            // Small numbers pass for lengths and types more often.
            b.u.bytes[r % b.len] = (char)(r >> 32 & 1 ? r >> 40 & 15 : r >> 40);
        }
        (void)read_all(&b, b.len);
    }
}
END_TEST

START_TEST(keys_have_names)
{
    ck_assert_str_eq(faa_key_name(FAA_KEY_URL_PATH), "url.path");
    ck_assert_str_eq(faa_key_name(FAA_KEY_NONE), "");
    ck_assert_str_eq(faa_key_name(FAA_KEY_COUNT), "");
    ck_assert_str_eq(faa_key_name(UINT32_MAX), "");
    for (unsigned key = 1; key < FAA_KEY_COUNT; key++)
        ck_assert_str_ne(faa_key_name(key), "");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("record");
    TCase *cases = tcase_create("record");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, a_record_is_read_as_it_is_described);
    tcase_add_test(cases, a_record_without_items_is_one);
    tcase_add_test(cases, impossible_headers_are_refused);
    tcase_add_test(cases, impossible_items_are_refused);
    tcase_add_test(cases, every_truncation_is_refused);
    tcase_add_test(cases, every_flipped_bit_is_refused_or_read_within_bounds);
    tcase_add_test(cases, random_damage_is_refused_or_read_within_bounds);
    tcase_add_test(cases, keys_have_names);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

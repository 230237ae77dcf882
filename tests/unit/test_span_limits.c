// SPDX-License-Identifier: MIT
// The standard's limits: what they cut, what they leave out, and that all of it is counted.
#include "base/utf8.h"
#include "tests/unit/span_ring.h"

static struct faa_span span;
static struct faa_record_view view;

static const struct faa_span_limits none = {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX,
                                            UINT32_MAX};

static void begin(struct faa_span_limits limits)
{
    faa_span_set_limits(&limits);
    faa_span_start(&span, FAA_KIND_SERVER, "t", NULL);
}

static void end(void)
{
    end_and_take(&span, &view);
    faa_span_fini(&span);
}

static struct faa_item_view next(void)
{
    return next_item(&view);
}

static void check_end(void)
{
    struct faa_item_view item;
    ck_assert_int_eq(faa_record_next(&view, &item), 0);
}

static void check_cut(struct faa_str value, uint32_t length, const char *wanted)
{
    struct faa_span_limits limits = none;
    limits.value_length = length;
    begin(limits);
    faa_span_set_str(&span, FAA_KEY_URL_PATH, value);
    faa_span_set_int(&span, FAA_KEY_SERVER_PORT, 80);
    end();
    struct faa_item_view item = next();
    ck_assert_str_eq(item.str.p, wanted);
    ck_assert_uint_eq(item.str.n, strlen(wanted));
    ck_assert_int_eq(next().number, 80);
    check_end();
    // A value that is cut is not left out.
    ck_assert_uint_eq(view.record->dropped_attributes, 0);
}

START_TEST(a_length_counts_characters_and_not_bytes)
{
    check_cut(FAA_STR("abcdefghij"), 10, "abcdefghij");
    check_cut(FAA_STR("abcdefghij"), 9, "abcdefghi");
    check_cut(FAA_STR("abcdefghij"), 1, "a");
    check_cut(FAA_STR("abcdefghij"), 0, "");
    check_cut(FAA_STR("\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"), 3,
              "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac");
    check_cut(FAA_STR("\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"), 2, "\xe2\x82\xac\xe2\x82\xac");
    check_cut(FAA_STR("x\xf0\x9f\x98\x80y\xf0\x9f\x98\x80"), 3, "x\xf0\x9f\x98\x80y");
    check_cut(FAA_STR("x\xf0\x9f\x98\x80y"), 0, "");
    // What replaces an invalid byte is a character.
    check_cut(FAA_STR("\xff\xff\xff"), 2, "\xef\xbf\xbd\xef\xbf\xbd");
    check_cut(FAA_STR("a\0b"), 2, "a\xef\xbf\xbd");
}
END_TEST

START_TEST(each_value_of_a_header_has_the_length_and_its_name_has_none)
{
    const struct faa_str values[] = {FAA_STR("abcdef"), FAA_STR("\xe2\x82\xac\xe2\x82\xac"),
                                     FAA_STR("\xff\xff\xff"), FAA_STR("a")};
    struct faa_span_limits limits = none;
    limits.value_length = 1;
    begin(limits);
    faa_span_set_header(&span, FAA_KEY_HTTP_REQUEST_HEADER, FAA_STR("name"), values, 4);
    end();
    ck_assert_str_eq(next().str.p, "name\na\n\xe2\x82\xac\n\xef\xbf\xbd\na");
    check_end();
    ck_assert_uint_eq(view.record->dropped_attributes, 0);
    limits.attributes = 0;
    begin(limits);
    faa_span_set_header(&span, FAA_KEY_HTTP_REQUEST_HEADER, FAA_STR("name"), values, 1);
    end();
    check_end();
    ck_assert_uint_eq(view.record->dropped_attributes, 1);
}
END_TEST

// Against a plain count, for texts whose ends fall everywhere.
START_TEST(any_text_is_cut_where_a_plain_count_says)
{
    static const char *const pieces[] = {"a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    for (unsigned seed = 0; seed < 400; seed++) {
        char text[256], wanted[256];
        size_t text_len = 0, wanted_len = 0;
        uint32_t limit = seed % 40;
        for (unsigned i = 0; i < 1 + seed % 50; i++) {
            const char *piece = pieces[(seed * 7 + i * i * 13) % FAA_COUNT(pieces)];
            size_t n = strlen(piece);
            memcpy(text + text_len, piece, n);
            text_len += n;
            if (i < limit)
                memcpy(wanted + wanted_len, piece, n);
            wanted_len += i < limit ? n : 0;
        }
        wanted[wanted_len] = '\0';
        check_cut((struct faa_str){text, text_len}, limit, wanted);
    }
}
END_TEST

START_TEST(events_have_a_length_limit_of_their_own)
{
    struct faa_span_limits limits = none;
    limits.value_length = 3;
    limits.event_value_length = 5;
    begin(limits);
    faa_span_set_str(&span, FAA_KEY_URL_PATH, FAA_STR("abcdefgh"));
    faa_span_add_event(&span, FAA_STR("a name has no limit"));
    faa_span_event_set_str(&span, FAA_KEY_EXCEPTION_TYPE, FAA_STR("abcdefgh"));
    faa_span_set_status(&span, FAA_STATUS_ERROR, FAA_STR("nor has a status"));
    end();
    ck_assert_str_eq(next().str.p, "abc");
    ck_assert_str_eq(next().str.p, "a name has no limit");
    ck_assert_str_eq(next().str.p, "abcde");
    ck_assert_str_eq(view.message.p, "nor has a status");
}
END_TEST

START_TEST(attributes_over_the_limit_are_counted)
{
    struct faa_span_limits limits = none;
    limits.attributes = 3;
    begin(limits);
    faa_span_set_str(&span, FAA_KEY_URL_PATH, FAA_STR("/"));
    faa_span_set_int(&span, FAA_KEY_SERVER_PORT, 1);
    faa_span_set_bool(&span, FAA_KEY_HTTP_ROUTE, 1);
    faa_span_set_str(&span, FAA_KEY_URL_QUERY, FAA_STR("q"));
    faa_span_set_int(&span, FAA_KEY_CLIENT_PORT, 2);
    faa_span_set_bool(&span, FAA_KEY_URL_SCHEME, 0);
    // Events have limits of their own.
    faa_span_add_event(&span, FAA_STR("event"));
    faa_span_event_set_int(&span, FAA_KEY_SERVER_PORT, 7);
    end();
    ck_assert_uint_eq(view.record->item_count, 5);
    ck_assert_uint_eq(view.record->dropped_attributes, 3);
    ck_assert_uint_eq(view.record->dropped_events, 0);
    ck_assert_uint_eq(next().key, FAA_KEY_URL_PATH);
    ck_assert_uint_eq(next().key, FAA_KEY_SERVER_PORT);
    ck_assert_uint_eq(next().key, FAA_KEY_HTTP_ROUTE);
    ck_assert_uint_eq(next().dropped, 0);
    ck_assert_int_eq(next().number, 7);
    check_end();
}
END_TEST

START_TEST(events_over_the_limit_are_counted_with_what_belongs_to_them)
{
    struct faa_span_limits limits = none;
    limits.events = 2;
    limits.event_attributes = 1;
    begin(limits);
    for (int i = 0; i < 5; i++) {
        faa_span_add_event(&span, FAA_STR("event"));
        for (int k = 0; k <= i; k++)
            faa_span_event_set_int(&span, FAA_KEY_SERVER_PORT, 10 * i + k);
        faa_span_event_set_str(&span, FAA_KEY_URL_PATH, FAA_STR("last"));
    }
    end();
    ck_assert_uint_eq(view.record->dropped_events, 3);
    ck_assert_uint_eq(view.record->dropped_attributes, 0);
    for (int i = 0; i < 2; i++) {
        struct faa_item_view event = next();
        ck_assert_int_eq(event.type, FAA_ITEM_EVENT);
        ck_assert_uint_eq(event.dropped, (unsigned)i + 1);
        ck_assert_int_eq(next().number, 10 * i);
    }
    check_end();
}
END_TEST

START_TEST(a_limit_of_zero_leaves_the_bare_span)
{
    begin((struct faa_span_limits){0, 0, 0, 0, 0});
    faa_span_set_name(&span, FAA_STR("name"));
    faa_span_set_str(&span, FAA_KEY_URL_PATH, FAA_STR("/"));
    faa_span_add_event(&span, FAA_STR("event"));
    faa_span_event_set_str(&span, FAA_KEY_URL_PATH, FAA_STR("/"));
    end();
    ck_assert_str_eq(view.name.p, "name");
    ck_assert_uint_eq(view.record->item_count, 0);
    ck_assert_uint_eq(view.record->dropped_attributes, 1);
    ck_assert_uint_eq(view.record->dropped_events, 1);
}
END_TEST

START_TEST(a_limit_never_raises_the_ceilings)
{
    static char text[2 * FAA_SPAN_VALUE_MAX];
    memset(text, 'a', sizeof(text));
    begin(none);
    faa_span_set_str(&span, FAA_KEY_URL_PATH, (struct faa_str){text, sizeof(text)});
    for (int i = 0; i < FAA_SPAN_COUNT_MAX; i++)
        faa_span_set_int(&span, FAA_KEY_SERVER_PORT, i);
    for (int i = 0; i < FAA_SPAN_COUNT_MAX + 2; i++)
        faa_span_add_event(&span, FAA_STR("event"));
    end();
    ck_assert_uint_eq(next().str.n, FAA_SPAN_VALUE_MAX);
    ck_assert_uint_eq(view.record->dropped_attributes, 1);
    ck_assert_uint_eq(view.record->dropped_events, 2);
}
END_TEST

START_TEST(counts_that_are_too_large_stay_at_the_largest)
{
    struct faa_span_limits limits = none;
    limits.events = 1;
    limits.event_attributes = 0;
    begin(limits);
    faa_span_add_event(&span, FAA_STR("event"));
    for (int i = 0; i < UINT16_MAX + 10; i++)
        faa_span_event_set_int(&span, FAA_KEY_SERVER_PORT, i);
    for (int i = 0; i < UINT16_MAX + 10; i++)
        faa_span_add_event(&span, FAA_STR("event"));
    end();
    ck_assert_uint_eq(view.record->dropped_events, UINT16_MAX);
    ck_assert_uint_eq(next().dropped, UINT16_MAX);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("span limits");
    TCase *cases = tcase_create("span limits");
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, span_ring_setup, span_ring_teardown);
    tcase_add_test(cases, a_length_counts_characters_and_not_bytes);
    tcase_add_test(cases, each_value_of_a_header_has_the_length_and_its_name_has_none);
    tcase_add_test(cases, any_text_is_cut_where_a_plain_count_says);
    tcase_add_test(cases, events_have_a_length_limit_of_their_own);
    tcase_add_test(cases, attributes_over_the_limit_are_counted);
    tcase_add_test(cases, events_over_the_limit_are_counted_with_what_belongs_to_them);
    tcase_add_test(cases, a_limit_of_zero_leaves_the_bare_span);
    tcase_add_test(cases, a_limit_never_raises_the_ceilings);
    tcase_add_test(cases, counts_that_are_too_large_stay_at_the_largest);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

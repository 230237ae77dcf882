// SPDX-License-Identifier: MIT
// The user's rules in spans: recorded headers, and what lies below a request that is not traced.
#include "tests/unit/span_ring.h"

static struct faa_str header_of(const struct faa_str *values, size_t count)
{
    static struct faa_record_view view;
    struct faa_span span;
    faa_span_start(&span, FAA_KIND_SERVER, "t", NULL);
    faa_span_set_header(&span, FAA_KEY_HTTP_REQUEST_HEADER, FAA_STR("X-Name"), values, count);
    end_and_take(&span, &view);
    faa_span_fini(&span);
    ck_assert_uint_eq(view.record->item_count, 1);
    ck_assert_uint_eq(view.record->dropped_attributes, 0);
    struct faa_item_view item = next_item(&view);
    ck_assert_int_eq(item.type, FAA_ITEM_HEADER);
    ck_assert_int_eq(item.of_event, 0);
    ck_assert_uint_eq(item.key, FAA_KEY_HTTP_REQUEST_HEADER);
    return item.str;
}

START_TEST(a_header_is_its_name_in_lower_case_and_its_values)
{
    const struct faa_str values[] = {FAA_STR("one"), FAA_STR(""), FAA_STR("Two, Three")};
    check_str(header_of(values, 3), "x-name\none\n\nTwo, Three");
    check_str(header_of(values, 1), "x-name\none");
    check_str(header_of(values + 1, 1), "x-name\n");
    check_str(header_of(NULL, 0), "x-name");
}
END_TEST

START_TEST(a_value_cannot_begin_another_one)
{
    const struct faa_str values[] = {FAA_STR("one\ntwo\n\n"), FAA_STR("\n"), FAA_STR("a\0b"),
                                     FAA_STR("caf\xe9")};
    check_str(header_of(values, 4), "x-name\none two  \n \na\xef\xbf\xbd"
                                    "b\ncaf\xef\xbf\xbd");
}
END_TEST

START_TEST(a_headers_name_has_a_length_and_a_newline_in_it_is_a_blank)
{
    static char name[FAA_SPAN_HEADER_MAX + 1];
    static const struct faa_str value = FAA_STR("v");
    struct faa_record_view view;
    struct faa_span span;
    memset(name, 'N', sizeof(name));
    faa_span_start(&span, FAA_KIND_SERVER, "t", NULL);
    faa_span_set_header(&span, FAA_KEY_HTTP_REQUEST_HEADER, (struct faa_str){name, sizeof(name)},
                        &value, 1);
    faa_span_set_header(&span, FAA_KEY_HTTP_REQUEST_HEADER, FAA_STR(""), &value, 1);
    faa_span_set_header(&span, FAA_KEY_HTTP_REQUEST_HEADER,
                        (struct faa_str){name, sizeof(name) - 1}, &value, 1);
    faa_span_set_header(&span, FAA_KEY_HTTP_RESPONSE_HEADER, FAA_STR("a\nB"), &value, 1);
    end_and_take(&span, &view);
    faa_span_fini(&span);
    ck_assert_uint_eq(view.record->dropped_attributes, 2);
    ck_assert_uint_eq(view.record->item_count, 2);
    struct faa_item_view item = next_item(&view);
    ck_assert_uint_eq(item.str.n, FAA_SPAN_HEADER_MAX + 2);
    ck_assert_int_eq(item.str.p[0], 'n');
    ck_assert_str_eq(item.str.p + FAA_SPAN_HEADER_MAX, "\nv");
    check_str(next_item(&view).str, "a b\nv");
}
END_TEST

START_TEST(the_values_of_a_header_share_one_ceiling)
{
    static char text[2 * FAA_SPAN_VALUE_MAX];
    struct faa_str values[100];
    // Three bytes each, so that the end falls inside a character.
    for (size_t i = 0; i + 3 <= sizeof(text); i += 3)
        memcpy(text + i, "\xe2\x82\xac", 3);
    for (size_t i = 0; i < FAA_COUNT(values); i++)
        values[i] = (struct faa_str){text, 300};
    struct faa_str told = header_of(values, FAA_COUNT(values));
    ck_assert_uint_le(told.n, FAA_SPAN_VALUE_MAX);
    ck_assert_uint_gt(told.n, FAA_SPAN_VALUE_MAX - 4);
    ck_assert_ptr_null(strstr(told.p, "\xef\xbf\xbd")); // No half character.
    size_t count = 0;
    for (const char *p = told.p; (p = strchr(p, '\n')) != NULL; p++)
        count++;
    ck_assert_uint_eq(count, (FAA_SPAN_VALUE_MAX - 6 + 300) / 301);
    values[0] = (struct faa_str){text, sizeof(text) - 1};
    told = header_of(values, 2);
    ck_assert_uint_le(told.n, FAA_SPAN_VALUE_MAX);
    ck_assert_uint_gt(told.n, FAA_SPAN_VALUE_MAX - 4);
    memset(text, '\xff', sizeof(text));
    told = header_of(values, 1);
    ck_assert_uint_le(told.n, FAA_SPAN_VALUE_MAX);
    ck_assert_uint_gt(told.n, FAA_SPAN_VALUE_MAX - 4);
}
END_TEST

START_TEST(headers_count_as_attributes_and_need_room_as_they_do)
{
    static char text[FAA_SPAN_VALUE_MAX];
    static const struct faa_str small = FAA_STR("v");
    const struct faa_str large = {text, sizeof(text)};
    struct faa_record_view view;
    struct faa_span span;
    memset(text, 'v', sizeof(text));
    faa_span_start(&span, FAA_KIND_SERVER, "t", NULL);
    for (int i = 0; i < FAA_SPAN_COUNT_MAX + 5; i++)
        faa_span_set_header(&span, FAA_KEY_HTTP_REQUEST_HEADER, FAA_STR("n"), &small, 1);
    end_and_take(&span, &view);
    faa_span_fini(&span);
    ck_assert_uint_eq(view.record->item_count, FAA_SPAN_COUNT_MAX);
    ck_assert_uint_eq(view.record->dropped_attributes, 5);
    faa_span_start(&span, FAA_KIND_SERVER, "t", NULL);
    for (int i = 0; i < 5; i++)
        faa_span_set_header(&span, FAA_KEY_HTTP_REQUEST_HEADER, FAA_STR("n"), &large, 1);
    end_and_take(&span, &view);
    faa_span_fini(&span);
    ck_assert_uint_eq(view.record->item_count, 3);
    ck_assert_uint_eq(view.record->dropped_attributes, 2);
}
END_TEST

static int is_zero(const uint8_t id[16])
{
    static const uint8_t none[16];
    return memcmp(id, none, sizeof(none)) == 0;
}

START_TEST(below_an_excluded_request_nothing_is_recorded_and_nothing_goes_out)
{
    static const struct faa_span_context excluded = {.suppressed = 1};
    static const struct faa_str value = FAA_STR("v");
    struct faa_record_view view;
    struct faa_span span, child, grandchild;
    const struct faa_span *all[] = {&span, &child, &grandchild};
    faa_span_start(&span, FAA_KIND_SERVER, "t", &excluded);
    faa_span_start(&child, FAA_KIND_INTERNAL, "t", &span.context);
    // Another tracer's span that the application makes changes nothing for what is below.
    faa_span_follow(&child, &(struct faa_span_context){.trace_id = {1}, .span_id = {2}});
    faa_span_start(&grandchild, FAA_KIND_CLIENT, "t", &child.context);
    for (size_t i = 0; i < FAA_COUNT(all); i++) {
        ck_assert_int_eq(all[i]->recording, 0);
        ck_assert_int_eq(all[i]->context.suppressed, 1);
        ck_assert_int_eq(!is_zero(all[i]->context.trace_id), i == 1);
    }
    faa_span_set_header(&grandchild, FAA_KEY_HTTP_REQUEST_HEADER, FAA_STR("n"), &value, 1);
    faa_span_set_str(&grandchild, FAA_KEY_URL_PATH, FAA_STR("/"));
    faa_span_end(&grandchild, 0);
    faa_span_end(&child, 0);
    faa_span_end(&span, 0);
    ck_assert_int_eq(take(&view), 0);
    faa_span_fini(&grandchild);
    faa_span_fini(&child);
    faa_span_fini(&span);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("span rules");
    TCase *cases = tcase_create("span rules");
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, span_ring_setup, span_ring_teardown);
    tcase_add_test(cases, a_header_is_its_name_in_lower_case_and_its_values);
    tcase_add_test(cases, a_value_cannot_begin_another_one);
    tcase_add_test(cases, a_headers_name_has_a_length_and_a_newline_in_it_is_a_blank);
    tcase_add_test(cases, the_values_of_a_header_share_one_ceiling);
    tcase_add_test(cases, headers_count_as_attributes_and_need_room_as_they_do);
    tcase_add_test(cases, below_an_excluded_request_nothing_is_recorded_and_nothing_goes_out);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

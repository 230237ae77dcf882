// SPDX-License-Identifier: MIT
// Spans: what is set comes out of the ring, limits hold, and memory that runs out harms nobody.
//
// The source is included with an allocator that fails when a test wants it to.
#include <stdlib.h>

static long allocations_left = -1; // -1: as many as wanted.

static int allocation_fails(void)
{
    if (allocations_left > 0)
        allocations_left--;
    return allocations_left == 0;
}

static void *test_malloc(size_t n)
{
    return allocation_fails() ? NULL : malloc(n);
}

static void *test_realloc(void *p, size_t n)
{
    return allocation_fails() ? NULL : realloc(p, n);
}

#define malloc test_malloc
#define realloc test_realloc
#include "span/span.c"
#undef malloc
#undef realloc

#include "base/random.h"
#include "tests/unit/span_ring.h"

static void setup(void)
{
    allocations_left = -1;
    span_ring_setup();
}

static void check_str_item(struct faa_record_view *view, int of_event, unsigned key,
                           const char *wanted)
{
    struct faa_item_view item = next_item(view);
    ck_assert_int_eq(item.type, FAA_ITEM_STR);
    ck_assert_int_eq(item.of_event, of_event);
    ck_assert_uint_eq(item.key, key);
    check_str(item.str, wanted);
}

static void check_number_item(struct faa_record_view *view, enum faa_item_type type, int of_event,
                              unsigned key, int64_t wanted)
{
    struct faa_item_view item = next_item(view);
    ck_assert_int_eq(item.type, type);
    ck_assert_int_eq(item.of_event, of_event);
    ck_assert_uint_eq(item.key, key);
    ck_assert_int_eq(item.number, wanted);
}

// ---- what comes out ---------------------------------------------------------------------------

START_TEST(what_is_set_comes_out_of_the_ring)
{
    struct faa_span_context parent = remote_parent();
    struct faa_span span;
    struct faa_record_view view;
    struct faa_item_view item;
    faa_span_start(&span, FAA_KIND_SERVER, "faa.test", &parent);
    faa_span_set_name(&span, FAA_STR("GET /items"));
    faa_span_set_str(&span, FAA_KEY_URL_PATH, FAA_STR("/items"));
    faa_span_set_str(&span, FAA_KEY_URL_QUERY, (struct faa_str){NULL, 0});
    faa_span_set_int(&span, FAA_KEY_SERVER_PORT, INT64_MIN);
    faa_span_set_bool(&span, FAA_KEY_HTTP_ROUTE, 42);
    uint64_t before = faa_span_now(&span);
    faa_span_add_event(&span, FAA_STR("exception"));
    uint64_t after = faa_span_now(&span);
    faa_span_event_set_str(&span, FAA_KEY_EXCEPTION_TYPE, FAA_STR("ValueError"));
    faa_span_event_set_int(&span, FAA_KEY_CLIENT_PORT, -1);
    faa_span_set_status(&span, FAA_STATUS_ERROR, FAA_STR("it broke"));
    end_and_take(&span, &view);

    const struct faa_record *record = view.record;
    ck_assert_uint_eq(record->kind, FAA_KIND_SERVER);
    ck_assert_uint_eq(record->status, FAA_STATUS_ERROR);
    ck_assert_mem_eq(record->trace_id, parent.trace_id, 16);
    ck_assert_mem_eq(record->parent_span_id, parent.span_id, 8);
    ck_assert_mem_eq(record->span_id, span.context.span_id, 8);
    ck_assert_uint_eq(record->flags,
                      FAA_FLAG_SAMPLED | FAA_FLAG_HAS_IS_REMOTE | FAA_FLAG_IS_REMOTE);
    ck_assert_uint_eq(record->dropped_attributes, 0);
    ck_assert_uint_eq(record->dropped_events, 0);
    ck_assert_uint_eq(record->item_count, 7);
    ck_assert_uint_ge(record->end_ns, record->start_ns);
    ck_assert_uint_lt(faa_clock_wall_ns() - record->start_ns, 60000000000u);
    check_str(view.name, "GET /items");
    check_str(view.scope, "faa.test");
    check_str(view.tracestate, remote_state);
    check_str(view.message, "it broke");
    check_str_item(&view, 0, FAA_KEY_URL_PATH, "/items");
    check_str_item(&view, 0, FAA_KEY_URL_QUERY, "");
    check_number_item(&view, FAA_ITEM_INT, 0, FAA_KEY_SERVER_PORT, INT64_MIN);
    check_number_item(&view, FAA_ITEM_BOOL, 0, FAA_KEY_HTTP_ROUTE, 1);
    item = next_item(&view);
    ck_assert_int_eq(item.type, FAA_ITEM_EVENT);
    check_str(item.str, "exception");
    ck_assert_uint_ge((uint64_t)item.number, before);
    ck_assert_uint_le((uint64_t)item.number, after);
    check_str_item(&view, 1, FAA_KEY_EXCEPTION_TYPE, "ValueError");
    check_number_item(&view, FAA_ITEM_INT, 1, FAA_KEY_CLIENT_PORT, -1);
    ck_assert_int_eq(faa_record_next(&view, &item), 0);
    faa_span_fini(&span);
}
END_TEST

START_TEST(an_empty_span_is_a_record)
{
    struct faa_span span;
    struct faa_record_view view;
    struct faa_item_view item;
    faa_span_start(&span, FAA_KIND_INTERNAL, NULL, NULL);
    end_and_take(&span, &view);
    check_str(view.name, "");
    check_str(view.scope, "");
    check_str(view.tracestate, "");
    check_str(view.message, "");
    ck_assert_int_eq(faa_record_next(&view, &item), 0);
    faa_span_fini(&span);
}
END_TEST

START_TEST(times_follow_what_the_caller_says_and_never_run_backwards)
{
    struct faa_span span;
    struct faa_record_view view;
    faa_span_start(&span, FAA_KIND_CLIENT, "t", NULL);
    uint64_t begun = span.start_ns;
    faa_span_end(&span, begun + 12345);
    ck_assert_int_eq(take(&view), 1);
    ck_assert_uint_eq(view.record->end_ns, begun + 12345);
    faa_span_fini(&span);

    faa_span_start(&span, FAA_KIND_CLIENT, "t", NULL);
    faa_span_end(&span, 1);
    ck_assert_int_eq(take(&view), 1);
    ck_assert_uint_eq(view.record->end_ns, view.record->start_ns);
    faa_span_fini(&span);
}
END_TEST

START_TEST(a_start_in_the_past_moves_both_clocks)
{
    struct faa_span span;
    struct faa_record_view view;
    faa_span_start(&span, FAA_KIND_INTERNAL, "test", NULL);
    uint64_t wall = span.start_ns, mono = span.start_mono_ns;
    faa_span_set_start(&span, mono - 5000000);
    ck_assert_uint_eq(span.start_ns, wall - 5000000);
    uint64_t now = faa_span_now(&span);
    ck_assert_uint_ge(now, wall); // The time gone by is counted from the new start.
    ck_assert_uint_le(now - wall, faa_clock_mono_ns() - mono);
    end_and_take(&span, &view);
    ck_assert_uint_eq(view.record->start_ns, wall - 5000000);
    ck_assert_uint_ge(view.record->end_ns, wall);
    faa_span_set_start(&span, mono); // It has ended: nothing to move.
    ck_assert_uint_eq(span.start_ns, wall - 5000000);
    faa_span_fini(&span);
}
END_TEST

// ---- status and end ---------------------------------------------------------------------------

START_TEST(an_error_stays_an_error)
{
    struct faa_span span;
    struct faa_record_view view;
    faa_span_start(&span, FAA_KIND_SERVER, "t", NULL);
    faa_span_set_status(&span, FAA_STATUS_OK, FAA_STR("only errors have one"));
    ck_assert_ptr_null(span.message);
    faa_span_set_status(&span, FAA_STATUS_ERROR, FAA_STR(""));
    faa_span_set_status(&span, FAA_STATUS_ERROR, FAA_STR("first"));
    faa_span_set_status(&span, FAA_STATUS_ERROR, FAA_STR("sec\xffond"));
    faa_span_set_status(&span, FAA_STATUS_ERROR, FAA_STR(""));
    faa_span_set_status(&span, FAA_STATUS_OK, FAA_STR("no"));
    faa_span_set_status(&span, FAA_STATUS_UNSET, FAA_STR("no"));
    end_and_take(&span, &view);
    ck_assert_uint_eq(view.record->status, FAA_STATUS_ERROR);
    check_str(view.message, "sec\xef\xbf\xbdond");
    faa_span_fini(&span);
}
END_TEST

START_TEST(ending_twice_leaves_one_record_and_abandoning_none)
{
    struct faa_span span;
    struct faa_record_view view;
    faa_span_start(&span, FAA_KIND_SERVER, "t", NULL);
    end_and_take(&span, &view);
    faa_span_end(&span, 0);
    faa_span_set_str(&span, FAA_KEY_URL_PATH, FAA_STR("/"));
    faa_span_end(&span, 0);
    faa_span_fini(&span);
    faa_span_fini(&span);
    ck_assert_int_eq(take(&view), 0);

    faa_span_start(&span, FAA_KIND_SERVER, "t", NULL);
    faa_span_fini(&span);
    faa_span_end(&span, 0);
    ck_assert_int_eq(take(&view), 0);
}
END_TEST

// ---- limits -----------------------------------------------------------------------------------

START_TEST(a_span_of_a_forks_parent_is_not_the_childs_to_end)
{
    struct faa_span span, own;
    struct faa_record_view view;
    faa_span_start(&span, FAA_KIND_SERVER, "t", NULL);
    faa_tracer_forget_ring(); // What a fork's child does; the ring it gets here is the same.
    faa_span_start(&own, FAA_KIND_CLIENT, "t", &span.context);
    end_and_take(&own, &view);
    ck_assert_mem_eq(view.record->parent_span_id, span.context.span_id, 8);
    faa_span_end(&span, 0);
    ck_assert_int_eq(take(&view), 0);
    ck_assert_uint_eq(span.recording, 0);
    faa_span_fini(&own);
    faa_span_fini(&span);
}
END_TEST

START_TEST(long_text_is_cut_on_a_character_boundary)
{
    struct faa_span span;
    struct faa_record_view view;
    static char text[100000];
    // One byte, then characters of four: the limits fall inside one, where three bytes are left.
    text[0] = 'x';
    for (size_t i = 1; i + 4 <= sizeof(text); i += 4)
        memcpy(text + i, "\xf0\x9f\x98\x80", 4);
    struct faa_str value = {text, sizeof(text)};
    faa_span_start(&span, FAA_KIND_SERVER, "t", NULL);
    faa_span_set_name(&span, value);
    faa_span_set_str(&span, FAA_KEY_URL_FULL, value);
    faa_span_set_status(&span, FAA_STATUS_ERROR, value);
    end_and_take(&span, &view);
    ck_assert_uint_eq(view.name.n, FAA_SPAN_NAME_MAX - 3); // 1 + 63 * 4.
    ck_assert_uint_eq(next_item(&view).str.n, FAA_SPAN_VALUE_MAX - 3);
    ck_assert_uint_eq(view.message.n, FAA_SPAN_VALUE_MAX - 3);
    faa_span_fini(&span);
}
END_TEST

START_TEST(a_value_of_any_length_keeps_what_fits)
{
    static char text[FAA_SPAN_VALUE_MAX + 100];
    for (int invalid = 0; invalid <= 1; invalid++) {
        memset(text, invalid ? 0xff : 'a', sizeof(text));
        for (size_t n = 0; n < sizeof(text); n += n < 1100 ? 1 : 97) {
            struct faa_span span;
            struct faa_record_view view;
            size_t wanted = invalid ? 3 * n : n, most = FAA_SPAN_VALUE_MAX / 3 * 3;
            if (!invalid)
                most = FAA_SPAN_VALUE_MAX;
            faa_span_start(&span, FAA_KIND_SERVER, "t", NULL);
            faa_span_set_str(&span, FAA_KEY_URL_FULL, (struct faa_str){text, n});
            faa_span_end(&span, 0);
            if (!take(&view) || next_item(&view).str.n != (wanted < most ? wanted : most))
                ck_abort_msg("%zu bytes (invalid: %d) did not come through", n, invalid);
            faa_span_fini(&span);
        }
    }
}
END_TEST

START_TEST(too_many_attributes_are_counted)
{
    struct faa_span span;
    struct faa_record_view view;
    faa_span_start(&span, FAA_KIND_SERVER, "t", NULL);
    for (int i = 0; i < FAA_SPAN_COUNT_MAX + 5; i++)
        faa_span_set_int(&span, FAA_KEY_SERVER_PORT, i);
    end_and_take(&span, &view);
    ck_assert_uint_eq(view.record->item_count, FAA_SPAN_COUNT_MAX);
    ck_assert_uint_eq(view.record->dropped_attributes, 5);
    ck_assert_uint_eq(view.record->dropped_events, 0);
    faa_span_fini(&span);
}
END_TEST

START_TEST(an_event_without_room_takes_its_attributes_along)
{
    static char text[FAA_SPAN_VALUE_MAX];
    struct faa_span span;
    struct faa_record_view view;
    struct faa_item_view item;
    memset(text, 'a', sizeof(text));
    faa_span_start(&span, FAA_KIND_SERVER, "t", NULL);
    faa_span_add_event(&span, FAA_STR("kept"));
    for (int i = 0; i < 4; i++) // Three find room.
        faa_span_set_str(&span, FAA_KEY_URL_FULL, (struct faa_str){text, sizeof(text)});
    faa_span_add_event(&span, (struct faa_str){text, sizeof(text)});
    faa_span_event_set_int(&span, FAA_KEY_SERVER_PORT, 1);
    faa_span_event_set_str(&span, FAA_KEY_URL_PATH, FAA_STR("/"));
    // Its attributes went with it, and are nobody else's.
    ck_assert_uint_eq(span.dropped_attributes, 1);
    ck_assert_uint_eq(span.dropped_events, 1);
    faa_span_add_event(&span, FAA_STR("kept too"));
    faa_span_event_set_int(&span, FAA_KEY_SERVER_PORT, 2);
    ck_assert_uint_le(span.items_len, FAA_SPAN_ITEMS_MAX);
    end_and_take(&span, &view);
    ck_assert_uint_eq(view.record->item_count, 6);
    check_str(next_item(&view).str, "kept");
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq(next_item(&view).str.n, sizeof(text));
    check_str(next_item(&view).str, "kept too");
    check_number_item(&view, FAA_ITEM_INT, 1, FAA_KEY_SERVER_PORT, 2);
    ck_assert_int_eq(faa_record_next(&view, &item), 0);
    faa_span_fini(&span);
}
END_TEST

// ---- without memory ---------------------------------------------------------------------------

START_TEST(memory_that_runs_out_costs_attributes_and_nothing_else)
{
    static char text[3000];
    struct faa_span_context parent = remote_parent();
    memset(text, 'a', sizeof(text));
    uint32_t dropped = 1;
    for (long allowed = 1; dropped > 0; allowed++) {
        struct faa_span span;
        struct faa_record_view view;
        struct faa_item_view item;
        ck_assert_int_lt(allowed, 20);
        allocations_left = allowed;
        faa_span_start(&span, FAA_KIND_SERVER, "t", &parent);
        faa_span_set_int(&span, FAA_KEY_SERVER_PORT, 1);
        for (int i = 0; i < 4; i++)
            faa_span_set_str(&span, FAA_KEY_URL_FULL, (struct faa_str){text, sizeof(text)});
        faa_span_set_status(&span, FAA_STATUS_ERROR, FAA_STR("message"));
        faa_span_set_int(&span, FAA_KEY_CLIENT_PORT, 2);
        end_and_take(&span, &view);
        ck_assert_uint_eq(view.record->status, FAA_STATUS_ERROR);
        check_number_item(&view, FAA_ITEM_INT, 0, FAA_KEY_SERVER_PORT, 1);
        while (faa_record_next(&view, &item) > 0)
            ;
        ck_assert_uint_eq(item.key, FAA_KEY_CLIENT_PORT);
        dropped = view.record->dropped_attributes;
        // Six things may be missing: tracestate, four values, message.
        ck_assert_uint_eq(dropped, 6u - (view.record->item_count - 2u) - (view.tracestate.n > 0) -
                                       (view.message.n > 0));
        faa_span_fini(&span);
    }
}
END_TEST

// ---- anything at all --------------------------------------------------------------------------

START_TEST(any_sequence_of_calls_gives_a_record_that_opens)
{
    static char bytes[12000];
    for (size_t i = 0; i < sizeof(bytes); i++) // Mostly text, with bytes that are none.
        bytes[i] = faa_random_mix(i) % 50 ? 'a' + (char)(i % 26) : (char)faa_random_mix(~i);
    for (uint64_t seed = 0; seed < 3000; seed++) {
        struct faa_span span;
        struct faa_record_view view;
        struct faa_span_context parent = remote_parent();
        uint32_t asked = 0, in_event = 0;
        faa_span_start(&span, FAA_KIND_SERVER, "t", seed & 1 ? &parent : NULL);
        for (uint64_t step = 0; step < seed % 200; step++) {
            uint64_t r = faa_random_mix(seed << 16 | step);
            size_t at = (r >> 8) % sizeof(bytes), most = r >> 32 & 1 ? 40 : sizeof(bytes) - at;
            struct faa_str text = {bytes + at, (r >> 40) % (most + 1)};
            enum faa_key key = 1 + (r >> 20) % (FAA_KEY_COUNT - 1);
            if (text.n > sizeof(bytes) - at)
                text.n = sizeof(bytes) - at;
            switch (r % 8) {
            case 0:
                faa_span_set_name(&span, text);
                continue;
            case 1:
                faa_span_set_status(&span, r % 3, text);
                continue;
            case 2:
                faa_span_set_int(&span, key, (int64_t)r);
                break;
            case 3:
                faa_span_set_bool(&span, key, (int)r);
                break;
            case 4:
                faa_span_add_event(&span, text);
                break;
            case 5:
                faa_span_event_set_str(&span, key, text);
                in_event += span.in_event;
                continue;
            case 6:
                faa_span_event_set_int(&span, key, (int64_t)r);
                in_event += span.in_event;
                continue;
            default:
                faa_span_set_str(&span, key, text);
                break;
            }
            asked++;
        }
        end_and_take(&span, &view);
        const struct faa_record *record = view.record;
        uint32_t kept = record->item_count, dropped = 0;
        struct faa_item_view item;
        while (faa_record_next(&view, &item) > 0)
            dropped += item.dropped;
        dropped += record->dropped_attributes + record->dropped_events;
        if (kept + dropped != asked + in_event)
            ck_abort_msg("seed %lu: %u + %u of %u", (unsigned long)seed, kept, dropped,
                         asked + in_event);
        faa_span_fini(&span);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("span");
    TCase *cases = tcase_create("span");
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, setup, span_ring_teardown);
    tcase_add_test(cases, what_is_set_comes_out_of_the_ring);
    tcase_add_test(cases, an_empty_span_is_a_record);
    tcase_add_test(cases, times_follow_what_the_caller_says_and_never_run_backwards);
    tcase_add_test(cases, a_start_in_the_past_moves_both_clocks);
    tcase_add_test(cases, an_error_stays_an_error);
    tcase_add_test(cases, ending_twice_leaves_one_record_and_abandoning_none);
    tcase_add_test(cases, a_span_of_a_forks_parent_is_not_the_childs_to_end);
    tcase_add_test(cases, long_text_is_cut_on_a_character_boundary);
    tcase_add_test(cases, a_value_of_any_length_keeps_what_fits);
    tcase_add_test(cases, too_many_attributes_are_counted);
    tcase_add_test(cases, an_event_without_room_takes_its_attributes_along);
    tcase_add_test(cases, memory_that_runs_out_costs_attributes_and_nothing_else);
    tcase_add_test(cases, any_sequence_of_calls_gives_a_record_that_opens);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

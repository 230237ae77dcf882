// SPDX-License-Identifier: MIT
// What a span has of its parent: trace, decision, tracestate, baggage, and what stands for a span.
#include "span/baggage.h"
#include "tests/unit/span_ring.h"

START_TEST(without_a_parent_a_sampled_trace_begins)
{
    static const uint8_t none[16];
    const struct faa_span_context no_trace = {.flags = 0};
    const struct faa_span_context *parents[] = {NULL, &no_trace};
    for (size_t i = 0; i < FAA_COUNT(parents); i++) {
        struct faa_span span;
        struct faa_record_view view;
        faa_span_start(&span, FAA_KIND_SERVER, "t", parents[i]);
        ck_assert_uint_eq(span.context.flags, FAA_FLAG_SAMPLED);
        ck_assert_uint_eq(span.context.remote, 0);
        ck_assert_mem_ne(span.context.trace_id, none, 16);
        ck_assert_mem_ne(span.context.span_id, none, 8);
        end_and_take(&span, &view);
        ck_assert_mem_eq(view.record->parent_span_id, none, 8);
        ck_assert_uint_eq(view.record->flags, FAA_FLAG_SAMPLED | FAA_FLAG_HAS_IS_REMOTE);
        faa_span_fini(&span);
    }
}
END_TEST

START_TEST(a_child_outlives_its_parent)
{
    struct faa_span_context remote = remote_parent();
    struct faa_span parent, child;
    struct faa_record_view view;
    faa_span_start(&parent, FAA_KIND_SERVER, "t", &remote);
    faa_span_start(&child, FAA_KIND_CLIENT, "t", &parent.context);
    uint8_t parent_id[8];
    memcpy(parent_id, parent.context.span_id, 8);
    end_and_take(&parent, &view);
    ck_assert_ptr_nonnull(parent.context.tracestate); // Until fini.
    faa_span_fini(&parent);
    memset(&parent, 0xee, sizeof(parent));

    end_and_take(&child, &view);
    ck_assert_mem_eq(view.record->trace_id, remote.trace_id, 16);
    ck_assert_mem_eq(view.record->parent_span_id, parent_id, 8);
    ck_assert_mem_ne(view.record->span_id, parent_id, 8);
    ck_assert_uint_eq(view.record->flags, FAA_FLAG_SAMPLED | FAA_FLAG_HAS_IS_REMOTE);
    check_str(view.tracestate, remote_state);
    faa_span_fini(&child);
}
END_TEST

START_TEST(an_unsampled_parent_makes_unsampled_children_without_records)
{
    struct faa_span_context remote = remote_parent();
    struct faa_span span, child;
    struct faa_record_view view;
    remote.flags = 0xfe; // Reserved bits, which are not to be passed on.
    faa_span_start(&span, FAA_KIND_SERVER, "t", &remote);
    faa_span_start(&child, FAA_KIND_SERVER, "t", &span.context);
    struct faa_span *spans[] = {&span, &child};
    for (size_t i = 0; i < FAA_COUNT(spans); i++) {
        ck_assert_uint_eq(spans[i]->context.flags, 0);
        ck_assert_mem_eq(spans[i]->context.trace_id, remote.trace_id, 16);
        ck_assert_uint_eq(spans[i]->context.tracestate_len, sizeof(remote_state) - 1);
        faa_span_set_name(spans[i], FAA_STR("name"));
        faa_span_set_str(spans[i], FAA_KEY_URL_PATH, FAA_STR("/"));
        faa_span_set_status(spans[i], FAA_STATUS_ERROR, FAA_STR("message"));
        faa_span_add_event(spans[i], FAA_STR("event"));
        faa_span_event_set_int(spans[i], FAA_KEY_SERVER_PORT, 1);
        ck_assert_uint_eq(spans[i]->item_count, 0);
        faa_span_end(spans[i], 0);
        faa_span_fini(spans[i]);
    }
    ck_assert_int_eq(take(&view), 0);
    ck_assert_uint_eq(faa_tracer_counts().ended, 0);
}
END_TEST

START_TEST(what_stands_for_a_span_is_none_and_has_its_children)
{
    struct faa_str list = FAA_STR("a=1");
    struct faa_span_context remote = remote_parent();
    struct faa_span parent, stand_in, child;
    struct faa_record_view view;
    remote.baggage = faa_baggage_new(&list, 1);
    faa_span_start(&parent, FAA_KIND_SERVER, "t", &remote);
    faa_baggage_unref(remote.baggage);
    memset(&stand_in, 0, offsetof(struct faa_span, name));
    faa_span_stand_for(&stand_in, &parent.context);
    faa_span_set_name(&stand_in, FAA_STR("name"));
    faa_span_set_str(&stand_in, FAA_KEY_URL_PATH, FAA_STR("/"));
    faa_span_end(&stand_in, 0);
    ck_assert_int_eq(take(&view), 0);
    uint8_t parent_id[8];
    memcpy(parent_id, parent.context.span_id, 8);
    end_and_take(&parent, &view);
    faa_span_fini(&parent);
    memset(&parent, 0xee, sizeof(parent));

    faa_span_start(&child, FAA_KIND_CLIENT, "t", &stand_in.context);
    faa_span_fini(&stand_in);
    end_and_take(&child, &view);
    ck_assert_mem_eq(view.record->trace_id, remote.trace_id, 16);
    ck_assert_mem_eq(view.record->parent_span_id, parent_id, 8);
    check_str(view.tracestate, remote_state);
    ck_assert(faa_str_eq(faa_baggage_text(child.context.baggage), list));
    faa_span_fini(&child);
}
END_TEST

START_TEST(under_what_stands_for_no_span_a_trace_begins)
{
    struct faa_span stand_in, child;
    struct faa_record_view view;
    memset(&stand_in, 0, offsetof(struct faa_span, name));
    faa_span_stand_for(&stand_in, NULL);
    ck_assert(faa_ids_is_zero(stand_in.context.trace_id, 16));
    faa_span_start(&child, FAA_KIND_CLIENT, "t", &stand_in.context);
    faa_span_fini(&stand_in);
    ck_assert(child.recording && !faa_ids_is_zero(child.context.trace_id, 16));
    end_and_take(&child, &view);
    ck_assert_uint_eq(view.record->flags & FAA_FLAG_SAMPLED, FAA_FLAG_SAMPLED);
    ck_assert_mem_eq(view.record->parent_span_id, "\0\0\0\0\0\0\0", 8);
    faa_span_fini(&child);
}
END_TEST

START_TEST(what_stands_for_an_excluded_or_unsampled_span_is_as_quiet)
{
    struct faa_span_context contexts[2] = {remote_parent(), {.suppressed = 1}};
    struct faa_record_view view;
    contexts[0].flags = 0;
    for (size_t i = 0; i < FAA_COUNT(contexts); i++) {
        struct faa_span parent, stand_in, child;
        faa_span_start(&parent, FAA_KIND_SERVER, "t", &contexts[i]);
        memset(&stand_in, 0, offsetof(struct faa_span, name));
        faa_span_stand_for(&stand_in, &parent.context);
        faa_span_start(&child, FAA_KIND_CLIENT, "t", &stand_in.context);
        ck_assert(!child.recording);
        ck_assert_uint_eq(child.context.suppressed, i);
        faa_span_end(&child, 0);
        ck_assert_int_eq(take(&view), 0);
        faa_span_fini(&child);
        faa_span_fini(&stand_in);
        faa_span_fini(&parent);
    }
}
END_TEST

START_TEST(a_tracestate_that_may_not_travel_is_left_behind)
{
    char longest[FAA_SPAN_TRACESTATE_MAX + 1];
    struct faa_span_context parent = remote_parent();
    struct faa_span span;
    memset(longest, 'x', sizeof(longest));
    parent.tracestate = longest;
    for (uint16_t n = FAA_SPAN_TRACESTATE_MAX - 1; n <= FAA_SPAN_TRACESTATE_MAX + 1; n++) {
        parent.tracestate_len = n;
        faa_span_start(&span, FAA_KIND_SERVER, "t", &parent);
        ck_assert_uint_eq(span.context.tracestate_len, n <= FAA_SPAN_TRACESTATE_MAX ? n : 0);
        faa_span_fini(&span);
    }
    parent.tracestate = "a=\0b";
    parent.tracestate_len = 4;
    faa_span_start(&span, FAA_KIND_SERVER, "t", &parent);
    ck_assert_ptr_null(span.context.tracestate);
    faa_span_fini(&span);
}
END_TEST

START_TEST(baggage_is_shared_by_all_spans_of_a_request)
{
    struct faa_str list = FAA_STR("a=1,b=2");
    struct faa_span_context remote = remote_parent();
    struct faa_span server, child, other;
    remote.baggage = faa_baggage_new(&list, 1);
    struct faa_baggage *baggage = remote.baggage;
    faa_span_start(&server, FAA_KIND_SERVER, "t", &remote);
    faa_baggage_unref(baggage);
    faa_span_start(&child, FAA_KIND_CLIENT, "t", &server.context);
    ck_assert_ptr_eq(server.context.baggage, baggage);
    faa_span_end(&server, 0);
    ck_assert_ptr_eq(server.context.baggage, baggage); // Until fini.
    faa_span_fini(&server);
    ck_assert_ptr_null(server.context.baggage);
    ck_assert(faa_str_eq(faa_baggage_text(child.context.baggage), list));
    // No trace, but baggage: a new trace has it.
    memset(&remote, 0, sizeof(remote));
    remote.baggage = child.context.baggage;
    faa_span_start(&other, FAA_KIND_SERVER, "t", &remote);
    faa_span_fini(&child);
    ck_assert(faa_str_eq(faa_baggage_text(other.context.baggage), list));
    ck_assert(other.recording && !faa_ids_is_zero(other.context.trace_id, 16));
    ck_assert_uint_eq(other.parent_remote, 0);
    faa_span_fini(&other);
}
END_TEST

START_TEST(the_parent_decides_where_it_has_decided)
{
    static const struct {
        int trace, flags, sampling, sampled;
    } cases[] = {
        {1, 0, FAA_SAMPLING_BY_PARENT, 0}, {1, 1, FAA_SAMPLING_BY_PARENT, 1},
        {1, 0, FAA_SAMPLING_DEFERRED, 1},  {0, 0, FAA_SAMPLING_BY_PARENT, 1},
        {0, 0, FAA_SAMPLING_ORDERED, 0},   {0, 1, FAA_SAMPLING_ORDERED, 1},
    };
    for (size_t i = 0; i < FAA_COUNT(cases); i++) {
        struct faa_span_context parent = remote_parent();
        struct faa_span span, child;
        if (!cases[i].trace)
            memset(&parent, 0, sizeof(parent));
        parent.flags = (uint8_t)cases[i].flags;
        parent.sampling = (uint8_t)cases[i].sampling;
        parent.debug = 1;
        faa_span_start(&span, FAA_KIND_SERVER, "t", &parent);
        faa_span_start(&child, FAA_KIND_CLIENT, "t", &span.context);
        ck_assert_msg(span.context.flags == cases[i].sampled, "case %zu", i);
        ck_assert_uint_eq(span.recording, span.context.flags);
        ck_assert_uint_eq(span.context.sampling, FAA_SAMPLING_BY_PARENT);
        ck_assert_int_eq(memcmp(span.context.trace_id, parent.trace_id, 16) == 0, cases[i].trace);
        ck_assert_uint_eq(child.context.flags, span.context.flags);
        ck_assert_uint_eq(child.context.debug, 1);
        ck_assert_mem_eq(child.context.trace_id, span.context.trace_id, 16);
        faa_span_fini(&child);
        faa_span_fini(&span);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("span_parents");
    TCase *cases = tcase_create("span_parents");
    tcase_add_checked_fixture(cases, span_ring_setup, span_ring_teardown);
    tcase_add_test(cases, without_a_parent_a_sampled_trace_begins);
    tcase_add_test(cases, a_child_outlives_its_parent);
    tcase_add_test(cases, an_unsampled_parent_makes_unsampled_children_without_records);
    tcase_add_test(cases, what_stands_for_a_span_is_none_and_has_its_children);
    tcase_add_test(cases, under_what_stands_for_no_span_a_trace_begins);
    tcase_add_test(cases, what_stands_for_an_excluded_or_unsampled_span_is_as_quiet);
    tcase_add_test(cases, a_tracestate_that_may_not_travel_is_left_behind);
    tcase_add_test(cases, baggage_is_shared_by_all_spans_of_a_request);
    tcase_add_test(cases, the_parent_decides_where_it_has_decided);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

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
#include "ring/ring.h"

#include <check.h>

static struct faa_ring *ring;

static struct faa_ring *start(void)
{
    return ring;
}

static void committed(int crowded)
{
    (void)crowded;
}

static void flush(void)
{
}

static const struct faa_tracer_ops ops = {start, committed, flush};

static void setup(void)
{
    allocations_left = -1;
    ring = faa_ring_new(1 << 20, NULL);
    faa_ids_seed();
    faa_tracer_init(&ops);
    faa_tracer_forget_ring();
}

static void teardown(void)
{
    faa_ring_free(ring);
}

// Takes the oldest record out of the ring. It stays readable until the ring is used again.
static int take(struct faa_record_view *view)
{
    struct faa_ring_cursor cursor = faa_ring_begin(ring);
    size_t size;
    const void *p = faa_ring_next(ring, &cursor, &size, 0);
    faa_ring_release(ring, cursor);
    if (!p)
        return 0;
    ck_assert_int_eq(faa_record_open(p, size, view), 0);
    return 1;
}

static void end_and_take(struct faa_span *span, struct faa_record_view *view)
{
    faa_span_end(span, 0);
    ck_assert_int_eq(take(view), 1);
}

static struct faa_item_view next_item(struct faa_record_view *view)
{
    struct faa_item_view item;
    ck_assert_int_eq(faa_record_next(view, &item), 1);
    return item;
}

static void check_str(struct faa_str got, const char *wanted)
{
    ck_assert_str_eq(got.p, wanted);
    ck_assert_uint_eq(got.n, strlen(wanted));
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

static const char state[] = "rojo=1,congo=2";

static struct faa_span_context remote_parent(void)
{
    struct faa_span_context parent = {
        .flags = 1, .remote = 1, .tracestate = state, .tracestate_len = sizeof(state) - 1};
    memset(parent.trace_id, 0xaa, sizeof(parent.trace_id));
    memset(parent.span_id, 0xbb, sizeof(parent.span_id));
    return parent;
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
    check_str(view.tracestate, state);
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

// ---- parents ----------------------------------------------------------------------------------

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
    check_str(view.tracestate, state);
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
        ck_assert_uint_eq(spans[i]->context.tracestate_len, sizeof(state) - 1);
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
    check_str(view.tracestate, state);
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
    ck_assert(!has_trace(&stand_in.context));
    faa_span_start(&child, FAA_KIND_CLIENT, "t", &stand_in.context);
    faa_span_fini(&stand_in);
    ck_assert(child.recording && has_trace(&child.context));
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

// ---- status and end ---------------------------------------------------------------------------

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
    ck_assert(other.recording && has_trace(&other.context));
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
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, what_is_set_comes_out_of_the_ring);
    tcase_add_test(cases, an_empty_span_is_a_record);
    tcase_add_test(cases, times_follow_what_the_caller_says_and_never_run_backwards);
    tcase_add_test(cases, a_start_in_the_past_moves_both_clocks);
    tcase_add_test(cases, without_a_parent_a_sampled_trace_begins);
    tcase_add_test(cases, a_child_outlives_its_parent);
    tcase_add_test(cases, what_stands_for_a_span_is_none_and_has_its_children);
    tcase_add_test(cases, under_what_stands_for_no_span_a_trace_begins);
    tcase_add_test(cases, what_stands_for_an_excluded_or_unsampled_span_is_as_quiet);
    tcase_add_test(cases, an_unsampled_parent_makes_unsampled_children_without_records);
    tcase_add_test(cases, a_tracestate_that_may_not_travel_is_left_behind);
    tcase_add_test(cases, baggage_is_shared_by_all_spans_of_a_request);
    tcase_add_test(cases, the_parent_decides_where_it_has_decided);
    tcase_add_test(cases, an_error_stays_an_error);
    tcase_add_test(cases, ending_twice_leaves_one_record_and_abandoning_none);
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

// SPDX-License-Identifier: MIT
// Every way in which a process can be killed while its requests begin and end: each of them that
// had begun is either in the ring, or in the table of those in progress, and never in both.
#include "tests/model/model_ring.h"
#include "tests/model/model_suite.h"

#include "ring/flights.h"

// A table of two small slots, and names beside those of the ring.
#define FAA_FLIGHTS_MAX 2
#define FAA_FLIGHT_SIZE_MAX 8
#define slot flight_slot
#define state flight_state
#define shared flights_shared
#define map flights_map
#undef MAGIC
#include "ring/flights.c"
#undef slot
#undef state
#undef map

#include "span/tracer.c"

#include <check.h>
#include <stdio.h>

enum { BEGUN = 4 << 16, IN_PROGRESS = 5 << 16 };
enum { REQUESTS_MAX = 2, GUARD = 2, EXPORTER = 3, RECORD = 0x80, RENEWED = 0x40 };

static struct flights_shared table_memory;
static struct faa_flights table = {&table_memory};

static struct {
    int sizes[REQUESTS_MAX]; // Of the records; 0: there is no such request.
    int renews;              // The first request shows itself again when its route is known.
    int looks;
} plan;

// ---- the process that is killed ---------------------------------------------------------------

static void ignore_commit(int is_crowded)
{
    (void)is_crowded;
}

// The ring is there and read; who finds it full asks again.
static struct faa_ring *no_new_ring(void)
{
    return NULL;
}

static const struct faa_tracer_ops ops = {
    .start = no_new_ring,
    .committed = ignore_commit,
    .wants_flights = 1,
};

static uint32_t show(uint32_t request)
{
    uint32_t flight = 0;
    uint64_t *payload = faa_tracer_take_flight(&flight);
    if (payload) {
        payload[0] = message_word(request);
        faa_tracer_publish_flight(flight, SHORT);
    }
    return flight;
}

// faa_tracer_commit, or a broken one in its place.
static void (*commit)(void *record, uint32_t flight);

static void land_too_late(void *record, uint32_t flight)
{
    int n;
    struct faa_flights *of = table_of(flight, &n);
    uint64_t position = faa_ring_position(&the_ring, record);
    faa_ring_commit(&the_ring, record);
    if (of) {
        faa_flights_land(of, n, position);
        faa_flights_drop(of, n);
    }
}

static void drop_too_early(void *record, uint32_t flight)
{
    faa_tracer_drop_flight(flight);
    faa_ring_commit(&the_ring, record);
}

static void request(uint32_t number)
{
    if (!plan.sizes[number])
        return;
    uint32_t flight = show(number);
    if (flight)
        explore_note(BEGUN | number);
    if (number == 0 && plan.renews) {
        uint32_t second = show(number | RENEWED);
        if (second) {
            faa_tracer_drop_flight(flight);
            flight = second;
        }
    }
    void *record = faa_tracer_reserve((size_t)plan.sizes[number]);
    if (record) {
        write_message(record, (size_t)plan.sizes[number], number | RECORD);
        commit(record, flight);
        explore_note(SENT | number);
    } else {
        explore_note(REFUSED | number);
        faa_tracer_drop_flight(flight);
    }
}

static void first_request(void)
{
    request(0);
}

static void second_request(void)
{
    request(1);
}

// ---- the guard, as in launcher/guard/watch.c --------------------------------------------------

static int rescues_first; // Broken: what was skipped looks as if it had been committed.

static void guard(void)
{
    explore_await_death();
    if (rescues_first)
        begin_rescue();
    for (int n = 0; n < FAA_FLIGHTS_MAX; n++) {
        size_t size;
        uint64_t word;
        if (!faa_flights_look(&table, n, &the_ring, &size))
            continue;
        const struct flight_slot *found = &table_memory.slots[n];
        word = *(const uint64_t *)(const void *)found->payload;
        explore_note(IN_PROGRESS | read_message(&word, size));
    }
    if (!rescues_first)
        begin_rescue();
}

static void export_like_the_guard(void)
{
    export_all(plan.looks, 1u << GUARD);
}

static const struct explore_thread threads[] = {{"first", first_request, 1},
                                                {"second", second_request, 1},
                                                {"guard", guard, 0},
                                                {"exporter", export_like_the_guard, 0}};

static void check(void);

static struct explore_scenario scenario = {
    .threads = threads, .thread_count = FAA_COUNT(threads), .kills = 1, .check = check};

static void check_request(uint32_t request)
{
    int is_received = count_notes(&scenario, RECEIVED | request | RECORD);
    int in_progress = count_notes(&scenario, IN_PROGRESS | request);
    int renewed = count_notes(&scenario, IN_PROGRESS | request | RENEWED);
    int has_begun = count_notes(&scenario, BEGUN | request);
    EXPLORE_ASSERT(is_received <= 1 && in_progress <= 1 && renewed <= 1);
    // Two of one request are told apart by who reports them.
    int is_reported = in_progress || renewed;
    if (count_notes(&scenario, SENT | request))
        EXPLORE_ASSERT(is_received && !is_reported);
    else if (count_notes(&scenario, REFUSED | request))
        EXPLORE_ASSERT(!is_received); // It is counted, and reported if its slot is not back yet.
    else if (has_begun)
        EXPLORE_ASSERT(is_received + is_reported == 1);
    else // It found no slot, or had none yet.
        EXPLORE_ASSERT(!is_reported);
}

static void check(void)
{
    for (int t = GUARD; t <= EXPORTER; t++)
        EXPLORE_ASSERT(!explore_is_stuck(t));
    for (uint32_t i = 0; i < REQUESTS_MAX; i++)
        check_request(i);
}

// ---- the scenarios ----------------------------------------------------------------------------

enum { SEQUENTIAL = 1, RENEWS = 2, LARGE = 4 }; // LARGE: not without FAA_TEST_MODEL=large.

static const struct plan {
    const char *name;
    int sizes[REQUESTS_MAX], looks;
    uint64_t capacity;
    unsigned flags;
} plans[] = {
    {"one request", {SHORT}, 2, 128, 0},
    {"one request, shown twice", {SHORT}, 2, 128, RENEWS},
    {"refused", {LONG}, 2, 64, 0},
    {"two requests, in sequence", {SHORT, SHORT}, 1, 256, SEQUENTIAL},
    {"two requests", {SHORT, SHORT}, 2, 256, LARGE},
    {"two requests, too few slots", {SHORT, SHORT}, 2, 256, SEQUENTIAL | RENEWS | LARGE},
};

static struct explore_result run(size_t index, int broken_site)
{
    const struct plan *p = &plans[index];
    memcpy(plan.sizes, p->sizes, sizeof(plan.sizes));
    plan.looks = p->looks;
    plan.renews = !!(p->flags & RENEWS);
    make_ring(p->capacity, p->capacity - 32);
    memset(&table_memory, 0, sizeof(table_memory));
    explore_region("next", (void *)&table_memory.next, sizeof(table_memory.next),
                   EXPLORE_ATOMIC | EXPLORE_UNORDERED);
    explore_region("flight", table_memory.slots, sizeof(table_memory.slots), 0);
    explore_weaken(broken_site);
    faa_tracer_init(&ops);
    atomic_store(&current, &the_ring);
    faa_tracer_set_flights(&table);
    scenario.name = p->name;
    scenario.is_sequential = !!(p->flags & SEQUENTIAL);
    return explore(&scenario);
}

START_TEST(each_request_is_in_the_ring_or_in_progress)
{
    if (plans[_i].flags & LARGE && !explore_wants_large())
        return;
    struct explore_result result = run((size_t)_i, -1);
    explore_print(&scenario, &result);
    if (result.failure)
        explore_print_trace(&result);
    ck_assert_ptr_null(result.failure);
    ck_assert_uint_gt(result.ends, 10);
}
END_TEST

// ---- what is broken is found ------------------------------------------------------------------

static const char *name_of(size_t plan_number)
{
    return plans[plan_number].name;
}

static int takes_long(size_t plan_number)
{
    return (plans[plan_number].flags & LARGE) != 0;
}

static const struct model model = {FAA_COUNT(plans), run, name_of, takes_long};

static int find(int broken_site, const char *what)
{
    return model_find(&model, broken_site, what);
}

START_TEST(a_landing_after_the_commit_is_found)
{
    commit = land_too_late;
    ck_assert_int_ge(find(-1, "landing after the commit"), 0);
}
END_TEST

START_TEST(a_slot_given_back_before_the_commit_is_found)
{
    commit = drop_too_early;
    ck_assert_int_ge(find(-1, "slot back before the commit"), 0);
}
END_TEST

START_TEST(a_rescue_before_the_look_is_found)
{
    rescues_first = 1;
    ck_assert_int_ge(find(-1, "rescue before the look"), 0);
}
END_TEST

START_TEST(each_order_that_is_needed_is_found_when_weakened)
{
    model_assert_sound(&model);
    // By these a slot passes from one request to the next. The guard reads it when its writers are
    // dead, and sees all that they did by that.
    const char *const needed[] = {"acquire cas of flight", "release store of flight"};
    model_assert_needed(&model, needed, FAA_COUNT(needed));
}
END_TEST

int main(void)
{
    commit = faa_tracer_commit;
    setvbuf(stdout, NULL, _IOLBF, 0); // Forked children may abort.
    Suite *suite = suite_create("model_flights");
    TCase *right = tcase_create("right");
    tcase_set_timeout(right, 600);
    tcase_add_loop_test(right, each_request_is_in_the_ring_or_in_progress, 0, FAA_COUNT(plans));
    suite_add_tcase(suite, right);
    TCase *broken = tcase_create("broken");
    tcase_set_timeout(broken, 600);
    tcase_add_test(broken, a_landing_after_the_commit_is_found);
    tcase_add_test(broken, a_slot_given_back_before_the_commit_is_found);
    tcase_add_test(broken, a_rescue_before_the_look_is_found);
    tcase_add_test(broken, each_order_that_is_needed_is_found_when_weakened);
    suite_add_tcase(suite, broken);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

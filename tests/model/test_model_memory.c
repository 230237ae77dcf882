// SPDX-License-Identifier: MIT
// The model itself, by the litmus tests that tell memory models apart: what C11 allows is seen,
// what it forbids is not.
#include "tests/model/explore.h"

#include "base/str.h"

#include <check.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>

static _Atomic uint32_t x, y;
static uint32_t plain;
static memory_order stores, loads;

static uint64_t outcomes; // Sets of notes that were seen at ends, one bit each.

// Each thread that reads notes 0 or 1, twice at most; all notes together are the outcome.
static size_t thread_count;

static void collect(void)
{
    unsigned outcome = 0;
    for (int t = 0; t < (int)thread_count; t++)
        for (size_t i = 0; i < explore_note_count(t); i++)
            outcome = outcome << 1 | explore_note_at(t, i);
    outcomes |= UINT64_C(1) << outcome;
    for (int t = 0; t < (int)thread_count; t++)
        EXPLORE_ASSERT(!explore_is_stuck(t));
}

static int saw(unsigned outcome)
{
    return outcomes >> outcome & 1;
}

static struct explore_result run(const struct explore_thread *threads, size_t count, int kills)
{
    struct explore_scenario scenario = {
        .name = "litmus", .threads = threads, .thread_count = count, .kills = kills};
    scenario.check = collect;
    thread_count = count;
    outcomes = 0;
    explore_reset();
    explore_region("x", (void *)&x, sizeof(x), 0);
    explore_region("y", (void *)&y, sizeof(y), 0);
    explore_region("plain", &plain, sizeof(plain), 0);
    return explore(&scenario);
}

#define RUN(threads) ck_assert_ptr_null(run(threads, FAA_COUNT(threads), 0).failure)

static void set_orders(memory_order of_stores, memory_order of_loads)
{
    stores = of_stores;
    loads = of_loads;
}

// ---- threads ----------------------------------------------------------------------------------

// For the compiler an order is a constant.
static void store_to(_Atomic uint32_t *p)
{
    if (stores == memory_order_release)
        atomic_store_explicit(p, 1, memory_order_release);
    else
        atomic_store_explicit(p, 1, memory_order_relaxed);
}

static uint32_t load_from(_Atomic uint32_t *p)
{
    return loads == memory_order_acquire ? atomic_load_explicit(p, memory_order_acquire)
                                         : atomic_load_explicit(p, memory_order_relaxed);
}

static void store_x_then_y(void)
{
    store_to(&x);
    store_to(&y);
}

static void load_y_then_x(void)
{
    explore_note(load_from(&y));
    explore_note(load_from(&x));
}

static void load_x_then_y(void)
{
    explore_note(load_from(&x));
    explore_note(load_from(&y));
}

static void load_x_twice(void)
{
    explore_note(load_from(&x));
    explore_note(load_from(&x));
}

static void store_x(void)
{
    store_to(&x);
}

static void store_y(void)
{
    store_to(&y);
}

static void store_x_load_y(void)
{
    store_to(&x);
    explore_note(load_from(&y));
}

static void store_y_load_x(void)
{
    store_to(&y);
    explore_note(load_from(&x));
}

static void store_x_ask_y(void)
{
    store_to(&x);
    explore_note(atomic_fetch_add_explicit(&y, 0, memory_order_acq_rel));
}

static void set_y_load_x(void)
{
    (void)atomic_exchange_explicit(&y, 1, memory_order_acq_rel);
    explore_note(load_from(&x));
}

static void load_x_store_y(void)
{
    explore_note(load_from(&x));
    store_to(&y);
}

static void load_y_store_x(void)
{
    explore_note(load_from(&y));
    store_to(&x);
}

static void add_to_x(void)
{
    atomic_fetch_add_explicit(&x, 1, memory_order_relaxed);
}

static void take_x(void)
{
    uint32_t expected = 0;
    explore_note((uint32_t)atomic_compare_exchange_strong_explicit(
        &x, &expected, 1, memory_order_acquire, memory_order_relaxed));
}

static void note_sum(void)
{
    explore_join(3);
    explore_note(atomic_load_explicit(&x, memory_order_relaxed) == 2);
}

static void write_plain_store_x(void)
{
    plain = 1;
    store_to(&x);
}

static void read_plain_after_x(void)
{
    if (load_from(&x))
        explore_note(plain);
}

static void write_plain(void)
{
    plain = 1;
}

// ---- what is allowed, and what is not ---------------------------------------------------------

START_TEST(a_message_is_seen_whole_by_release_and_acquire_only)
{
    static const struct explore_thread threads[] = {{"a", store_x_then_y, 0},
                                                    {"b", load_y_then_x, 0}};
    set_orders(memory_order_release, memory_order_acquire);
    RUN(threads);
    ck_assert(saw(0) && saw(1) && !saw(2) && saw(3));
    set_orders(memory_order_relaxed, memory_order_acquire);
    RUN(threads);
    ck_assert(saw(2));
    set_orders(memory_order_release, memory_order_relaxed);
    RUN(threads);
    ck_assert(saw(2));
}
END_TEST

START_TEST(stores_may_wait_behind_loads)
{
    static const struct explore_thread threads[] = {{"a", store_x_load_y, 0},
                                                    {"b", store_y_load_x, 0}};
    set_orders(memory_order_release, memory_order_acquire);
    RUN(threads);
    ck_assert(saw(0) && saw(1) && saw(2) && saw(3));
}
END_TEST

START_TEST(read_modify_writes_of_one_word_see_each_other)
{
    static const struct explore_thread threads[] = {{"a", store_x_ask_y, 0},
                                                    {"b", set_y_load_x, 0}};
    set_orders(memory_order_release, memory_order_acquire);
    RUN(threads);
    ck_assert(!saw(0) && saw(1) && saw(2) && saw(3));
}
END_TEST

START_TEST(a_location_never_goes_back)
{
    static const struct explore_thread threads[] = {{"a", store_x, 0}, {"b", load_x_twice, 0}};
    set_orders(memory_order_relaxed, memory_order_relaxed);
    RUN(threads);
    ck_assert(saw(0) && saw(1) && !saw(2) && saw(3));
}
END_TEST

START_TEST(two_readers_may_see_two_writers_in_different_orders)
{
    static const struct explore_thread threads[] = {
        {"a", store_x, 0}, {"b", store_y, 0}, {"c", load_x_then_y, 0}, {"d", load_y_then_x, 0}};
    set_orders(memory_order_release, memory_order_acquire);
    RUN(threads);
    ck_assert(saw(0xa)); // Both see the first and not the second.
}
END_TEST

START_TEST(loads_see_no_store_that_comes_after_them)
{
    static const struct explore_thread threads[] = {{"a", load_x_store_y, 0},
                                                    {"b", load_y_store_x, 0}};
    set_orders(memory_order_relaxed, memory_order_relaxed);
    RUN(threads);
    ck_assert(saw(0) && saw(1) && saw(2) && !saw(3));
}
END_TEST

START_TEST(no_addition_is_lost_and_one_takes)
{
    static const struct explore_thread adds[] = {
        {"a", add_to_x, 0}, {"b", add_to_x, 0}, {"c", note_sum, 0}};
    RUN(adds);
    ck_assert_uint_eq(outcomes, 2);
    static const struct explore_thread takes[] = {{"a", take_x, 0}, {"b", take_x, 0}};
    RUN(takes);
    ck_assert(!saw(0) && saw(1) && saw(2) && !saw(3));
}
END_TEST

// ---- what fails -------------------------------------------------------------------------------

START_TEST(races_are_found)
{
    static const struct explore_thread guarded[] = {{"a", write_plain_store_x, 0},
                                                    {"b", read_plain_after_x, 0}};
    set_orders(memory_order_release, memory_order_acquire);
    RUN(guarded);
    ck_assert(saw(1));
    set_orders(memory_order_relaxed, memory_order_acquire);
    ck_assert_str_eq(run(guarded, 2, 0).failure, "a data race");
    static const struct explore_thread twice[] = {{"a", write_plain, 0}, {"b", write_plain, 0}};
    ck_assert_str_eq(run(twice, 2, 0).failure, "a data race");
    static const struct explore_thread stores_of_two[] = {{"a", store_x, 0}, {"b", store_x, 0}};
    ck_assert_str_eq(run(stores_of_two, 2, 0).failure, "two stores in no order");
}
END_TEST

static int forgets_to_wake;

static void store_and_wake(void)
{
    atomic_store_explicit(&x, 1, memory_order_release);
    if (!forgets_to_wake)
        explore_futex(SYS_futex, &x, FUTEX_WAKE, 1);
}

static void wait_for_x(void)
{
    while (!atomic_load_explicit(&x, memory_order_acquire))
        explore_futex(SYS_futex, &x, FUTEX_WAIT_BITSET, 0);
    explore_note(1);
}

START_TEST(a_sleeper_is_woken_or_found)
{
    static const struct explore_thread threads[] = {{"a", store_and_wake, 0}, {"b", wait_for_x, 0}};
    RUN(threads);
    ck_assert_uint_eq(outcomes, 2);
    forgets_to_wake = 1;
    ck_assert_ptr_nonnull(run(threads, 2, 0).failure);
}
END_TEST

static void write_both(void)
{
    plain = 1;
    store_to(&x);
}

static void look_at_the_dead(void)
{
    explore_await_death();
    explore_note(plain);
    explore_note(atomic_load_explicit(&x, memory_order_relaxed));
}

START_TEST(a_process_dies_between_any_two_stores)
{
    static const struct explore_thread threads[] = {{"a", write_both, 1},
                                                    {"b", look_at_the_dead, 0}};
    set_orders(memory_order_relaxed, memory_order_relaxed);
    ck_assert_ptr_null(run(threads, 2, 1).failure);
    ck_assert(saw(0) && !saw(1) && saw(2) && saw(3));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("model_memory");
    TCase *allowed = tcase_create("allowed");
    tcase_add_test(allowed, a_message_is_seen_whole_by_release_and_acquire_only);
    tcase_add_test(allowed, stores_may_wait_behind_loads);
    tcase_add_test(allowed, read_modify_writes_of_one_word_see_each_other);
    tcase_add_test(allowed, a_location_never_goes_back);
    tcase_add_test(allowed, two_readers_may_see_two_writers_in_different_orders);
    tcase_add_test(allowed, loads_see_no_store_that_comes_after_them);
    tcase_add_test(allowed, no_addition_is_lost_and_one_takes);
    suite_add_tcase(suite, allowed);
    TCase *failures = tcase_create("failures");
    tcase_add_test(failures, races_are_found);
    tcase_add_test(failures, a_sleeper_is_woken_or_found);
    tcase_add_test(failures, a_process_dies_between_any_two_stores);
    suite_add_tcase(suite, failures);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

// SPDX-License-Identifier: MIT
// The watch of the event loop with an interpreter of our own: which steps get a stack, and when the
// thread sleeps. Ages are made by the time that a step says it began, so no test depends on speed.
#include "python/watch.c"

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define MS 1000000u
#define SECOND 1000000000u
#define PATIENCE_NS (20ull * SECOND)

// ThreadSanitizer's own wish is that the child of a fork starts no thread.
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}

// ---- the interpreter --------------------------------------------------------------------------

static int (*_Atomic pending)(void *);
static atomic_int asks, refusals, alive, formatted, nudges;

static int fake_ask(int (*function)(void *), void *arg)
{
    ck_assert_ptr_null(arg);
    if (atomic_load(&refusals) > 0) {
        atomic_fetch_sub(&refusals, 1);
        return -1;
    }
    atomic_store(&pending, function);
    atomic_fetch_add(&asks, 1);
    return 0;
}

static int fake_is_alive(void)
{
    return atomic_load(&alive);
}

static void fake_nudge(void)
{
    atomic_fetch_add(&nudges, 1);
}

static size_t fake_format(char *out, size_t cap)
{
    int n = snprintf(out, cap, "stack %d", atomic_fetch_add(&formatted, 1) + 1);
    return (size_t)n;
}

static const struct faa_watch_ops fake = {fake_ask, fake_is_alive, fake_nudge, fake_format};

static uint64_t old(void)
{
    return faa_clock_mono_ns() - SECOND;
}

static uint64_t young(void)
{
    return faa_clock_mono_ns() + 3600ull * SECOND;
}

static void set_up(void)
{
    atomic_store(&alive, 1);
    faa_watch_init(&fake);
    faa_watch_set_threshold(MS);
}

static void tear_down(void)
{
    faa_watch_stop();
}

static void pause_ms(unsigned ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000},
              NULL);
}

// Waits for what the thread asks for.
static void await_ask(void)
{
    uint64_t until = faa_clock_mono_ns() + PATIENCE_NS;
    while (!atomic_load(&pending)) {
        ck_assert_msg(faa_clock_mono_ns() < until, "nothing was asked for");
        pause_ms(1);
    }
}

// The main thread runs Python code again.
static void serve(void)
{
    int (*function)(void *) = atomic_exchange(&pending, NULL);
    ck_assert_ptr_nonnull(function);
    ck_assert_int_eq(function(NULL), 0);
}

static void check_text(struct faa_str got, const char *expected)
{
    ck_assert_msg(faa_str_eq(got, faa_str_of(expected)), "\"%.*s\" is not \"%s\"", (int)got.n,
                  got.p, expected);
}

// ---- which steps ------------------------------------------------------------------------------

START_TEST(a_step_that_is_too_old_has_the_stack_of_the_moment)
{
    faa_watch_begin(old());
    await_ask();
    check_text(faa_watch_stack(), "");
    serve();
    check_text(faa_watch_stack(), "stack 1");
    check_text(faa_watch_end(), "stack 1");
    check_text(faa_watch_end(), "");
}
END_TEST

START_TEST(a_step_that_takes_longer_than_the_threshold_is_noticed)
{
    faa_watch_set_threshold(50 * MS);
    uint64_t begun = faa_clock_mono_ns();
    faa_watch_begin(begun);
    await_ask();
    ck_assert_uint_ge(faa_clock_mono_ns() - begun, 50 * MS);
    serve();
    check_text(faa_watch_end(), "stack 1");
}
END_TEST

START_TEST(young_steps_have_none)
{
    for (int i = 0; i < 1000; i++) {
        faa_watch_begin(young());
        check_text(faa_watch_end(), "");
    }
    faa_watch_begin(young());
    pause_ms(100);
    ck_assert_int_eq(atomic_load(&asks), 0);
    check_text(faa_watch_end(), "");
}
END_TEST

START_TEST(each_step_is_asked_for_once)
{
    for (int i = 1; i <= 20; i++) {
        char expected[16];
        snprintf(expected, sizeof(expected), "stack %d", i);
        faa_watch_begin(old());
        await_ask();
        serve();
        pause_ms(10); // Ten polls.
        ck_assert_int_eq(atomic_load(&asks), i);
        check_text(faa_watch_end(), expected);
    }
}
END_TEST

START_TEST(a_call_that_comes_after_the_step_takes_nothing)
{
    faa_watch_begin(old());
    await_ask();
    check_text(faa_watch_end(), "");
    faa_watch_begin(young());
    serve();
    ck_assert_int_eq(atomic_load(&formatted), 0);
    check_text(faa_watch_end(), "");
}
END_TEST

START_TEST(a_call_with_no_step_takes_nothing)
{
    faa_watch_begin(old());
    await_ask();
    faa_watch_end();
    serve();
    ck_assert_int_eq(atomic_load(&formatted), 0);
    check_text(faa_watch_stack(), "");
}
END_TEST

START_TEST(steps_after_a_late_call_are_watched)
{
    faa_watch_begin(old());
    await_ask();
    faa_watch_end();
    serve();
    faa_watch_begin(old());
    await_ask();
    serve();
    check_text(faa_watch_end(), "stack 1");
}
END_TEST

// ---- the main thread's answer ------------------------------------------------------------------

START_TEST(a_main_thread_that_computes_is_nudged_once)
{
    faa_watch_begin(old());
    uint64_t until = faa_clock_mono_ns() + PATIENCE_NS;
    while (!atomic_load(&nudges))
        ck_assert_msg(faa_clock_mono_ns() < until, "nobody nudges");
    uint64_t cpu = faa_clock_ns(CLOCK_THREAD_CPUTIME_ID);
    while (faa_clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu < 50 * MS)
        ;
    ck_assert_int_eq(atomic_load(&nudges), 1);
    ck_assert_int_eq(atomic_load(&asks), 1);
    serve();
    check_text(faa_watch_end(), "stack 1");
}
END_TEST

START_TEST(a_main_thread_that_waits_is_left_alone)
{
    faa_watch_begin(old());
    await_ask();
    pause_ms(200);
    ck_assert_int_eq(atomic_load(&nudges), 0);
    serve();
    check_text(faa_watch_end(), "stack 1");
}
END_TEST

START_TEST(what_was_answered_is_not_nudged)
{
    faa_watch_begin(old());
    await_ask();
    serve();
    uint64_t cpu = faa_clock_ns(CLOCK_THREAD_CPUTIME_ID);
    while (faa_clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu < 50 * MS)
        ;
    ck_assert_int_eq(atomic_load(&nudges), 0);
    check_text(faa_watch_end(), "stack 1");
}
END_TEST

// ---- steps in steps ---------------------------------------------------------------------------

START_TEST(an_inner_step_that_is_young_leaves_the_stack_to_the_outer)
{
    faa_watch_begin(old());
    faa_watch_begin(young());
    await_ask();
    serve();
    check_text(faa_watch_end(), "");
    check_text(faa_watch_end(), "stack 1");
}
END_TEST

START_TEST(what_blocks_in_an_inner_step_blocks_the_outer_too)
{
    faa_watch_begin(old());
    faa_watch_begin(old());
    await_ask();
    serve();
    pause_ms(10); // It may have asked for the outer one before the inner one began.
    if (atomic_load(&pending))
        serve();
    ck_assert_int_eq(atomic_load(&formatted), 1);
    check_text(faa_watch_end(), "stack 1");
    faa_watch_begin(young());
    check_text(faa_watch_end(), "");
    check_text(faa_watch_end(), "stack 1");
}
END_TEST

START_TEST(a_later_stack_counts_for_the_outer_step_too)
{
    faa_watch_begin(old());
    await_ask();
    serve();
    check_text(faa_watch_stack(), "stack 1");
    faa_watch_begin(old());
    await_ask();
    serve();
    check_text(faa_watch_end(), "stack 2");
    check_text(faa_watch_end(), "stack 2");
}
END_TEST

START_TEST(more_steps_in_steps_than_there_is_room_for_stay_in_balance)
{
    enum { STEPS = FAA_WATCH_DEPTH_MAX + 5 };
    for (int i = 0; i < STEPS; i++)
        faa_watch_begin(old());
    await_ask();
    serve();
    for (int i = STEPS; i > 0; i--)
        check_text(faa_watch_end(), i > FAA_WATCH_DEPTH_MAX ? "" : "stack 1");
    check_text(faa_watch_end(), "");
    faa_watch_begin(young());
    check_text(faa_watch_end(), "");
}
END_TEST

// ---- when nothing may be asked ----------------------------------------------------------------

START_TEST(what_was_refused_is_asked_for_again)
{
    atomic_store(&refusals, 3);
    faa_watch_begin(old());
    await_ask();
    ck_assert_int_eq(atomic_load(&refusals), 0);
    serve();
    check_text(faa_watch_end(), "stack 1");
}
END_TEST

START_TEST(an_interpreter_that_ends_is_asked_nothing)
{
    atomic_store(&alive, 0);
    faa_watch_begin(old());
    pause_ms(50);
    ck_assert_int_eq(atomic_load(&asks), 0);
    atomic_store(&alive, 1);
    await_ask();
}
END_TEST

START_TEST(nothing_is_asked_while_somebody_forks)
{
    faa_watch_begin(young());
    faa_watch_end();
    faa_watch_hold();
    faa_watch_hold();
    faa_watch_begin(old());
    pause_ms(50);
    faa_watch_release();
    pause_ms(50);
    ck_assert_int_eq(atomic_load(&asks), 0);
    faa_watch_release();
    await_ask();
}
END_TEST

START_TEST(nothing_is_asked_after_the_stop)
{
    faa_watch_begin(young());
    faa_watch_end();
    faa_watch_stop();
    faa_watch_begin(old());
    pause_ms(50);
    ck_assert_int_eq(atomic_load(&asks), 0);
    check_text(faa_watch_end(), "");
}
END_TEST

START_TEST(a_stop_before_the_first_step_starts_no_thread)
{
    faa_watch_stop();
    faa_watch_begin(old());
    faa_watch_end();
    ck_assert_uint_eq(atomic_load(&state), GONE);
}
END_TEST

START_TEST(without_a_threshold_there_is_no_thread)
{
    faa_watch_set_threshold(0);
    faa_watch_begin(old());
    ck_assert_uint_eq(atomic_load(&state), ABSENT);
    check_text(faa_watch_end(), "");
}
END_TEST

static void *step_elsewhere(void *unused)
{
    faa_watch_begin(old());
    pause_ms(50);
    check_text(faa_watch_stack(), "");
    check_text(faa_watch_end(), "");
    return unused;
}

START_TEST(steps_of_other_threads_are_not_watched)
{
    pthread_t thread;
    faa_watch_begin(young()); // The watch runs.
    ck_assert_int_eq(pthread_create(&thread, NULL, step_elsewhere, NULL), 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(atomic_load(&asks), 0);
    check_text(faa_watch_end(), "");
}
END_TEST

// ---- the thread -------------------------------------------------------------------------------

// How often it has gone to sleep, or -1 when there is no such thread.
static long naps_of_the_watch(void)
{
    long naps = -1;
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *task;
    while (tasks && (task = readdir(tasks))) {
        char path[300], line[128];
        snprintf(path, sizeof(path), "/proc/self/task/%s/status", task->d_name);
        FILE *file = fopen(path, "r");
        int is_watch = 0;
        while (file && fgets(line, sizeof(line), file)) {
            is_watch = is_watch || strcmp(line, "Name:\tfaa-watch\n") == 0;
            if (is_watch && strncmp(line, "voluntary_ctxt_switches:", 24) == 0)
                naps = strtol(line + 24, NULL, 10);
        }
        if (file)
            fclose(file);
    }
    if (tasks)
        closedir(tasks);
    return naps;
}

START_TEST(without_steps_the_thread_sleeps_until_the_next_one)
{
    faa_watch_begin(young());
    faa_watch_end();
    uint64_t until = faa_clock_mono_ns() + PATIENCE_NS;
    long before, after = -2;
    do {
        ck_assert_msg(faa_clock_mono_ns() < until, "it wakes up again and again");
        before = after;
        pause_ms(200); // Two hundred polls.
        after = naps_of_the_watch();
    } while (before != after || atomic_load(&state) != ASLEEP);
    ck_assert_int_ge(after, 0);
    faa_watch_begin(old());
    await_ask();
    serve();
    check_text(faa_watch_end(), "stack 1");
}
END_TEST

START_TEST(a_step_that_never_ends_does_not_keep_the_thread_awake)
{
    faa_watch_begin(old());
    await_ask();
    serve();
    uint64_t until = faa_clock_mono_ns() + PATIENCE_NS;
    while (atomic_load(&state) != ASLEEP) {
        ck_assert_msg(faa_clock_mono_ns() < until, "it does not sleep");
        pause_ms(1);
    }
    faa_watch_begin(old());
    await_ask();
}
END_TEST

START_TEST(steps_keep_errno)
{
    errno = 4711;
    faa_watch_begin(old());
    ck_assert_int_eq(errno, 4711);
    await_ask();
    errno = 4711;
    serve();
    ck_assert_int_eq(errno, 4711);
    faa_watch_end();
}
END_TEST

START_TEST(the_child_of_a_fork_has_a_watch_of_its_own)
{
    faa_watch_begin(old());
    await_ask();
    serve();
    faa_watch_hold();
    pid_t child = fork();
    if (child == 0) {
        faa_watch_forget();
        check_text(faa_watch_end(), "stack 1"); // The step that forked goes on here.
        faa_watch_begin(old());
        await_ask();
        serve();
        check_text(faa_watch_end(), "stack 2");
        _exit(naps_of_the_watch() >= 0 ? 0 : 1);
    }
    faa_watch_release();
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    check_text(faa_watch_end(), "stack 1");
}
END_TEST

static void *fork_elsewhere(void *result)
{
    pid_t child = fork();
    if (child == 0) {
        faa_watch_forget();
        check_text(faa_watch_end(), ""); // The steps were another thread's.
        faa_watch_begin(old());
        await_ask();
        serve();
        check_text(faa_watch_end(), "stack 1");
        _exit(0);
    }
    waitpid(child, result, 0);
    return NULL;
}

START_TEST(the_thread_that_forks_is_the_childs_main_thread)
{
    int status = -1;
    pthread_t thread;
    faa_watch_begin(young());
    ck_assert_int_eq(pthread_create(&thread, NULL, fork_elsewhere, &status), 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(status, 0);
    faa_watch_end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("watch");
    TCase *cases = tcase_create("watch");
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, a_step_that_is_too_old_has_the_stack_of_the_moment);
    tcase_add_test(cases, a_step_that_takes_longer_than_the_threshold_is_noticed);
    tcase_add_test(cases, young_steps_have_none);
    tcase_add_test(cases, each_step_is_asked_for_once);
    tcase_add_test(cases, a_call_that_comes_after_the_step_takes_nothing);
    tcase_add_test(cases, a_call_with_no_step_takes_nothing);
    tcase_add_test(cases, steps_after_a_late_call_are_watched);
    tcase_add_test(cases, a_main_thread_that_computes_is_nudged_once);
    tcase_add_test(cases, a_main_thread_that_waits_is_left_alone);
    tcase_add_test(cases, what_was_answered_is_not_nudged);
    tcase_add_test(cases, an_inner_step_that_is_young_leaves_the_stack_to_the_outer);
    tcase_add_test(cases, what_blocks_in_an_inner_step_blocks_the_outer_too);
    tcase_add_test(cases, a_later_stack_counts_for_the_outer_step_too);
    tcase_add_test(cases, more_steps_in_steps_than_there_is_room_for_stay_in_balance);
    tcase_add_test(cases, what_was_refused_is_asked_for_again);
    tcase_add_test(cases, an_interpreter_that_ends_is_asked_nothing);
    tcase_add_test(cases, nothing_is_asked_while_somebody_forks);
    tcase_add_test(cases, nothing_is_asked_after_the_stop);
    tcase_add_test(cases, a_stop_before_the_first_step_starts_no_thread);
    tcase_add_test(cases, without_a_threshold_there_is_no_thread);
    tcase_add_test(cases, steps_of_other_threads_are_not_watched);
    tcase_add_test(cases, without_steps_the_thread_sleeps_until_the_next_one);
    tcase_add_test(cases, a_step_that_never_ends_does_not_keep_the_thread_awake);
    tcase_add_test(cases, steps_keep_errno);
    tcase_add_test(cases, the_child_of_a_fork_has_a_watch_of_its_own);
    tcase_add_test(cases, the_thread_that_forks_is_the_childs_main_thread);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

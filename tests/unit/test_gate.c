// SPDX-License-Identifier: MIT
// The gate: a fork waits for who is within, and who comes waits for the fork.
#include "export/gate.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
}

static void *pass(void *arg)
{
    atomic_int *passed = arg;
    faa_gate_enter();
    atomic_store(passed, 1);
    faa_gate_leave();
    return NULL;
}

START_TEST(who_comes_waits_for_all_forks)
{
    pthread_t thread;
    atomic_int passed = 0;
    ck_assert_int_eq(faa_gate_close(0), 0);
    ck_assert_int_eq(faa_gate_close(0), 0); // Of another thread.
    pthread_create(&thread, NULL, pass, &passed);
    nap();
    faa_gate_open();
    nap();
    ck_assert_int_eq(atomic_load(&passed), 0);
    faa_gate_open();
    pthread_join(thread, NULL);
    ck_assert_int_eq(atomic_load(&passed), 1);
}
END_TEST

static atomic_int leaving;

static void *leave_later(void *arg)
{
    (void)arg;
    nap();
    atomic_store(&leaving, 1);
    faa_gate_leave();
    return NULL;
}

START_TEST(a_fork_waits_for_who_is_within)
{
    pthread_t thread;
    faa_gate_enter();
    pthread_create(&thread, NULL, leave_later, NULL);
    ck_assert_int_eq(faa_gate_close(60000), 0);
    ck_assert_int_eq(atomic_load(&leaving), 1);
    faa_gate_open();
    pthread_join(thread, NULL);
}
END_TEST

START_TEST(a_fork_does_not_wait_for_ever)
{
    faa_gate_enter();
    ck_assert_int_eq(faa_gate_close(10), -1);
    faa_gate_open();
    faa_gate_leave();
    ck_assert_int_eq(faa_gate_close(0), 0); // As if nothing had been.
    faa_gate_open();
}
END_TEST

START_TEST(a_child_finds_it_open)
{
    ck_assert_int_eq(faa_gate_close(0), 0);
    pid_t child = fork();
    if (child == 0) {
        atomic_int passed = 0;
        faa_gate_forget();
        pass(&passed);
        _exit(atomic_load(&passed) && faa_gate_close(0) == 0 ? 0 : 1);
    }
    int status = -1;
    faa_gate_open();
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}
END_TEST

static atomic_int over;
static int within; // Not atomic: the gate keeps it.

static void *come_and_go(void *arg)
{
    (void)arg;
    while (!atomic_load(&over)) {
        faa_gate_enter();
        within++;
        within--;
        faa_gate_leave();
    }
    return NULL;
}

// make test-unit SAN=thread sees a race, too.
START_TEST(nobody_is_within_while_it_is_closed)
{
    pthread_t thread;
    pthread_create(&thread, NULL, come_and_go, NULL);
    for (int i = 0; i < 20000; i++) {
        ck_assert_int_eq(faa_gate_close(60000), 0);
        ck_assert_int_eq(within, 0);
        faa_gate_open();
    }
    atomic_store(&over, 1);
    pthread_join(thread, NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gate");
    TCase *cases = tcase_create("gate");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, who_comes_waits_for_all_forks);
    tcase_add_test(cases, a_fork_waits_for_who_is_within);
    tcase_add_test(cases, a_fork_does_not_wait_for_ever);
    tcase_add_test(cases, a_child_finds_it_open);
    tcase_add_test(cases, nobody_is_within_while_it_is_closed);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

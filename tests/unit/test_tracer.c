// SPDX-License-Identifier: MIT
// The tracer: the ring is asked for once there is a span, drops are counted, the exporter is woken.
#include "span/tracer.h"

#include "ring/ring.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>

enum { THREADS = 4, PER_THREAD = 5000, RECORD = 1000 };

static struct faa_ring *ring;
static _Atomic int starts, wakes, no_ring;

static struct faa_ring *start(void)
{
    atomic_fetch_add(&starts, 1);
    return atomic_load(&no_ring) ? NULL : ring;
}

static void committed(int crowded)
{
    atomic_fetch_add(&wakes, crowded);
}

static void flush(void)
{
}

static const struct faa_tracer_ops ops = {start, committed, flush, 0};

static void setup(void)
{
    ring = faa_ring_new(0, NULL);
    ck_assert_ptr_nonnull(ring);
    atomic_store(&starts, 0);
    atomic_store(&wakes, 0);
    atomic_store(&no_ring, 0);
    faa_tracer_init(&ops);
    faa_tracer_forget_ring();
}

static void teardown(void)
{
    faa_ring_free(ring);
}

static int put(size_t size)
{
    void *record = faa_tracer_reserve(size);
    if (!record)
        return 0;
    memset(record, 'x', size);
    faa_tracer_commit(record, 0);
    return 1;
}

static size_t drain(void)
{
    struct faa_ring_cursor cursor = faa_ring_begin(ring);
    size_t size, count = 0;
    while (faa_ring_next(ring, &cursor, &size, NULL))
        count++;
    faa_ring_release(ring, cursor);
    return count;
}

START_TEST(without_an_owner_records_are_dropped_and_counted)
{
    faa_tracer_init(NULL);
    ck_assert(!put(RECORD));
    ck_assert_uint_eq(faa_tracer_counts().ended, 1);
    ck_assert_uint_eq(faa_tracer_counts().dropped, 1);
}
END_TEST

START_TEST(the_ring_is_asked_for_with_the_first_record_only)
{
    ck_assert_int_eq(atomic_load(&starts), 0);
    ck_assert(put(RECORD));
    ck_assert(put(RECORD));
    ck_assert_int_eq(atomic_load(&starts), 1);
    ck_assert_uint_eq(faa_tracer_counts().ended, 2);
    ck_assert_uint_eq(faa_tracer_counts().dropped, 0);
    ck_assert_uint_eq(drain(), 2);
}
END_TEST

START_TEST(a_ring_that_could_not_be_made_is_asked_for_again)
{
    atomic_store(&no_ring, 1);
    ck_assert(!put(RECORD));
    atomic_store(&no_ring, 0);
    ck_assert(put(RECORD));
    ck_assert_uint_eq(faa_tracer_counts().ended, 2);
    ck_assert_uint_eq(faa_tracer_counts().dropped, 1);
}
END_TEST

START_TEST(a_full_ring_drops_and_counts)
{
    uint64_t kept = 0;
    while (put(RECORD))
        kept++;
    ck_assert(!put(RECORD));
    ck_assert_uint_eq(faa_tracer_counts().ended, kept + 2);
    ck_assert_uint_eq(faa_tracer_counts().dropped, 2);
    ck_assert_uint_eq(drain(), kept);
    ck_assert(put(RECORD));
}
END_TEST

START_TEST(the_exporter_is_woken_once_each_time_the_ring_gets_half_full)
{
    for (int lap = 1; lap <= 3; lap++) {
        while (faa_ring_used(ring) <= faa_ring_capacity(ring) / 2) {
            ck_assert_int_eq(atomic_load(&wakes), lap - 1);
            ck_assert(put(RECORD));
        }
        ck_assert_int_eq(atomic_load(&wakes), lap);
        while (put(RECORD))
            ;
        ck_assert_int_eq(atomic_load(&wakes), lap);
        drain();
    }
}
END_TEST

START_TEST(a_forgotten_ring_gets_nothing_more)
{
    struct faa_ring *old = ring;
    ck_assert(put(RECORD));
    size_t used = faa_ring_used(old);
    faa_tracer_forget_ring();
    ck_assert_uint_eq(faa_tracer_counts().ended, 0);
    ring = faa_ring_new(0, NULL);
    ck_assert(put(RECORD));
    ck_assert_int_eq(atomic_load(&starts), 2);
    ck_assert_uint_eq(faa_ring_used(old), used);
    ck_assert_uint_eq(drain(), 1);
    faa_ring_free(old);
}
END_TEST

static void *put_many(void *arg)
{
    uint64_t *kept = arg;
    for (int i = 0; i < PER_THREAD; i++)
        *kept += (uint64_t)put(RECORD);
    return NULL;
}

START_TEST(what_threads_put_is_drained_or_counted_as_dropped)
{
    pthread_t threads[THREADS];
    uint64_t kept[THREADS] = {0}, drained = 0, sum = 0;
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, put_many, &kept[i]), 0);
    while (faa_tracer_counts().ended < THREADS * PER_THREAD)
        drained += drain();
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        sum += kept[i];
    }
    drained += drain();
    struct faa_tracer_counts counts = faa_tracer_counts();
    ck_assert_uint_eq(drained, sum);
    ck_assert_uint_eq(counts.ended, THREADS * PER_THREAD);
    ck_assert_uint_eq(counts.dropped, counts.ended - sum);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tracer");
    TCase *cases = tcase_create("tracer");
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, without_an_owner_records_are_dropped_and_counted);
    tcase_add_test(cases, the_ring_is_asked_for_with_the_first_record_only);
    tcase_add_test(cases, a_ring_that_could_not_be_made_is_asked_for_again);
    tcase_add_test(cases, a_full_ring_drops_and_counts);
    tcase_add_test(cases, the_exporter_is_woken_once_each_time_the_ring_gets_half_full);
    tcase_add_test(cases, a_forgotten_ring_gets_nothing_more);
    tcase_add_test(cases, what_threads_put_is_drained_or_counted_as_dropped);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

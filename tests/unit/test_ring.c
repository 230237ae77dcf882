// SPDX-License-Identifier: MIT
// The ring in one process: order, wrap-around, limits, many producers, forked children.
#include "tests/unit/ring_message.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>

#ifdef __SANITIZE_THREAD__
enum { PER_PRODUCER = 5000 };
#else
enum { PER_PRODUCER = 20000 };
#endif

// ---- one thread -------------------------------------------------------------------------------

START_TEST(capacity_is_a_power_of_two_within_bounds)
{
    const size_t wanted[] = {0, 1, SMALL, SMALL + 1, 1u << 20, (1u << 20) + 1, SIZE_MAX};
    const size_t got[] = {SMALL, SMALL, SMALL, 2 * SMALL, 1u << 20, 1u << 21, CAPACITY_MAX};
    for (size_t i = 0; i < FAA_COUNT(wanted); i++) {
        struct faa_ring *ring = faa_ring_new(wanted[i], NULL);
        ck_assert_ptr_nonnull(ring);
        ck_assert_uint_eq(faa_ring_capacity(ring), got[i]);
        ck_assert_uint_eq(faa_ring_used(ring), 0);
        faa_ring_free(ring);
    }
}
END_TEST

START_TEST(empty_ring_has_nothing_to_read)
{
    struct faa_ring *ring = new_ring(NULL);
    struct faa_ring_cursor cursor = faa_ring_begin(ring);
    size_t size;
    ck_assert_ptr_null(faa_ring_next(ring, &cursor, &size, NULL));
    struct faa_ring_cursor end = faa_ring_end(ring);
    ck_assert_ptr_null(faa_ring_next(ring, &cursor, &size, &end));
    faa_ring_free(ring);
    faa_ring_free(NULL);
}
END_TEST

START_TEST(sizes_out_of_range_are_refused)
{
    struct faa_ring *ring = new_ring(NULL);
    ck_assert_ptr_null(faa_ring_reserve(ring, 0));
    ck_assert_ptr_null(faa_ring_reserve(ring, SMALL / 4 + 1));
    ck_assert_ptr_null(faa_ring_reserve(ring, SIZE_MAX));
    ck_assert_uint_eq(faa_ring_used(ring), 0);
    ck_assert_ptr_nonnull(faa_ring_reserve(ring, SMALL / 4));
    faa_ring_free(ring);
}
END_TEST

START_TEST(payloads_are_aligned)
{
    struct faa_ring *ring = new_ring(NULL);
    for (size_t size = 1; size < 100; size++)
        ck_assert_uint_eq((uintptr_t)faa_ring_reserve(ring, size) % FAA_RING_ALIGN, 0);
    faa_ring_free(ring);
}
END_TEST

START_TEST(reading_does_not_free_and_releasing_does)
{
    struct faa_ring *ring = new_ring(NULL);
    for (uint64_t i = 0; i < 3; i++)
        ck_assert_int_eq(send_message(ring, 0, i), 0);
    size_t used = faa_ring_used(ring);
    struct faa_ring_cursor cursor = faa_ring_begin(ring);
    for (long i = 0; i < 3; i++)
        ck_assert_int_eq(next_sequence(ring, &cursor, 0), i);
    ck_assert_uint_eq(faa_ring_used(ring), used);

    cursor = faa_ring_begin(ring);
    ck_assert_int_eq(next_sequence(ring, &cursor, 0), 0);
    faa_ring_release(ring, cursor);
    ck_assert_uint_lt(faa_ring_used(ring), used);
    cursor = faa_ring_begin(ring);
    ck_assert_int_eq(next_sequence(ring, &cursor, 0), 1);
    faa_ring_free(ring);
}
END_TEST

START_TEST(records_survive_many_laps)
{
    struct faa_ring *ring = new_ring(NULL);
    struct faa_ring_cursor cursor = faa_ring_begin(ring);
    uint64_t sent = 0, received = 0;
    while (received < 20000) {
        for (uint64_t burst = 1 + faa_random_mix(received) % 60; burst > 0; burst--)
            if (send_message(ring, 1, sent) == 0)
                sent++;
        long sequence;
        while ((sequence = next_sequence(ring, &cursor, 0)) >= 0)
            ck_assert_uint_eq((uint64_t)sequence, received++);
        ck_assert_uint_eq(received, sent);
        faa_ring_release(ring, cursor);
        ck_assert_uint_eq(faa_ring_used(ring), 0);
    }
    ck_assert_uint_gt(cursor.pos, 100 * SMALL);
    faa_ring_free(ring);
}
END_TEST

START_TEST(a_full_ring_refuses_and_recovers)
{
    struct faa_ring *ring = new_ring(NULL);
    for (int lap = 0; lap < 200; lap++) {
        struct faa_ring_cursor cursor = faa_ring_begin(ring);
        uint64_t sent = 0, received = 0;
        while (send_message(ring, 2, sent) == 0)
            sent++;
        ck_assert_uint_ge(sent, 10);
        ck_assert_uint_le(faa_ring_used(ring), SMALL);
        ck_assert_int_eq(send_message(ring, 2, sent), -1);
        while (next_sequence(ring, &cursor, 0) >= 0)
            received++;
        ck_assert_uint_eq(received, sent);
        faa_ring_release(ring, cursor);
    }
    faa_ring_free(ring);
}
END_TEST

START_TEST(every_byte_of_the_capacity_can_be_used)
{
    struct faa_ring *ring = new_ring(NULL);
    const size_t payload = SMALL / 8 - sizeof(struct slot);
    for (int i = 0; i < 8; i++)
        ck_assert_ptr_nonnull(faa_ring_reserve(ring, payload));
    ck_assert_uint_eq(faa_ring_used(ring), SMALL);
    ck_assert_ptr_null(faa_ring_reserve(ring, 1));
    faa_ring_free(ring);
}
END_TEST

START_TEST(positions_may_pass_two_to_the_64)
{
    struct faa_ring *ring = new_ring(NULL);
    uint64_t near_end = UINT64_MAX - 3 * SMALL + 1;
    atomic_store(&ring->shared->head, near_end);
    atomic_store(&ring->shared->tail, near_end);
    struct faa_ring_cursor cursor = faa_ring_begin(ring);
    for (uint64_t i = 0; i < 2000; i++) {
        ck_assert_int_eq(send_message(ring, 0, i), 0);
        ck_assert_int_eq(next_sequence(ring, &cursor, 0), (long)i);
        faa_ring_release(ring, cursor);
    }
    ck_assert_uint_lt(cursor.pos, near_end);
    faa_ring_free(ring);
}
END_TEST

// ---- descriptors ------------------------------------------------------------------------------

START_TEST(the_descriptor_is_closed_on_exec_and_cannot_shrink)
{
    int fd;
    struct faa_ring *ring = new_ring(&fd);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    ck_assert_int_eq(ftruncate(fd, 0), -1);
    close(fd);
    ck_assert_int_eq(send_message(ring, 0, 0), 0);
    faa_ring_free(ring);
}
END_TEST

START_TEST(without_descriptors_the_ring_works_all_the_same)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 0;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int fd = 12345;
    struct faa_ring *ring = new_ring(&fd);
    ck_assert_int_eq(fd, -1);
    ck_assert_int_eq(send_message(ring, 0, 0), 0);
    faa_ring_free(ring);
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}
END_TEST

START_TEST(a_limit_on_file_size_does_not_kill)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = 4096;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int fd = 12345;
    struct faa_ring *ring = new_ring(&fd);
    ck_assert_int_eq(fd, -1);
    ck_assert_int_eq(send_message(ring, 0, 0), 0);
    faa_ring_free(ring);
    limit.rlim_cur = before;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}
END_TEST

// ---- many threads and processes ---------------------------------------------------------------

struct producer {
    struct faa_ring *ring;
    uint32_t number;
    uint64_t refused;
};

static void *produce(void *arg)
{
    struct producer *self = arg;
    for (uint64_t i = 0; i < PER_PRODUCER;) {
        if (send_message(self->ring, self->number, i) == 0) {
            i++;
        } else {
            self->refused++;
            sched_yield();
        }
    }
    return NULL;
}

START_TEST(every_record_of_many_producers_arrives_once_and_in_order)
{
    struct faa_ring *ring = new_ring(NULL);
    struct producer producers[PRODUCERS];
    pthread_t threads[PRODUCERS];
    uint64_t expected[PRODUCERS] = {0}, total = 0;
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){ring, i, 0};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, produce, &producers[i]), 0);
    }
    struct faa_ring_cursor cursor = faa_ring_begin(ring);
    while (total < (uint64_t)PRODUCERS * PER_PRODUCER) {
        size_t size;
        const struct message *m = faa_ring_next(ring, &cursor, &size, NULL);
        if (!m) {
            faa_ring_release(ring, cursor);
            sched_yield();
            continue;
        }
        check_message(m, size);
        if (m->sequence != expected[m->producer]++)
            ck_abort_msg("producer %u: message %lu is not the next", m->producer,
                         (unsigned long)m->sequence);
        // Sometimes early, sometimes when there is nothing left to read.
        if (++total % 7 == 0)
            faa_ring_release(ring, cursor);
    }
    for (uint32_t i = 0; i < PRODUCERS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(next_sequence(ring, &cursor, 0), -1);
    faa_ring_release(ring, cursor);
    ck_assert_uint_eq(faa_ring_used(ring), 0);
    faa_ring_free(ring);
}
END_TEST

START_TEST(a_forked_child_cannot_write_into_its_parents_ring)
{
    struct faa_ring *ring = new_ring(NULL);
    ck_assert_int_eq(send_message(ring, 0, 0), 0);
    size_t used = faa_ring_used(ring);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        int refused = faa_ring_reserve(ring, 1) == NULL;
        faa_ring_free(ring);
        _exit(refused ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(faa_ring_used(ring), used);
    struct faa_ring_cursor cursor = faa_ring_begin(ring);
    ck_assert_int_eq(next_sequence(ring, &cursor, 0), 0);
    ck_assert_int_eq(send_message(ring, 0, 1), 0);
    faa_ring_free(ring);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ring");
    TCase *one = tcase_create("one thread");
    tcase_add_test(one, capacity_is_a_power_of_two_within_bounds);
    tcase_add_test(one, empty_ring_has_nothing_to_read);
    tcase_add_test(one, sizes_out_of_range_are_refused);
    tcase_add_test(one, payloads_are_aligned);
    tcase_add_test(one, reading_does_not_free_and_releasing_does);
    tcase_add_test(one, records_survive_many_laps);
    tcase_add_test(one, a_full_ring_refuses_and_recovers);
    tcase_add_test(one, every_byte_of_the_capacity_can_be_used);
    tcase_add_test(one, positions_may_pass_two_to_the_64);
    tcase_add_test(one, the_descriptor_is_closed_on_exec_and_cannot_shrink);
    tcase_add_test(one, without_descriptors_the_ring_works_all_the_same);
    tcase_add_test(one, a_limit_on_file_size_does_not_kill);
    suite_add_tcase(suite, one);
    TCase *many = tcase_create("many threads and processes");
    tcase_set_timeout(many, 120);
    tcase_add_test(many, every_record_of_many_producers_arrives_once_and_in_order);
    tcase_add_test(many, a_forked_child_cannot_write_into_its_parents_ring);
    suite_add_tcase(suite, many);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

// SPDX-License-Identifier: MIT
// Rings whose producers are threads of other processes, which are killed; the consumer is here, as
// in the guard: it drains while they live, skips what they left unfinished, and reads what is
// written here meanwhile.
#include "tests/unit/ring_message.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PROCESSES = 3, THREADS = 2, WRITERS = PROCESSES * THREADS, REPORTS = 100 };

#ifdef __SANITIZE_THREAD__
enum { ROUNDS = 20 };
#else
enum { ROUNDS = 60 };
#endif

// What a writer has done, in memory that the processes share. A record is tried before it is sent
// or refused, so that a kill leaves one that was tried only, at most.
struct tally {
    _Atomic uint64_t tried, sent, refused;
};

struct writer {
    struct faa_ring *ring;
    struct tally *tally;
    uint32_t number;
};

// ---- the processes ----------------------------------------------------------------------------

static void *write_for_ever(void *arg)
{
    struct writer *self = arg;
    for (uint64_t i = 0;; i++) {
        atomic_store(&self->tally->tried, i + 1);
        if (send_message(self->ring, self->number, i) == 0) {
            atomic_fetch_add(&self->tally->sent, 1);
        } else {
            atomic_fetch_add(&self->tally->refused, 1);
            sched_yield();
        }
    }
    return NULL;
}

static void writer_main(int fd, uint32_t process, struct tally tallies[WRITERS])
{
    struct writer writers[THREADS];
    pthread_t thread;
    struct faa_ring *ring = faa_ring_attach(fd, 1);
    if (!ring)
        _exit(1);
    for (uint32_t i = 0; i < THREADS; i++) {
        uint32_t number = process * THREADS + i;
        writers[i] = (struct writer){ring, &tallies[number], number};
        if (pthread_create(&thread, NULL, write_for_ever, &writers[i]) != 0)
            _exit(1);
    }
    for (;;)
        pause();
}

// ---- the consumer -----------------------------------------------------------------------------

struct reader {
    struct faa_ring *ring;
    struct faa_ring_cursor dead; // Written before `rescuing`.
    _Atomic int rescuing, stopping;
    uint64_t next[PRODUCERS_MAX], received[PRODUCERS_MAX];
};

// Returns the number of records that there were.
static int drain(struct reader *self)
{
    struct faa_ring_cursor cursor = faa_ring_begin(self->ring);
    const struct message *m;
    size_t size;
    int count = 0;
    int rescuing = atomic_load_explicit(&self->rescuing, memory_order_acquire);
    while ((m = faa_ring_next(self->ring, &cursor, &size, rescuing ? &self->dead : NULL))) {
        check_message(m, size);
        if (m->sequence < self->next[m->producer])
            ck_abort_msg("writer %u: message %lu comes again, or too late", m->producer,
                         (unsigned long)m->sequence);
        self->next[m->producer] = m->sequence + 1;
        self->received[m->producer]++;
        count++;
    }
    faa_ring_release(self->ring, cursor);
    return count;
}

static void *read_until_stopped(void *arg)
{
    struct reader *self = arg;
    for (;;) {
        int last = atomic_load_explicit(&self->stopping, memory_order_acquire);
        if (drain(self) == 0 && last)
            return NULL;
        sched_yield();
    }
}

// ---- a round ----------------------------------------------------------------------------------

static void nap(uint64_t seed, long max_ns)
{
    nanosleep(&(struct timespec){0, (long)(faa_random_mix(seed) % (uint64_t)max_ns)}, NULL);
}

// A process that could not begin has ended.
static void await_first(const struct tally *tally, pid_t process)
{
    siginfo_t info = {0};
    while (atomic_load(&tally->tried) == 0 && info.si_pid == 0) {
        sched_yield();
        (void)waitid(P_PID, (id_t)process, &info, WEXITED | WNOHANG | WNOWAIT);
    }
    ck_assert_int_eq(info.si_pid, 0);
}

// One after the other, so that some write on when another has left a hole.
static void kill_all(const pid_t children[], size_t count, uint64_t round,
                     const struct tally tallies[WRITERS])
{
    for (size_t i = 0; i < count; i++) {
        await_first(&tallies[i * THREADS], children[i]);
        nap(round * PROCESSES + i, 4000000);
        kill(children[i], SIGKILL);
    }
    for (size_t i = 0; i < count; i++)
        ck_assert_int_eq(waitpid(children[i], NULL, 0), children[i]);
}

// As the guard does when a process has died: the reader goes on meanwhile.
static void bury(struct reader *reader)
{
    struct faa_ring_cursor end = faa_ring_end(reader->ring);
    reader->dead = end;
    atomic_store_explicit(&reader->rescuing, 1, memory_order_release);
    for (uint64_t i = 0; i < REPORTS;) {
        if (send_message(reader->ring, WRITERS, i) == 0)
            i++;
        else
            sched_yield();
    }
}

static void check_tallies(const struct reader *reader, const struct tally tallies[WRITERS],
                          uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++) {
        uint64_t tried = atomic_load(&tallies[i].tried), sent = atomic_load(&tallies[i].sent);
        uint64_t refused = atomic_load(&tallies[i].refused), received = reader->received[i];
        uint64_t unfinished = tried - sent - refused;
        ck_assert_uint_le(unfinished, 1);
        ck_assert_uint_ge(received, sent);
        ck_assert_uint_le(received, sent + unfinished);
        ck_assert_uint_le(reader->next[i], tried);
        // What is missing among the records that came is what was refused.
        ck_assert_uint_le(reader->next[i] - received, refused + unfinished);
    }
    ck_assert_uint_eq(reader->received[WRITERS], REPORTS);
}

// `processes` of them write into one ring, which is read from the beginning, or when all are dead.
static void play(uint32_t processes, int reads_late, uint64_t round)
{
    struct tally *tallies = mmap(NULL, sizeof(struct tally[WRITERS]), PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(tallies, MAP_FAILED);
    int fd;
    struct faa_ring *made = new_ring(&fd);
    pid_t children[PROCESSES];
    for (uint32_t i = 0; i < processes; i++) {
        children[i] = fork();
        ck_assert_int_ge(children[i], 0);
        if (children[i] == 0)
            writer_main(fd, i, tallies);
    }
    static struct reader reader;
    pthread_t thread;
    memset(&reader, 0, sizeof(reader));
    reader.ring = faa_ring_attach(fd, 1);
    ck_assert_ptr_nonnull(reader.ring);
    if (!reads_late)
        ck_assert_int_eq(pthread_create(&thread, NULL, read_until_stopped, &reader), 0);
    kill_all(children, processes, round, tallies);
    if (reads_late)
        ck_assert_int_eq(pthread_create(&thread, NULL, read_until_stopped, &reader), 0);
    bury(&reader);
    atomic_store_explicit(&reader.stopping, 1, memory_order_release);
    pthread_join(thread, NULL);
    check_tallies(&reader, tallies, 0, processes * THREADS);
    // Nothing of the dead is in the way.
    ck_assert_uint_eq(faa_ring_used(reader.ring), 0);
    for (int lap = 0; lap < 8; lap++) {
        void *place = faa_ring_reserve(reader.ring, SMALL / 4 - sizeof(struct slot));
        ck_assert_ptr_nonnull(place);
        struct faa_ring_cursor end = faa_ring_end(reader.ring);
        faa_ring_release(reader.ring, end);
    }
    faa_ring_free(reader.ring);
    faa_ring_free(made);
    close(fd);
    munmap(tallies, sizeof(struct tally[WRITERS]));
}

START_TEST(a_killed_process_loses_only_what_it_had_not_committed)
{
    for (uint64_t round = 0; round < ROUNDS; round++)
        play(1, 0, round);
}
END_TEST

START_TEST(a_full_ring_of_a_killed_process_is_read_too)
{
    for (uint64_t round = 0; round < ROUNDS / 2; round++)
        play(1, 1, round);
}
END_TEST

START_TEST(processes_that_share_a_ring_and_are_killed_do_not_hold_it_up)
{
    for (uint64_t round = 0; round < ROUNDS; round++)
        play(PROCESSES, 0, round);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ring_processes");
    TCase *killed = tcase_create("killed");
    tcase_set_timeout(killed, 120);
    tcase_add_test(killed, a_killed_process_loses_only_what_it_had_not_committed);
    tcase_add_test(killed, a_full_ring_of_a_killed_process_is_read_too);
    tcase_add_test(killed, processes_that_share_a_ring_and_are_killed_do_not_hold_it_up);
    suite_add_tcase(suite, killed);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

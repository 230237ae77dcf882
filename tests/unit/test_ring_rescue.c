// SPDX-License-Identifier: MIT
// The ring read from outside: what killed writers leave, and mappings that lie.
#include "tests/unit/ring_message.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

#ifdef __SANITIZE_THREAD__
enum { KILL_ROUNDS = 20 };
#else
enum { KILL_ROUNDS = 100 };
#endif

// ---- what a killed writer leaves --------------------------------------------------------------

START_TEST(an_uncommitted_record_stops_a_live_reader_only)
{
    struct faa_ring *ring = new_ring(NULL);
    ck_assert_int_eq(send_message(ring, 0, 0), 0);
    void *unfinished = faa_ring_reserve(ring, 100);
    ck_assert_ptr_nonnull(unfinished);
    ck_assert_int_eq(send_message(ring, 0, 1), 0);

    struct faa_ring_cursor live = faa_ring_begin(ring), dead = live;
    ck_assert_int_eq(next_sequence(ring, &live, 0), 0);
    ck_assert_int_eq(next_sequence(ring, &live, 0), -1);
    ck_assert_int_eq(next_sequence(ring, &dead, 1), 0);
    ck_assert_int_eq(next_sequence(ring, &dead, 1), 1);
    ck_assert_int_eq(next_sequence(ring, &dead, 1), -1);

    size_t size;
    faa_ring_commit(ring, unfinished);
    ck_assert_ptr_eq(faa_ring_next(ring, &live, &size, NULL), unfinished);
    ck_assert_uint_eq(size, 100);
    ck_assert_int_eq(next_sequence(ring, &live, 0), 1);
    faa_ring_free(ring);
}
END_TEST

// A guard puts records of its own into the ring of a dead process, while its exporter reads.
START_TEST(what_is_reserved_behind_the_dead_is_waited_for)
{
    struct faa_ring *ring = new_ring(NULL);
    size_t size;
    ck_assert_ptr_nonnull(faa_ring_reserve(ring, 100));
    struct faa_ring_cursor dead = faa_ring_end(ring), cursor = faa_ring_begin(ring);
    void *mine = faa_ring_reserve(ring, 200);
    ck_assert_ptr_null(faa_ring_next(ring, &cursor, &size, &dead));
    ck_assert_uint_eq(cursor.pos, dead.pos);
    faa_ring_commit(ring, mine);
    ck_assert_ptr_eq(faa_ring_next(ring, &cursor, &size, &dead), mine);
    ck_assert_uint_eq(size, 200);
    ck_assert_ptr_null(faa_ring_next(ring, &cursor, &size, &dead));
    faa_ring_free(ring);
}
END_TEST

// What a dead writer said of its record's size does not reach into those behind it.
START_TEST(a_size_of_the_dead_does_not_hide_what_lies_behind)
{
    struct faa_ring *ring = new_ring(NULL);
    size_t size;
    struct slot *lies = (struct slot *)faa_ring_reserve(ring, 100) - 1;
    faa_ring_commit(ring, lies + 1);
    struct faa_ring_cursor dead = faa_ring_end(ring), cursor = faa_ring_begin(ring);
    lies->size += 100;
    ck_assert_int_eq(send_message(ring, 1, 1), 0);
    const struct message *m = faa_ring_next(ring, &cursor, &size, &dead);
    ck_assert_ptr_nonnull(m);
    check_message(m, size);
    faa_ring_free(ring);
}
END_TEST

// Room was taken by a thread that died before it wrote the header: on every offset of a lap, so
// that old records and the ring's end lie in it too.
START_TEST(room_without_a_header_is_passed_by_the_rescuer)
{
    struct faa_ring *ring = new_ring(NULL);
    struct faa_ring_cursor cursor = faa_ring_begin(ring);
    uint64_t i = 0;
    while (cursor.pos < 5 * SMALL) {
        ck_assert_int_eq(send_message(ring, 3, i), 0);
        uint64_t lost = span_of(message_size(2, i));
        uint64_t to_end = SMALL - offset_of(ring, atomic_load(&ring->shared->head));
        atomic_fetch_add(&ring->shared->head, lost > to_end ? to_end + lost : lost);
        ck_assert_int_eq(send_message(ring, 3, i + 1), 0);

        struct faa_ring_cursor live = cursor;
        ck_assert_int_eq(next_sequence(ring, &live, 0), (long)i);
        ck_assert_int_eq(next_sequence(ring, &live, 0), -1);
        ck_assert_int_eq(next_sequence(ring, &cursor, 1), (long)i);
        ck_assert_int_eq(next_sequence(ring, &cursor, 1), (long)i + 1);
        ck_assert_int_eq(next_sequence(ring, &cursor, 1), -1);
        faa_ring_release(ring, cursor);
        i += 2;
    }
    faa_ring_free(ring);
}
END_TEST

START_TEST(what_was_released_never_comes_back)
{
    struct faa_ring *ring = new_ring(NULL);
    struct faa_ring_cursor cursor = faa_ring_begin(ring);
    for (uint64_t i = 0; send_message(ring, 0, i) == 0; i++)
        ck_assert_int_eq(next_sequence(ring, &cursor, 0), (long)i);
    faa_ring_release(ring, cursor);
    // All of the next lap is taken, and nothing of it written: the old bytes are still there.
    atomic_fetch_add(&ring->shared->head, SMALL);
    ck_assert_int_eq(next_sequence(ring, &cursor, 1), -1);
    ck_assert_uint_eq(cursor.pos, atomic_load(&ring->shared->head));
    faa_ring_free(ring);
}
END_TEST

// ---- two processes ----------------------------------------------------------------------------

// What the child tells of its progress, in memory that it shares with the test.
struct progress {
    _Atomic int fd; // Of the ring in the child; 0: not yet.
    _Atomic uint64_t committed[PRODUCERS];
    _Atomic uint64_t released[PRODUCERS];
};

struct child_producer {
    struct faa_ring *ring;
    struct progress *progress;
    uint32_t number;
};

static void *produce_for_ever(void *arg)
{
    struct child_producer *self = arg;
    for (uint64_t i = 0;;) {
        if (send_message(self->ring, self->number, i) == 0)
            atomic_store(&self->progress->committed[self->number], ++i);
        else
            sched_yield();
    }
    return NULL;
}

static void child_main(struct progress *progress)
{
    struct child_producer producers[PRODUCERS];
    pthread_t thread;
    int fd;
    struct faa_ring *ring = faa_ring_new(SMALL, &fd);
    if (!ring || fd < 0)
        _exit(1);
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct child_producer){ring, progress, i};
        if (pthread_create(&thread, NULL, produce_for_ever, &producers[i]) != 0)
            _exit(1);
    }
    atomic_store(&progress->fd, fd);
    struct faa_ring_cursor cursor = faa_ring_begin(ring);
    for (;;) {
        size_t size;
        const struct message *m = faa_ring_next(ring, &cursor, &size, NULL);
        if (!m) {
            sched_yield();
            continue;
        }
        atomic_store(&progress->released[m->producer], m->sequence + 1);
        faa_ring_release(ring, cursor);
    }
}

static void rescue(int fd, struct progress *progress)
{
    struct faa_ring *ring = faa_ring_attach(fd, 0);
    ck_assert_ptr_nonnull(ring);
    uint64_t next[PRODUCERS];
    int seen[PRODUCERS] = {0};
    struct faa_ring_cursor cursor = faa_ring_begin(ring), end = faa_ring_end(ring);
    size_t size;
    const struct message *m;
    while ((m = faa_ring_next(ring, &cursor, &size, &end)) != NULL) {
        check_message(m, size);
        if (seen[m->producer])
            ck_assert_uint_eq(m->sequence, next[m->producer]);
        else // The child may have died between saying so and releasing.
            ck_assert_uint_ge(m->sequence + 1, atomic_load(&progress->released[m->producer]));
        if (!seen[m->producer])
            ck_assert_uint_le(m->sequence, atomic_load(&progress->released[m->producer]));
        seen[m->producer] = 1;
        next[m->producer] = m->sequence + 1;
    }
    for (int i = 0; i < PRODUCERS; i++) {
        uint64_t committed = atomic_load(&progress->committed[i]);
        uint64_t last = seen[i] ? next[i] : atomic_load(&progress->released[i]);
        ck_assert_uint_ge(last, committed);
        ck_assert_uint_le(last, committed + 1);
    }
    faa_ring_free(ring);
}

START_TEST(all_that_a_killed_process_committed_is_rescued)
{
    struct progress *progress =
        mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(progress, MAP_FAILED);
    for (uint64_t round = 0; round < KILL_ROUNDS; round++) {
        memset(progress, 0, sizeof(*progress));
        pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0)
            child_main(progress);
        while (atomic_load(&progress->fd) == 0 && waitpid(child, NULL, WNOHANG) == 0)
            sched_yield();
        char path[64];
        snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)child, atomic_load(&progress->fd));
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ck_assert_int_ge(fd, 0);
        nanosleep(&(struct timespec){0, (long)(faa_random_mix(round) % 5000000)}, NULL);
        kill(child, SIGKILL);
        ck_assert_int_eq(waitpid(child, NULL, 0), child);
        rescue(fd, progress);
        close(fd);
    }
    munmap(progress, sizeof(*progress));
}
END_TEST

// ---- hostile mappings -------------------------------------------------------------------------

static int sealed_memfd(uint64_t size, int seals)
{
    int fd = (int)syscall(SYS_memfd_create, "test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

static void put_shared(int fd, uint64_t magic, uint64_t capacity)
{
    uint64_t header[3] = {magic, capacity, 0x1230};
    ck_assert_int_eq(pwrite(fd, header, sizeof(header), 0), sizeof(header));
}

START_TEST(attach_refuses_what_is_no_ring)
{
    ck_assert_ptr_null(faa_ring_attach(-1, 0));
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    ck_assert_ptr_null(faa_ring_attach(null, 0));
    close(null);
    static const struct {
        uint64_t file, magic, capacity;
        int seals, good;
    } cases[] = {
        {DATA_AT + SMALL, MAGIC, SMALL, F_SEAL_SHRINK, 1},
        {DATA_AT + SMALL, MAGIC, SMALL, F_SEAL_GROW, 0}, // It could shrink.
        {DATA_AT + SMALL, MAGIC + 1, SMALL, F_SEAL_SHRINK, 0},
        {DATA_AT + SMALL, MAGIC, 2 * SMALL, F_SEAL_SHRINK, 0},
        {DATA_AT + SMALL, MAGIC, 0, F_SEAL_SHRINK, 0},
        {DATA_AT + SMALL, MAGIC, UINT64_MAX, F_SEAL_SHRINK, 0},
        {DATA_AT + SMALL + 16, MAGIC, SMALL + 16, F_SEAL_SHRINK, 0},
        {DATA_AT + SMALL / 2, MAGIC, SMALL / 2, F_SEAL_SHRINK, 0},
        {DATA_AT, MAGIC, 0, F_SEAL_SHRINK, 0},
        {100, MAGIC, SMALL, F_SEAL_SHRINK, 0},
        {DATA_AT + 2ull * CAPACITY_MAX, MAGIC, 2ull * CAPACITY_MAX, F_SEAL_SHRINK, 0},
    };
    for (size_t i = 0; i < FAA_COUNT(cases); i++) {
        int fd = sealed_memfd(cases[i].file, cases[i].seals);
        if (cases[i].file >= 24)
            put_shared(fd, cases[i].magic, cases[i].capacity);
        struct faa_ring *ring = faa_ring_attach(fd, 0);
        ck_assert_msg(!!ring == cases[i].good, "case %zu", i);
        faa_ring_free(ring);
        close(fd);
    }
    int empty = sealed_memfd(0, F_SEAL_SHRINK);
    ck_assert_ptr_null(faa_ring_attach(empty, 0));
    close(empty);
}
END_TEST

START_TEST(an_attached_ring_is_read_and_not_changed)
{
    int fd;
    struct faa_ring *ring = new_ring(&fd);
    for (uint64_t i = 0; i < 5; i++)
        ck_assert_int_eq(send_message(ring, 0, i), 0);
    struct faa_ring *attached = faa_ring_attach(fd, 0);
    ck_assert_ptr_nonnull(attached);
    struct faa_ring_cursor cursor = faa_ring_begin(attached);
    for (long i = 0; i < 5; i++) {
        ck_assert_int_eq(next_sequence(attached, &cursor, 1), i);
        faa_ring_release(attached, cursor);
    }
    ck_assert_uint_gt(faa_ring_used(ring), 0);
    faa_ring_free(attached);
    faa_ring_free(ring);
    close(fd);
}
END_TEST

// Reads all there is; every payload must lie in the mapping and the reading must end.
static void read_all(const struct faa_ring *ring, int with_rescue)
{
    struct faa_ring_cursor cursor = faa_ring_begin(ring), end = faa_ring_end(ring);
    const unsigned char *p;
    size_t size, count = 0;
    volatile unsigned char sink = 0;
    while ((p = faa_ring_next(ring, &cursor, &size, with_rescue ? &end : NULL)) != NULL) {
        if (++count > SMALL / FAA_RING_ALIGN)
            ck_abort_msg("there cannot be so many records");
        if (p < ring->data || size > SMALL || (size_t)(p - ring->data) > SMALL - size)
            ck_abort_msg("a payload lies outside");
        for (size_t i = 0; i < size; i += 64)
            sink ^= p[i];
    }
}

static void read_hostile(int fd)
{
    struct faa_ring *ring = faa_ring_attach(fd, 0);
    if (!ring)
        return;
    read_all(ring, 0);
    read_all(ring, 1);
    faa_ring_free(ring);
}

START_TEST(positions_off_the_grid_and_sizes_beyond_the_head_are_refused)
{
    struct faa_ring *ring = new_ring(NULL);
    ck_assert_int_eq(send_message(ring, 0, 0), 0);
    struct faa_ring_cursor cursor = {8};
    ck_assert_int_eq(next_sequence(ring, &cursor, 1), -1);
    ck_assert_uint_eq(cursor.pos, 8);

    cursor = faa_ring_begin(ring);
    slot_at(ring, 0)->size += FAA_RING_ALIGN;
    ck_assert_int_eq(next_sequence(ring, &cursor, 0), -1);
    ck_assert_uint_eq(cursor.pos, 0);
    ck_assert_int_eq(next_sequence(ring, &cursor, 1), -1);
    ck_assert_uint_eq(cursor.pos, faa_ring_used(ring));
    faa_ring_free(ring);
}
END_TEST

START_TEST(random_bytes_are_read_within_bounds)
{
    int fd = sealed_memfd(DATA_AT + SMALL, F_SEAL_SHRINK);
    uint64_t *words = mmap(NULL, DATA_AT + SMALL, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(words, MAP_FAILED);
    struct shared *shared = (struct shared *)words;
    for (uint64_t seed = 0; seed < 200; seed++) {
        for (size_t i = 0; i < (DATA_AT + SMALL) / 8; i++)
            words[i] = faa_random_mix(seed << 32 | i);
        put_shared(fd, MAGIC, SMALL);
        if (seed % 4 > 0) // Else nothing but the check of head and tail is reached.
            atomic_store(&shared->head, atomic_load(&shared->tail) + (seed % 4) * (SMALL / 3));
        read_hostile(fd);
    }
    munmap(words, DATA_AT + SMALL);
    close(fd);
}
END_TEST

START_TEST(damaged_rings_are_read_within_bounds)
{
    int fd;
    struct faa_ring *ring = new_ring(&fd);
    struct faa_ring_cursor cursor = faa_ring_begin(ring);
    uint64_t sequence = 0;
    for (uint64_t seed = 0; seed < 3000; seed++) {
        while (send_message(ring, 0, sequence) == 0)
            sequence++;
        cursor = faa_ring_begin(ring);
        // A record's header, or one of head, tail, cookie, capacity and magic.
        uint64_t r = faa_random_mix(seed), *at = &ring->shared->magic + r % 24;
        struct slot *slot;
        for (uint64_t skip = r % 50; skip > 0; skip--)
            (void)next_sequence(ring, &cursor, 1);
        slot = slot_at(ring, cursor.pos);
        if (seed % 3 == 0)
            slot->size = (uint32_t)faa_random_mix(r) >> r % 32;
        else if (seed % 3 == 1)
            at = (uint64_t *)(void *)slot;
        uint64_t before = *at;
        *at ^= (uint64_t)1 << r % 64;
        read_hostile(fd);
        *at = before;

        uint64_t head = atomic_load(&ring->shared->head);
        faa_ring_release(ring, (struct faa_ring_cursor){head});
    }
    faa_ring_free(ring);
    close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ring_rescue");
    TCase *dead = tcase_create("dead writers");
    tcase_set_timeout(dead, 120);
    tcase_add_test(dead, an_uncommitted_record_stops_a_live_reader_only);
    tcase_add_test(dead, what_is_reserved_behind_the_dead_is_waited_for);
    tcase_add_test(dead, a_size_of_the_dead_does_not_hide_what_lies_behind);
    tcase_add_test(dead, room_without_a_header_is_passed_by_the_rescuer);
    tcase_add_test(dead, what_was_released_never_comes_back);
    tcase_add_test(dead, all_that_a_killed_process_committed_is_rescued);
    suite_add_tcase(suite, dead);
    TCase *hostile = tcase_create("hostile mappings");
    tcase_set_timeout(hostile, 60);
    tcase_add_test(hostile, attach_refuses_what_is_no_ring);
    tcase_add_test(hostile, an_attached_ring_is_read_and_not_changed);
    tcase_add_test(hostile, positions_off_the_grid_and_sizes_beyond_the_head_are_refused);
    tcase_add_test(hostile, random_bytes_are_read_within_bounds);
    tcase_add_test(hostile, damaged_rings_are_read_within_bounds);
    suite_add_tcase(suite, hostile);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

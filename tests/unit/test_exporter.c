// SPDX-License-Identifier: MIT
// The exporter thread against collectors that are well, ill, silent and absent.
#include "base/clock.h"
#include "tests/unit/exporting.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

static void set_up(void)
{
    prepare_export(60000);
}

static void expect_counts(unsigned exported, unsigned dropped)
{
    struct faa_exporter_counts counts = faa_exporter_counts(exporter);
    ck_assert_uint_eq(counts.exported, exported);
    ck_assert_uint_eq(counts.dropped, dropped);
}

static unsigned elapsed_ms(uint64_t since)
{
    return (unsigned)((faa_clock_mono_ns() - since) / 1000000u);
}

static void sleep_ms(unsigned ms)
{
    usleep(ms * 1000);
}

// Waits up to ten seconds for an atomic counter to reach a value.
#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        for (int tries = 0; tries < 1000 && !(condition); tries++)                                 \
            sleep_ms(10);                                                                          \
        ck_assert(condition);                                                                      \
    } while (0)

START_TEST(spans_arrive_by_http)
{
    config.share_descriptors = _i;
    collector_start(COLLECT_HTTP);
    start();
    for (unsigned i = 1; i <= 3; i++) {
        ck_assert_uint_eq(put(3), 3);
        ck_assert_int_eq(faa_exporter_flush(exporter, 5000), 0);
        ck_assert_uint_eq(collector->spans, 3 * i);
    }
    expect_counts(9, 0);
    ck_assert_uint_eq(collector->connections, _i ? 3 : 1);
    ck_assert_uint_eq(collector->damaged, 0);
    ck_assert_int_eq(strncmp(collector->head, "POST /v1/traces HTTP/1.1\r\n", 26), 0);
    ck_assert_ptr_nonnull(strstr(collector->head, "Content-Type: application/x-protobuf\r\n"));
    ck_assert_ptr_nonnull(
        strstr(collector->head, "User-Agent: fastapi-auto-agent/0 OTel-OTLP-Exporter-C/0\r\n"));
}
END_TEST

START_TEST(spans_arrive_by_grpc)
{
    config.share_descriptors = _i;
    config.protocol = FAA_PROTOCOL_GRPC;
    collector_start(COLLECT_GRPC);
    start();
    for (unsigned i = 1; i <= 3; i++) {
        ck_assert_uint_eq(put(1000), 1000);
        ck_assert_int_eq(faa_exporter_flush(exporter, 5000), 0);
        ck_assert_uint_eq(collector->spans, 1000 * i);
    }
    expect_counts(3000, 0);
    ck_assert_uint_eq(collector->damaged, 0);
}
END_TEST

START_TEST(protocol_is_switched_both_ways_without_loss)
{
    collector_start(COLLECT_GRPC);
    start();
    for (unsigned i = 1; i <= 4; i++) {
        ck_assert_uint_eq(put(700), 700);
        ck_assert_int_eq(faa_exporter_flush(exporter, 5000), 0);
        ck_assert_uint_eq(collector->spans, 700 * i);
        atomic_store(&collector->mode, i % 2 ? COLLECT_HTTP : COLLECT_GRPC);
        sleep_ms(50);
    }
    expect_counts(2800, 0);
}
END_TEST

START_TEST(an_explicit_protocol_is_kept)
{
    config.protocol = _i ? FAA_PROTOCOL_GRPC : FAA_PROTOCOL_HTTP;
    collector_start(_i ? COLLECT_HTTP : COLLECT_GRPC);
    start();
    put(3);
    ck_assert_int_eq(faa_exporter_flush(exporter, 5000), 0);
    expect_counts(0, 3);
    ck_assert_uint_eq(collector->spans, 0);
}
END_TEST

START_TEST(overload_is_retried)
{
    collector_start(_i ? COLLECT_GRPC : COLLECT_HTTP);
    config.schedule_delay_ms = 10;
    atomic_store(&collector->failures, 1);
    atomic_store(&collector->status, _i ? 14 : 503);
    start();
    put(5);
    WAIT_FOR(collector->requests == 1);
    uint64_t begin = faa_clock_mono_ns();
    WAIT_FOR(collector->spans == 5);
    ck_assert_uint_ge(elapsed_ms(begin), 700);
    WAIT_FOR(faa_exporter_counts(exporter).exported == 5);
    expect_counts(5, 0);
}
END_TEST

START_TEST(retry_after_is_waited_for)
{
    collector_start(COLLECT_HTTP);
    config.schedule_delay_ms = 10;
    atomic_store(&collector->failures, 1);
    atomic_store(&collector->status, 429);
    strcpy(collector->headers, "Retry-After: 2\r\n");
    start();
    put(5);
    WAIT_FOR(collector->requests == 1);
    uint64_t begin = faa_clock_mono_ns();
    WAIT_FOR(collector->requests == 2);
    ck_assert_uint_ge(elapsed_ms(begin), 1800);
}
END_TEST

START_TEST(refused_spans_are_dropped_and_counted)
{
    static const int http[] = {400, 401, 404, 422, 500, 301};
    collector_start(COLLECT_HTTP);
    atomic_store(&collector->failures, 1);
    atomic_store(&collector->status, http[_i]);
    start();
    put(4);
    ck_assert_int_eq(faa_exporter_flush(exporter, 5000), 0);
    expect_counts(0, 4);
    put(2);
    ck_assert_int_eq(faa_exporter_flush(exporter, 5000), 0);
    expect_counts(2, 4);
    ck_assert_uint_eq(collector->requests, 2);
}
END_TEST

START_TEST(rejected_spans_are_counted)
{
    collector_start(_i ? COLLECT_GRPC : COLLECT_HTTP);
    atomic_store(&collector->rejected, 2);
    start();
    put(3);
    ck_assert_int_eq(faa_exporter_flush(exporter, 5000), 0);
    expect_counts(1, 2);
}
END_TEST

START_TEST(absent_collector_is_waited_for)
{
    atomic_store(&collector->absent, 1);
    collector_start(COLLECT_HTTP);
    config.schedule_delay_ms = 10;
    start();
    put(6);
    sleep_ms(300);
    expect_counts(0, 0);
    atomic_store(&collector->absent, 0);
    WAIT_FOR(faa_exporter_counts(exporter).exported == 6);
}
END_TEST

START_TEST(flush_returns_in_time_when_nobody_answers)
{
    config.share_descriptors = _i;
    collector_start(COLLECT_SILENCE);
    start();
    put(6);
    uint64_t begin = faa_clock_mono_ns();
    ck_assert_int_eq(faa_exporter_flush(exporter, 400), -1);
    ck_assert_uint_le(elapsed_ms(begin), 1400);
    ck_assert_uint_ge(elapsed_ms(begin), 300);
    WAIT_FOR(faa_exporter_counts(exporter).dropped == 6);
    WAIT_FOR(collector->open == 0); // The transfer was cancelled.
}
END_TEST

START_TEST(flush_takes_over_a_transfer_that_hangs)
{
    config.schedule_delay_ms = 10;
    collector_start(COLLECT_SILENCE);
    start();
    put(6);
    WAIT_FOR(collector->open > 0);
    uint64_t begin = faa_clock_mono_ns();
    ck_assert_int_eq(faa_exporter_flush(exporter, 300), -1);
    ck_assert_uint_le(elapsed_ms(begin), 1300);
    WAIT_FOR(collector->open == 0);
}
END_TEST

START_TEST(garbage_is_survived)
{
    config.protocol = (enum faa_protocol)(_i / 2);
    collector_start(_i % 2 ? COLLECT_GARBAGE : COLLECT_HANG_UP);
    start();
    for (unsigned i = 1; i <= 3; i++) {
        put(2);
        ck_assert_int_eq(faa_exporter_flush(exporter, 5000), 0);
        expect_counts(0, 2 * i);
    }
    ck_assert_uint_le(collector->connections, 12);
}
END_TEST

START_TEST(an_endless_answer_is_broken_off)
{
    collector_start(COLLECT_HTTP);
    atomic_store(&collector->body_size, 64u << 20);
    start();
    put(2);
    ck_assert_int_eq(faa_exporter_flush(exporter, 5000), 0);
    expect_counts(0, 2);
}
END_TEST

START_TEST(unusable_endpoint_drops)
{
    collector->port = 99999;
    start();
    put(2);
    ck_assert_int_eq(faa_exporter_flush(exporter, 5000), 0);
    expect_counts(0, 2);
}
END_TEST

START_TEST(batches_are_bounded)
{
    config.max_batch_size = 100;
    collector_start(COLLECT_HTTP);
    start();
    ck_assert_uint_eq(put(950), 950);
    ck_assert_int_eq(faa_exporter_flush(exporter, 5000), 0);
    ck_assert_uint_eq(collector->requests, 10);
    expect_counts(950, 0);
}
END_TEST

START_TEST(memory_is_bounded_while_the_collector_is_down)
{
    atomic_store(&collector->absent, 1);
    collector_start(COLLECT_HTTP);
    config.schedule_delay_ms = 1;
    start();
    unsigned kept = 0, refused = 0;
    for (int i = 0; i < 200000; i++)
        if (put(1))
            kept++;
        else
            refused++;
    // The ring's 1 MiB and one batch, of records of more than 100 bytes.
    ck_assert_uint_le(kept, (1 << 20) / 100 + config.max_batch_size);
    ck_assert_uint_ge(refused, 180000);
    ck_assert_int_eq(faa_exporter_flush(exporter, 5000), 0);
    expect_counts(0, kept);
}
END_TEST

START_TEST(delay_gathers_spans_and_a_half_full_ring_cuts_it_short)
{
    collector_start(COLLECT_HTTP);
    config.max_batch_size = 100000;
    start();
    put(100);
    sleep_ms(200);
    ck_assert_uint_eq(collector->requests, 0);
    while (faa_ring_used(ring) <= faa_ring_capacity(ring) / 2)
        ck_assert_uint_eq(put(1), 1);
    faa_bell_ring(faa_ring_bell(ring));
    WAIT_FOR(collector->spans > 1000);
    ck_assert_uint_eq(collector->requests, 1);
}
END_TEST

// Makes stderr a pipe, whose other end is returned.
static int catch_stderr(void)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    close(ends[1]);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    return ends[0];
}

static int read_lines(int fd, const char *wanted)
{
    static char text[65536];
    static size_t have;
    ssize_t n = read(fd, text + have, sizeof(text) - 1 - have);
    have += n > 0 ? (size_t)n : 0;
    text[have] = '\0';
    int lines = 0;
    for (const char *p = text; (p = strstr(p, wanted)) != NULL; p++)
        lines++;
    return lines;
}

START_TEST(console_prints_while_the_collector_is_down)
{
    atomic_store(&collector->absent, 1);
    collector_start(COLLECT_HTTP);
    config.console = 1;
    int fd = catch_stderr();
    start();
    for (int i = 1; i <= 3; i++) {
        put(2);
        WAIT_FOR(read_lines(fd, "test  GET /  5.0 ms  /some/path   trace 01") == 2 * i);
    }
    ck_assert_int_eq(read_lines(fd, "faa warning: cannot send traces to http://127.0.0.1:"), 1);
    expect_counts(0, 0);
    atomic_store(&collector->absent, 0);
    WAIT_FOR(faa_exporter_counts(exporter).exported == 6);
    WAIT_FOR(read_lines(fd, "faa warning: traces reach") == 1);
    ck_assert_int_eq(read_lines(fd, "faa warning:"), 2);
}
END_TEST

START_TEST(console_alone_counts_what_it_prints)
{
    config.console = 1;
    config.otlp = 0;
    int fd = catch_stderr();
    start();
    put(3);
    ck_assert_int_eq(faa_exporter_flush(exporter, 5000), 0);
    ck_assert_int_eq(read_lines(fd, "GET /"), 3);
    expect_counts(3, 0);
    ck_assert_uint_eq(faa_ring_used(ring), 0);
}
END_TEST

START_TEST(closed_standard_descriptors_do_no_harm)
{
    collector_start(COLLECT_HTTP);
    config.console = 1;
    for (int fd = 0; fd < 3; fd++)
        close(fd);
    start();
    put(3);
    ck_assert_int_eq(faa_exporter_flush(exporter, 5000), 0);
    expect_counts(3, 0);
    ck_assert_int_lt(fcntl(STDERR_FILENO, F_GETFD), 0);
}
END_TEST

// Voluntary context switches of the exporter thread; -1 while there is none.
static long wake_ups(void)
{
    long switches = -1;
    DIR *tasks = opendir("/proc/self/task");
    for (const struct dirent *d; (d = readdir(tasks)) != NULL;) {
        char path[300], text[4096];
        snprintf(path, sizeof(path), "/proc/self/task/%s/status", d->d_name);
        FILE *f = fopen(path, "r");
        size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
        if (f)
            fclose(f);
        text[n] = '\0';
        const char *line = strstr(text, "\nvoluntary_ctxt_switches:");
        if (strncmp(text, "Name:\tfaa-export\n", 17) == 0 && line)
            switches = strtol(line + strlen("\nvoluntary_ctxt_switches:"), NULL, 10);
    }
    closedir(tasks);
    return switches;
}

START_TEST(idle_thread_does_not_wake_up)
{
    collector_start(_i ? COLLECT_GRPC : COLLECT_HTTP);
    start();
    WAIT_FOR(faa_bell_is_idle(faa_ring_bell(ring)));
    for (int round = 0; round < 2; round++) {
        sleep_ms(50);
        long before = wake_ups();
        ck_assert_int_ge(before, 0);
        sleep_ms(1000);
        ck_assert_int_eq(wake_ups(), before);
        put(3);
        ck_assert_int_eq(faa_exporter_flush(exporter, 5000), 0);
        WAIT_FOR(faa_bell_is_idle(faa_ring_bell(ring)));
    }
}
END_TEST

START_TEST(parked_thread_works_for_a_flush_alone)
{
    collector_start(COLLECT_HTTP);
    config.schedule_delay_ms = 10;
    start();
    faa_exporter_park(exporter);
    put(3);
    sleep_ms(300);
    ck_assert_uint_eq(collector->spans, 0);
    ck_assert_int_eq(faa_exporter_flush(exporter, 5000), 0);
    ck_assert_uint_eq(collector->spans, 3);
}
END_TEST

static void *flush_often(void *arg)
{
    for (int i = 0; i < 20; i++) {
        put(5);
        ck_assert_int_eq(faa_exporter_flush(exporter, 10000), 0);
    }
    return arg;
}

START_TEST(threads_may_flush_at_once)
{
    pthread_t threads[4];
    collector_start(COLLECT_HTTP);
    start();
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, flush_often, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    expect_counts(400, 0);
    ck_assert_uint_eq(collector->spans, 400);
}
END_TEST

// ThreadSanitizer knows one descriptor table, and would take the application's use of a number for
// a race with the thread's use of the same number in its own.
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:application_may_close_every_descriptor_fn\nrace:read_lines\n";
}

static unsigned open_descriptors(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

START_TEST(application_sees_no_descriptor_of_ours)
{
    collector_start(_i ? COLLECT_GRPC : COLLECT_HTTP);
    unsigned before = open_descriptors();
    start();
    for (int i = 0; i < 3; i++) {
        put(3);
        ck_assert_int_eq(faa_exporter_flush(exporter, 5000), 0);
        ck_assert_uint_eq(open_descriptors(), before);
    }
    expect_counts(9, 0);
    // libuv's own fork handler would close the numbers of its descriptors in a child, and put a
    // pipe in their place.
    int mine[32];
    struct stat want, have;
    ck_assert_int_eq(fstat(STDERR_FILENO, &want), 0);
    for (int i = 0; i < 32; i++)
        mine[i] = dup(STDERR_FILENO);
    pid_t child = fork();
    if (child == 0) {
        int lost = 0;
        for (int i = 0; i < 32; i++)
            lost += fstat(mine[i], &have) != 0 || have.st_ino != want.st_ino;
        _exit(lost);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(application_may_close_every_descriptor)
{
    config.share_descriptors = _i;
    config.schedule_delay_ms = 1;
    collector_start(COLLECT_HTTP);
    start();
    unsigned kept = 0;
    for (int round = 0; round < 300; round++) {
        kept += put(1);
        for (int fd = 3; fd < 64; fd++)
            close(round % 2 ? fd : 66 - fd);
        // Numbers are used again at once, and what was put there stays the application's.
        int mine = open("/dev/null", O_RDWR);
        ck_assert_int_ge(mine, 0);
        sleep_ms(1);
    }
    sleep_ms(50);
    put(1);
    ck_assert_int_eq(faa_exporter_flush(exporter, 5000), 0);
    if (!_i)
        expect_counts(kept + 1, 0);
}
END_TEST

START_TEST(application_locks_and_pipes_are_not_held_or_released)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    int file = memfd_create("locked", 0), ends[2];
    ck_assert_int_eq(fcntl(file, F_SETLK, &lock), 0);
    ck_assert_int_eq(pipe(ends), 0);
    dup2(ends[1], STDOUT_FILENO);
    collector_start(COLLECT_HTTP);
    start();
    put(3);
    ck_assert_int_eq(faa_exporter_flush(exporter, 5000), 0);

    pid_t child = fork();
    if (child == 0) {
        fcntl(file, F_GETLK, &lock);
        _exit(lock.l_type == F_WRLCK ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);

    // The collector has copies of the pipe from its fork.
    collector_stop();
    close(ends[1]);
    close(STDOUT_FILENO);
    struct pollfd p = {.fd = ends[0], .events = POLLIN};
    ck_assert_int_eq(poll(&p, 1, 2000), 1);
    ck_assert_int_eq(p.revents, POLLHUP);
    expect_counts(3, 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("exporter");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, set_up, end_export);
    tcase_add_loop_test(tests, spans_arrive_by_http, 0, 2);
    tcase_add_loop_test(tests, spans_arrive_by_grpc, 0, 2);
    tcase_add_test(tests, protocol_is_switched_both_ways_without_loss);
    tcase_add_loop_test(tests, an_explicit_protocol_is_kept, 0, 2);
    tcase_add_loop_test(tests, overload_is_retried, 0, 2);
    tcase_add_test(tests, retry_after_is_waited_for);
    tcase_add_loop_test(tests, refused_spans_are_dropped_and_counted, 0, 6);
    tcase_add_loop_test(tests, rejected_spans_are_counted, 0, 2);
    tcase_add_test(tests, absent_collector_is_waited_for);
    tcase_add_loop_test(tests, flush_returns_in_time_when_nobody_answers, 0, 2);
    tcase_add_test(tests, flush_takes_over_a_transfer_that_hangs);
    tcase_add_loop_test(tests, garbage_is_survived, 0, 6);
    tcase_add_test(tests, an_endless_answer_is_broken_off);
    tcase_add_test(tests, unusable_endpoint_drops);
    tcase_add_test(tests, batches_are_bounded);
    tcase_add_test(tests, memory_is_bounded_while_the_collector_is_down);
    tcase_add_test(tests, delay_gathers_spans_and_a_half_full_ring_cuts_it_short);
    tcase_add_test(tests, console_prints_while_the_collector_is_down);
    tcase_add_test(tests, console_alone_counts_what_it_prints);
    tcase_add_test(tests, closed_standard_descriptors_do_no_harm);
    tcase_add_loop_test(tests, idle_thread_does_not_wake_up, 0, 2);
    tcase_add_test(tests, parked_thread_works_for_a_flush_alone);
    tcase_add_test(tests, threads_may_flush_at_once);
    tcase_add_loop_test(tests, application_sees_no_descriptor_of_ours, 0, 2);
    tcase_add_loop_test(tests, application_may_close_every_descriptor, 0, 2);
    tcase_add_test(tests, application_locks_and_pipes_are_not_held_or_released);
    Suite *suite = suite_create("exporter");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

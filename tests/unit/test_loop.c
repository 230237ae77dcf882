// SPDX-License-Identifier: MIT
// libuv's own end of things: where it would abort the process, curl's poll goes on.
#include "base/clock.h"
#include "export/gate.h"
#include "export/loop.h"
#include "tests/unit/exporting.h"

#include <stdatomic.h>
#include <sys/resource.h>
#include <uv.h>

static atomic_int allocations, good; // Of libuv, and how many of them succeed.

static void set_up(void)
{
    prepare_export(1);
    collector_start(COLLECT_HTTP);
    aim();
}

static void wait_for(unsigned spans)
{
    for (int tries = 0; tries < 1000 && faa_exporter_counts(exporter).exported < spans; tries++)
        usleep(10000);
    ck_assert_uint_eq(faa_exporter_counts(exporter).exported, spans);
    ck_assert_uint_eq(collector->spans, spans);
}

static int may_allocate(void)
{
    return atomic_fetch_add(&allocations, 1) < atomic_load(&good);
}

static void *limited_malloc(size_t size)
{
    return may_allocate() ? malloc(size) : NULL;
}

static void *limited_calloc(size_t count, size_t size)
{
    return may_allocate() ? calloc(count, size) : NULL;
}

static void *limited_realloc(void *p, size_t size)
{
    return may_allocate() ? realloc(p, size) : NULL;
}

START_TEST(spans_arrive_when_libuv_gets_no_memory)
{
    atomic_store(&good, _i);
    ck_assert_int_eq(uv_replace_allocator(limited_malloc, limited_realloc, limited_calloc, free),
                     0);
    start();
    for (unsigned spans = 1; spans <= 3; spans++) {
        ck_assert_uint_eq(put(1), 1);
        wait_for(spans);
    }
    struct faa_exporter_counts counts = faa_exporter_counts(exporter);
    ck_assert_uint_eq(counts.dropped, 0);
    ck_assert_int_ge(atomic_load(&allocations), 1);
}
END_TEST

// Of those that it allows, curl has some already when libuv asks.
START_TEST(no_limit_of_descriptors_ends_the_process)
{
    struct rlimit before, limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = before;
    limit.rlim_cur = (rlim_t)_i;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    start();
    ck_assert_uint_eq(put(1), 1);
    usleep(100000);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    wait_for(1);
    ck_assert_uint_eq(faa_exporter_counts(exporter).dropped, 0);
}
END_TEST

static int never(void *arg)
{
    (void)arg;
    return 0;
}

static CURLcode get(struct faa_loop *loop, CURL *easy)
{
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    return faa_loop_run(loop, easy, never, NULL);
}

// Its list of watchers grows with the numbers of descriptors.
START_TEST(a_transfer_is_left_when_libuv_gets_no_memory)
{
    atomic_store(&good, 1000);
    ck_assert_int_eq(uv_replace_allocator(limited_malloc, limited_realloc, limited_calloc, free),
                     0);
    ck_assert_int_eq(curl_global_init(CURL_GLOBAL_DEFAULT), CURLE_OK);
    struct faa_loop *loop = faa_loop_new(1);
    ck_assert_ptr_nonnull(loop);
    for (int i = 0; i < 100; i++)
        ck_assert_int_ge(dup(2), 0);
    atomic_store(&good, 0);
    ck_assert_int_eq(get(loop, curl_easy_init()), CURLE_OUT_OF_MEMORY);
    ck_assert(faa_loop_is_wreck(loop));
    faa_loop_free(loop);
    ck_assert_int_eq(faa_gate_close(0), 0); // Nobody is within curl: a fork has not to wait.
    faa_gate_open();

    // What is a wreck is left alone, and the next one is none.
    CURL *easy = curl_easy_init();
    loop = faa_loop_new(1);
    ck_assert_ptr_nonnull(loop);
    ck_assert_int_eq(get(loop, easy), CURLE_OK);
    ck_assert(!faa_loop_is_wreck(loop));
    faa_loop_free(loop);
    curl_easy_cleanup(easy);
}
END_TEST

// The loop that libuv is left in, and a transfer in it, are left to themselves, once in a process.
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:uv_loop_init\nleak:faa_loop_new\nleak:curl_easy_init\nleak:faa_loop_run\n";
}

int main(void)
{
    TCase *tests = tcase_create("loop");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, set_up, end_export);
    tcase_add_loop_test(tests, spans_arrive_when_libuv_gets_no_memory, 0, 8);
    tcase_add_loop_test(tests, no_limit_of_descriptors_ends_the_process, 0, 14);
    tcase_add_test(tests, a_transfer_is_left_when_libuv_gets_no_memory);
    Suite *suite = suite_create("loop");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

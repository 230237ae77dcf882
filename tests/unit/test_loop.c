// SPDX-License-Identifier: MIT
// libuv's own end of things: where it would abort the process, curl's poll goes on.
#include "base/clock.h"
#include "export/bell.h"
#include "export/exporter.h"
#include "export/gate.h"
#include "export/loop.h"
#include "ring/ring.h"
#include "tests/unit/collector.h"
#include "tests/unit/record_builder.h"

#include <stdatomic.h>
#include <sys/resource.h>
#include <uv.h>

static struct faa_exporter_config config;
static struct faa_exporter *exporter;
static struct faa_ring *ring;
static char url[64];
static atomic_int allocations, good; // Of libuv, and how many of them succeed.

static void set_up(void)
{
    collector_prepare();
    collector_start(COLLECT_HTTP);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", collector->port);
    config = (struct faa_exporter_config){.otlp = 1,
                                          .endpoint = url,
                                          .timeout_ms = 10000,
                                          .schedule_delay_ms = 1,
                                          .max_batch_size = 512,
                                          .version = "0",
                                          .service_name = "test"};
    ring = faa_ring_new(1 << 20, NULL);
    ck_assert_ptr_nonnull(ring);
}

static void tear_down(void)
{
    if (exporter)
        faa_exporter_stop(exporter);
    faa_ring_free(ring);
    collector_stop();
}

static void put_one(void)
{
    struct record_builder builder;
    builder_begin(&builder, FAA_KIND_SERVER, 1, 2, 0, 0, 5, "GET /", "test");
    void *place = faa_ring_reserve(ring, builder.u.head.size);
    ck_assert_ptr_nonnull(place);
    memcpy(place, &builder, builder.u.head.size);
    faa_ring_commit(ring, place);
    faa_bell_ring(faa_ring_bell(ring));
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
    exporter = faa_exporter_start(&config, ring);
    ck_assert_ptr_nonnull(exporter);
    for (unsigned spans = 1; spans <= 3; spans++) {
        put_one();
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
    exporter = faa_exporter_start(&config, ring);
    ck_assert_ptr_nonnull(exporter);
    put_one();
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
    tcase_add_checked_fixture(tests, set_up, tear_down);
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

// SPDX-License-Identifier: MIT
// Answers of Jaeger's SamplingManager, as bytes, and what the sampler does by them.
#include "export/sampling.h"
#include "span/sampler.h"

#include <check.h>
#include <jaeger/api_v2/sampling.pb-c.h>
#include <math.h>
#include <stdlib.h>

typedef Jaeger__ApiV2__SamplingStrategyResponse pb_response;
typedef Jaeger__ApiV2__OperationSamplingStrategy pb_operation;
typedef Jaeger__ApiV2__ProbabilisticSamplingStrategy pb_probabilistic;

static pb_response response;
static Jaeger__ApiV2__PerOperationSamplingStrategies operations;
static pb_probabilistic probabilistic;
static Jaeger__ApiV2__RateLimitingSamplingStrategy limiting;

static void setup(void)
{
    response = (pb_response)JAEGER__API_V2__SAMPLING_STRATEGY_RESPONSE__INIT;
    operations = (Jaeger__ApiV2__PerOperationSamplingStrategies)
        JAEGER__API_V2__PER_OPERATION_SAMPLING_STRATEGIES__INIT;
    probabilistic = (pb_probabilistic)JAEGER__API_V2__PROBABILISTIC_SAMPLING_STRATEGY__INIT;
    limiting = (Jaeger__ApiV2__RateLimitingSamplingStrategy)
        JAEGER__API_V2__RATE_LIMITING_SAMPLING_STRATEGY__INIT;
    faa_sampler_init(&(struct faa_sampler_config){FAA_SAMPLER_REMOTE, 0, 0.5});
}

static int give(void)
{
    uint8_t bytes[4096];
    size_t n = jaeger__api_v2__sampling_strategy_response__get_packed_size(&response);
    ck_assert_uint_le(n, sizeof(bytes));
    jaeger__api_v2__sampling_strategy_response__pack(&response, bytes);
    return faa_sampling_read(bytes, n);
}

static int decide(uint8_t top, const char *operation)
{
    uint8_t id[16] = {[8] = top, [15] = 1};
    return faa_sampler_decide(id, FAA_PARENT_NONE, faa_str_of(operation));
}

// As Jaeger 1.76 sent it, for a file with a ratio of 0.5, of 0.25 for GET, and 0 for /health.
START_TEST(an_answer_of_a_real_jaeger_is_understood)
{
    static const uint8_t bytes[] = {
        0x12, 0x09, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xe0, 0x3f, 0x22, 0x28, 0x09,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xe0, 0x3f, 0x1a, 0x10, 0x0a, 0x03, 0x47, 0x45,
        0x54, 0x12, 0x09, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xd0, 0x3f, 0x1a, 0x0b,
        0x0a, 0x07, 0x2f, 0x68, 0x65, 0x61, 0x6c, 0x74, 0x68, 0x12, 0x00};
    ck_assert_int_eq(faa_sampling_read(bytes, sizeof(bytes)), 1);
    ck_assert_int_eq(faa_sampling_read(bytes, sizeof(bytes)), 0);
    ck_assert_int_eq(decide(0x3f, "GET"), 1);
    ck_assert_int_eq(decide(0x40, "GET"), 0);
    ck_assert_int_eq(decide(0x7f, "POST"), 1);
    ck_assert_int_eq(decide(0x80, "POST"), 0);
    ck_assert_int_eq(decide(0x00, "/health"), 0);
}
END_TEST

START_TEST(a_ratio_for_all)
{
    response.probabilisticsampling = &probabilistic;
    probabilistic.samplingrate = 0.25;
    ck_assert_int_eq(give(), 1);
    ck_assert_int_eq(decide(0x3f, "GET"), 1);
    ck_assert_int_eq(decide(0x40, "GET"), 0);
    probabilistic.samplingrate = 0; // Then the message is empty, but it is there.
    ck_assert_int_eq(give(), 1);
    ck_assert_int_eq(decide(0, "GET"), 0);
    probabilistic.samplingrate = 1;
    ck_assert_int_eq(give(), 1);
    ck_assert_int_eq(decide(0xff, "GET"), 1);
}
END_TEST

START_TEST(a_rate)
{
    int taken = 0;
    response.ratelimitingsampling = &limiting;
    limiting.maxtracespersecond = 0;
    ck_assert_int_eq(give(), 1);
    ck_assert_int_eq(decide(0, "GET"), 0);
    limiting.maxtracespersecond = 1;
    ck_assert_int_eq(give(), 1);
    for (int i = 0; i < 1000; i++)
        taken += decide(0, "GET");
    ck_assert_int_ge(taken, 1);
    ck_assert_int_lt(taken, 1000);
}
END_TEST

START_TEST(operations_go_before_the_rest_of_the_answer)
{
    pb_operation get = JAEGER__API_V2__OPERATION_SAMPLING_STRATEGY__INIT, bad = get, none = get;
    pb_probabilistic all = probabilistic, much = probabilistic;
    pb_operation *list[] = {&bad, &none, &get};
    all.samplingrate = 1;
    much.samplingrate = 1.5;
    get.operation = (char *)"GET";
    get.probabilisticsampling = &all;
    bad.operation = (char *)"BAD";
    bad.probabilisticsampling = &much;
    none.operation = (char *)"NONE";
    operations.defaultsamplingprobability = 0.5;
    operations.peroperationstrategies = list;
    operations.n_peroperationstrategies = FAA_COUNT(list);
    response.operationsampling = &operations;
    response.ratelimitingsampling = &limiting;
    ck_assert_int_eq(give(), 1);
    ck_assert_int_eq(decide(0xff, "GET"), 1);
    // What cannot be used is as if it were not there.
    ck_assert_int_eq(decide(0x7f, "BAD"), 1);
    ck_assert_int_eq(decide(0x80, "BAD"), 0);
    ck_assert_int_eq(decide(0x7f, "NONE"), 1);
    ck_assert_int_eq(decide(0x80, "NONE"), 0);
    operations.defaultlowerboundtracespersecond = 1;
    ck_assert_int_eq(give(), 1);
    ck_assert_int_eq(decide(0xff, "NONE"), 1);
}
END_TEST

START_TEST(what_is_no_strategy_leaves_the_last_one)
{
    static const double numbers[] = {-0.1, 1.1, NAN, INFINITY, -INFINITY};
    ck_assert_int_eq(give(), -1); // There is nothing in it.
    ck_assert_int_eq(faa_sampling_read((const uint8_t *)"\xff\xff\xff", 3), -1);
    ck_assert_int_eq(faa_sampling_read((const uint8_t *)"\x12\x09\x09\x00", 4), -1);
    for (size_t i = 0; i < FAA_COUNT(numbers); i++) {
        setup();
        response.probabilisticsampling = &probabilistic;
        probabilistic.samplingrate = numbers[i];
        ck_assert_int_eq(give(), -1);
        response.operationsampling = &operations;
        operations.defaultsamplingprobability = numbers[i];
        ck_assert_int_eq(give(), -1);
    }
    setup();
    response.ratelimitingsampling = &limiting;
    limiting.maxtracespersecond = -1;
    ck_assert_int_eq(give(), -1);
    setup();
    response.operationsampling = &operations;
    operations.defaultlowerboundtracespersecond = -1;
    ck_assert_int_eq(give(), -1);
    operations.defaultlowerboundtracespersecond = NAN;
    ck_assert_int_eq(give(), -1);
    ck_assert_int_eq(decide(0x7f, "GET"), 1); // Still the initial ratio.
    ck_assert_int_eq(decide(0x80, "GET"), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sampling");
    TCase *cases = tcase_create("sampling");
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, setup, NULL);
    tcase_add_test(cases, an_answer_of_a_real_jaeger_is_understood);
    tcase_add_test(cases, a_ratio_for_all);
    tcase_add_test(cases, a_rate);
    tcase_add_test(cases, operations_go_before_the_rest_of_the_answer);
    tcase_add_test(cases, what_is_no_strategy_leaves_the_last_one);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

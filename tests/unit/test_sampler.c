// SPDX-License-Identifier: MIT
// Samplers: who decides, by what numbers, and that a strategy can be exchanged under those who use
// it.
//
// The source is included with a clock that stands where a test puts it.
#include "base/clock.h"

static uint64_t test_now_ns;

static uint64_t test_clock(void)
{
    return test_now_ns;
}

#define faa_clock_mono_ns test_clock
#include "span/sampler.c"
#undef faa_clock_mono_ns

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND 1000000000u
#define NO_NAME FAA_STR("")

static int starts;

static struct faa_ring *start(void)
{
    starts++;
    return NULL;
}

static void committed(int crowded)
{
    (void)crowded;
}

static void flush(void)
{
}

static const struct faa_tracer_ops ops = {start, committed, flush, 0};

static void use(enum faa_sampler_kind sampler, int parents, double ratio)
{
    faa_sampler_init(&(struct faa_sampler_config){sampler, parents, ratio});
}

// A trace id with this lower half; the upper half does not count.
static int decide(uint64_t low, enum faa_parent parent, struct faa_str operation)
{
    uint8_t id[16];
    memset(id, 0xab, 8);
    for (int i = 0; i < 8; i++)
        id[8 + i] = (uint8_t)(low >> (56 - 8 * i));
    return faa_sampler_decide(id, parent, operation);
}

static int root(uint64_t low)
{
    return decide(low, FAA_PARENT_NONE, NO_NAME);
}

// ---- local samplers ---------------------------------------------------------------------------

START_TEST(without_a_setting_children_follow_their_parent_and_roots_are_sampled)
{
    ck_assert_int_eq(decide(0, FAA_PARENT_NONE, NO_NAME), 1);
    ck_assert_int_eq(decide(0, FAA_PARENT_SAMPLED, NO_NAME), 1);
    ck_assert_int_eq(decide(0, FAA_PARENT_UNSAMPLED, NO_NAME), 0);
}
END_TEST

START_TEST(parent_based_samplers_decide_for_roots_only)
{
    static const enum faa_sampler_kind kinds[] = {FAA_SAMPLER_ON, FAA_SAMPLER_OFF,
                                                  FAA_SAMPLER_RATIO, FAA_SAMPLER_REMOTE};
    for (size_t i = 0; i < FAA_COUNT(kinds); i++) {
        double ratio = i % 2 ? 1 : 0;
        use(kinds[i], 1, ratio);
        ck_assert_int_eq(decide(5, FAA_PARENT_SAMPLED, NO_NAME), 1);
        ck_assert_int_eq(decide(5, FAA_PARENT_UNSAMPLED, NO_NAME), 0);
    }
    use(FAA_SAMPLER_ON, 1, 0);
    ck_assert_int_eq(root(5), 1);
    use(FAA_SAMPLER_OFF, 1, 1);
    ck_assert_int_eq(root(5), 0);
    use(FAA_SAMPLER_RATIO, 1, 0);
    ck_assert_int_eq(root(5), 0);
    use(FAA_SAMPLER_RATIO, 1, 1);
    ck_assert_int_eq(root(5), 1);
}
END_TEST

START_TEST(the_others_do_not_look_at_the_parent)
{
    for (enum faa_parent parent = FAA_PARENT_NONE; parent <= FAA_PARENT_SAMPLED; parent++) {
        use(FAA_SAMPLER_ON, 0, 0);
        ck_assert_int_eq(decide(5, parent, NO_NAME), 1);
        use(FAA_SAMPLER_OFF, 0, 1);
        ck_assert_int_eq(decide(5, parent, NO_NAME), 0);
        use(FAA_SAMPLER_RATIO, 0, 0.5);
        ck_assert_int_eq(decide(0x7fffffffffffffff, parent, NO_NAME), 1);
        ck_assert_int_eq(decide(0x8000000000000000, parent, NO_NAME), 0);
    }
}
END_TEST

// The bounds are Python's round(ratio * 2**64), worked out in whole numbers of any size.
START_TEST(a_ratio_divides_the_trace_ids_where_the_other_sdks_do)
{
    static const struct {
        double ratio;
        uint64_t bound;
    } cases[] = {
        {0x1p-65, 0x0}, // Half to even.
        {0x1.8p-64, 0x2},
        {0x1.4p-63, 0x2},
        {1e-19, 0x2},
        {1e-6, 0x10c6f7a0b5ee},
        {0.001, 0x4189374bc6a7f0},
        {0.1, 0x1999999999999a00},
        {0.25, 0x4000000000000000},
        {1.0 / 3, 0x5555555555555400},
        {0.5, 0x8000000000000000},
        {0.999999, 0xffffef39085f4800},
        {0x1.fffffffffffffp-1, 0xfffffffffffff800},
    };
    for (size_t i = 0; i < FAA_COUNT(cases); i++) {
        use(FAA_SAMPLER_RATIO, 0, cases[i].ratio);
        if (cases[i].bound > 0)
            ck_assert_msg(root(cases[i].bound - 1) == 1, "case %zu", i);
        ck_assert_msg(root(cases[i].bound) == 0, "case %zu", i);
        ck_assert_int_eq(root(UINT64_MAX), 0);
    }
    use(FAA_SAMPLER_RATIO, 0, 0);
    ck_assert_int_eq(root(0), 0);
    use(FAA_SAMPLER_RATIO, 0, 1);
    ck_assert_int_eq(root(0), 1);
    ck_assert_int_eq(root(UINT64_MAX), 1);
}
END_TEST

// ---- strategies -------------------------------------------------------------------------------

static int set(struct faa_sampler_strategy strategy)
{
    return faa_sampler_set_strategy(&strategy);
}

START_TEST(remote_sampling_has_the_exporter_started_by_a_span_that_begins)
{
    faa_tracer_init(&ops);
    use(FAA_SAMPLER_ON, 0, 1);
    root(1);
    ck_assert_int_eq(starts, 0);
    use(FAA_SAMPLER_REMOTE, 1, 0);
    decide(1, FAA_PARENT_SAMPLED, NO_NAME);
    ck_assert_int_eq(starts, 0);
    ck_assert_int_eq(root(1), 0);
    ck_assert_int_eq(starts, 1);
}
END_TEST

START_TEST(the_initial_ratio_holds_until_a_strategy_comes)
{
    use(FAA_SAMPLER_REMOTE, 0, 0.5);
    ck_assert_int_eq(root(0x7fffffffffffffff), 1);
    ck_assert_int_eq(root(0x8000000000000000), 0);
    ck_assert_int_eq(set((struct faa_sampler_strategy){.ratio = 0.25}), 1);
    ck_assert_int_eq(root(0x3fffffffffffffff), 1);
    ck_assert_int_eq(root(0x4000000000000000), 0);
    ck_assert_int_eq(set((struct faa_sampler_strategy){.ratio = 1}), 1);
    ck_assert_int_eq(root(UINT64_MAX), 1);
}
END_TEST

START_TEST(operations_have_ratios_of_their_own)
{
    struct faa_sampler_rule rules[] = {{FAA_STR("POST"), 0},
                                       {FAA_STR("GET"), 1},
                                       {FAA_STR("a longer operation"), 0.5},
                                       {FAA_STR("GEX"), 0},
                                       {FAA_STR(""), 0}};
    char name[] = "GET";
    rules[1].operation.p = name;
    use(FAA_SAMPLER_REMOTE, 0, 0);
    set((struct faa_sampler_strategy){
        .ratio = 0.25, .rules = rules, .rule_count = FAA_COUNT(rules)});
    name[0] = 'X'; // The strategy has its own copy.
    ck_assert_int_eq(decide(UINT64_MAX, FAA_PARENT_NONE, FAA_STR("GET")), 1);
    ck_assert_int_eq(decide(0, FAA_PARENT_NONE, FAA_STR("GEX")), 0);
    ck_assert_int_eq(decide(0, FAA_PARENT_NONE, FAA_STR("POST")), 0);
    ck_assert_int_eq(decide(0, FAA_PARENT_NONE, NO_NAME), 0);
    ck_assert_int_eq(decide(1u << 31, FAA_PARENT_NONE, FAA_STR("a longer operation")), 1);
    ck_assert_int_eq(decide(UINT64_MAX, FAA_PARENT_NONE, FAA_STR("a longer operation")), 0);
    ck_assert_int_eq(decide(0x3fffffffffffffff, FAA_PARENT_NONE, FAA_STR("PUT")), 1);
    ck_assert_int_eq(decide(0x4000000000000000, FAA_PARENT_NONE, FAA_STR("PUT")), 0);
}
END_TEST

START_TEST(every_rule_of_many_is_found_and_there_is_a_ceiling)
{
    enum { MANY = FAA_SAMPLER_RULES_MAX + 100 };
    static char names[MANY][16];
    static struct faa_sampler_rule rules[MANY];
    for (unsigned i = 0; i < MANY; i++) {
        unsigned n = (unsigned)snprintf(names[i], sizeof(names[i]), "op%u", i * 2654435761u);
        rules[i] = (struct faa_sampler_rule){{names[i], n}, i % 2};
    }
    use(FAA_SAMPLER_REMOTE, 0, 0);
    // Without a rule, the lower half of the ids is sampled.
    set((struct faa_sampler_strategy){.ratio = 0.5, .rules = rules, .rule_count = MANY});
    for (unsigned i = 0; i < MANY; i++) {
        int low = decide(0, FAA_PARENT_NONE, rules[i].operation);
        int high = decide(UINT64_MAX, FAA_PARENT_NONE, rules[i].operation);
        int beyond = i >= FAA_SAMPLER_RULES_MAX;
        if (low != (beyond || i % 2) || high != (!beyond && i % 2))
            ck_abort_msg("rule %u: %d %d", i, low, high);
    }
}
END_TEST

static unsigned take_many(unsigned tries, struct faa_str operation, uint64_t low)
{
    unsigned taken = 0;
    for (unsigned i = 0; i < tries; i++)
        taken += (unsigned)decide(low, FAA_PARENT_NONE, operation);
    return taken;
}

START_TEST(a_rate_lets_bursts_of_a_second_through_and_no_more)
{
    use(FAA_SAMPLER_REMOTE, 0, 0);
    test_now_ns = 77 * SECOND;
    set((struct faa_sampler_strategy){.limited = 1, .limit = 5});
    ck_assert_uint_eq(take_many(100, NO_NAME, 0), 5);
    test_now_ns += SECOND / 5 - 1;
    ck_assert_uint_eq(take_many(100, NO_NAME, 0), 0);
    test_now_ns += 1;
    ck_assert_uint_eq(take_many(100, NO_NAME, 0), 1);
    test_now_ns += SECOND * 3 / 5;
    ck_assert_uint_eq(take_many(100, NO_NAME, UINT64_MAX), 3);
    test_now_ns += 3600ull * SECOND;
    ck_assert_uint_eq(take_many(100, NO_NAME, 0), 5);
}
END_TEST

START_TEST(rates_below_one_and_of_nothing_and_of_everything)
{
    use(FAA_SAMPLER_REMOTE, 0, 1);
    test_now_ns = 1; // Just after the machine has started.
    set((struct faa_sampler_strategy){.limited = 1, .limit = 0});
    ck_assert_uint_eq(take_many(100, NO_NAME, 0), 0);
    set((struct faa_sampler_strategy){.limited = 1, .limit = 0.1});
    ck_assert_uint_eq(take_many(100, NO_NAME, 0), 1);
    test_now_ns += 10ull * SECOND - 1;
    ck_assert_uint_eq(take_many(100, NO_NAME, 0), 0);
    test_now_ns += 1;
    ck_assert_uint_eq(take_many(100, NO_NAME, 0), 1);
    set((struct faa_sampler_strategy){.limited = 1, .limit = 1e-300});
    ck_assert_uint_eq(take_many(100, NO_NAME, 0), 1);
    set((struct faa_sampler_strategy){.limited = 1, .limit = 1e300});
    ck_assert_uint_eq(take_many(100, NO_NAME, 0), 100);
}
END_TEST

START_TEST(an_operation_that_chance_forgets_gets_its_floor)
{
    struct faa_sampler_rule rules[] = {{FAA_STR("rare"), 0}, {FAA_STR("often"), 1}};
    use(FAA_SAMPLER_REMOTE, 0, 0);
    test_now_ns = 77 * SECOND;
    set((struct faa_sampler_strategy){
        .ratio = 0, .floor = 2, .rules = rules, .rule_count = FAA_COUNT(rules)});
    ck_assert_uint_eq(take_many(100, FAA_STR("rare"), UINT64_MAX), 2);
    ck_assert_uint_eq(take_many(100, FAA_STR("often"), UINT64_MAX), 100);
    // Those without a rule share one.
    ck_assert_uint_eq(take_many(100, FAA_STR("x"), 0) + take_many(100, FAA_STR("y"), 0), 2);
    test_now_ns += SECOND;
    ck_assert_uint_eq(take_many(100, FAA_STR("rare"), UINT64_MAX), 2);
}
END_TEST

START_TEST(a_strategy_that_comes_again_keeps_what_is_left_of_its_rate)
{
    struct faa_sampler_rule rules[] = {{FAA_STR("a"), 0.5}, {FAA_STR("b"), 0.25}};
    struct faa_sampler_rule turned[] = {{FAA_STR("b"), 0.25}, {FAA_STR("a"), 0.5}};
    struct faa_sampler_strategy limited = {.limited = 1, .limit = 3};
    struct faa_sampler_strategy ruled = {.ratio = 0.5, .rules = rules, .rule_count = 2};
    use(FAA_SAMPLER_REMOTE, 0, 0);
    ck_assert_int_eq(set(limited), 1);
    ck_assert_uint_eq(take_many(2, NO_NAME, 0), 2);
    ck_assert_int_eq(set(limited), 0);
    ck_assert_uint_eq(take_many(100, NO_NAME, 0), 1);
    ck_assert_int_eq(set(ruled), 1);
    ck_assert_int_eq(set(ruled), 0);
    ruled.rules = turned;
    ck_assert_int_eq(set(ruled), 0);
    turned[0].ratio = 0.125;
    ck_assert_int_eq(set(ruled), 1);
    turned[0].operation = FAA_STR("c");
    ck_assert_int_eq(set(ruled), 1);
    ruled.rule_count = 1;
    ck_assert_int_eq(set(ruled), 1);
    ruled.floor = 1;
    ck_assert_int_eq(set(ruled), 1);
}
END_TEST

// ---- many threads -----------------------------------------------------------------------------

static atomic_int done;

// A strategy is either all of one kind or all of the other: a mixture, or memory that was given
// back, shows as an operation that is decided in the other's way.
static void *decide_for_ever(void *arg)
{
    unsigned long *count = arg;
    while (!atomic_load(&done)) {
        (*count)++;
        ck_assert_int_eq(decide(UINT64_MAX, FAA_PARENT_NONE, FAA_STR("always")), 1);
        ck_assert_int_eq(decide(0, FAA_PARENT_NONE, FAA_STR("never")), 0);
    }
    return NULL;
}

START_TEST(a_strategy_is_exchanged_under_those_who_decide_by_it)
{
    static char noise[200][8];
    static struct faa_sampler_rule rules[202] = {{FAA_STR("always"), 1}, {FAA_STR("never"), 0}};
    pthread_t threads[3];
    unsigned long counts[3] = {0};
    for (unsigned i = 0; i < FAA_COUNT(noise); i++) {
        unsigned n = (unsigned)snprintf(noise[i], sizeof(noise[i]), "n%u", i);
        rules[2 + i] = (struct faa_sampler_rule){{noise[i], n}, 0.5};
    }
    use(FAA_SAMPLER_REMOTE, 0, 0);
    set((struct faa_sampler_strategy){.ratio = 0.5, .rules = rules, .rule_count = 2});
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, decide_for_ever, &counts[i]), 0);
    for (unsigned i = 0, changed = 0; changed < 2000; i++) {
        int rc = set(
            (struct faa_sampler_strategy){.ratio = 0.5, .rules = rules, .rule_count = 2 + i % 200});
        changed += rc == 1; // -1 where a thread was interrupted in the middle.
    }
    atomic_store(&done, 1);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_uint_gt(counts[i], 0);
    }
}
END_TEST

static void *spend(void *arg)
{
    unsigned *taken = arg;
    *taken = take_many(20000, NO_NAME, 0);
    return NULL;
}

START_TEST(threads_together_take_no_more_than_the_rate)
{
    pthread_t threads[4];
    unsigned taken[4], sum = 0;
    use(FAA_SAMPLER_REMOTE, 0, 0);
    test_now_ns = 77 * SECOND;
    set((struct faa_sampler_strategy){.limited = 1, .limit = 10000});
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, spend, &taken[i]), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        sum += taken[i];
    }
    ck_assert_uint_eq(sum, 10000);
}
END_TEST

START_TEST(a_forked_child_can_change_a_strategy_that_a_thread_was_using)
{
    use(FAA_SAMPLER_REMOTE, 0, 0);
    set((struct faa_sampler_strategy){.ratio = 0.25});
    set((struct faa_sampler_strategy){.ratio = 0.5});
    // A thread that the child does not have stays in both places.
    atomic_fetch_add(&places[0].readers, 1);
    atomic_fetch_add(&places[1].readers, 1);
    ck_assert_int_eq(set((struct faa_sampler_strategy){.ratio = 1}), -1);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        faa_sampler_after_fork();
        int same = root(0x7fffffffffffffff) == 1 && root(0x8000000000000000) == 0;
        int changed = set((struct faa_sampler_strategy){.ratio = 1}) == 1 && root(UINT64_MAX) == 1;
        _exit(same && changed ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sampler");
    TCase *cases = tcase_create("sampler");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, without_a_setting_children_follow_their_parent_and_roots_are_sampled);
    tcase_add_test(cases, parent_based_samplers_decide_for_roots_only);
    tcase_add_test(cases, the_others_do_not_look_at_the_parent);
    tcase_add_test(cases, a_ratio_divides_the_trace_ids_where_the_other_sdks_do);
    tcase_add_test(cases, remote_sampling_has_the_exporter_started_by_a_span_that_begins);
    tcase_add_test(cases, the_initial_ratio_holds_until_a_strategy_comes);
    tcase_add_test(cases, operations_have_ratios_of_their_own);
    tcase_add_test(cases, every_rule_of_many_is_found_and_there_is_a_ceiling);
    tcase_add_test(cases, a_rate_lets_bursts_of_a_second_through_and_no_more);
    tcase_add_test(cases, rates_below_one_and_of_nothing_and_of_everything);
    tcase_add_test(cases, an_operation_that_chance_forgets_gets_its_floor);
    tcase_add_test(cases, a_strategy_that_comes_again_keeps_what_is_left_of_its_rate);
    tcase_add_test(cases, a_strategy_is_exchanged_under_those_who_decide_by_it);
    tcase_add_test(cases, threads_together_take_no_more_than_the_rate);
    tcase_add_test(cases, a_forked_child_can_change_a_strategy_that_a_thread_was_using);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

// SPDX-License-Identifier: MIT
// Every way in which producers, the consumer and a kill can meet in the ring.
#include "tests/model/model_ring.h"
#include "tests/model/model_suite.h"

#include <check.h>
#include <stdio.h>

enum { PRODUCERS_MAX = 3, RECORDS_MAX = 4 };

// What is sent in the scenario that runs.
static struct traffic {
    size_t sizes[PRODUCERS_MAX][RECORDS_MAX]; // 0: no more.
    int looks;                                // How often the consumer looks.
    int asks_for_use;                         // Producers ask how full the ring is.
    int checks_refusals;
} plan;

static uint32_t message_of(uint32_t producer, uint32_t sequence)
{
    return producer << 8 | sequence;
}

// ---- the threads ------------------------------------------------------------------------------

// How a producer publishes; a broken one stands in its place to see that it is found.
static void (*publish)(uint64_t *payload, size_t size, uint32_t message);

static void write_then_commit(uint64_t *payload, size_t size, uint32_t message)
{
    write_message(payload, size, message);
    faa_ring_commit(&the_ring, payload);
}

static void commit_then_write(uint64_t *payload, size_t size, uint32_t message)
{
    faa_ring_commit(&the_ring, payload);
    write_message(payload, size, message);
}

// Of records of one size, so that there is no padding: a place was refused, and there was none.
static void check_refusal(size_t size)
{
    uint64_t head, tail;
    if (explore_peek((const void *)&header.head, sizeof(head), &head) &&
        explore_peek((const void *)&header.tail, sizeof(tail), &tail))
        EXPLORE_ASSERT(head - tail + span_of(size) > the_ring.capacity);
}

static void send_one(uint32_t message, size_t size)
{
    uint64_t *payload = faa_ring_reserve(&the_ring, size);
    if (payload)
        publish(payload, size, message);
    explore_note((payload ? SENT : REFUSED) | message);
    if (!payload && plan.checks_refusals)
        check_refusal(size);
    if (plan.asks_for_use)
        EXPLORE_ASSERT(faa_ring_used(&the_ring) < UINT64_MAX / 2); // Not negative.
}

static void produce(uint32_t producer)
{
    for (uint32_t i = 0; i < RECORDS_MAX && plan.sizes[producer][i]; i++) {
        send_one(message_of(producer, i), plan.sizes[producer][i]);
        explore_checkpoint(i);
    }
}

static void produce_first(void)
{
    produce(0);
}

static void produce_second(void)
{
    produce(1);
}

static void produce_third(void)
{
    produce(2);
}

static void receive(void)
{
    struct faa_ring_cursor cursor = faa_ring_begin(&the_ring);
    const void *payload;
    size_t size;
    while ((payload = faa_ring_next(&the_ring, &cursor, &size, NULL)) != NULL)
        explore_note(RECEIVED | read_message(payload, size));
    faa_ring_release(&the_ring, cursor);
    explore_checkpoint(cursor.pos);
}

static void consume(void)
{
    for (int i = 0; i < plan.looks; i++)
        receive();
}

// ---- what must hold at the end ----------------------------------------------------------------

// All that was sent has been received, once, and each producer's in its order. Threads that receive
// stand in the scenario in the order in which they do.
static void check_exchange(const struct explore_scenario *scenario)
{
    for (uint32_t p = 0; p < PRODUCERS_MAX; p++) {
        uint32_t expected = 0;
        for (int t = 0; t < (int)scenario->thread_count; t++)
            for (size_t i = 0; i < explore_note_count(t); i++) {
                uint32_t note = explore_note_at(t, i);
                if ((note & ~0xffffu) != RECEIVED || (note >> 8 & 0xff) != p)
                    continue;
                while (expected < RECORDS_MAX &&
                       !count_notes(scenario, SENT | message_of(p, expected)))
                    expected++;
                EXPLORE_ASSERT((note & 0xffff) == message_of(p, expected));
                expected++;
            }
        for (; expected < RECORDS_MAX; expected++)
            EXPLORE_ASSERT(!count_notes(scenario, SENT | message_of(p, expected)));
    }
    for (int t = 0; t < (int)scenario->thread_count; t++)
        EXPLORE_ASSERT(!explore_is_stuck(t));
}

// ---- producers and a consumer that live -------------------------------------------------------

enum { CONSUMER = 3 };

// Reads what is left when all others have ended.
static void consume_rest(void)
{
    explore_join((1u << (CONSUMER + 1)) - 1);
    receive();
    EXPLORE_ASSERT(faa_ring_begin(&the_ring).pos == faa_ring_end(&the_ring).pos);
}

static const struct explore_thread living_threads[] = {
    {"first", produce_first, 0}, {"second", produce_second, 0}, {"third", produce_third, 0},
    {"consumer", consume, 0},    {"rest", consume_rest, 0},
};

static void check_living(void);

static struct explore_scenario living = {.name = "ring",
                                         .threads = living_threads,
                                         .thread_count = FAA_COUNT(living_threads),
                                         .check = check_living};

static void check_living(void)
{
    check_exchange(&living);
}

// ---- a process that is killed, and its guard --------------------------------------------------

enum { GUARD = 2, EXPORTER = 3, REPORT = 0x200 };

static void export_like_the_guard(void)
{
    export_all(plan.looks, 1u << GUARD);
}

static void guard(void)
{
    explore_await_death();
    begin_rescue();
    send_one(REPORT, SHORT);
}

static const struct explore_thread killed_threads[] = {
    {"first", produce_first, 1},
    {"second", produce_second, 1},
    {"guard", guard, 0},
    {"exporter", export_like_the_guard, 0},
};

static void check_killed(void);

static struct explore_scenario killed = {.name = "ring, killed",
                                         .threads = killed_threads,
                                         .thread_count = FAA_COUNT(killed_threads),
                                         .kills = 1,
                                         .check = check_killed};

static void check_killed(void)
{
    for (int t = GUARD; t <= EXPORTER; t++)
        EXPLORE_ASSERT(!explore_is_stuck(t));
    check_exchange(&killed);
}

// ---- the scenarios ----------------------------------------------------------------------------

enum {
    SEQUENTIAL = 1, // Refusals are checked: else a thread may not know that there is room.
    EARLY_FAILURES = 2,
    ASKS_FOR_USE = 4,
    SLOW = 8,  // Not to find what is broken.
    LARGE = 16 // Not without FAA_TEST_MODEL=large.
};

struct plan {
    struct explore_scenario *scenario;
    const char *name;
    size_t sizes[PRODUCERS_MAX][RECORDS_MAX];
    int looks;
    uint64_t capacity;
    unsigned flags;
};

// Each ring begins 32 bytes before its end, so that every scenario passes it.
static const struct plan plans[] = {
    {&living, "two producers", {{SHORT}, {LONG}}, 2, 128, ASKS_FOR_USE},
    {&living, "two producers, early failures", {{LONG}, {SHORT}}, 1, 128, EARLY_FAILURES | SLOW},
    {&living, "two of two records", {{LONG, SHORT}, {SHORT, LONG}}, 1, 128, 0},
    {&living, "three producers", {{LONG}, {SHORT}, {LONG}}, 1, 128, SLOW},
    {&living, "laps", {{SHORT, SHORT, SHORT, SHORT}}, 3, 64, SLOW},
    {&living, "full, in sequence", {{SHORT, SHORT}, {SHORT, SHORT}}, 1, 64, SEQUENTIAL | SLOW},
    {&living, "full", {{SHORT, SHORT}, {SHORT, SHORT}}, 2, 64, LARGE},
    {&living, "two producers, three looks", {{SHORT}, {LONG}}, 3, 128, LARGE},
    {&living, "two of two, two looks", {{LONG, SHORT}, {SHORT, LONG}}, 2, 128, LARGE},
    {&living, "three producers, two looks", {{LONG}, {SHORT}, {LONG}}, 2, 128, LARGE},
    {&killed, "killed, small ring", {{SHORT}}, 2, 64, 0},
    {&killed, "killed, two records", {{SHORT, LONG}}, 2, 128, 0},
    {&killed, "killed, two producers", {{SHORT}, {LONG}}, 2, 128, SLOW},
    {&killed, "killed, two and one", {{SHORT, LONG}, {SHORT}}, 3, 128, LARGE},
};

static struct explore_result run(size_t index, int broken_site)
{
    const struct plan *p = &plans[index];
    plan = (struct traffic){.looks = p->looks, .asks_for_use = !!(p->flags & ASKS_FOR_USE)};
    plan.checks_refusals = !!(p->flags & SEQUENTIAL);
    memcpy(plan.sizes, p->sizes, sizeof(plan.sizes));
    make_ring(p->capacity, p->capacity - 32);
    explore_weaken(broken_site);
    p->scenario->name = p->name;
    p->scenario->is_sequential = !!(p->flags & SEQUENTIAL);
    p->scenario->early_failures = p->flags & EARLY_FAILURES ? 2 : 0;
    return explore(p->scenario);
}

static int is_left_out(size_t index)
{
    return plans[index].flags & LARGE && !explore_wants_large();
}

START_TEST(no_record_is_lost_torn_or_doubled)
{
    if (is_left_out((size_t)_i))
        return;
    struct explore_result result = run((size_t)_i, -1);
    explore_print(plans[_i].scenario, &result);
    if (result.failure)
        explore_print_trace(&result);
    ck_assert_ptr_null(result.failure);
    ck_assert_uint_gt(result.ends, 10);
}
END_TEST

// ---- what is broken is found ------------------------------------------------------------------

static const char *name_of(size_t plan_number)
{
    return plans[plan_number].name;
}

static int takes_long(size_t plan_number)
{
    return (plans[plan_number].flags & (SLOW | LARGE)) != 0;
}

static const struct model model = {FAA_COUNT(plans), run, name_of, takes_long};

static int find(int broken_site, const char *what)
{
    return model_find(&model, broken_site, what);
}

START_TEST(a_commit_before_the_write_is_found)
{
    publish = commit_then_write;
    ck_assert_int_ge(find(-1, "commit before the write"), 0);
}
END_TEST

START_TEST(a_rescue_that_skips_too_much_is_found)
{
    skips_all = 1;
    ck_assert_int_ge(find(-1, "rescue that skips too much"), 0);
}
END_TEST

// The head tells the consumer only where to stop, and tags the rest: its order is for who reads a
// mapping without knowing that its writers have ended.
static int is_spare(const char *site)
{
    return strcmp(site, "release cas of head") == 0 || strcmp(site, "acquire load of head") == 0;
}

START_TEST(each_order_that_is_weakened_is_found)
{
    model_assert_sound(&model);
    size_t sites = explore_site_count();
    ck_assert_uint_ge(sites, 8);
    for (size_t i = 0; i < sites; i++) {
        const char *name = explore_site_name(i);
        if (!is_spare(name) && find((int)i, name) < 0)
            ck_abort_msg("%s: not found", name);
    }
}
END_TEST

int main(void)
{
    publish = write_then_commit;
    setvbuf(stdout, NULL, _IOLBF, 0); // Forked children may abort.
    Suite *suite = suite_create("model_ring");
    TCase *right = tcase_create("right");
    tcase_set_timeout(right, 300);
    tcase_add_loop_test(right, no_record_is_lost_torn_or_doubled, 0, FAA_COUNT(plans));
    suite_add_tcase(suite, right);
    TCase *broken = tcase_create("broken");
    tcase_set_timeout(broken, 300);
    tcase_add_test(broken, a_commit_before_the_write_is_found);
    tcase_add_test(broken, a_rescue_that_skips_too_much_is_found);
    tcase_add_test(broken, each_order_that_is_weakened_is_found);
    suite_add_tcase(suite, broken);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

// SPDX-License-Identifier: MIT
// The search: depth first through all states, each entered once.
#include "tests/model/machine.h"
#include "tests/model/places.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 400, STATES_MAX = 1 << 24, TABLE_BITS_MIN = 16, NAME_MAX_SIZE = 48 };

// States that were seen, and how many ways lead from each to an end.
struct entry {
    uint64_t key; // 0: free.
    double ways;
};

static struct entry *table;
static size_t table_size, table_used;

static struct state *stack; // The way to the state that is looked at.
static const struct explore_scenario *scenario;
static struct explore_result found;

// ---- the states that were seen ----------------------------------------------------------------

static struct entry *slot_of(uint64_t key)
{
    size_t i = key & (table_size - 1);
    while (table[i].key != 0 && table[i].key != key)
        i = (i + 1) & (table_size - 1);
    return &table[i];
}

static void *make(size_t count, size_t size)
{
    void *room = calloc(count, size);
    if (!room)
        abort();
    return room;
}

static void note_seen(uint64_t key, double ways)
{
    if (table_used * 4 >= table_size * 3) {
        struct entry *old = table;
        size_t old_size = table_size;
        table = make(table_size *= 2, sizeof(*table));
        for (size_t i = 0; i < old_size; i++)
            if (old[i].key)
                *slot_of(old[i].key) = old[i];
        free(old);
    }
    *slot_of(key) = (struct entry){key, ways};
    table_used++;
}

// What every thread that will still read has seen.
static struct view oldest_view(const struct state *state)
{
    struct view oldest;
    memset(&oldest, UINT8_MAX, sizeof(oldest));
    for (size_t t = 0; t < scenario->thread_count; t++) {
        const struct view *view = &state->threads[t].view;
        if (state->threads[t].status >= DONE)
            continue;
        for (size_t i = 0; i < LOCATIONS_MAX; i++)
            oldest.writes[i] =
                view->writes[i] < oldest.writes[i] ? view->writes[i] : oldest.writes[i];
        for (size_t i = 0; i < THREADS_ROOM; i++)
            oldest.reads[i] = view->reads[i] < oldest.reads[i] ? view->reads[i] : oldest.reads[i];
    }
    return oldest;
}

static uint64_t key_of(struct state *state)
{
    struct view oldest = oldest_view(state);
    memory_prune(&state->memory, &oldest);
    uint64_t hash = memory_hash(&state->memory, &oldest);
    hash = hash_mix(hash, (uint64_t)state->is_dead << 16 | (uint64_t)state->wakeups << 8 |
                              state->failures);
    hash = view_hash(&state->kernel, view_hash(&state->death, hash));
    for (size_t t = 0; t < scenario->thread_count; t++) {
        const struct thread *thread = &state->threads[t];
        hash = hash_mix(hash_mix(hash, thread->history), thread->noted);
        hash = view_hash(&thread->view, hash_mix(hash, thread->status));
    }
    return hash ? hash : 1;
}

// ---- the search -------------------------------------------------------------------------------

static void copy_state(struct state *to, const struct state *from)
{
    memcpy(to, from, offsetof(struct state, threads));
    for (size_t t = 0; t < scenario->thread_count; t++) {
        const struct thread *thread = &from->threads[t];
        memcpy(&to->threads[t], thread,
               offsetof(struct thread, log) + thread->log_count * sizeof(struct answer));
    }
    memory_copy(&to->memory, &from->memory);
}

static double search(size_t depth);

static double step_of(size_t depth, int thread)
{
    double ways = 0;
    int choices = machine_choices(&stack[depth], scenario, thread);
    for (int choice = 0; choice < choices && !machine_failure; choice++) {
        copy_state(&stack[depth + 1], &stack[depth]);
        if (machine_step(&stack[depth + 1], scenario, thread, choice) == 0)
            ways += search(depth + 1);
    }
    return ways;
}

// One thread's step is enough where it is alone.
static double all_steps_of(size_t depth)
{
    double ways = 0;
    for (size_t t = 0; t < scenario->thread_count; t++)
        if (machine_choices(&stack[depth], scenario, (int)t) > 0 &&
            machine_is_alone(&stack[depth], scenario, (int)t))
            return step_of(depth, (int)t);
    for (size_t t = 0; t < scenario->thread_count && !machine_failure; t++)
        ways += step_of(depth, (int)t);
    return ways;
}

static void end_at(size_t depth)
{
    found.ends++;
    machine_look_at(&stack[depth]);
    if (scenario->check)
        scenario->check();
    for (size_t t = 0; t < scenario->thread_count && !scenario->check; t++)
        if (explore_is_stuck((int)t))
            explore_fail("a thread waits for ever");
}

static double fail_at(size_t depth, const char *failure)
{
    found.failure = machine_failure = failure;
    found.depth = depth;
    return 0;
}

// Returns the number of ways from here to an end. The state lies at stack[depth].
static double search(size_t depth)
{
    if (depth + 1 == DEPTH_MAX)
        return fail_at(depth, "the scenario does not end");
    found.steps++;
    if (machine_failure)
        return fail_at(depth, machine_failure);
    struct state *state = &stack[depth];
    if (table_used == STATES_MAX)
        return fail_at(depth, "more states than the model can hold");
    uint64_t key = key_of(state);
    const struct entry *seen = slot_of(key);
    if (seen->key)
        return seen->ways;
    double ways = all_steps_of(depth);
    for (size_t t = 0; t < scenario->thread_count && !machine_failure; t++) {
        if (state->threads[t].status != ASLEEP || state->wakeups == scenario->early_wakeups)
            continue;
        copy_state(&stack[depth + 1], state);
        machine_wake_early(&stack[depth + 1], (int)t);
        ways += search(depth + 1);
    }
    if (scenario->kills && !state->is_dead && !machine_failure) {
        copy_state(&stack[depth + 1], state);
        machine_kill(&stack[depth + 1], scenario);
        ways += search(depth + 1);
    }
    if (machine_failure)
        return 0;
    if (ways == 0) {
        end_at(depth);
        if (machine_failure)
            return fail_at(depth, machine_failure);
        ways = 1;
    }
    note_seen(key, ways);
    return ways;
}

static void search_all(void)
{
    found = (struct explore_result){0};
    table_size = (size_t)1 << TABLE_BITS_MIN;
    table_used = 0;
    table = make(table_size, sizeof(*table));
    if (!stack)
        stack = make(DEPTH_MAX, sizeof(*stack));
    memset(&stack[0], 0, sizeof(stack[0]));
    for (size_t t = 0; t < scenario->thread_count; t++)
        machine_start(&stack[0], scenario, (int)t);
    found.ways = search(0);
    found.states = table_used;
    free(table);
}

struct explore_result explore(const struct explore_scenario *wanted)
{
    scenario = wanted;
    machine_failure = NULL;
    do
        search_all();
    while (machine_has_learned() && !machine_failure);
    return found;
}

int explore_wants_large(void)
{
    const char *wanted = getenv("FAA_TEST_MODEL");
    return wanted && strcmp(wanted, "large") == 0;
}

// ---- telling ----------------------------------------------------------------------------------

static void print_step(const struct state *state)
{
    static const char *const kinds[] = {
        "loads",          "stores into", "exchanges",        "adds to",   "swaps",
        "swaps",          "reads",       "writes",           "waits for", "wakes at",
        "wakes those at", "joins",       "sees the death of"};
    char name[NAME_MAX_SIZE] = "process 1";
    const struct op *op = &state->last_op;
    if (state->last_thread == THREADS_MAX) {
        printf("    process 1 is killed\n");
        return;
    }
    if (op->kind == JOIN)
        snprintf(name, sizeof(name), "threads %#llx", (unsigned long long)op->operand);
    else if (op->kind != AWAIT_DEATH)
        place_name(op->location, name, sizeof(name));
    printf("    %-12s %s %s", scenario->threads[state->last_thread].name, kinds[op->kind], name);
    if (op->kind == STORE || op->kind == EXCHANGE || op->kind == ADD || op->kind == CAS ||
        op->kind == CAS_WEAK)
        printf(" %#llx", (unsigned long long)op->operand);
    if (op->kind == CAS || op->kind == CAS_WEAK)
        printf(" (%s)", state->last_answer.succeeded ? "done" : "not as expected");
    if (op->kind == LOAD || op->kind == EXCHANGE || op->kind == ADD)
        printf(", finds %#llx", (unsigned long long)state->last_answer.value);
    printf("\n");
}

void explore_print_trace(const struct explore_result *result)
{
    printf("  %s, after:\n", result->failure);
    for (size_t i = 1; i <= result->depth; i++)
        print_step(&stack[i]);
}

void explore_print(const struct explore_scenario *of, const struct explore_result *result)
{
    printf("%-27s %8llu states, %8llu steps, %6llu ends, %.2g ways%s%s\n", of->name,
           (unsigned long long)result->states, (unsigned long long)result->steps,
           (unsigned long long)result->ends, result->ways, result->failure ? ": " : "",
           result->failure ? result->failure : "");
}

// SPDX-License-Identifier: MIT
// Between the search (explore.c) and the steps of threads (machine.c, hooks.c).
#ifndef FAA_TESTS_MODEL_MACHINE_H
#define FAA_TESTS_MODEL_MACHINE_H

#include "tests/model/explore.h"
#include "tests/model/memory.h"

enum { LOG_MAX = 160 };

enum kind {
    LOAD,
    STORE,
    EXCHANGE,
    ADD,
    CAS,
    CAS_WEAK,
    PLAIN_READ,
    PLAIN_WRITE,
    SLEEP,
    WAKE_UP, ///< From its sleep.
    WAKE,
    JOIN,
    AWAIT_DEATH
};

/// One access. `operand`: what is stored or added; of JOIN, the threads, one bit each.
struct op {
    uint8_t kind, size;
    int16_t location; ///< -1 without one.
    struct memory_order order, on_failure;
    void *address;
    uint64_t operand, expected;
};

struct answer {
    uint64_t value;
    int succeeded; ///< Of a compare-and-swap.
};

enum status { READY, ASLEEP, DONE, DEAD };

struct thread {
    uint8_t status;
    uint8_t log_count, note_count;
    struct op next; ///< What it is about to do, when READY or ASLEEP.
    struct view view;
    uint64_t history; ///< A hash of all that it was told.
    uint64_t noted;   ///< And of its notes.
    uint32_t notes[EXPLORE_NOTES_MAX];
    struct answer log[LOG_MAX];
};

struct state {
    uint8_t is_dead; ///< Process 1.
    uint8_t wakeups, failures;
    uint8_t last_thread; ///< The step that led here, for the trace; THREADS_MAX: a kill.
    struct op last_op;
    struct answer last_answer;
    struct view kernel; ///< What the kernel's lock of the futexes passes on.
    struct view death;  ///< What the dead process had done.
    struct thread threads[THREADS_MAX];
    struct memory memory; // Last: only a part of it is copied.
};

/// Runs the thread up to its first step.
void machine_start(struct state *state, const struct explore_scenario *scenario, int thread);

/// True when nobody else will ever do what matters to the thread's next step, nor the step to them,
/// as far as is known: then it can be taken at once, and nothing before it.
int machine_is_alone(const struct state *state, const struct explore_scenario *scenario,
                     int thread);

/// What is known of that grows with each search; it holds when a whole search has taught nothing.
/// Returns whether it grew since the last call.
int machine_has_learned(void);

/// How many ways there are for the thread's next step; 0 when it cannot go on.
int machine_choices(const struct state *state, const struct explore_scenario *scenario, int thread);

/// Takes one of them. Returns 0, or -1 when this one does not exist after all.
int machine_step(struct state *state, const struct explore_scenario *scenario, int thread,
                 int choice);

/// Lets a futex return for no reason.
void machine_wake_early(struct state *state, int thread);

/// Kills process 1.
void machine_kill(struct state *state, const struct explore_scenario *scenario);

/// Lets a check look at a state.
void machine_look_at(struct state *state);

/// The first failure since it was last cleared; NULL: none.
extern const char *machine_failure;

#endif

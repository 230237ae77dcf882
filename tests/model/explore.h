// SPDX-License-Identifier: MIT
// A model checker for the lock-free parts: it runs the real sources, and takes every way in which
// the threads of a scenario can meet.
//
// How: the sources under test, and the scenario, are compiled with -fsanitize=thread, so that the
// compiler calls a function before each access to memory, with its order; and these functions are
// ours (hooks.c). Each atomic access is a step, and a thread goes no further until the search takes
// it. To go from one state to the next, a thread runs from its beginning, is given again what it
// read, and makes one step more: no state of the C code has to be kept. States that have been seen
// are not entered again; what a thread will do depends only on what it has read, which is compared
// by a hash.
//
// Where no other thread can ever do what matters to a thread's next step, the step is taken alone:
// its other orders are the same to everybody. Which locations threads will touch is learned by
// searching, again and again, until a whole search has met nothing new.
//
// What is covered: all interleavings of the steps; of each atomic read, all values that C11's rules
// of coherence, release and acquire let it see, so a store that is not released may be seen late,
// and out of order; races between plain accesses; the death of a process between any two steps;
// futexes, with early returns if wanted; threads that wait for ever.
//
// What is not: a load that sees what was stored because of a later store of its own thread (load
// buffering, which C11 allows for relaxed accesses); the compiler's freedom to move plain stores
// within a thread that is then killed; seq_cst and fences, which nobody here uses (a scenario that
// meets one aborts, or does not link); another order of two stores to one location than that in
// which they are made, where they may be unordered at all (EXPLORE_UNORDERED). A struct that a call
// returns straight into shared memory is not seen, as the compiler announces no access there.
#ifndef FAA_TESTS_MODEL_EXPLORE_H
#define FAA_TESTS_MODEL_EXPLORE_H

#include <stddef.h>
#include <stdint.h>

enum { EXPLORE_NOTES_MAX = 24 };

struct explore_thread {
    const char *name;
    void (*run)(void); ///< Of local variables only, and memory in regions.
    int process;       ///< 0, or 1 for the one that may be killed.
};

struct explore_scenario {
    const char *name;
    const struct explore_thread *threads;
    size_t thread_count;
    int is_sequential;   ///< Every read finds the latest value: fewer states, for longer scenarios.
    int kills;           ///< Process 1 is killed: at each point, plain writes too.
    int early_wakeups;   ///< So often may a futex return for no reason.
    int early_failures;  ///< So often may a weak compare-and-swap.
    void (*check)(void); ///< At each end, with the functions below. May be NULL.
};

/// What the search found.
struct explore_result {
    const char *failure; ///< NULL: there is none.
    size_t depth;        ///< Steps to the failure.
    uint64_t states, steps, ends;
    double ways; ///< From the beginning to some end, those that are the same to everybody once.
};

enum {
    EXPLORE_ATOMIC = 1,   ///< Every access to the region is atomic.
    EXPLORE_UNORDERED = 2 ///< Threads may store there without knowing of each other.
};

/// Declares memory that the threads share; the rest is each thread's own. What lies there when the
/// search first meets it is what all begin with.
void explore_region(const char *name, void *start, size_t size, int flags);

/// Forgets the regions.
void explore_reset(void);

struct explore_result explore(const struct explore_scenario *scenario);

/// Prints one line about the result.
void explore_print(const struct explore_scenario *scenario, const struct explore_result *result);

/// Prints the steps that led to the failure of the last search.
void explore_print_trace(const struct explore_result *result);

/// True when FAA_TEST_MODEL=large asks for the scenarios that take minutes.
int explore_wants_large(void);

/// The places in the code with an order stronger than relaxed that searches have met, and what was
/// first met there; explore_weaken makes one of them relaxed (-1: none).
size_t explore_site_count(void);
const char *explore_site_name(size_t site);
void explore_weaken(int site);

// ---- for the threads of a scenario ------------------------------------------------------------

/// Notes something for the check.
void explore_note(uint32_t value);

/// Says that from here on the thread's doing depends only on the number and on its notes, and no
/// longer on what else it has read: states that differ in that alone are one.
void explore_checkpoint(uint64_t locals);

/// Waits for the end of threads (one bit each), and of process 1. What they did is seen from then
/// on.
void explore_join(unsigned threads);
void explore_await_death(void);

/// Takes a look at what lies at the address now, without a step, to see whether what the thread was
/// told was true. Returns 0 when the thread is only told again what it has been through.
int explore_peek(const void *address, size_t size, uint64_t *value);

/// The scenario has failed.
void explore_fail(const char *what);
#define EXPLORE_ASSERT(condition) ((condition) ? (void)0 : explore_fail(#condition))

/// Stands for syscall(SYS_futex, word, FUTEX_WAKE or FUTEX_WAIT_BITSET, value, …).
long explore_futex(long number, _Atomic uint32_t *word, int operation, uint32_t value, ...);

// ---- for the check ----------------------------------------------------------------------------

size_t explore_note_count(int thread);
uint32_t explore_note_at(int thread, size_t index);

/// True when the thread waits for ever. Without a check of its own a scenario fails then.
int explore_is_stuck(int thread);

#endif

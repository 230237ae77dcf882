// SPDX-License-Identifier: MIT
// The main thread writes down its running steps; the watch's thread reads them, and has the main
// thread itself, which alone knows for sure, take the stack. What it reads may be out of date: then
// it asks for nothing, or for a stack that the main thread finds no reason to take.
#include "python/watch.h"

#include "base/clock.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    STACK_SIZE = 64 << 10,      // What the thread needs is a fraction of this.
    LARGE_STACK_SIZE = 1 << 20, // Where the thread-local data of all libraries exceed that.
    POLLS_PER_THRESHOLD = 4,    // While there are steps.
    QUIET_POLLS = 40            // Without a new step, before the thread sleeps for good.
};

#define NEVER UINT64_MAX
#define POLL_MIN_NS 1000000u
#define POLL_MAX_NS 250000000u
#define ANSWER_NS 5000000u   // A main thread that can answer does so sooner.
#define COMPUTES_NS 2000000u // Of processor time, without an answer.
#define HOLD_MAX_NS 100000000u
#define HOLD_LOOK_NS 20000

// What the thread is doing, in the futex it sleeps on.
enum state {
    POLLING,
    ASLEEP, // The next step must wake it.
    ABSENT, // The next step must start it.
    GONE    // There is none, and there will be none.
};

// One running step of the main thread, which is its only writer.
struct step {
    _Atomic uint64_t start;
    _Atomic uint32_t serial;
    size_t stack_len; // Only the main thread looks at it.
};

static const struct faa_watch_ops *ops;
static pthread_t main_thread; // Written while there is no other thread that reads it.
static clockid_t main_clock;  // Its processor time; written by it before it starts the thread.
static _Atomic uint64_t threshold;

static struct step steps[FAA_WATCH_DEPTH_MAX];
static _Atomic uint32_t depth;          // Steps that run, those above the table too.
static _Atomic uint32_t last_serial;    // Tells the thread that there was another step.
static char stack[FAA_WATCH_STACK_MAX]; // The main thread's.

static _Atomic uint32_t state = ABSENT;
static atomic_int asked;  // A call of take_stack is on its way.
static atomic_int asking; // The thread is in a function of the interpreter, or about to be.
static atomic_int held;   // How many want it not to be.

static void futex_wait(uint32_t value, uint64_t until_ns)
{
    struct timespec t = {.tv_sec = (time_t)(until_ns / 1000000000u),
                         .tv_nsec = (long)(until_ns % 1000000000u)};
    // FUTEX_WAIT_BITSET takes an absolute time on the monotonic clock.
    syscall(SYS_futex, &state, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, value,
            until_ns == NEVER ? NULL : &t, NULL, FUTEX_BITSET_MATCH_ANY);
}

static void futex_wake(void)
{
    syscall(SYS_futex, &state, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT_MAX, NULL, NULL, 0);
}

static int change_state(uint32_t from, uint32_t to)
{
    return atomic_compare_exchange_strong(&state, &from, to);
}

// ---- on the main thread -----------------------------------------------------------------------

static int on_main_thread(void)
{
    return pthread_equal(pthread_self(), main_thread);
}

static uint32_t watched_depth(void)
{
    // Acquire pairs with the release in faa_watch_begin.
    uint32_t n = atomic_load_explicit(&depth, memory_order_acquire);
    return n < FAA_WATCH_DEPTH_MAX ? n : FAA_WATCH_DEPTH_MAX;
}

// The call that was asked for. It may come late: a step that is not too old is left alone, and
// where each has a stack nothing is taken. All that are too old share the newest one.
static int take_stack(void *unused)
{
    (void)unused;
    atomic_store(&asked, 0);
    uint64_t limit = faa_watch_threshold();
    if (!on_main_thread() || !limit)
        return 0;
    int saved = errno, wanted = 0;
    uint64_t now = faa_clock_mono_ns();
    uint32_t count = 0;
    for (; count < watched_depth(); count++) {
        uint64_t start = atomic_load_explicit(&steps[count].start, memory_order_relaxed);
        if (now < start || now - start < limit)
            break; // The ones within are younger.
        wanted = wanted || !steps[count].stack_len;
    }
    size_t n = wanted ? ops->format(stack, sizeof(stack)) : 0;
    for (uint32_t i = 0; wanted && i < count; i++)
        steps[i].stack_len = n;
    errno = saved;
    return 0;
}

static void *run(void *unused);

// A thread that no signal of the application is delivered to.
static int start_thread(size_t stack_size)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_t thread;
    if (pthread_attr_init(&attributes) != 0)
        return -1;
    pthread_attr_setstacksize(&attributes, stack_size);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&thread, &attributes, run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return rc == 0 ? 0 : -1;
}

static int start_watch(void)
{
    if (pthread_getcpuclockid(pthread_self(), &main_clock) != 0)
        return -1;
    return start_thread(STACK_SIZE) && start_thread(LARGE_STACK_SIZE) ? -1 : 0;
}

static void rouse(void)
{
    int saved = errno;
    if (!faa_watch_threshold())
        return;
    if (change_state(ASLEEP, POLLING))
        futex_wake();
    else if (change_state(ABSENT, POLLING) && start_watch())
        change_state(POLLING, GONE); // Without stacks, then.
    errno = saved;
}

void faa_watch_begin(uint64_t mono_ns)
{
    if (!on_main_thread())
        return;
    uint32_t n = atomic_load_explicit(&depth, memory_order_relaxed);
    uint32_t serial = atomic_load_explicit(&last_serial, memory_order_relaxed) + 1;
    if (n < FAA_WATCH_DEPTH_MAX) {
        struct step *s = &steps[n];
        atomic_store_explicit(&s->start, mono_ns, memory_order_relaxed);
        s->stack_len = 0;
        // Release pairs with the acquire in look: who sees the serial sees this start, or a later
        // one.
        atomic_store_explicit(&s->serial, serial, memory_order_release);
    }
    atomic_store_explicit(&last_serial, serial, memory_order_relaxed);
    // Release pairs with the acquire in watched_depth.
    atomic_store_explicit(&depth, n + 1, memory_order_release);
    // A plain load, which may come before the stores above: see doze.
    if (atomic_load_explicit(&state, memory_order_relaxed) != POLLING)
        rouse();
}

// How many steps run on this thread, as far as they count.
static uint32_t own_depth(void)
{
    return on_main_thread() ? atomic_load_explicit(&depth, memory_order_relaxed) : 0;
}

static struct faa_str stack_of(uint32_t innermost)
{
    if (!innermost || innermost > FAA_WATCH_DEPTH_MAX)
        return (struct faa_str){"", 0};
    return (struct faa_str){stack, steps[innermost - 1].stack_len};
}

struct faa_str faa_watch_stack(void)
{
    return stack_of(own_depth());
}

struct faa_str faa_watch_end(void)
{
    uint32_t n = own_depth();
    if (n)
        atomic_store_explicit(&depth, n - 1, memory_order_release);
    return stack_of(n);
}

// ---- the thread -------------------------------------------------------------------------------

struct watcher {
    uint32_t done[FAA_WATCH_DEPTH_MAX]; // Serials of steps whose stack was asked for.
    uint32_t seen;                      // The last serial.
    unsigned quiet;                     // Polls since the last step.
    int may_nudge;                      // What was asked for last has not been nudged.
    uint64_t pause;                     // Before the next look for an answer.
    uint64_t cpu;                       // The main thread's processor time when it was asked.
};

static int is_held(void)
{
    return atomic_load(&held) || !ops->is_alive();
}

// Both sides write their flag and then read the other's, all sequentially consistent: either the
// thread sees that it is held, or who holds it sees that it asks.
static int ask(struct watcher *w)
{
    int status = -1;
    w->may_nudge = ops->nudge != NULL;
    w->pause = ANSWER_NS;
    w->cpu = faa_clock_ns(main_clock);
    atomic_store(&asking, 1);
    if (!is_held()) {
        atomic_store(&asked, 1);
        status = ops->ask(take_stack, NULL);
        if (status)
            atomic_store(&asked, 0);
    }
    atomic_store(&asking, 0);
    return status;
}

// Asks for the stack of steps that are too old. Returns when the next one may be, or NEVER.
static uint64_t look(struct watcher *w, uint64_t now, uint64_t limit)
{
    uint64_t next = NEVER;
    uint32_t count = limit ? watched_depth() : 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t serial = atomic_load_explicit(&steps[i].serial, memory_order_acquire);
        uint64_t start = atomic_load_explicit(&steps[i].start, memory_order_relaxed);
        if (serial == w->done[i])
            continue;
        uint64_t due = start + limit;
        // One call serves every step that is too old when it comes.
        if (due <= now && (atomic_load(&asked) || ask(w) == 0))
            w->done[i] = serial;
        else if (due > now && due < next)
            next = due;
        else if (due <= now)
            next = now; // Refused: again at the next poll.
    }
    return next;
}

// A main thread that computes and does not answer is nudged. One that waits in a C function is not:
// it answers when that returns. Returns when to look again, or NEVER.
static uint64_t await_answer(struct watcher *w, uint64_t now)
{
    if (!w->may_nudge || !atomic_load(&asked))
        return NEVER;
    if (!is_held() && faa_clock_ns(main_clock) - w->cpu >= COMPUTES_NS) {
        w->may_nudge = 0;
        ops->nudge();
        return NEVER;
    }
    uint64_t next = now + w->pause;
    if (w->pause < POLL_MAX_NS)
        w->pause *= 2;
    return next;
}

// Sleeps until a step wakes it. A step that began at this very moment may have read the old state
// before its own stores could be seen from here; an interval later they are.
static void doze(struct watcher *w, uint64_t interval)
{
    if (!change_state(POLLING, ASLEEP))
        return;
    futex_wait(ASLEEP, faa_clock_mono_ns() + interval);
    if (atomic_load(&last_serial) != w->seen)
        change_state(ASLEEP, POLLING);
    while (atomic_load(&state) == ASLEEP)
        futex_wait(ASLEEP, NEVER);
}

static uint64_t interval_of(uint64_t limit)
{
    uint64_t interval = limit / POLLS_PER_THRESHOLD;
    return interval < POLL_MIN_NS ? POLL_MIN_NS : interval > POLL_MAX_NS ? POLL_MAX_NS : interval;
}

static void *run(void *unused)
{
    (void)unused;
    pthread_setname_np(pthread_self(), "faa-watch");
    struct watcher w = {.quiet = 0};
    while (atomic_load(&state) != GONE) {
        uint64_t now = faa_clock_mono_ns(), limit = faa_watch_threshold();
        uint64_t interval = interval_of(limit);
        uint32_t serial = atomic_load_explicit(&last_serial, memory_order_acquire);
        uint64_t next = look(&w, now, limit), answer = await_answer(&w, now);
        next = answer < next ? answer : next;
        w.quiet = serial == w.seen && next == NEVER ? w.quiet + 1 : 0;
        w.seen = serial;
        if (w.quiet >= QUIET_POLLS) {
            doze(&w, interval);
            w.quiet = 0;
        } else {
            futex_wait(POLLING, next > now && next < now + interval ? next : now + interval);
        }
    }
    return NULL;
}

// ---- from start to end ------------------------------------------------------------------------

void faa_watch_init(const struct faa_watch_ops *interpreter)
{
    ops = interpreter;
    main_thread = pthread_self();
}

void faa_watch_set_threshold(uint64_t ns)
{
    atomic_store_explicit(&threshold, ns, memory_order_relaxed);
}

uint64_t faa_watch_threshold(void)
{
    return atomic_load_explicit(&threshold, memory_order_relaxed);
}

void faa_watch_hold(void)
{
    atomic_fetch_add(&held, 1);
    uint64_t until = faa_clock_mono_ns() + HOLD_MAX_NS;
    while (atomic_load(&asking) && faa_clock_mono_ns() < until)
        nanosleep(&(struct timespec){.tv_nsec = HOLD_LOOK_NS}, NULL);
}

void faa_watch_release(void)
{
    atomic_fetch_sub(&held, 1);
}

void faa_watch_stop(void)
{
    atomic_store(&state, GONE);
    futex_wake();
    faa_watch_hold(); // For ever.
}

void faa_watch_forget(void)
{
    atomic_store(&state, ABSENT);
    atomic_store(&asked, 0);
    atomic_store(&asking, 0);
    atomic_store(&held, 0);
    if (on_main_thread())
        return; // The steps that run here run on.
    main_thread = pthread_self();
    atomic_store(&depth, 0);
}

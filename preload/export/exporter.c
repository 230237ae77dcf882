// SPDX-License-Identifier: MIT
// The exporter thread: when it sleeps, what it sends, and what it gives up.
#include "export/exporter.h"

#include "base/clock.h"
#include "base/log.h"
#include "export/bell.h"
#include "export/console.h"
#include "export/fdtable.h"
#include "export/otlp.h"
#include "export/sampling.h"
#include "export/sender.h"
#include "ring/ring.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
    STACK_SIZE = 1 << 20,
    BATCH_BYTES_MAX = 4 << 20, // Of records.
    CONSOLE_DELAY_MS = 200,    // So that a person sees a trace at once.
    STARVED_MS = 500,          // Until memory is asked for again that was not to be had.
    COMMIT_PATIENCE_MS = 100,  // For a span that is being written while a flush wants it.
    FLUSH_MARGIN_MS = 50,      // Of a flush's time, to cancel a transfer and say so.
    ASK_AGAIN_MS = 1000        // For a sampling strategy, when there was no time to.
};

#define FOREVER UINT64_MAX

struct faa_exporter {
    struct faa_exporter_config config;
    struct faa_ring *ring;
    pthread_t thread;

    _Atomic uint32_t *bell; // In the ring.
    // Shared with application threads. flush_done and started are futexes.
    _Atomic uint32_t flush_wanted, flush_done, started;
    _Atomic uint64_t flush_deadline;         // Monotonic ns.
    _Atomic int stopping, parked, flush_cut; // flush_cut: the last flush ran out of time.
    _Atomic int rescuing;                    // The ring's producers are dead, and `dead` is set.
    _Atomic int busy;                        // A batch waits for its next attempt.
    _Atomic uint64_t printed_spans, damaged; // Counted here and not by the sender.
    struct faa_sender *_Atomic sender;       // Made by the thread.
    struct faa_ring_cursor dead;             // Behind what they reserved. Written once.

    // The thread's own from here on.
    int private_fds;
    int starved, starved_told; // There was no memory to go on with; and a line has said so.
    struct faa_otlp *otlp;
    struct faa_console *console;
    struct faa_ring_cursor printed;  // With a console: how far it has read.
    char *copies;                    // Of the records of one batch, where the ring is a stranger's.
    struct faa_sampling *sampling;   // NULL without remote sampling.
    uint64_t ask_at;                 // FOREVER without it.
    struct faa_exporter_counts last; // Once it has ended.
};

// ---- sleeping and waking ----------------------------------------------------------------------

static int flush_wanted(struct faa_exporter *e)
{
    // Acquire pairs with the release of the ticket in faa_exporter_flush.
    return atomic_load_explicit(&e->flush_wanted, memory_order_acquire) !=
           atomic_load_explicit(&e->flush_done, memory_order_relaxed);
}

static int stopping(struct faa_exporter *e)
{
    return atomic_load_explicit(&e->stopping, memory_order_acquire);
}

static int parked(struct faa_exporter *e)
{
    return atomic_load_explicit(&e->parked, memory_order_relaxed);
}

static const void *next_record(const struct faa_exporter *e, struct faa_ring_cursor *cursor,
                               size_t *size)
{
    // Acquire pairs with the release in faa_exporter_rescue.
    int rescuing = atomic_load_explicit(&e->rescuing, memory_order_acquire);
    return faa_ring_next(e->ring, cursor, size, rescuing ? &e->dead : NULL);
}

static int has_unread(const struct faa_exporter *e)
{
    struct faa_ring_cursor cursor = e->console ? e->printed : faa_ring_begin(e->ring);
    size_t size;
    return next_record(e, &cursor, &size) != NULL;
}

static int has_batch(const struct faa_exporter *e)
{
    return e->sender && faa_sender_has_batch(e->sender);
}

static uint64_t next_attempt(const struct faa_exporter *e)
{
    return e->sender ? faa_sender_due(e->sender) : FOREVER;
}

static int is_half_full(const struct faa_exporter *e)
{
    return faa_ring_used(e->ring) > faa_ring_capacity(e->ring) / 2;
}

static int may_sleep(void *arg, enum faa_bell_state state)
{
    struct faa_exporter *e = arg;
    if (flush_wanted(e) || stopping(e))
        return 0;
    return state == FAA_BELL_IDLE       ? !has_unread(e)
           : state == FAA_BELL_BATCHING ? !is_half_full(e)
                                        : 1;
}

static void nap(struct faa_exporter *e, enum faa_bell_state state, uint64_t until_ns)
{
    faa_bell_sleep(e->bell, state, until_ns, may_sleep, e);
}

static uint64_t after_ms(uint64_t ms)
{
    return faa_clock_mono_ns() + ms * 1000000u;
}

// Asked during a question for the sampling strategy: is there something better to do?
static int has_better_to_do(void *arg)
{
    struct faa_exporter *e = arg;
    return stopping(e) || flush_wanted(e) || parked(e) || (is_half_full(e) && !has_batch(e));
}

// Sleeps as nap does, and asks for the sampling strategy when it is time.
static void doze(struct faa_exporter *e, enum faa_bell_state state, uint64_t until_ns)
{
    nap(e, state, until_ns < e->ask_at ? until_ns : e->ask_at);
    if (faa_clock_mono_ns() < e->ask_at)
        return;
    int asked = !has_better_to_do(e) &&
                faa_sampling_ask(e->sampling, e->private_fds, has_better_to_do, e) == 0;
    uint32_t wait = e->config.sampling_interval_ms;
    e->ask_at = after_ms(!asked && wait > ASK_AGAIN_MS ? ASK_AGAIN_MS : wait);
}

// Sleeps while there is nothing to do, then lets spans gather for the schedule delay.
static void rest(struct faa_exporter *e)
{
    if (parked(e)) {
        nap(e, FAA_BELL_DEAF, FOREVER);
        return;
    }
    int waiting = has_batch(e);
    // Without a console, what is new in the ring does not matter while a batch waits, unless files
    // can make room for it.
    if (waiting && !e->console) {
        doze(e, e->config.spool_dir ? FAA_BELL_BATCHING : FAA_BELL_DEAF, next_attempt(e));
        return;
    }
    if (e->otlp && !waiting && !has_unread(e))
        faa_otlp_trim(e->otlp);
    doze(e, FAA_BELL_IDLE, next_attempt(e));
    if (!has_unread(e))
        return;
    uint64_t due = after_ms(e->config.schedule_delay_ms);
    while (may_sleep(e, waiting ? FAA_BELL_DEAF : FAA_BELL_BATCHING) && faa_clock_mono_ns() < due)
        doze(e, waiting ? FAA_BELL_DEAF : FAA_BELL_BATCHING, due);
}

// ---- sending ----------------------------------------------------------------------------------

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

// Asked during a transfer: is there no more time for it?
static int give_up(void *arg)
{
    struct faa_exporter *e = arg;
    if (stopping(e))
        return 1;
    return flush_wanted(e) &&
           faa_clock_mono_ns() >= atomic_load_explicit(&e->flush_deadline, memory_order_relaxed);
}

// The record as it may be read until the batch is packed, or NULL when the batch is full. Another
// process's memory may change under our feet when something in it runs wild.
static const void *hold(struct faa_exporter *e, const void *record, size_t size, size_t *copied)
{
    if (!e->copies)
        return record;
    if (size > BATCH_BYTES_MAX - *copied)
        return NULL;
    void *copy = memcpy(e->copies + *copied, record, size);
    *copied += (size + 7) & ~(size_t)7;
    return copy;
}

static void starve(struct faa_exporter *e)
{
    e->starved = 1;
    if (!e->starved_told)
        faa_warn("cannot send traces for now: out of memory; they are kept while memory allows");
    e->starved_told = 1;
}

static int make_sender(struct faa_exporter *e)
{
    if (!e->sender && e->otlp && !(e->sender = faa_sender_new(&e->config, e->private_fds)))
        starve(e);
    return e->sender ? 0 : -1;
}

// Reads so many records at most from the ring, and encodes them. Returns how many the batch has,
// and in `*done` up to where they, and `*damaged` ones, were. Without memory it has no message.
static unsigned encode(struct faa_exporter *e, unsigned limit, struct faa_batch *batch,
                       struct faa_ring_cursor *done, unsigned *damaged)
{
    struct faa_ring_cursor start = faa_ring_begin(e->ring), cursor = start;
    const void *record;
    size_t size, copied = 0;
    *done = start;
    *damaged = 0;
    while (done->pos - start.pos < BATCH_BYTES_MAX && faa_otlp_count(e->otlp) < limit &&
           (!e->console || cursor.pos < e->printed.pos) &&
           (record = next_record(e, &cursor, &size)) != NULL &&
           (record = hold(e, record, size, &copied)) != NULL) {
        int added = faa_otlp_add(e->otlp, record, size);
        if (added == 0)
            break;
        *damaged += added < 0;
        *done = cursor;
    }
    *batch = (struct faa_batch){.spans = faa_otlp_count(e->otlp)};
    if (batch->spans && faa_otlp_pack(e->otlp, &batch->message, &batch->len) != 0)
        batch->message = NULL;
    return batch->spans;
}

// Takes one batch from the ring, a smaller one where memory is short. Returns 1 when there is one.
static int next_batch(struct faa_exporter *e)
{
    struct faa_batch batch;
    struct faa_ring_cursor done;
    unsigned damaged, limit = e->config.max_batch_size;
    while ((limit = encode(e, limit, &batch, &done, &damaged)) > 0 && !batch.message) {
        if (limit == 1) {
            starve(e);
            return 0; // All stay in the ring.
        }
        limit /= 2;
    }
    // The strings of the batch lay in the ring until here.
    faa_ring_release(e->ring, done);
    faa_sender_count_dropped(e->sender, damaged);
    if (batch.spans)
        faa_sender_give(e->sender, &batch);
    return batch.spans != 0;
}

static void print_new(struct faa_exporter *e)
{
    const void *record;
    size_t size;
    while ((record = next_record(e, &e->printed, &size)) != NULL) {
        int added = faa_console_add(e->console, record, size) == 0;
        if (!e->otlp)
            count(added ? &e->printed_spans : &e->damaged, 1);
    }
    faa_console_print(e->console);
    if (!e->otlp)
        faa_ring_release(e->ring, e->printed);
}

static void work(struct faa_exporter *e)
{
    if (e->console)
        print_new(e);
    if (make_sender(e) != 0)
        return;
    while (!flush_wanted(e) && !stopping(e)) {
        if (has_batch(e) && is_half_full(e))
            faa_sender_unburden(e->sender);
        int is_new = !has_batch(e) && next_batch(e);
        if (faa_clock_mono_ns() >= next_attempt(e))
            faa_sender_attempt(e->sender, 0, give_up, e);
        else if (!is_new || !is_half_full(e))
            return;
    }
}

// One attempt for everything that is in the ring now. Returns 0, or -1 when time ran out.
static int flush(struct faa_exporter *e)
{
    uint64_t goal = faa_ring_begin(e->ring).pos + faa_ring_used(e->ring);
    uint64_t patience = after_ms(COMMIT_PATIENCE_MS);
    if (e->console)
        print_new(e);
    (void)make_sender(e);
    while (has_batch(e) && !give_up(e))
        faa_sender_attempt(e->sender, 1, give_up, e);
    while (faa_ring_begin(e->ring).pos < goal || has_batch(e)) {
        if (give_up(e))
            return -1;
        if (e->console)
            print_new(e);
        if (has_batch(e) || (e->sender && next_batch(e)))
            faa_sender_attempt(e->sender, 1, give_up, e);
        else if (faa_clock_mono_ns() >= patience)
            break; // What was reserved and never committed holds up nobody for long.
        else if (faa_ring_begin(e->ring).pos < goal)
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return give_up(e) ? -1 : 0;
}

static void serve_flush(struct faa_exporter *e)
{
    uint32_t wanted = atomic_load_explicit(&e->flush_wanted, memory_order_acquire);
    int cut = flush(e) != 0;
    if (e->console)
        faa_console_flush(e->console);
    atomic_store_explicit(&e->flush_cut, cut, memory_order_relaxed);
    // Release pairs with the acquire in faa_exporter_flush.
    atomic_store_explicit(&e->flush_done, wanted, memory_order_release);
    faa_futex_wake(&e->flush_done);
}

// ---- the thread -------------------------------------------------------------------------------

static void *run(void *arg)
{
    struct faa_exporter *e = arg;
    pthread_setname_np(pthread_self(), "faa-export");
    e->private_fds = !e->config.share_descriptors && faa_fdtable_unshare();
    faa_debug("exporter started, its descriptors are %s",
              e->private_fds ? "its own" : "shared with the application");
    (void)make_sender(e);
    e->ask_at = FOREVER;
    if (e->config.sampling_endpoint) {
        if ((e->sampling = faa_sampling_new(&e->config)) != NULL)
            e->ask_at = 0;
        else
            faa_warn("cannot ask for sampling strategies: the initial sampling rate holds");
    }
    // Release pairs with the acquire in faa_exporter_await_start.
    atomic_store_explicit(&e->started, 1, memory_order_release);
    faa_futex_wake(&e->started);
    while (rest(e), !stopping(e)) {
        if (flush_wanted(e))
            serve_flush(e);
        else if (!parked(e))
            work(e);
        if (e->starved)
            nap(e, FAA_BELL_DEAF, after_ms(STARVED_MS));
        e->starved = 0;
        atomic_store_explicit(&e->busy, has_batch(e), memory_order_relaxed);
    }
    faa_sampling_free(e->sampling);
    // Here, where its descriptors are.
    e->last = faa_sender_free(atomic_exchange(&e->sender, NULL));
    return NULL;
}

static void release(struct faa_exporter *e)
{
    faa_otlp_free(e->otlp);
    faa_console_free(e->console);
    if (e->copies)
        munmap(e->copies, BATCH_BYTES_MAX);
    free(e);
}

// A thread that no signal of the application is delivered to.
static int start_thread(struct faa_exporter *e)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    errno = ENOMEM;
    if (pthread_attr_init(&attributes) != 0)
        return -1;
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&e->thread, &attributes, run, e);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    errno = rc;
    return rc == 0 ? 0 : -1;
}

// Room for a whole batch, of which only what is used is ever made.
static int make_copies(struct faa_exporter *e)
{
    void *room = mmap(NULL, BATCH_BYTES_MAX, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        return -1;
    e->copies = room;
    return 0;
}

struct faa_exporter *faa_exporter_start(const struct faa_exporter_config *config,
                                        struct faa_ring *ring)
{
    struct faa_exporter *e = calloc(1, sizeof(*e));
    if (!e)
        return NULL;
    e->config = *config;
    e->ring = ring;
    e->bell = faa_ring_bell(ring);
    e->printed = faa_ring_begin(ring);
    if (config->console && e->config.schedule_delay_ms > CONSOLE_DELAY_MS)
        e->config.schedule_delay_ms = CONSOLE_DELAY_MS;
    if (config->otlp)
        e->otlp = faa_otlp_new(&e->config);
    if (config->console)
        e->console = faa_console_new(config->service_name, STDERR_FILENO);
    if ((config->otlp && !e->otlp) || (config->console && !e->console) ||
        (faa_ring_is_attached(ring) && make_copies(e) != 0) || start_thread(e) != 0) {
        int saved = errno;
        release(e);
        errno = saved;
        return NULL;
    }
    return e;
}

int faa_exporter_flush(struct faa_exporter *e, uint32_t timeout_ms)
{
    uint64_t until = after_ms(timeout_ms);
    uint64_t margin = timeout_ms / 4 < FLUSH_MARGIN_MS ? timeout_ms / 4 : FLUSH_MARGIN_MS;
    // Of two flushes at once the later one's time counts for both. Release pairs with the acquire
    // in flush_wanted: the thread that sees the ticket sees the deadline and the records.
    atomic_store_explicit(&e->flush_deadline, until - margin * 1000000u, memory_order_relaxed);
    uint32_t ticket = atomic_fetch_add_explicit(&e->flush_wanted, 1, memory_order_acq_rel) + 1;
    faa_bell_wake(e->bell);
    for (;;) {
        uint32_t done = atomic_load_explicit(&e->flush_done, memory_order_acquire);
        if ((int32_t)(done - ticket) >= 0)
            return atomic_load_explicit(&e->flush_cut, memory_order_relaxed) ? -1 : 0;
        if (faa_clock_mono_ns() >= until)
            return -1;
        faa_futex_wait(&e->flush_done, done, until);
    }
}

int faa_exporter_await_start(struct faa_exporter *e, uint32_t timeout_ms)
{
    uint64_t until = after_ms(timeout_ms);
    while (!atomic_load_explicit(&e->started, memory_order_acquire)) {
        if (faa_clock_mono_ns() >= until)
            return -1;
        faa_futex_wait(&e->started, 0, until);
    }
    return 0;
}

void faa_exporter_park(struct faa_exporter *e)
{
    atomic_store_explicit(&e->parked, 1, memory_order_relaxed);
}

void faa_exporter_rescue(struct faa_exporter *e)
{
    e->dead = faa_ring_end(e->ring);
    atomic_store_explicit(&e->rescuing, 1, memory_order_release);
    faa_bell_wake(e->bell);
}

// With a console the thread may sleep as an idle one while a batch waits.
int faa_exporter_is_done(struct faa_exporter *e)
{
    return faa_bell_is_idle(e->bell) && !atomic_load_explicit(&e->busy, memory_order_relaxed);
}

// And what it has counted itself.
static struct faa_exporter_counts add_own(const struct faa_exporter *e,
                                          struct faa_exporter_counts counts)
{
    counts.exported += atomic_load_explicit(&e->printed_spans, memory_order_relaxed);
    counts.dropped += atomic_load_explicit(&e->damaged, memory_order_relaxed);
    return counts;
}

struct faa_exporter_counts faa_exporter_stop(struct faa_exporter *e)
{
    atomic_store_explicit(&e->stopping, 1, memory_order_release);
    faa_bell_wake(e->bell);
    pthread_join(e->thread, NULL);
    struct faa_exporter_counts last = add_own(e, e->last);
    release(e);
    return last;
}

struct faa_exporter_counts faa_exporter_counts(const struct faa_exporter *e)
{
    const struct faa_sender *sender = atomic_load_explicit(&e->sender, memory_order_acquire);
    struct faa_exporter_counts counts = {0};
    if (sender)
        counts = faa_sender_counts(sender);
    return add_own(e, counts);
}

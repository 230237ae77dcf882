// SPDX-License-Identifier: MIT
// The process's one ring and one exporter. A child of a fork inherits neither: it forgets its
// parent's and makes its own when it has a span to tell.
#include "agent/lifecycle.h"

#include "agent/counts.h"
#include "base/clock.h"
#include "base/log.h"
#include "export/bell.h"
#include "export/gate.h"
#include "export/guard.h"
#include "python/watch.h"
#include "ring/flights.h"
#include "ring/memfd.h"
#include "ring/ring.h"
#include "span/baggage.h"
#include "span/ids.h"
#include "span/sampler.h"
#include "span/tracer.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

// The standard's queue of 2048 spans, at a typical kibibyte each.
enum { RING_BYTES = 2 << 20 };

// Exit handlers take away what the exporter stands on: it must have come to rest before.
enum { FINISH_MIN_MS = 100 };

// Between two attempts to start a thread where there was none to be had.
#define START_AGAIN_NS 1000000000u

// What a fork waits for takes some milliseconds; longer only on a machine that hardly runs.
enum { FORK_MAX_MS = 500 };

#define PATIENCE_NS 10000000000u

static struct faa_config *config;
static _Atomic(struct faa_ring *) ring;
static _Atomic(struct faa_exporter *) exporter; // Release in start, acquire by its users.
static _Atomic uint64_t gave_up_at;             // When a flush last ran into its limit; 0: never.
static _Atomic uint64_t no_start_at; // When the exporter could not be started; 0: it was.
static atomic_int no_ring_told;      // That there was no memory for the ring.
static atomic_int starting;          // A thread tries again to start it.
static atomic_int finished;          // The process is ending: the last flush has begun.
static pid_t owner;
static atomic_int child_is_mute; // The fork could not wait: a child must not touch the libraries.
static int mute;
static atomic_int guard_replaced; // The guard has gone, and this process has an exporter.

static void at_exit(void);

// Release: who sees the exporter sees what it points to.
static void start_exporter(struct faa_ring *of)
{
    struct faa_exporter *e = faa_exporter_start(&config->exporter, of);
    atomic_store_explicit(&exporter, e, memory_order_release);
    if (!e)
        faa_warn("cannot start the exporter thread: %s; traces are kept while memory allows",
                 strerror(errno));
    atomic_store_explicit(&no_start_at, e ? 0 : faa_clock_mono_ns(), memory_order_release);
}

// The limit that was in the way may have been lifted since. Tried after a while only, unless it is
// `now` or never.
static void start_late(struct faa_ring *of, int now)
{
    uint64_t at = atomic_load_explicit(&no_start_at, memory_order_acquire);
    if (!at || (!now && faa_clock_mono_ns() - at < START_AGAIN_NS) || atomic_exchange(&starting, 1))
        return; // Else this thread alone is here.
    struct faa_exporter *e = atomic_load_explicit(&exporter, memory_order_acquire);
    if (!e && (e = faa_exporter_start(&config->exporter, of)) != NULL) {
        faa_warn("the exporter thread has started now (%llu spans lost)",
                 (unsigned long long)faa_tracer_counts().dropped);
        atomic_store_explicit(&exporter, e, memory_order_release);
    }
    atomic_store_explicit(&no_start_at, e ? 0 : faa_clock_mono_ns(), memory_order_release);
    atomic_store(&starting, 0);
}

// Gives the ring to the guard. Returns 0, or -1 when it must be exported here.
static int give_to_guard(int ring_fd)
{
    const struct faa_exporter_config *e = &config->exporter;
    int flights_fd = -1;
    struct faa_flights *flights = ring_fd >= 0 ? faa_flights_new(&flights_fd) : NULL;
    int rc = flights ? faa_guard_offer_ring(config->guard, ring_fd, flights_fd, e->resource,
                                            e->resource_count)
                     : -1;
    faa_memfd_close(&flights_fd);
    if (rc) {
        faa_debug("no guard answers: this process exports by itself");
        faa_flights_free(flights);
        return -1;
    }
    faa_debug("the guard exports this process's spans");
    faa_tracer_set_flights(flights);
    return 0;
}

// The guard exports spans, and cannot ask for this process's sampling strategy: a thread does, on a
// ring that stays empty.
static void start_sampling(void)
{
    static struct faa_exporter_config only;
    struct faa_ring *empty = config->exporter.sampling_endpoint ? faa_ring_new(0, NULL) : NULL;
    only = config->exporter;
    only.otlp = only.console = 0;
    if (empty && !faa_exporter_start(&only, empty))
        faa_ring_free(empty);
}

// Threads that race make a ring each, and all but one throw theirs away: nobody waits.
static struct faa_ring *start(void)
{
    struct faa_ring *current = atomic_load_explicit(&ring, memory_order_acquire);
    if (current)
        start_late(current, 0);
    if (current || mute || (!config->exporter.otlp && !config->exporter.console))
        return current;
    int fd = -1;
    struct faa_ring *made = faa_ring_new(RING_BYTES, config->guard ? &fd : NULL);
    if (!made) {
        if (!atomic_exchange(&no_ring_told, 1))
            faa_warn("cannot keep traces: %s; they are lost while that is so", strerror(errno));
        return NULL;
    }
    if (!atomic_compare_exchange_strong(&ring, &current, made)) {
        faa_memfd_close(&fd);
        faa_ring_free(made);
        return current;
    }
    // Handlers run in reverse order: this one before that of the TLS library, which an application
    // that uses it has loaded by now, and which the exporter tells to register none.
    atexit(at_exit);
    if (config->guard && give_to_guard(fd) == 0)
        start_sampling();
    else
        start_exporter(made);
    faa_memfd_close(&fd);
    return made;
}

// The guard has left, and this process goes on: it exports its ring by itself from now on.
static void replace_guard(struct faa_ring *of)
{
    if (!atomic_exchange(&guard_replaced, 1)) {
        faa_debug("the guard has gone: this process exports by itself");
        start_exporter(of);
    }
}

static void committed(int crowded)
{
    struct faa_ring *of = atomic_load_explicit(&ring, memory_order_acquire);
    _Atomic uint32_t *bell = faa_ring_bell(of);
    if (crowded || faa_bell_is_idle(bell))
        faa_bell_ring(bell);
    start_late(of, 0);
    if (config->guard && (faa_bell_is_gone(bell) || (crowded && !faa_guard_lives(config->guard))))
        replace_guard(of);
}

// An end has several stages (lifespan, signal, exit handlers), and waits in one of them only.
static int gave_up_lately(void)
{
    uint64_t at = atomic_load(&gave_up_at);
    return at && faa_clock_mono_ns() - at < PATIENCE_NS;
}

static void flush(uint32_t limit_ms)
{
    struct faa_ring *of = atomic_load_explicit(&ring, memory_order_acquire);
    if (of && config->guard && getpid() == owner && !faa_guard_lives(config->guard))
        replace_guard(of);
    if (getpid() != owner)
        return;
    if (of)
        start_late(of, 1);
    struct faa_exporter *e = atomic_load_explicit(&exporter, memory_order_acquire);
    if (e && atomic_load(&finished))
        faa_exporter_park(e);
    if (e && !gave_up_lately() && faa_exporter_flush(e, limit_ms))
        atomic_store(&gave_up_at, faa_clock_mono_ns());
    if (e || !of || atomic_load_explicit(&no_start_at, memory_order_relaxed))
        faa_counts_show(e, config->exporter.otlp || config->exporter.console);
    else
        faa_counts_show_guarded();
}

void faa_lifecycle_flush(void)
{
    flush(config->flush_timeout_ms);
}

void faa_lifecycle_finish(void)
{
    if (getpid() != owner)
        return;
    faa_watch_stop();
    if (!atomic_load_explicit(&ring, memory_order_acquire) && !faa_tracer_counts().ended)
        return;
    atomic_store(&finished, 1);
    flush(config->flush_timeout_ms > FINISH_MIN_MS ? config->flush_timeout_ms : FINISH_MIN_MS);
}

// Not again after Py_AtExit: by now other handlers may have taken away what the exporter stands on.
static void at_exit(void)
{
    if (!atomic_load(&finished))
        faa_lifecycle_finish();
}

// The libraries' one-time initialisation, on the exporter's thread, is over when we fork: half of
// it is of no use. Nor is the thread within one of them; where it is for long, at worst the child's
// own exporter waits for a lock.
static void before_fork(void)
{
    struct faa_exporter *e = atomic_load_explicit(&exporter, memory_order_acquire);
    int is_starting = e && faa_exporter_await_start(e, FORK_MAX_MS);
    atomic_store(&child_is_mute, is_starting);
    if (faa_gate_close(is_starting ? 0 : FORK_MAX_MS))
        faa_debug("a fork, while the exporter is within its libraries");
    faa_watch_hold();
}

static void in_parent(void)
{
    faa_gate_open();
    faa_watch_release();
}

// Only what is async-signal-safe: other threads of the parent may have held any lock.
static void in_child(void)
{
    faa_gate_forget();
    faa_tracer_forget_ring();
    faa_baggage_forget_count();
    faa_sampler_after_fork();
    atomic_store(&ring, NULL);
    atomic_store(&exporter, NULL);
    atomic_store(&gave_up_at, 0);
    atomic_store(&no_start_at, 0);
    atomic_store(&starting, 0);
    atomic_store(&finished, 0);
    atomic_store(&guard_replaced, 0);
    faa_ids_seed();
    faa_watch_forget();
    faa_config_set_process(config);
    owner = getpid();
    mute = mute || atomic_load(&child_is_mute);
}

void faa_lifecycle_init(struct faa_config *settings)
{
    static struct faa_tracer_ops ops = {start, committed, faa_lifecycle_flush, 0};
    config = settings;
    ops.wants_flights = config->guard != NULL;
    owner = getpid();
    faa_ids_seed();
    faa_sampler_init(&settings->sampler);
    faa_span_set_limits(&settings->limits);
    faa_tracer_init(&ops);
    pthread_atfork(before_fork, in_parent, in_child);
}

// SPDX-License-Identifier: MIT
// The process's one ring and one exporter. A child of a fork inherits neither: it forgets its
// parent's and makes its own when it has a span to tell.
#include "agent/lifecycle.h"

#include "base/log.h"
#include "ring/ring.h"
#include "span/ids.h"
#include "span/tracer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

// The standard's queue of 2048 spans, at a typical kibibyte each.
enum { RING_BYTES = 2 << 20 };

static struct faa_config *config;
static _Atomic(struct faa_ring *) ring;
static _Atomic(struct faa_exporter *) exporter; // Release in start, acquire by its users.
static atomic_int gave_up; // A flush ran into its limit: the end of the process waits only once.
static pid_t owner;

// Threads that race make a ring each, and all but one throw theirs away: nobody waits.
static struct faa_ring *start(void)
{
    struct faa_ring *current = atomic_load_explicit(&ring, memory_order_acquire);
    if (current || (!config->exporter.otlp && !config->exporter.console))
        return current;
    struct faa_ring *made = faa_ring_new(RING_BYTES, NULL);
    if (!made)
        return NULL;
    if (!atomic_compare_exchange_strong(&ring, &current, made)) {
        faa_ring_free(made);
        return current;
    }
    struct faa_exporter *e = faa_exporter_start(&config->exporter, made);
    if (!e)
        faa_warn("cannot start the exporter thread: this process sends no traces");
    atomic_store_explicit(&exporter, e, memory_order_release);
    return made;
}

static void committed(int crowded)
{
    struct faa_exporter *e = atomic_load_explicit(&exporter, memory_order_acquire);
    if (e && (crowded || faa_exporter_is_idle(e)))
        faa_exporter_wake(e);
}

void faa_lifecycle_flush(void)
{
    struct faa_exporter *e = atomic_load_explicit(&exporter, memory_order_acquire);
    if (!e || getpid() != owner || atomic_load(&gave_up))
        return;
    faa_exporter_park(e);
    if (faa_exporter_flush(e, config->flush_timeout_ms))
        atomic_store(&gave_up, 1);
    if (faa_log_enabled(FAA_LOG_DEBUG)) {
        struct faa_tracer_counts spans = faa_tracer_counts();
        struct faa_exporter_counts sent = faa_exporter_counts(e);
        faa_debug("flushed: %llu spans ended, %llu exported, %llu dropped",
                  (unsigned long long)spans.ended, (unsigned long long)sent.exported,
                  (unsigned long long)(spans.dropped + sent.dropped));
    }
}

// Only what is async-signal-safe: other threads of the parent may have held any lock.
static void in_child(void)
{
    faa_tracer_forget_ring();
    atomic_store(&ring, NULL);
    atomic_store(&exporter, NULL);
    atomic_store(&gave_up, 0);
    faa_ids_seed();
    faa_config_set_process(config);
    owner = getpid();
}

void faa_lifecycle_init(struct faa_config *settings)
{
    static const struct faa_tracer_ops ops = {start, committed};
    config = settings;
    owner = getpid();
    faa_ids_seed();
    faa_tracer_init(&ops);
    pthread_atfork(NULL, NULL, in_child);
    atexit(faa_lifecycle_flush);
}

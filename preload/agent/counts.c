// SPDX-License-Identifier: MIT
// The numbers of this process's spans, in its debug log.
#include "agent/counts.h"

#include "base/log.h"
#include "span/baggage.h"
#include "span/tracer.h"

// What is not out, or in a file, by now will not be, and counts as dropped. All spans that were
// ever in files, whoever's they were, have sums of their own: over all processes that share a
// folder, those that ended are those that were exported or sent from files, dropped, or are still
// there.
void faa_counts_show(const struct faa_exporter *e, int is_exporting)
{
    if (!faa_log_enabled(FAA_LOG_DEBUG))
        return;
    // Those first that come last: a span that another thread ends now is not dropped yet.
    struct faa_exporter_counts sent = {0};
    if (e)
        sent = faa_exporter_counts(e);
    struct faa_tracer_counts spans = faa_tracer_counts();
    if (!e && (!spans.ended || !is_exporting))
        return;
    uint64_t dropped = spans.dropped + sent.dropped;
    uint64_t gone = dropped + sent.exported + sent.spooled;
    uint64_t left = spans.ended > gone ? spans.ended - gone : 0;
    faa_debug("flushed: %llu spans ended, %llu exported, %llu dropped",
              (unsigned long long)spans.ended, (unsigned long long)sent.exported,
              (unsigned long long)(dropped + sent.unspooled_dropped + left));
    if (left)
        faa_debug("%llu of these are still waiting", (unsigned long long)left);
    if (sent.spooled || sent.unspooled || sent.unspooled_dropped)
        faa_debug("%llu of them went into files, and %llu came out of such and were sent",
                  (unsigned long long)sent.spooled, (unsigned long long)sent.unspooled);
    if (faa_baggage_dropped() > 0)
        faa_debug("baggage that was not valid, or too much, and not passed on: %llu members",
                  (unsigned long long)faa_baggage_dropped());
}

// The guard shows what became of those that found room.
void faa_counts_show_guarded(void)
{
    struct faa_tracer_counts spans = faa_tracer_counts();
    faa_debug("%llu spans ended, for %llu of them there was no room",
              (unsigned long long)spans.ended, (unsigned long long)spans.dropped);
}

// SPDX-License-Identifier: MIT
// Which spans are recorded: the samplers of the OpenTelemetry specification
// (https://opentelemetry.io/docs/specs/otel/trace/sdk/#sampling), and Jaeger's remote strategies.
#ifndef FAA_SPAN_SAMPLER_H
#define FAA_SPAN_SAMPLER_H

#include "base/str.h"

#include <stdint.h>

enum faa_sampler_kind {
    FAA_SAMPLER_ON,
    FAA_SAMPLER_OFF,
    FAA_SAMPLER_RATIO, ///< TraceIdRatioBased.
    FAA_SAMPLER_REMOTE ///< Strategies that faa_sampler_set_strategy brings.
};

struct faa_sampler_config {
    enum faa_sampler_kind kind;
    int parent_based; ///< It decides for roots only, children follow their parent.
    double ratio;     ///< 0 to 1. With FAA_SAMPLER_REMOTE: until the first strategy comes.
};

enum faa_parent { FAA_PARENT_NONE, FAA_PARENT_UNSAMPLED, FAA_PARENT_SAMPLED };

enum { FAA_SAMPLER_RULES_MAX = 2000 }; ///< As many operations as Jaeger's own clients take.

/// What Jaeger wants of one operation.
struct faa_sampler_rule {
    struct faa_str operation; ///< The span's name.
    double ratio;             ///< 0 to 1.
};

/// A strategy of Jaeger's. With a limit, that many spans a second are sampled, with bursts of as
/// many (of one at least). Without, each operation has its ratio and those without a rule share
/// `ratio`; and each has `floor` spans a second at least, those without a rule together.
struct faa_sampler_strategy {
    int limited;
    double limit; ///< Spans a second, not negative; counts when `limited`.
    double ratio; ///< 0 to 1.
    double floor; ///< Spans a second, not negative.
    const struct faa_sampler_rule *rules;
    size_t rule_count; ///< Those over FAA_SAMPLER_RULES_MAX are left out.
};

/// Sets the sampler; without it the sampler is parentbased_always_on. Called once, before there are
/// spans.
void faa_sampler_init(const struct faa_sampler_config *config);

/// True when the span is sampled. `operation` is its name as far as that is known at its start; it
/// counts for remote strategies only. Any thread, lock-free.
int faa_sampler_decide(const uint8_t trace_id[16], enum faa_parent parent,
                       struct faa_str operation);

/// Takes a new strategy (copied) for FAA_SAMPLER_REMOTE. One thread at a time, not an
/// application's: it waits for those that still decide by the strategy before the last, some
/// milliseconds at most. Returns 1 when it differs from the last, 0 when it does not, -1 without
/// memory or when the wait was in vain: the last one holds then. Of two rules for an operation
/// either may count.
FAA_MUSTUSE int faa_sampler_set_strategy(const struct faa_sampler_strategy *strategy);

/// In the child of a fork, where threads that were deciding do not exist. The strategy stays.
/// Async-signal-safe.
void faa_sampler_after_fork(void);

#endif

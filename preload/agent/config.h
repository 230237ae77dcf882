// SPDX-License-Identifier: MIT
// The agent's settings: the OTEL_* environment variables, and FAA_* where the standard has none.
#ifndef FAA_AGENT_CONFIG_H
#define FAA_AGENT_CONFIG_H

#include "export/exporter.h"
#include "instrumentors/settings.h"
#include "span/propagation.h"
#include "span/sampler.h"
#include "span/span.h"

enum { FAA_RESOURCE_MAX = 64 };

struct faa_config {
    struct faa_exporter_config exporter; ///< Its strings are owned here.
    struct faa_resource_attribute resource[FAA_RESOURCE_MAX];
    int resource_full;                 ///< There was no room for one, and a line said so.
    struct faa_sampler_config sampler; ///< OTEL_TRACES_SAMPLER and its argument.
    struct faa_span_limits limits;     ///< OTEL_SPAN_…_LIMIT and their kin.
    uint32_t flush_timeout_ms; ///< FAA_FLUSH_TIMEOUT: the longest wait at the end of the process.
    enum faa_propagator propagators[FAA_PROPAGATOR_COUNT]; ///< OTEL_PROPAGATORS, in its order.
    size_t propagator_count;
    uint32_t
        blocked_ms;    ///< FAA_BLOCKED_THRESHOLD: what holds the event loop longer is told; 0: off.
    const char *guard; ///< Name of the guard's socket; NULL without one.
    const char *disabled; ///< OTEL_PYTHON_DISABLED_INSTRUMENTATIONS, or "".
};

/// Why the environment asks the agent to stand down, or NULL.
const char *faa_config_disabled(void);

/// Reads the environment. A value that cannot be used gets one line on stderr and the default.
/// What it allocates lives as long as the process. Fills faa_settings too. Returns 0, or -1 when
/// there is no memory.
FAA_MUSTUSE int faa_config_read(struct faa_config *config);

/// The resource attributes that differ in each process; called at start and after a fork.
void faa_config_set_process(struct faa_config *config);

/// The part of faa_config_read that fills the instrumentors' settings. 0, or -1 without memory.
FAA_MUSTUSE int faa_config_read_settings(struct faa_settings *settings);

/// True when the instrumentor of this name is turned off.
int faa_config_is_disabled(const struct faa_config *config, const char *name);

#endif

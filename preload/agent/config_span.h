// SPDX-License-Identifier: MIT
// The settings of spans: which are recorded, and how much of them.
#ifndef FAA_AGENT_CONFIG_SPAN_H
#define FAA_AGENT_CONFIG_SPAN_H

#include "agent/config.h"

/// Reads OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG into `sampler`, and for the remote ones
/// the endpoint and its interval into `exporter`. Returns 0, or -1 when there is no memory.
FAA_MUSTUSE int faa_config_read_sampler(struct faa_config *config);

/// Reads the variables of the standard's limits into `limits`.
void faa_config_read_limits(struct faa_config *config);

#endif

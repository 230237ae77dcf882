// SPDX-License-Identifier: MIT
// From the first span of a process to its end: ring and exporter, fork, flush.
#ifndef FAA_AGENT_LIFECYCLE_H
#define FAA_AGENT_LIFECYCLE_H

#include "agent/config.h"

/// Connects the tracer to this process's ring and exporter, which are made when the first span has
/// ended, and registers for fork and exit. `config` is static. Called once a process.
void faa_lifecycle_init(struct faa_config *config);

/// Sends what has ended, within the flush limit; nothing in a vfork child. Any thread.
void faa_lifecycle_flush(void);

/// The same when the process ends by its exit handlers: from then on the exporter rests.
void faa_lifecycle_finish(void);

#endif

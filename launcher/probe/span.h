// SPDX-License-Identifier: MIT
// The span that shows whether a collector takes spans.
#ifndef FAA_LAUNCHER_PROBE_SPAN_H
#define FAA_LAUNCHER_PROBE_SPAN_H

#include "export/transport.h"

/// Encodes one root span of the config's service, and writes its trace id to `trace_id`. The batch
/// lives until the process ends. Returns 0, or -1 when there is no memory.
FAA_MUSTUSE int faa_probe_make_span(const struct faa_exporter_config *config,
                                    struct faa_batch *batch, char trace_id[33]);

#endif

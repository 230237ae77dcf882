// SPDX-License-Identifier: MIT
// The exporter's settings: OTEL_TRACES_EXPORTER, OTEL_EXPORTER_OTLP_… and OTEL_BSP_….
#ifndef FAA_AGENT_CONFIG_EXPORTER_H
#define FAA_AGENT_CONFIG_EXPORTER_H

#include "export/exporter.h"

/// Reads them. A value that cannot be used gets one line and the default; headers and paths are
/// never shown. Returns 0, or -1 when there is no memory.
FAA_MUSTUSE int faa_config_read_exporter(struct faa_exporter_config *exporter);

#endif

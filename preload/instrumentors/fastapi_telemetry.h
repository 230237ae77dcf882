// SPDX-License-Identifier: MIT
// FastAPI's own OpenTelemetry spans (0.150 and newer), beside which ours would be second ones.
#ifndef FAA_INSTRUMENTORS_FASTAPI_TELEMETRY_H
#define FAA_INSTRUMENTORS_FASTAPI_TELEMETRY_H

#include "python/capi.h"
#include "span/span.h"

/// What faa_asgi_trace_class wants as `adopt`: NULL where this FastAPI has no telemetry of its own.
void (*faa_fastapi_telemetry(void))(struct faa_span *span, PyObject *scope);

#endif

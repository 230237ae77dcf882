// SPDX-License-Identifier: MIT
// FastAPI's own OpenTelemetry spans (0.150 and newer), beside which ours would be second ones.
#ifndef FAA_INSTRUMENTORS_FASTAPI_TELEMETRY_H
#define FAA_INSTRUMENTORS_FASTAPI_TELEMETRY_H

#include "python/capi.h"
#include "span/span.h"

/// Hooks into FastAPI.__call__ so that telemetry which has nobody to send to is not asked, request
/// by request, whether it has: FastAPI looks for its own mark in the scope first. Where it has no
/// telemetry, or anything of it or of opentelemetry-api has another shape, nothing happens.
void faa_fastapi_telemetry_install(void);

/// What faa_asgi_trace_class wants as `adopt`: NULL where this FastAPI has no telemetry of its own.
void (*faa_fastapi_telemetry(void))(struct faa_span *span, PyObject *scope);

#endif

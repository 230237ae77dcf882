// SPDX-License-Identifier: MIT
// Where requests of httpx leave by its own transports: httpcore, which writes the head of a request
// with h11, or hands it to h2.
//
// The trace is told there. Among the request's headers it would be one more that h11 and httpcore
// check, copy and compare in Python, which takes longer than all else that tracing does.
//
// All functions need the GIL and leave no error set.
#ifndef FAA_INSTRUMENTORS_HTTPX_WIRE_H
#define FAA_INSTRUMENTORS_HTTPX_WIRE_H

#include "python/capi.h"

/// True when all that httpcore sends passes here: then a request that goes to one of httpx's own
/// transports needs no headers of ours.
int faa_httpx_wire_is_hooked(void);

/// Of httpx.c: the current exchange (new reference) where one of httpx's own transports is sending
/// its request, and the trace has not gone with its headers; or NULL.
PyObject *faa_httpx_wire_exchange(void);

/// Of httpx.c: true when the request of this exchange is itself a CONNECT, and none of a proxy's.
int faa_httpx_wire_is_connect(PyObject *exchange);

#endif

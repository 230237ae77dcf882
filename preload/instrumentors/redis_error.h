// SPDX-License-Identifier: MIT
// How a failed Redis command is told.
#ifndef FAA_INSTRUMENTORS_REDIS_ERROR_H
#define FAA_INSTRUMENTORS_REDIS_ERROR_H

#include "python/capi.h"
#include "span/span.h"

/// Tells how an operation failed: type, code of the server (`WRONGTYPE`) and message, without keys
/// and values; with `only_code`, without the server's own words. Nothing is told of a transaction
/// that lost the race for a watched key, as this is no failure. Returns 1, or 0 when the exception
/// is none of redis-py's. Leaves no error set.
FAA_MUSTUSE int faa_redis_error_tell(struct faa_span *span, PyObject *error, int only_code);

#endif

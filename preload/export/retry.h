// SPDX-License-Identifier: MIT
// Which failures are worth another attempt, and when.
#ifndef FAA_EXPORT_RETRY_H
#define FAA_EXPORT_RETRY_H

#include "export/answer.h"

enum {
    FAA_RETRY_FIRST_MS = 1000,
    FAA_RETRY_LAST_MS = 30000,
    FAA_RETRY_AFTER_MAX_MS = 60000 ///< A collector may not ask for a longer wait.
};

/// The tables of the OTLP specification. True: the batch may be sent again. `has_retry_info`: the
/// server has said when.
int faa_retry_http_status(long status);
int faa_retry_grpc_status(int status, int has_retry_info);

/// FAA_VERDICT_RETRY, or FAA_VERDICT_REFUSED when the answer was over its limit.
enum faa_verdict faa_retry_curl_code(int curl_code);

/// Seconds of a Retry-After header, cut to FAA_RETRY_AFTER_MAX_MS.
uint32_t faa_retry_after_ms(int64_t seconds);

/// Milliseconds, from 0 to FAA_RETRY_AFTER_MAX_MS.
uint32_t faa_retry_cap_ms(int64_t ms);

/// The wait before attempt `failures + 1`: doubling from FAA_RETRY_FIRST_MS to FAA_RETRY_LAST_MS,
/// spread by `random` over 80 to 120 % so that processes do not come back in step.
uint32_t faa_retry_wait_ms(unsigned failures, uint32_t random);

#endif

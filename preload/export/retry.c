// SPDX-License-Identifier: MIT
// The retry rules of https://opentelemetry.io/docs/specs/otlp/#failures-1 and #retryable-errors.
#include "export/retry.h"

#include <curl/curl.h>

int faa_retry_http_status(long status)
{
    return status == 429 || status == 502 || status == 503 || status == 504;
}

int faa_retry_grpc_status(int status, int has_retry_info)
{
    switch (status) {
    case 1:  // CANCELLED
    case 4:  // DEADLINE_EXCEEDED
    case 10: // ABORTED
    case 11: // OUT_OF_RANGE
    case 14: // UNAVAILABLE
    case 15: // DATA_LOSS
        return 1;
    case 8: // RESOURCE_EXHAUSTED
        return has_retry_info;
    default:
        return 0;
    }
}

enum faa_verdict faa_retry_curl_code(int curl_code)
{
    return curl_code == CURLE_WRITE_ERROR ? FAA_VERDICT_REFUSED : FAA_VERDICT_RETRY;
}

uint32_t faa_retry_cap_ms(int64_t ms)
{
    if (ms <= 0)
        return 0;
    return ms < FAA_RETRY_AFTER_MAX_MS ? (uint32_t)ms : FAA_RETRY_AFTER_MAX_MS;
}

uint32_t faa_retry_after_ms(int64_t seconds)
{
    return seconds < FAA_RETRY_AFTER_MAX_MS ? faa_retry_cap_ms(seconds * 1000)
                                            : FAA_RETRY_AFTER_MAX_MS;
}

uint32_t faa_retry_wait_ms(unsigned failures, uint32_t random)
{
    uint32_t wait = FAA_RETRY_FIRST_MS;
    while (failures-- > 1 && wait < FAA_RETRY_LAST_MS)
        wait *= 2;
    if (wait > FAA_RETRY_LAST_MS)
        wait = FAA_RETRY_LAST_MS;
    return wait / 10 * 8 + random % (wait / 10 * 4 + 1);
}

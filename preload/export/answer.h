// SPDX-License-Identifier: MIT
// What came back for a batch, and what it means.
#ifndef FAA_EXPORT_ANSWER_H
#define FAA_EXPORT_ANSWER_H

#include "base/str.h"

#include <stdint.h>

enum {
    FAA_ANSWER_BODY_MAX = 16384, ///< Bytes of the body that are kept, to be understood.
    FAA_ANSWER_LIMIT = 4 << 20   ///< A longer body is no answer: the transfer is broken off.
};

/// The answer as it came; what it holds is a stranger's.
struct faa_answer {
    int curl_code;         ///< CURLcode of the transfer; 0 when there was an answer.
    long status;           ///< HTTP status; 0 without one.
    int grpc_status;       ///< -1 without one, 2 (UNKNOWN) when it could not be read.
    int64_t retry_after_s; ///< 0 without one.
    int64_t retry_info_ms; ///< gRPC's RetryInfo; -1 without one.
    size_t body_len;       ///< Bytes in `body`.
    size_t total;          ///< Bytes that came.
    char content_type[64];
    char grpc_message[256]; ///< Percent-encoded, as it came.
    uint8_t body[FAA_ANSWER_BODY_MAX];
};

enum faa_verdict {
    FAA_VERDICT_SENT,
    FAA_VERDICT_RETRY,         ///< Not now: the same batch may be sent again.
    FAA_VERDICT_REFUSED,       ///< Never: the batch must be dropped.
    FAA_VERDICT_TOO_LARGE,     ///< Not in one piece: smaller ones may be taken.
    FAA_VERDICT_WRONG_PROTOCOL ///< The peer does not seem to speak this protocol.
};

struct faa_outcome {
    enum faa_verdict verdict;
    uint64_t rejected;       ///< FAA_VERDICT_SENT: spans that the collector did not take.
    uint32_t retry_after_ms; ///< FAA_VERDICT_RETRY: what the collector asked for; 0: nothing.
    char reason[384];        ///< For people: "HTTP 200", "Connection refused", …
    const char *hint;        ///< What to look at, a static string; or NULL.
};

/// Makes it an answer of which nothing has come yet.
void faa_answer_clear(struct faa_answer *answer);

/// Reads one header line or trailer ("Name: value\r\n") or status line into the answer.
void faa_answer_header(struct faa_answer *answer, struct faa_str line);

/// Takes a piece of the body. Returns 0, or -1 when the answer is over FAA_ANSWER_LIMIT.
FAA_MUSTUSE int faa_answer_body(struct faa_answer *answer, const void *p, size_t n);

/// Reads an encoded ExportTraceServiceResponse into `rejected` and adds the collector's words to
/// `reason`. Bytes that are none mean nothing and are ignored.
void faa_answer_partial_success(const uint8_t *p, size_t n, struct faa_outcome *outcome);

/// What an answer to OTLP/HTTP and to OTLP/gRPC means. Where the transfer failed, the caller has
/// put curl's words into `reason`. With `tls`, a failed handshake can be the other protocol's.
void faa_http_judge(const struct faa_answer *answer, int tls, struct faa_outcome *outcome);
void faa_grpc_judge(const struct faa_answer *answer, struct faa_outcome *outcome);

/// Writes gRPC's frame header of a message of n bytes.
void faa_grpc_frame(uint8_t header[5], uint32_t n, int is_compressed);

#endif

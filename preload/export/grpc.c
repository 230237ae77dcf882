// SPDX-License-Identifier: MIT
// OTLP/gRPC without a gRPC library: one unary call over curl's HTTP/2, after
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md.
#include "export/answer.h"
#include "export/retry.h"

#include <curl/curl.h>
#include <stdio.h>
#include <strings.h>

enum { FRAME_HEADER = 5, RESOURCE_EXHAUSTED = 8 };

void faa_grpc_frame(uint8_t header[5], uint32_t n, int is_compressed)
{
    header[0] = is_compressed != 0;
    for (int i = 0; i < 4; i++)
        header[1 + i] = (uint8_t)(n >> (24 - 8 * i));
}

// An HTTP/1.1 server hangs up on the HTTP/2 preface, or answers it in its own words. One that
// knows HTTP/2 but not gRPC answers without gRPC's content type.
static int is_wrong_protocol(const struct faa_answer *answer)
{
    switch (answer->curl_code) {
    case CURLE_OK:
        return answer->grpc_status < 0 && !faa_retry_http_status(answer->status) &&
               strncasecmp(answer->content_type, "application/grpc", 16) != 0;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_HTTP2:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
        return 1;
    default:
        return 0;
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// "gRPC 14: the collector's words", percent-decoded.
static void put_reason(const struct faa_answer *answer, struct faa_outcome *outcome)
{
    size_t cap = sizeof(outcome->reason);
    int n = snprintf(outcome->reason, cap, "gRPC status %d%s", answer->grpc_status,
                     answer->grpc_message[0] ? ": " : "");
    size_t o = n > 0 ? (size_t)n : 0;
    for (const char *p = answer->grpc_message; *p && o + 1 < cap; p++) {
        char c = *p;
        int high = c == '%' ? hex_digit(p[1]) : -1, low = high < 0 ? -1 : hex_digit(p[2]);
        if (low >= 0) {
            c = (char)(high << 4 | low);
            p += 2;
        }
        outcome->reason[o++] = c ? c : '?';
    }
    outcome->reason[o] = '\0';
}

// The bytes of the only message of the answer, an ExportTraceServiceResponse; -1 where it has none
// that is whole.
static int64_t message_size(const struct faa_answer *answer)
{
    const uint8_t *p = answer->body;
    if (answer->body_len < FRAME_HEADER)
        return -1;
    size_t n = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
    return n <= answer->body_len - FRAME_HEADER ? (int64_t)n : -1;
}

static void read_message(const struct faa_answer *answer, struct faa_outcome *outcome)
{
    int64_t n = message_size(answer);
    if (n >= 0 && answer->body[0] == 0) // Not compressed.
        faa_answer_partial_success(answer->body + FRAME_HEADER, (size_t)n, outcome);
}

// The status has no word of its own for a message over the server's limit. This is what the
// libraries of Go, C, C++ and Python, of Java, and of Rust say.
static int tells_size(const char *message)
{
    static const char *const words[] = {"larger than max", "exceeds maximum", "too large"};
    for (size_t i = 0; i < FAA_COUNT(words); i++)
        if (strstr(message, words[i]))
            return 1;
    return 0;
}

void faa_grpc_judge(const struct faa_answer *answer, struct faa_outcome *outcome)
{
    if (answer->curl_code == CURLE_OK && answer->grpc_status >= 0)
        put_reason(answer, outcome);
    else if (answer->curl_code == CURLE_OK)
        snprintf(outcome->reason, sizeof(outcome->reason), "HTTP %ld without a gRPC status",
                 answer->status);
    if (is_wrong_protocol(answer)) {
        outcome->verdict = FAA_VERDICT_WRONG_PROTOCOL;
    } else if (answer->curl_code != CURLE_OK) {
        outcome->verdict = faa_retry_curl_code(answer->curl_code);
    } else if (answer->grpc_status < 0 && answer->status == 200 && message_size(answer) >= 0) {
        // A message comes with success alone. The status behind it is lost by proxies that pass on
        // no trailers, and by curl 7 where a server that goes away has said so right after it.
        outcome->verdict = FAA_VERDICT_SENT;
        read_message(answer, outcome);
    } else if (answer->grpc_status < 0) {
        // A proxy's answer: gRPC maps these statuses to UNAVAILABLE, and the others to UNKNOWN.
        outcome->verdict =
            faa_retry_http_status(answer->status) ? FAA_VERDICT_RETRY : FAA_VERDICT_REFUSED;
        outcome->retry_after_ms = faa_retry_after_ms(answer->retry_after_s);
    } else if (answer->grpc_status == 0) {
        outcome->verdict = FAA_VERDICT_SENT;
        read_message(answer, outcome);
    } else if (faa_retry_grpc_status(answer->grpc_status, answer->retry_info_ms >= 0)) {
        outcome->verdict = FAA_VERDICT_RETRY;
        outcome->retry_after_ms = answer->retry_info_ms >= 0
                                      ? faa_retry_cap_ms(answer->retry_info_ms)
                                      : faa_retry_after_ms(answer->retry_after_s);
    } else if (answer->grpc_status == RESOURCE_EXHAUSTED && tells_size(answer->grpc_message)) {
        outcome->verdict = FAA_VERDICT_TOO_LARGE;
    } else {
        outcome->verdict = FAA_VERDICT_REFUSED;
    }
}

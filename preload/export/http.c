// SPDX-License-Identifier: MIT
// OTLP/HTTP: what an answer means (https://opentelemetry.io/docs/specs/otlp/#otlphttp-response).
#include "export/answer.h"
#include "export/retry.h"

#include <curl/curl.h>
#include <stdio.h>
#include <strings.h>

// A gRPC server begins with HTTP/2 frames, or hangs up on HTTP/1.1; over TLS it may take no
// other protocol than h2.
static int is_wrong_protocol(const struct faa_answer *answer, int tls)
{
    switch (answer->curl_code) {
    case CURLE_OK:
        return answer->status == 415 || answer->grpc_status >= 0 ||
               strncasecmp(answer->content_type, "application/grpc", 16) == 0;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
        return 1;
    case CURLE_SSL_CONNECT_ERROR:
        return tls;
    default:
        return 0;
    }
}

void faa_http_judge(const struct faa_answer *answer, int tls, struct faa_outcome *outcome)
{
    if (answer->curl_code == CURLE_OK)
        snprintf(outcome->reason, sizeof(outcome->reason), "HTTP %ld", answer->status);
    if (is_wrong_protocol(answer, tls)) {
        outcome->verdict = FAA_VERDICT_WRONG_PROTOCOL;
    } else if (answer->curl_code != CURLE_OK) {
        outcome->verdict = faa_retry_curl_code(answer->curl_code);
    } else if (faa_retry_http_status(answer->status)) {
        outcome->verdict = FAA_VERDICT_RETRY;
        outcome->retry_after_ms = faa_retry_after_ms(answer->retry_after_s);
    } else if (answer->status == 413) {
        outcome->verdict = FAA_VERDICT_TOO_LARGE;
    } else if (answer->status < 200 || answer->status > 299) {
        outcome->verdict = FAA_VERDICT_REFUSED;
    } else if (strncasecmp(answer->content_type, "text/html", 9) == 0) {
        // A web page says 200 to anything, and nobody would find out where the traces went.
        outcome->verdict = FAA_VERDICT_REFUSED;
        snprintf(outcome->reason, sizeof(outcome->reason), "it answers with a web page");
    } else {
        outcome->verdict = FAA_VERDICT_SENT;
        if (answer->total == answer->body_len)
            faa_answer_partial_success(answer->body, answer->body_len, outcome);
    }
}

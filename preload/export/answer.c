// SPDX-License-Identifier: MIT
// Collecting an answer while it comes in, and reading the message in it.
#include "export/answer.h"

#include "export/retry.h"

#include <google/rpc/error_details.pb-c.h>
#include <opentelemetry/proto/collector/trace/v1/trace_service.pb-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

// The value of the header when the line is this one; else NULL in p.
static struct faa_str value_of(struct faa_str line, const char *name)
{
    size_t n = strlen(name);
    if (line.n <= n || line.p[n] != ':' || strncasecmp(line.p, name, n) != 0)
        return (struct faa_str){NULL, 0};
    struct faa_str v = {line.p + n + 1, line.n - n - 1};
    while (v.n && (*v.p == ' ' || *v.p == '\t'))
        v.p++, v.n--;
    while (v.n && (v.p[v.n - 1] == '\n' || v.p[v.n - 1] == '\r' || v.p[v.n - 1] == ' '))
        v.n--;
    return v;
}

static void copy(char *out, size_t cap, struct faa_str v)
{
    size_t n = v.n < cap ? v.n : cap - 1;
    memcpy(out, v.p, n);
    out[n] = '\0';
}

static int read_grpc_status(struct faa_str v)
{
    int status = 0;
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] < '0' || v.p[i] > '9' || v.n > 2)
            return 2;
        status = status * 10 + (v.p[i] - '0');
    }
    return v.n && status <= 16 ? status : 2;
}

enum { DETAILS_MAX = 1024 };

// Base64 (RFC 4648), with or without padding; of the first bytes as many as there is room for.
static size_t decode_base64(struct faa_str in, uint8_t *out, size_t cap)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    unsigned count = 0;
    size_t n = 0;
    for (size_t i = 0; i < in.n && n < cap; i++) {
        const char *digit = in.p[i] ? strchr(digits, in.p[i]) : NULL;
        if (!digit)
            break;
        bits = bits << 6 | (uint32_t)(digit - digits);
        count += 6;
        if (count >= 8) {
            count -= 8;
            out[n++] = (uint8_t)(bits >> count);
        }
    }
    return n;
}

static int64_t read_retry_info(const Google__Rpc__Any *detail)
{
    static const char type[] = "google.rpc.RetryInfo";
    size_t n = strlen(detail->type_url), k = strlen(type);
    if (n < k || strcmp(detail->type_url + n - k, type) != 0)
        return -1;
    Google__Rpc__RetryInfo *info =
        google__rpc__retry_info__unpack(NULL, detail->value.len, detail->value.data);
    int64_t ms = info ? 0 : -1;
    if (info && info->retry_delay && info->retry_delay->seconds >= 0 &&
        info->retry_delay->nanos >= 0)
        ms = info->retry_delay->seconds < FAA_RETRY_AFTER_MAX_MS / 1000
                 ? info->retry_delay->seconds * 1000 + info->retry_delay->nanos / 1000000
                 : FAA_RETRY_AFTER_MAX_MS;
    if (info)
        google__rpc__retry_info__free_unpacked(info, NULL);
    return ms;
}

// grpc-status-details-bin: when to come again, or -1 where it does not say.
static int64_t read_details(struct faa_str encoded)
{
    uint8_t bytes[DETAILS_MAX];
    int64_t ms = -1;
    size_t n = decode_base64(encoded, bytes, sizeof(bytes));
    Google__Rpc__Status *status = google__rpc__status__unpack(NULL, n, bytes);
    for (size_t i = 0; status && ms < 0 && i < status->n_details; i++)
        ms = read_retry_info(status->details[i]);
    if (status)
        google__rpc__status__free_unpacked(status, NULL);
    return ms;
}

void faa_answer_clear(struct faa_answer *answer)
{
    memset(answer, 0, offsetof(struct faa_answer, body));
    answer->grpc_status = -1;
    answer->retry_info_ms = -1;
}

void faa_answer_header(struct faa_answer *answer, struct faa_str line)
{
    struct faa_str v;
    if (line.n >= 5 && memcmp(line.p, "HTTP/", 5) == 0) {
        // A new header block: what an interim answer or a proxy said does not count.
        answer->grpc_status = -1;
        answer->retry_info_ms = -1;
        answer->content_type[0] = answer->grpc_message[0] = '\0';
    } else if ((v = value_of(line, "content-type")).p) {
        copy(answer->content_type, sizeof(answer->content_type), v);
    } else if ((v = value_of(line, "grpc-status")).p) {
        answer->grpc_status = read_grpc_status(v);
    } else if ((v = value_of(line, "grpc-message")).p) {
        copy(answer->grpc_message, sizeof(answer->grpc_message), v);
    } else if ((v = value_of(line, "grpc-status-details-bin")).p) {
        answer->retry_info_ms = read_details(v);
    }
}

int faa_answer_body(struct faa_answer *answer, const void *p, size_t n)
{
    answer->total += n;
    size_t room = sizeof(answer->body) - answer->body_len;
    size_t keep = n < room ? n : room;
    memcpy(answer->body + answer->body_len, p, keep);
    answer->body_len += keep;
    return answer->total <= FAA_ANSWER_LIMIT ? 0 : -1;
}

void faa_answer_partial_success(const uint8_t *p, size_t n, struct faa_outcome *outcome)
{
    typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceResponse pb_response;
    pb_response *response =
        opentelemetry__proto__collector__trace__v1__export_trace_service_response__unpack(NULL, n,
                                                                                          p);
    if (!response)
        return;
    if (response->partial_success) {
        int64_t rejected = response->partial_success->rejected_spans;
        outcome->rejected = rejected > 0 ? (uint64_t)rejected : 0;
        size_t used = strlen(outcome->reason);
        if (*response->partial_success->error_message)
            snprintf(outcome->reason + used, sizeof(outcome->reason) - used, ": %.256s",
                     response->partial_success->error_message);
    }
    opentelemetry__proto__collector__trace__v1__export_trace_service_response__free_unpacked(
        response, NULL);
}

// SPDX-License-Identifier: MIT
// Collecting an answer while it comes in, and reading the message in it.
#include "export/answer.h"

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

void faa_answer_header(struct faa_answer *answer, struct faa_str line)
{
    struct faa_str v;
    if (line.n >= 5 && memcmp(line.p, "HTTP/", 5) == 0) {
        // A new header block: what an interim answer or a proxy said does not count.
        answer->grpc_status = -1;
        answer->content_type[0] = answer->grpc_message[0] = '\0';
    } else if ((v = value_of(line, "content-type")).p) {
        copy(answer->content_type, sizeof(answer->content_type), v);
    } else if ((v = value_of(line, "grpc-status")).p) {
        answer->grpc_status = read_grpc_status(v);
    } else if ((v = value_of(line, "grpc-message")).p) {
        copy(answer->grpc_message, sizeof(answer->grpc_message), v);
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

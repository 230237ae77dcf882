// SPDX-License-Identifier: MIT
// Posting with libcurl, and finding out which of OTLP's two protocols the peer speaks.
#include "export/transport.h"

#include "base/clock.h"
#include "base/log.h"
#include "export/endpoint.h"
#include "export/gate.h"
#include "export/gzip.h"
#include "export/loop.h"
#include "export/otlp.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

// The port that is registered for OTLP/gRPC.
enum { GRPC_PORT = 4317, CURL_8 = 0x080000 };

struct faa_transport {
    const struct faa_exporter_config *config;
    int private_fds, grpc;
    int last_grpc; // The last request was made by it.
    int has_curl, has_headers;
    int starved; // The last attempt failed for want of memory or descriptors.
    struct faa_loop *loop;
    CURL *easy;
    struct curl_slist *http_headers, *grpc_headers;
    char user_agent[128];
    char error[CURL_ERROR_SIZE];
    struct faa_endpoint endpoint;
    struct faa_answer answer;
};

// What goes over the wire: the batch's message, or its compressed form in `memory`.
struct payload {
    uint8_t *bytes; // With FAA_OTLP_HEADROOM writable bytes before them.
    size_t len;
    uint8_t *memory; // For free(); NULL where the batch has the bytes.
};

static int add_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    if (longer)
        *list = longer;
    return longer ? 0 : -1;
}

static int add_headers(struct curl_slist **list, const char *const *lines, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (add_header(list, lines[i]) != 0)
            return -1;
    return 0;
}

static void free_headers(struct faa_transport *t)
{
    curl_slist_free_all(t->http_headers);
    curl_slist_free_all(t->grpc_headers);
    t->http_headers = t->grpc_headers = NULL;
}

static int make_headers(struct faa_transport *t)
{
    static const char *const http[] = {"Content-Type: application/x-protobuf", "Expect:"};
    static const char *const grpc[] = {"Content-Type: application/grpc", "TE: trailers",
                                       "Expect:", "Accept:"};
    const struct faa_exporter_config *config = t->config;
    char timeout[40];
    // At most eight digits, says gRPC.
    snprintf(timeout, sizeof(timeout), "grpc-timeout: %um",
             config->timeout_ms < 99999999 ? config->timeout_ms : 99999999);
    snprintf(t->user_agent, sizeof(t->user_agent), "fastapi-auto-agent/%s OTel-OTLP-Exporter-C/%s",
             config->version, config->version);
    if (add_headers(&t->http_headers, http, FAA_COUNT(http)) != 0 ||
        add_headers(&t->grpc_headers, grpc, FAA_COUNT(grpc)) != 0 ||
        add_header(&t->grpc_headers, timeout) != 0 ||
        (config->gzip && (add_header(&t->http_headers, "Content-Encoding: gzip") != 0 ||
                          add_header(&t->grpc_headers, "grpc-encoding: gzip") != 0)))
        return -1;
    return add_headers(&t->http_headers, config->headers, config->header_count) ||
                   add_headers(&t->grpc_headers, config->headers, config->header_count)
               ? -1
               : 0;
}

// Of OpenSSL, if that is curl's TLS library and its first user is us: at exit it must not clean up
// under this thread, which may be at work, or just be starting it.
#pragma weak OPENSSL_init_crypto
int OPENSSL_init_crypto(uint64_t options, const void *settings);
#define OPENSSL_INIT_NO_ATEXIT 0x00080000u

int faa_transport_init_curl(void)
{
    faa_gate_enter(); // At a late attempt nobody waits for the start any more.
    if (OPENSSL_init_crypto)
        OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
    int rc = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : -1;
    faa_gate_leave();
    return rc;
}

// What is made once. 0, or -1 without memory: then it is tried again.
static int prepare(struct faa_transport *t)
{
    if (!t->has_curl)
        t->has_curl = faa_transport_init_curl() == 0;
    if (!t->has_headers && make_headers(t) == 0)
        t->has_headers = 1;
    if (t->has_headers)
        return t->has_curl ? 0 : -1;
    free_headers(t);
    return -1;
}

struct faa_transport *faa_transport_new(const struct faa_exporter_config *config, int private_fds)
{
    struct faa_transport *t = calloc(1, sizeof(*t));
    errno = ENOMEM;
    if (!t)
        return NULL;
    t->config = config;
    t->private_fds = private_fds;
    if (faa_endpoint_init(&t->endpoint, config->endpoint, config->traces_endpoint) != 0) {
        int saved = errno;
        faa_transport_free(t);
        errno = saved;
        return NULL;
    }
    (void)prepare(t); // Before a fork may happen, if there is memory for it already.
    t->grpc = config->protocol == FAA_PROTOCOL_GRPC ||
              (config->protocol == FAA_PROTOCOL_DETECT && t->endpoint.port == GRPC_PORT);
    return t;
}

static void close_all(struct faa_transport *t)
{
    faa_loop_free(t->loop);
    faa_gate_enter();
    curl_easy_cleanup(t->easy);
    faa_gate_leave();
    t->loop = NULL;
    t->easy = NULL;
}

void faa_transport_free(struct faa_transport *t)
{
    if (!t)
        return;
    close_all(t);
    free_headers(t);
    if (t->has_curl) {
        faa_gate_enter();
        curl_global_cleanup();
        faa_gate_leave();
    }
    free(t);
}

const char *faa_transport_endpoint(const struct faa_transport *t)
{
    return t->endpoint.shown;
}

static size_t on_header(char *p, size_t size, size_t n, void *userp)
{
    faa_answer_header(userp, (struct faa_str){p, size * n});
    return size * n;
}

static size_t on_body(char *p, size_t size, size_t n, void *userp)
{
    // Any other number than was given makes curl break the transfer off.
    return faa_answer_body(userp, p, size * n) == 0 ? size * n : 0;
}

static int set_common_options(struct faa_transport *t, int grpc)
{
    CURL *easy = t->easy;
    long timeout = (long)t->config->timeout_ms;
    int rc = faa_connection_set(easy, &t->config->connection, &t->endpoint, grpc);
    FAA_CONNECTION_SET(rc, easy, CURLOPT_TIMEOUT_MS, timeout);
    FAA_CONNECTION_SET(rc, easy, CURLOPT_CONNECTTIMEOUT_MS, timeout);
    FAA_CONNECTION_SET(rc, easy, CURLOPT_USERAGENT, t->user_agent);
    FAA_CONNECTION_SET(rc, easy, CURLOPT_ERRORBUFFER, t->error);
    FAA_CONNECTION_SET(rc, easy, CURLOPT_HEADERFUNCTION, on_header);
    FAA_CONNECTION_SET(rc, easy, CURLOPT_HEADERDATA, &t->answer);
    FAA_CONNECTION_SET(rc, easy, CURLOPT_WRITEFUNCTION, on_body);
    FAA_CONNECTION_SET(rc, easy, CURLOPT_WRITEDATA, &t->answer);
    return rc;
}

static int set_request(struct faa_transport *t, int grpc, const struct payload *payload)
{
    CURL *easy = t->easy;
    const uint8_t *body = payload->bytes;
    size_t len = payload->len;
    int rc = 0;
    if (grpc) {
        faa_grpc_frame(payload->bytes - FAA_OTLP_HEADROOM, (uint32_t)len, t->config->gzip);
        body -= FAA_OTLP_HEADROOM;
        len += FAA_OTLP_HEADROOM;
    }
    long version = !grpc             ? CURL_HTTP_VERSION_1_1
                   : t->endpoint.tls ? CURL_HTTP_VERSION_2TLS
                                     : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;
    FAA_CONNECTION_SET(rc, easy, CURLOPT_URL, grpc ? t->endpoint.grpc_url : t->endpoint.http_url);
    FAA_CONNECTION_SET(rc, easy, CURLOPT_HTTPHEADER, grpc ? t->grpc_headers : t->http_headers);
    FAA_CONNECTION_SET(rc, easy, CURLOPT_HTTP_VERSION, version);
    FAA_CONNECTION_SET(rc, easy, CURLOPT_POST, 1L);
    FAA_CONNECTION_SET(rc, easy, CURLOPT_POSTFIELDS, body);
    FAA_CONNECTION_SET(rc, easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
    // curl 7 fails the second request on a connection that began with HTTP/2 (its issue 10634).
    if (grpc && !t->endpoint.tls && curl_version_info(CURLVERSION_NOW)->version_num < CURL_8)
        FAA_CONNECTION_SET(rc, easy, CURLOPT_FORBID_REUSE, 1L);
    return rc;
}

static int make_payload(const struct faa_transport *t, const struct faa_batch *batch,
                        struct payload *payload)
{
    *payload = (struct payload){batch->message, batch->len, NULL};
    if (!t->config->gzip)
        return 0;
    if (faa_gzip(batch->message, batch->len, FAA_OTLP_HEADROOM, &payload->memory, &payload->len))
        return -1;
    payload->bytes = payload->memory + FAA_OTLP_HEADROOM;
    return 0;
}

static int open_all(struct faa_transport *t)
{
    if (prepare(t) != 0)
        return -1;
    if (!t->loop)
        t->loop = faa_loop_new(t->private_fds);
    if (!t->easy)
        t->easy = curl_easy_init();
    return t->loop && t->easy ? 0 : -1;
}

static void read_info(struct faa_transport *t, CURLcode code)
{
    curl_off_t retry_after = 0;
    t->answer.curl_code = (int)code;
    if (!t->easy)
        return;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &t->answer.status);
    curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &retry_after);
    t->answer.retry_after_s = retry_after;
}

// curl tells it like a connection that is refused. Elsewhere than in a table of the thread's own no
// number may be tried.
static int lacks_descriptors(const struct faa_transport *t)
{
    int fd = t->private_fds ? epoll_create1(EPOLL_CLOEXEC) : 0;
    if (fd > 0)
        close(fd);
    return fd < 0;
}

// curl's words for what went wrong; the short ones where it has nothing more precise.
static void put_error(struct faa_transport *t, struct faa_outcome *outcome)
{
    long os_error = 0;
    const char *text = t->error[0] ? t->error : curl_easy_strerror((CURLcode)t->answer.curl_code);
    if (t->easy)
        curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &os_error);
    switch (t->answer.curl_code) {
    case CURLE_COULDNT_CONNECT:
        t->starved = !os_error && lacks_descriptors(t);
        text = os_error ? strerror((int)os_error) : t->starved ? "no descriptor is left" : text;
        break;
    case CURLE_OUT_OF_MEMORY:
        t->starved = 1;
        break;
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
        text = "it hung up without an answer";
        break;
    case CURLE_WRITE_ERROR:
        text = "the answer is larger than 4 MiB";
        break;
    case CURLE_ABORTED_BY_CALLBACK:
        text = "no answer in the time left";
        break;
    }
    snprintf(outcome->reason, sizeof(outcome->reason), "%s", text);
}

// TLS 1.3 tells only after the handshake that a client's certificate is missing, and with the end
// of the connection, which is often all that is seen; curl has several codes for it.
static int has_hung_up(const struct faa_answer *answer)
{
    switch (answer->curl_code) {
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_PARTIAL_FILE:
        return answer->status == 0;
    default:
        return 0;
    }
}

static const char *hint_for(const struct faa_transport *t, const struct faa_outcome *outcome)
{
    const struct faa_answer *answer = &t->answer;
    if (t->starved)
        return "the process is at its limits";
    switch (answer->curl_code) {
    case CURLE_COULDNT_CONNECT:
        return "is Jaeger or a collector running there?";
    case CURLE_COULDNT_RESOLVE_HOST:
        return "is the host name right?";
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
        return "are https and the certificates right?";
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_PROXY:
        return "is the proxy right?";
    }
    if (t->endpoint.tls && has_hung_up(answer))
        return "does it want a client's certificate, or speak the other OTLP protocol?";
    if (outcome->verdict == FAA_VERDICT_WRONG_PROTOCOL)
        return "does it speak the other OTLP protocol?";
    if (answer->status == 401 || answer->status == 403)
        return "it wants credentials";
    if (answer->status == 404 || answer->status == 405 ||
        (outcome->verdict == FAA_VERDICT_REFUSED && answer->status == 200))
        return "is it an OTLP endpoint? Jaeger's are ports 4317 and 4318";
    return NULL;
}

static struct faa_outcome post(struct faa_transport *t, int grpc, const struct faa_batch *batch,
                               int (*give_up)(void *arg), void *arg)
{
    struct faa_outcome outcome = {.verdict = FAA_VERDICT_RETRY};
    uint64_t begin = faa_clock_mono_ns();
    struct payload payload = {0};
    if (open_all(t) != 0 || make_payload(t, batch, &payload) != 0) {
        close_all(t);
        snprintf(outcome.reason, sizeof(outcome.reason), "out of memory or descriptors");
        return outcome;
    }
    // curl keeps a connection by HTTP/2 on which a request has timed out, and the other end may be
    // gone without a word.
    long fresh = t->answer.curl_code == CURLE_OPERATION_TIMEDOUT;
    faa_answer_clear(&t->answer);
    t->error[0] = '\0';
    t->last_grpc = grpc;
    t->starved = 0;
    curl_easy_reset(t->easy);
    CURLcode code = CURLE_OUT_OF_MEMORY;
    if (set_common_options(t, grpc) == 0 && set_request(t, grpc, &payload) == 0 &&
        curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, fresh) == CURLE_OK)
        code = faa_loop_run(t->loop, t->easy, give_up, arg);
    if (faa_loop_is_wreck(t->loop)) {
        t->loop = NULL;
        t->easy = NULL;
        payload.memory = NULL; // The handle that is left to itself points there.
    }
    read_info(t, code);
    free(payload.memory);
    if (t->answer.curl_code != CURLE_OK)
        put_error(t, &outcome);
    if (grpc)
        faa_grpc_judge(&t->answer, &outcome);
    else
        faa_http_judge(&t->answer, t->endpoint.tls, &outcome);
    outcome.hint = hint_for(t, &outcome);
    faa_debug("%u spans, %zu bytes to %s (%s): %s in %.1f ms", batch->spans, payload.len,
              grpc ? t->endpoint.shown : t->endpoint.http_shown, grpc ? "OTLP/gRPC" : "OTLP/HTTP",
              outcome.reason, (double)(faa_clock_mono_ns() - begin) / 1e6);
    if (!t->private_fds)
        close_all(t);
    return outcome;
}

static double ms_of(CURL *easy, CURLINFO what)
{
    curl_off_t us = 0;
    return curl_easy_getinfo(easy, what, &us) == CURLE_OK ? (double)us / 1e3 : 0;
}

void faa_transport_read_steps(const struct faa_transport *t, struct faa_transport_steps *steps)
{
    const struct faa_connection_config *c = &t->config->connection;
    const char *address = NULL, *proxy = t->endpoint.tls ? c->https_proxy : c->http_proxy;
    memset(steps, 0, sizeof(*steps));
    steps->grpc = t->last_grpc;
    steps->tls = t->endpoint.tls;
    steps->curl_code = t->answer.curl_code;
    steps->status = t->answer.status;
    steps->proxied = !t->endpoint.is_local && (proxy || c->all_proxy);
    if (!t->easy)
        return;
    if (curl_easy_getinfo(t->easy, CURLINFO_PRIMARY_IP, &address) == CURLE_OK && address)
        snprintf(steps->address, sizeof(steps->address), "%s", address);
    curl_easy_getinfo(t->easy, CURLINFO_PRIMARY_PORT, &steps->port);
    steps->name_ms = ms_of(t->easy, CURLINFO_NAMELOOKUP_TIME_T);
    steps->connect_ms = ms_of(t->easy, CURLINFO_CONNECT_TIME_T);
    steps->tls_ms = ms_of(t->easy, CURLINFO_APPCONNECT_TIME_T);
    steps->total_ms = ms_of(t->easy, CURLINFO_TOTAL_TIME_T);
}

struct faa_outcome faa_transport_send(struct faa_transport *t, const struct faa_batch *batch,
                                      int (*give_up)(void *arg), void *arg)
{
    struct faa_outcome outcome = post(t, t->grpc, batch, give_up, arg);
    if (outcome.verdict != FAA_VERDICT_WRONG_PROTOCOL)
        return outcome;
    int answered = t->answer.curl_code == CURLE_OK;
    if (t->config->protocol == FAA_PROTOCOL_DETECT) {
        struct faa_outcome other = post(t, !t->grpc, batch, give_up, arg);
        // A peer that is just going away fails in both protocols, and then nothing was learned.
        if (other.verdict != FAA_VERDICT_WRONG_PROTOCOL && t->answer.curl_code == CURLE_OK) {
            faa_debug("%s speaks %s: switching to it", t->endpoint.shown,
                      t->grpc ? "OTLP/HTTP, not gRPC" : "gRPC, not OTLP/HTTP");
            t->grpc = !t->grpc;
            return other;
        }
    }
    // A broken connection may be a collector that restarts; an answer will not change.
    outcome.verdict = answered ? FAA_VERDICT_REFUSED : FAA_VERDICT_RETRY;
    return outcome;
}

// SPDX-License-Identifier: MIT
// One question, one answer, and then the connection is closed: they are a minute apart.
#include "export/sampling.h"

#include "base/log.h"
#include "export/answer.h"
#include "export/endpoint.h"
#include "export/gate.h"
#include "export/loop.h"
#include "export/transport.h"
#include "span/sampler.h"

#include <curl/curl.h>
#include <jaeger/api_v2/sampling.pb-c.h>
#include <stdio.h>
#include <stdlib.h>

enum { FRAME_HEADER = 5, QUESTION_MAX = 1024 };

struct faa_sampling {
    const struct faa_connection_config *connection;
    struct faa_endpoint endpoint;
    struct curl_slist *headers;
    char user_agent[64];
    uint8_t question[FRAME_HEADER + QUESTION_MAX]; // The same every time.
    size_t question_len;
    char error[CURL_ERROR_SIZE];
    struct faa_answer answer; // Its headers; the body is here.
    size_t body_len;
    uint8_t body[FRAME_HEADER + FAA_SAMPLING_ANSWER_MAX];
    int lost;  // The last question was in vain, and a line said so.
    int asked; // There was an answer before.
};

// ---- strategies -------------------------------------------------------------------------------

static int is_ratio(double value)
{
    return value >= 0 && value <= 1;
}

// Rules that cannot be used are left out; their operations have the default ratio.
static int read_operations(const Jaeger__ApiV2__PerOperationSamplingStrategies *in)
{
    struct faa_sampler_strategy strategy = {
        .ratio = in->defaultsamplingprobability,
        .floor = in->defaultlowerboundtracespersecond,
    };
    if (!is_ratio(strategy.ratio) || !(strategy.floor >= 0))
        return -1;
    size_t count = in->n_peroperationstrategies < FAA_SAMPLER_RULES_MAX
                       ? in->n_peroperationstrategies
                       : FAA_SAMPLER_RULES_MAX;
    struct faa_sampler_rule *rules = calloc(count + 1, sizeof(*rules));
    if (!rules)
        return -1;
    for (size_t i = 0; i < count; i++) {
        const Jaeger__ApiV2__OperationSamplingStrategy *one = in->peroperationstrategies[i];
        if (!one->probabilisticsampling || !is_ratio(one->probabilisticsampling->samplingrate))
            continue;
        rules[strategy.rule_count++] = (struct faa_sampler_rule){
            .operation = faa_str_of(one->operation),
            .ratio = one->probabilisticsampling->samplingrate,
        };
    }
    strategy.rules = rules;
    int rc = faa_sampler_set_strategy(&strategy);
    free(rules);
    return rc;
}

static int read_strategy(const Jaeger__ApiV2__SamplingStrategyResponse *in)
{
    // In this order, says Jaeger's definition, whatever the answer's strategyType is.
    if (in->operationsampling)
        return read_operations(in->operationsampling);
    struct faa_sampler_strategy strategy = {0};
    if (in->probabilisticsampling) {
        strategy.ratio = in->probabilisticsampling->samplingrate;
        if (!is_ratio(strategy.ratio))
            return -1;
    } else if (in->ratelimitingsampling) {
        strategy.limited = 1;
        strategy.limit = in->ratelimitingsampling->maxtracespersecond;
        if (strategy.limit < 0)
            return -1;
    } else {
        return -1;
    }
    return faa_sampler_set_strategy(&strategy);
}

int faa_sampling_read(const uint8_t *p, size_t n)
{
    Jaeger__ApiV2__SamplingStrategyResponse *in =
        jaeger__api_v2__sampling_strategy_response__unpack(NULL, n, p);
    if (!in)
        return -1;
    int rc = read_strategy(in);
    jaeger__api_v2__sampling_strategy_response__free_unpacked(in, NULL);
    return rc;
}

// ---- the question -----------------------------------------------------------------------------

static int make_headers(struct faa_sampling *s, const char *version)
{
    static const char *const lines[] = {"Content-Type: application/grpc", "TE: trailers",
                                        "Expect:", "Accept:"};
    snprintf(s->user_agent, sizeof(s->user_agent), "fastapi-auto-agent/%s", version);
    for (size_t i = 0; i < FAA_COUNT(lines); i++) {
        struct curl_slist *longer = curl_slist_append(s->headers, lines[i]);
        if (!longer)
            return -1;
        s->headers = longer;
    }
    return 0;
}

static int make_question(struct faa_sampling *s, const char *service)
{
    Jaeger__ApiV2__SamplingStrategyParameters in =
        JAEGER__API_V2__SAMPLING_STRATEGY_PARAMETERS__INIT;
    in.servicename = (char *)(uintptr_t)service; // Packing only reads it.
    size_t n = jaeger__api_v2__sampling_strategy_parameters__get_packed_size(&in);
    if (n > QUESTION_MAX)
        return -1;
    jaeger__api_v2__sampling_strategy_parameters__pack(&in, s->question + FRAME_HEADER);
    faa_grpc_frame(s->question, (uint32_t)n, 0);
    s->question_len = FRAME_HEADER + n;
    return 0;
}

struct faa_sampling *faa_sampling_new(const struct faa_exporter_config *config)
{
    if (faa_transport_init_curl())
        return NULL;
    struct faa_sampling *s = calloc(1, sizeof(*s));
    if (!s) {
        curl_global_cleanup();
        return NULL;
    }
    s->connection = &config->connection;
    if (faa_endpoint_init_sampling(&s->endpoint, config->sampling_endpoint) != 0 ||
        make_headers(s, config->version) != 0 || make_question(s, config->service_name) != 0) {
        faa_sampling_free(s);
        return NULL;
    }
    return s;
}

void faa_sampling_free(struct faa_sampling *s)
{
    if (!s)
        return;
    curl_slist_free_all(s->headers);
    free(s);
    curl_global_cleanup();
}

static size_t on_header(char *p, size_t size, size_t n, void *userp)
{
    struct faa_sampling *s = userp;
    faa_answer_header(&s->answer, (struct faa_str){p, size * n});
    return size * n;
}

static size_t on_body(char *p, size_t size, size_t n, void *userp)
{
    struct faa_sampling *s = userp;
    // Any other number than was given makes curl break the transfer off.
    if (size * n > sizeof(s->body) - s->body_len)
        return 0;
    memcpy(s->body + s->body_len, p, size * n);
    s->body_len += size * n;
    return size * n;
}

static void set_options(struct faa_sampling *s, CURL *easy)
{
    faa_connection_set(easy, s->connection, &s->endpoint, 1);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)FAA_SAMPLING_TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, s->user_agent);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, s->error);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, s);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, s);
    curl_easy_setopt(easy, CURLOPT_URL, s->endpoint.grpc_url);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, s->headers);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                     s->endpoint.tls ? (long)CURL_HTTP_VERSION_2TLS
                                     : (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, s->question);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)s->question_len);
}

// The transfer. Returns curl's code, with the answer in `s`.
static CURLcode post(struct faa_sampling *s, int private_fds, int (*give_up)(void *arg), void *arg)
{
    CURLcode code = CURLE_OUT_OF_MEMORY;
    struct faa_loop *loop = faa_loop_new(private_fds);
    CURL *easy = curl_easy_init();
    faa_answer_clear(&s->answer);
    s->body_len = 0;
    s->error[0] = '\0';
    if (loop && easy) {
        set_options(s, easy);
        code = faa_loop_run(loop, easy, give_up, arg);
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &s->answer.status);
    }
    s->answer.curl_code = (int)code;
    faa_loop_free(loop);
    faa_gate_enter();
    curl_easy_cleanup(easy);
    faa_gate_leave();
    return code;
}

// The one message of the answer, or n = 0 for none.
static struct faa_str message_of(const struct faa_sampling *s)
{
    const uint8_t *p = s->body;
    if (s->body_len < FRAME_HEADER || p[0] != 0)
        return (struct faa_str){NULL, 0};
    size_t n = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
    if (n > s->body_len - FRAME_HEADER)
        n = 0;
    return (struct faa_str){(const char *)p + FRAME_HEADER, n};
}

// Why the sampler got nothing from this answer; NULL when it did.
static const char *take_answer(struct faa_sampling *s, struct faa_outcome *outcome)
{
    if (s->answer.curl_code != CURLE_OK)
        snprintf(outcome->reason, sizeof(outcome->reason), "%s",
                 s->error[0] ? s->error : curl_easy_strerror((CURLcode)s->answer.curl_code));
    faa_grpc_judge(&s->answer, outcome);
    if (outcome->verdict != FAA_VERDICT_SENT)
        return outcome->reason;
    struct faa_str message = message_of(s);
    int changed = message.n ? faa_sampling_read((const uint8_t *)message.p, message.n) : -1;
    if (changed < 0)
        return "its answer is no strategy";
    faa_debug("sampling strategy of %s: %s", s->endpoint.shown, changed ? "new" : "as before");
    return NULL;
}

int faa_sampling_ask(struct faa_sampling *s, int private_fds, int (*give_up)(void *arg), void *arg)
{
    struct faa_outcome outcome = {.verdict = FAA_VERDICT_RETRY};
    if (post(s, private_fds, give_up, arg) == CURLE_ABORTED_BY_CALLBACK)
        return -1;
    const char *reason = take_answer(s, &outcome);
    if (reason && !s->lost)
        faa_warn("cannot read the sampling strategy from %s: %s (%s); %s", s->endpoint.shown,
                 reason, "Jaeger serves it by gRPC, on port 14250",
                 s->asked ? "the last one holds" : "the initial sampling rate holds");
    else if (!reason && s->lost)
        faa_warn("the sampling strategy comes from %s again", s->endpoint.shown);
    s->lost = reason != NULL;
    s->asked |= !reason;
    return 0;
}

// SPDX-License-Identifier: MIT
// fastapi-auto-agent-probe: does once what the agent does with its settings and its collector, and
// tells about it in lines "key TAB value". The doctor runs it; nobody else does.
//
// It is a process of its own because it needs the agent's libraries, which may be missing, and may
// take longer than the doctor waits.
#include "agent/config.h"
#include "probe/span.h"
#include "probe/trial.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

// Of one request. The agent's own limit may be longer than anybody waits for a doctor.
enum { TIMEOUT_MAX_MS = 10000 };

static struct faa_config config;

FAA_PRINTF(2, 3) static void say(const char *key, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    for (char *p = text; *p; p++)
        if (*p == '\n' || *p == '\t' || *p == '\r')
            *p = ' ';
    printf("%s\t%s\n", key, text);
    fflush(stdout);
}

static void tell_settings(void)
{
    const struct faa_exporter_config *e = &config.exporter;
    const char *disabled = faa_config_disabled();
    if (disabled)
        say("disabled", "%s", disabled);
    say("service", "%s", e->service_name);
    say("console", "%d", e->console);
    say("otlp", "%d", e->otlp);
    say("sampler", "%s",
        config.sampler.kind == FAA_SAMPLER_OFF     ? "off"
        : config.sampler.kind == FAA_SAMPLER_RATIO ? "ratio"
        : config.sampler.kind == FAA_SAMPLER_ON    ? "on"
                                                   : "remote");
    say("ratio", "%g", config.sampler.ratio);
    say("parent_based", "%d", config.sampler.parent_based);
}

static int never(void *arg)
{
    (void)arg;
    return 0;
}

static const char *verdict_name(const struct faa_outcome *outcome)
{
    switch (outcome->verdict) {
    case FAA_VERDICT_SENT:
        return outcome->rejected ? "rejected" : "sent";
    case FAA_VERDICT_RETRY:
        return "retry";
    default:
        return "refused";
    }
}

static void tell_outcome(const struct faa_transport *transport, const struct faa_outcome *outcome)
{
    struct faa_transport_steps steps;
    faa_transport_read_steps(transport, &steps);
    say("protocol", "%s", steps.grpc ? "grpc" : "http/protobuf");
    say("tls", "%d", steps.tls);
    say("proxied", "%d", steps.proxied);
    say("curl_code", "%d", steps.curl_code);
    say("http_status", "%ld", steps.status);
    say("address", "%s", steps.address);
    say("port", "%ld", steps.port);
    say("name_ms", "%.1f", steps.name_ms);
    say("connect_ms", "%.1f", steps.connect_ms);
    say("tls_ms", "%.1f", steps.tls_ms);
    say("total_ms", "%.1f", steps.total_ms);
    say("reason", "%s", outcome->reason);
    say("hint", "%s", outcome->hint ? outcome->hint : "");
    say("verdict", "%s", verdict_name(outcome));
}

static int send_span(void)
{
    struct faa_batch batch;
    char trace_id[33];
    struct faa_exporter_config *e = &config.exporter;
    if (e->timeout_ms > TIMEOUT_MAX_MS)
        e->timeout_ms = TIMEOUT_MAX_MS;
    struct faa_transport *transport = faa_transport_new(e, 1);
    if (!transport || faa_probe_make_span(e, &batch, trace_id)) {
        say("error", "the exporter cannot start: out of memory or descriptors");
        return EXIT_FAILURE;
    }
    say("endpoint", "%s", faa_transport_endpoint(transport));
    say("timeout_ms", "%u", e->timeout_ms);
    say("trace_id", "%s", trace_id);
    struct faa_outcome outcome = faa_transport_send(transport, &batch, never, NULL);
    tell_outcome(transport, &outcome);
    faa_transport_free(transport);
    return EXIT_SUCCESS;
}

int main(void)
{
    if (faa_config_read(&config)) {
        say("error", "the settings cannot be read: out of memory");
        return EXIT_FAILURE;
    }
    tell_settings();
    faa_probe_try_spool(&config.exporter);
    if (config.sampler.kind == FAA_SAMPLER_REMOTE) {
        faa_sampler_init(&config.sampler);
        faa_probe_try_sampling(&config.exporter);
    }
    return config.exporter.otlp ? send_span() : EXIT_SUCCESS;
}

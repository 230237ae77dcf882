// SPDX-License-Identifier: MIT
// Samplers and limits, by the OpenTelemetry specification
// (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
#include "agent/config_span.h"

#include "agent/env.h"
#include "base/log.h"
#include "export/endpoint.h"

#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <strings.h>

enum { POLL_MS = 60000, POLL_MIN_MS = 100, POLL_MAX_MS = 86400000 };

// Of Jaeger's own clients, until they have heard of a strategy.
#define INITIAL_RATIO 0.001

static const char sampler_name[] = "OTEL_TRACES_SAMPLER", arg_name[] = "OTEL_TRACES_SAMPLER_ARG";

// A decimal number from 0 to 1, whatever locale an embedding program has set. 0 or -1.
static int read_ratio(const char *text, double *ratio)
{
    char *end;
    locale_t c = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    if (!c)
        return -1;
    double value = strtod_l(text, &end, c);
    freelocale(c);
    // strtod takes blanks, hexadecimal and names for numbers, too.
    if (!*text || *end || text[strspn(text, "0123456789.eE+-")] || !(value >= 0 && value <= 1))
        return -1;
    *ratio = value;
    return 0;
}

static void read_ratio_arg(struct faa_config *config)
{
    const char *arg = faa_env(arg_name);
    config->sampler.ratio = 1;
    if (arg && read_ratio(arg, &config->sampler.ratio) != 0)
        faa_env_reject(arg_name, arg, "not a number from 0 to 1; using 1.0");
}

static int read_interval(const char *text, uint32_t *ms)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || value < POLL_MIN_MS || value > POLL_MAX_MS)
        return -1;
    *ms = (uint32_t)value;
    return 0;
}

// One key=value of jaeger_remote's argument. Its lines show no endpoint: that may hold a password.
static int read_remote_pair(struct faa_config *config, const char *key, const char *value)
{
    struct faa_endpoint endpoint;
    if (strcmp(key, "endpoint") == 0) {
        if (faa_endpoint_init_sampling(&endpoint, value) != 0) {
            faa_warn("%s: the endpoint is no http:// or https:// URL with a host; using %s",
                     arg_name, config->exporter.sampling_endpoint);
            return 0;
        }
        char *copy = strdup(value);
        if (!copy)
            return -1;
        config->exporter.sampling_endpoint = copy;
    } else if (strcmp(key, "pollingIntervalMs") == 0) {
        if (read_interval(value, &config->exporter.sampling_interval_ms) != 0)
            faa_warn("%s: pollingIntervalMs=%.40s is not a whole number from %d to %d; using %d",
                     arg_name, value, POLL_MIN_MS, POLL_MAX_MS, POLL_MS);
    } else if (strcmp(key, "initialSamplingRate") == 0) {
        if (read_ratio(value, &config->sampler.ratio) != 0)
            faa_warn("%s: initialSamplingRate=%.40s is not a number from 0 to 1; using %g",
                     arg_name, value, INITIAL_RATIO);
    } else {
        faa_warn("%s: %.40s is not known (endpoint, pollingIntervalMs, initialSamplingRate)",
                 arg_name, key);
    }
    return 0;
}

static int read_remote_arg(struct faa_config *config)
{
    const char *arg = faa_env(arg_name);
    struct faa_str rest = faa_str_of(arg), pair;
    int rc = 0;
    config->exporter.sampling_endpoint = "http://localhost:14250";
    config->exporter.sampling_interval_ms = POLL_MS;
    config->sampler.ratio = INITIAL_RATIO;
    while (rc == 0 && faa_env_next(&rest, &pair)) {
        char *key = strndup(pair.p, pair.n), *equals = key ? strchr(key, '=') : NULL;
        if (equals)
            *equals = '\0';
        if (!key)
            rc = -1;
        else if (!equals)
            faa_warn("%s: an element is not key=value, and is left out", arg_name);
        else
            rc = read_remote_pair(config, key, equals + 1);
        free(key);
    }
    return rc;
}

int faa_config_read_sampler(struct faa_config *config)
{
    static const struct {
        const char *name;
        enum faa_sampler_kind kind;
    } known[] = {
        {"always_on", FAA_SAMPLER_ON},
        {"always_off", FAA_SAMPLER_OFF},
        {"traceidratio", FAA_SAMPLER_RATIO},
        {"jaeger_remote", FAA_SAMPLER_REMOTE},
    };
    static const char prefix[] = "parentbased_";
    const char *value = faa_env(sampler_name), *name = value;
    config->sampler = (struct faa_sampler_config){.kind = FAA_SAMPLER_ON, .parent_based = 1};
    if (!value)
        return 0;
    int parent_based = strncasecmp(name, prefix, sizeof(prefix) - 1) == 0;
    if (parent_based)
        name += sizeof(prefix) - 1;
    size_t i = 0;
    while (i < FAA_COUNT(known) && strcasecmp(name, known[i].name) != 0)
        i++;
    if (i == FAA_COUNT(known)) {
        faa_env_reject(sampler_name, value, "no such sampler; using parentbased_always_on");
        return 0;
    }
    config->sampler.kind = known[i].kind;
    config->sampler.parent_based = parent_based;
    if (known[i].kind == FAA_SAMPLER_RATIO)
        read_ratio_arg(config);
    return known[i].kind == FAA_SAMPLER_REMOTE ? read_remote_arg(config) : 0;
}

// ---- limits -----------------------------------------------------------------------------------

// A limit of its own, else the one for all; UINT32_MAX where there is neither.
static uint32_t read_limit(const char *name, uint32_t general)
{
    const char *value = faa_env(name);
    if (!value)
        return general;
    char *end;
    errno = 0;
    unsigned long number = strtoul(value, &end, 10);
    if (value[0] >= '0' && value[0] <= '9' && !*end && !errno)
        return number < UINT32_MAX ? (uint32_t)number : UINT32_MAX;
    faa_env_reject(name, value, "not a whole number; the default holds");
    return general;
}

void faa_config_read_limits(struct faa_config *config)
{
    uint32_t length = read_limit("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", UINT32_MAX);
    uint32_t count = read_limit("OTEL_ATTRIBUTE_COUNT_LIMIT", FAA_SPAN_COUNT_MAX);
    config->limits = (struct faa_span_limits){
        .value_length = read_limit("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", length),
        .event_value_length = length,
        .attributes = read_limit("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", count),
        .events = read_limit("OTEL_SPAN_EVENT_COUNT_LIMIT", FAA_SPAN_COUNT_MAX),
        .event_attributes = read_limit("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", count),
    };
}

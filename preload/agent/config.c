// SPDX-License-Identifier: MIT
// From the environment to settings.
#include "agent/config.h"

#include "agent/config_span.h"
#include "agent/env.h"
#include "base/log.h"
#include "export/endpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

static const char default_service[] = "fastapi-application";

void faa_config_log_level(void)
{
    const char *value = faa_env("FAA_LOG_LEVEL");
    const char *name = value ? "FAA_LOG_LEVEL" : "OTEL_LOG_LEVEL";
    value = value ? value : faa_env("OTEL_LOG_LEVEL");
    if (!value || strcasecmp(value, "warn") == 0 || strcasecmp(value, "info") == 0)
        return;
    if (strcasecmp(value, "debug") == 0 || strcasecmp(value, "trace") == 0)
        faa_log_set_level(FAA_LOG_DEBUG);
    else if (strcasecmp(value, "none") == 0 || strcasecmp(value, "off") == 0 ||
             strcasecmp(value, "error") == 0 || strcasecmp(value, "fatal") == 0)
        faa_log_set_level(FAA_LOG_SILENT);
    else
        faa_env_reject(name, value, "not debug, info, warn, error or none; using warn");
}

const char *faa_config_disabled(void)
{
    if (faa_env_bool("OTEL_SDK_DISABLED"))
        return "OTEL_SDK_DISABLED=true";
    if (faa_env_bool("FAA_DISABLED"))
        return "FAA_DISABLED=true";
    return NULL;
}

static void read_exporters(struct faa_exporter_config *e)
{
    const char *value = faa_env("OTEL_TRACES_EXPORTER");
    struct faa_str rest = faa_str_of(value ? value : "otlp"), name;
    int none = 0;
    while (faa_env_next(&rest, &name)) {
        if (name.n == 4 && strncasecmp(name.p, "otlp", 4) == 0)
            e->otlp = 1;
        else if (name.n == 7 && strncasecmp(name.p, "console", 7) == 0)
            e->console = 1;
        else if (name.n == 4 && strncasecmp(name.p, "none", 4) == 0)
            none = 1;
        else
            faa_warn("OTEL_TRACES_EXPORTER: %.*s is not known (otlp, console or none)", (int)name.n,
                     name.p);
    }
    if (!e->otlp && !e->console && !none)
        e->otlp = 1;
}

static int propagator_of(struct faa_str name)
{
    static const char *const names[FAA_PROPAGATOR_COUNT] = {
        [FAA_PROPAGATE_TRACECONTEXT] = "tracecontext",
        [FAA_PROPAGATE_BAGGAGE] = "baggage",
        [FAA_PROPAGATE_B3] = "b3",
        [FAA_PROPAGATE_B3MULTI] = "b3multi",
        [FAA_PROPAGATE_JAEGER] = "jaeger",
    };
    for (int i = 0; i < FAA_PROPAGATOR_COUNT; i++)
        if (strlen(names[i]) == name.n && strncasecmp(names[i], name.p, name.n) == 0)
            return i;
    return -1;
}

static void add_propagator(struct faa_config *config, enum faa_propagator propagator)
{
    for (size_t i = 0; i < config->propagator_count; i++)
        if (config->propagators[i] == propagator)
            return;
    config->propagators[config->propagator_count++] = propagator;
}

// "none" turns all of them off, wherever it stands, as in the SDK.
static void read_propagators(struct faa_config *config)
{
    const char *value = faa_env("OTEL_PROPAGATORS");
    struct faa_str rest = faa_str_of(value), name;
    int none = 0;
    while (faa_env_next(&rest, &name)) {
        int propagator = propagator_of(name);
        if (propagator >= 0)
            add_propagator(config, (enum faa_propagator)propagator);
        else if (name.n == 4 && strncasecmp(name.p, "none", 4) == 0)
            none = 1;
        else
            faa_warn("OTEL_PROPAGATORS: %.*s is not known (tracecontext, baggage, b3, b3multi, "
                     "jaeger or none)",
                     name.n < 200 ? (int)name.n : 200, name.p);
    }
    if (none) {
        config->propagator_count = 0;
    } else if (config->propagator_count == 0) {
        add_propagator(config, FAA_PROPAGATE_TRACECONTEXT);
        add_propagator(config, FAA_PROPAGATE_BAGGAGE);
    }
}

// What is no URL may be anything, secrets too: it is not shown.
static const char *read_url(const char *name)
{
    struct faa_endpoint endpoint;
    const char *value = faa_env(name);
    if (value && faa_endpoint_init(&endpoint, value, NULL)) {
        faa_warn("%s cannot be used: it is not an http:// or https:// URL with a host", name);
        return NULL;
    }
    return value ? faa_env_keep(faa_str_of(value)) : NULL;
}

static enum faa_protocol read_protocol(void)
{
    const char *name = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL";
    const char *value = faa_env(name);
    if (!value)
        value = faa_env(name = "OTEL_EXPORTER_OTLP_PROTOCOL");
    if (!value)
        return FAA_PROTOCOL_DETECT;
    if (strcasecmp(value, "grpc") == 0)
        return FAA_PROTOCOL_GRPC;
    if (strcasecmp(value, "http/protobuf") == 0)
        return FAA_PROTOCOL_HTTP;
    faa_env_reject(name, value, "not grpc or http/protobuf; finding out by itself");
    return FAA_PROTOCOL_DETECT;
}

static void read_endpoint(struct faa_exporter_config *e)
{
    e->traces_endpoint = read_url("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    e->endpoint = read_url("OTEL_EXPORTER_OTLP_ENDPOINT");
    e->protocol = read_protocol();
    if (!e->endpoint)
        e->endpoint =
            e->protocol == FAA_PROTOCOL_GRPC ? "http://localhost:4317" : "http://localhost:4318";
    const char *timeout = faa_env("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")
                              ? "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"
                              : "OTEL_EXPORTER_OTLP_TIMEOUT";
    e->timeout_ms = faa_env_number(timeout, 10000, 1, 600000);
    e->schedule_delay_ms = faa_env_number("OTEL_BSP_SCHEDULE_DELAY", 5000, 1, 3600000);
    e->max_batch_size = faa_env_number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, 1, 65536);
}

// The resource attribute with this key, new or old; NULL when there is no room.
static struct faa_resource_attribute *attribute(struct faa_config *config, const char *key)
{
    struct faa_exporter_config *e = &config->exporter;
    for (size_t i = 0; i < e->resource_count; i++)
        if (strcmp(config->resource[i].key, key) == 0)
            return &config->resource[i];
    if (e->resource_count == FAA_RESOURCE_MAX) {
        if (!config->resource_full)
            faa_warn("OTEL_RESOURCE_ATTRIBUTES: more than %d attributes; the rest is left out",
                     FAA_RESOURCE_MAX);
        config->resource_full = 1;
        return NULL;
    }
    config->resource[e->resource_count].key = key;
    return &config->resource[e->resource_count++];
}

static void set_text(struct faa_config *config, const char *key, const char *value)
{
    struct faa_resource_attribute *a = attribute(config, key);
    if (a) {
        a->value = value;
        a->is_int = 0;
    }
}

static void set_number(struct faa_config *config, const char *key, int64_t number)
{
    struct faa_resource_attribute *a = attribute(config, key);
    if (a) {
        a->value = "";
        a->number = number;
        a->is_int = 1;
    }
}

// One key=value of OTEL_RESOURCE_ATTRIBUTES; both are percent-decoded.
static int read_attribute(struct faa_config *config, struct faa_str pair)
{
    char *text = faa_env_keep(pair), *equals = text ? strchr(text, '=') : NULL;
    if (!text)
        return -1;
    if (equals)
        *equals = '\0';
    if (!equals || !text[0] || faa_env_unescape(text) <= 0 || faa_env_unescape(equals + 1) < 0) {
        faa_warn("OTEL_RESOURCE_ATTRIBUTES: %.*s is not key=value, and is left out", (int)pair.n,
                 pair.p);
        free(text);
        return 0;
    }
    // Decoding may have made invalid UTF-8.
    char *key = faa_env_keep(faa_str_of(text)), *value = faa_env_keep(faa_str_of(equals + 1));
    free(text);
    if (!key || !value) {
        free(key);
        free(value);
        return -1;
    }
    // An empty name is none.
    if (value[0] || strcmp(key, "service.name") != 0)
        set_text(config, key, value);
    return 0;
}

static int set_host(struct faa_config *config)
{
    char host[256];
    if (gethostname(host, sizeof(host)))
        return 0;
    host[sizeof(host) - 1] = '\0';
    char *name = faa_env_keep(faa_str_of(host));
    if (name)
        set_text(config, "host.name", name);
    return name ? 0 : -1;
}

static int read_resource(struct faa_config *config)
{
    const char *list = faa_env("OTEL_RESOURCE_ATTRIBUTES");
    struct faa_str rest = faa_str_of(list), pair;
    faa_config_set_process(config);
    set_text(config, "telemetry.sdk.name", "fastapi-auto-agent");
    set_text(config, "telemetry.sdk.language", "python");
    set_text(config, "telemetry.sdk.version", FAA_VERSION);
    set_text(config, "service.name", default_service);
    set_text(config, "process.runtime.name", "cpython");
    if (set_host(config))
        return -1;
    while (faa_env_next(&rest, &pair))
        if (read_attribute(config, pair))
            return -1;
    const char *service = faa_env("OTEL_SERVICE_NAME");
    if (service) {
        char *name = faa_env_keep(faa_str_of(service));
        if (!name)
            return -1;
        set_text(config, "service.name", name);
    }
    config->exporter.service_name = attribute(config, "service.name")->value;
    faa_settings.service_name = config->exporter.service_name;
    return 0;
}

void faa_config_set_process(struct faa_config *config)
{
    set_number(config, "process.pid", getpid());
}

int faa_config_read(struct faa_config *config)
{
    memset(config, 0, sizeof(*config));
    config->exporter.version = FAA_VERSION;
    config->exporter.resource = config->resource;
    read_exporters(&config->exporter);
    read_endpoint(&config->exporter);
    read_propagators(config);
    config->flush_timeout_ms = faa_env_number("FAA_FLUSH_TIMEOUT", 2000, 0, 60000);
    if (faa_config_read_settings(&faa_settings))
        return -1;
    config->blocked_ms = faa_env_number("FAA_BLOCKED_THRESHOLD", 100, 0, 3600000);
    config->disabled = faa_env_keep(faa_str_of(faa_env("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS")));
    faa_config_read_limits(config);
    if (faa_config_read_sampler(config))
        return -1;
    return config->disabled ? read_resource(config) : -1;
}

int faa_config_is_disabled(const struct faa_config *config, const char *name)
{
    struct faa_str rest = faa_str_of(config->disabled), element;
    while (faa_env_next(&rest, &element))
        if (faa_str_eq(element, FAA_STR("*")) || faa_str_eq(element, faa_str_of(name)))
            return 1;
    return 0;
}

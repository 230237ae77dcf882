// SPDX-License-Identifier: MIT
// From the environment to settings.
#include "agent/config.h"

#include "agent/config_exporter.h"
#include "agent/config_span.h"
#include "agent/env.h"
#include "base/log.h"
#include "export/guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

static const char default_service[] = "fastapi-application";

const char *faa_config_disabled(void)
{
    if (faa_env_bool("OTEL_SDK_DISABLED"))
        return "OTEL_SDK_DISABLED=true";
    if (faa_env_bool("FAA_DISABLED"))
        return "FAA_DISABLED=true";
    return NULL;
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
    if (faa_config_read_exporter(&config->exporter))
        return -1;
    read_propagators(config);
    config->flush_timeout_ms = faa_env_number("FAA_FLUSH_TIMEOUT", 2000, 0, 60000);
    if (faa_config_read_settings(&faa_settings))
        return -1;
    config->blocked_ms = faa_env_number("FAA_BLOCKED_THRESHOLD", 100, 0, 3600000);
    config->disabled = faa_env_keep(faa_str_of(faa_env("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS")));
    const char *guard = faa_env(FAA_GUARD_VARIABLE);
    config->guard = guard ? faa_env_keep(faa_str_of(guard)) : NULL;
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

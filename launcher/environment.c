// SPDX-License-Identifier: MIT
// The environment that the command gets: the preload, and the settings that are not there yet.
#include "environment.h"

#include "message.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

// What separates the entries: glibc takes the space and the colon, musl all white space.
#define SEPARATORS " \t\n\v\f\r:"

static int has_entry(const char *list, struct faa_str entry)
{
    while (*list) {
        size_t n = strcspn(list, SEPARATORS);
        if (faa_str_eq((struct faa_str){list, n}, entry))
            return 1;
        list += n;
        list += strspn(list, SEPARATORS);
    }
    return 0;
}

int faa_environment_preload(const char *current, const char *library, char **out)
{
    if (strpbrk(library, SEPARATORS "$"))
        return -EINVAL;
    if (!current || !*current)
        *out = strdup(library);
    else if (has_entry(current, faa_str_of(library)))
        *out = strdup(current);
    else if (asprintf(out, "%s:%s", library, current) < 0)
        *out = NULL;
    return *out ? 0 : -ENOMEM;
}

static struct faa_str trimmed(const char *p, size_t n)
{
    while (n > 0 && (*p == ' ' || *p == '\t'))
        p++, n--;
    while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t'))
        n--;
    return (struct faa_str){p, n};
}

// True when a list "key=value,key=value" has a service.name that is not empty.
static int names_service(const char *attributes)
{
    while (*attributes) {
        size_t n = strcspn(attributes, ",");
        const char *equals = memchr(attributes, '=', n);
        if (equals) {
            size_t key = (size_t)(equals - attributes);
            if (faa_str_eq(trimmed(attributes, key), FAA_STR("service.name")) &&
                trimmed(equals + 1, n - key - 1).n > 0)
                return 1;
        }
        attributes += n;
        attributes += *attributes == ',';
    }
    return 0;
}

static int is_set(const char *name)
{
    const char *value = getenv(name);
    return value && *value;
}

// Removes the variable first: in an environment that has it twice, getenv would read the first
// one and the dynamic linker the last.
static int set(const char *name, const char *value)
{
    return unsetenv(name) < 0 || setenv(name, value, 1) < 0 ? -1 : 0;
}

static int set_service_name(const char *option)
{
    const char *attributes = getenv("OTEL_RESOURCE_ATTRIBUTES");
    if (option)
        return set("OTEL_SERVICE_NAME", option);
    if (is_set("OTEL_SERVICE_NAME") || (attributes && names_service(attributes)))
        return 0;
    return set("OTEL_SERVICE_NAME", FAA_DEFAULT_SERVICE_NAME);
}

// The variable for traces goes before the general one, so that an option which set only the
// general one would lose against it. It is removed, and not set, because its URL is used as it
// is, while the path of the general one is completed as the protocol in use needs it.
static int set_endpoint(const char *option)
{
    if (option)
        return unsetenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") < 0
                   ? -1
                   : set("OTEL_EXPORTER_OTLP_ENDPOINT", option);
    if (is_set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") || is_set("OTEL_EXPORTER_OTLP_ENDPOINT"))
        return 0;
    // Who chose the protocol gets its own port, and not that of gRPC for http/protobuf.
    if (is_set("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") || is_set("OTEL_EXPORTER_OTLP_PROTOCOL"))
        return 0;
    return set("OTEL_EXPORTER_OTLP_ENDPOINT", FAA_DEFAULT_ENDPOINT);
}

int faa_environment_set(const struct faa_options *options)
{
    return set_service_name(options->service_name) < 0 ||
                   set_endpoint(options->jaeger_endpoint) < 0 ||
                   (options->debug && set("FAA_LOG_LEVEL", "debug") < 0)
               ? -1
               : 0;
}

int faa_environment_prepare(const struct faa_options *options, const char *library)
{
    char *preload = NULL;
    int rc = faa_environment_preload(getenv("LD_PRELOAD"), library, &preload);
    if (rc == -EINVAL) {
        faa_message_print("cannot preload '%.800s': its path has white space, ':' or '$' in it",
                          library);
        return -1;
    }
    if (rc < 0 || set("LD_PRELOAD", preload) < 0 || faa_environment_set(options) < 0) {
        faa_message_print("cannot set the environment: %s", strerror(errno));
        rc = -1;
    }
    free(preload);
    return rc;
}

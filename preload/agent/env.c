// SPDX-License-Identifier: MIT
// Environment variables by the OpenTelemetry rules.
#include "agent/env.h"

#include "base/log.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>

const char *faa_env(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

void faa_env_reject(const char *name, const char *value, const char *instead)
{
    faa_warn("%s=%.200s cannot be used: %s", name, value, instead);
}

int faa_env_bool(const char *name)
{
    const char *value = faa_env(name);
    if (!value || strcasecmp(value, "false") == 0)
        return 0;
    if (strcasecmp(value, "true") == 0)
        return 1;
    faa_env_reject(name, value, "it is neither true nor false, and counts as false");
    return 0;
}

uint32_t faa_env_number(const char *name, uint32_t fallback, uint32_t min, uint32_t max)
{
    const char *value = faa_env(name);
    if (!value)
        return fallback;
    char *end;
    errno = 0;
    unsigned long number = strtoul(value, &end, 10);
    if (value[0] >= '0' && value[0] <= '9' && !*end && !errno && number >= min && number <= max)
        return (uint32_t)number;
    faa_warn("%s=%.200s cannot be used: not a whole number from %u to %u; using %u", name, value,
             min, max, fallback);
    return fallback;
}

int faa_env_next(struct faa_str *rest, struct faa_str *element)
{
    while (rest->n) {
        const char *comma = memchr(rest->p, ',', rest->n);
        size_t n = comma ? (size_t)(comma - rest->p) : rest->n;
        *element = faa_str_trim((struct faa_str){rest->p, n});
        rest->p += comma ? n + 1 : n;
        rest->n -= comma ? n + 1 : n;
        if (element->n)
            return 1;
    }
    return 0;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

long faa_env_unescape(char *text)
{
    char *out = text;
    for (const char *p = text; *p; p++) {
        if (*p != '%') {
            *out++ = *p;
            continue;
        }
        int high = hex(p[1]), low = high < 0 ? -1 : hex(p[2]);
        if (low < 0 || (high == 0 && low == 0))
            return -1;
        *out++ = (char)(high << 4 | low);
        p += 2;
    }
    *out = '\0';
    return out - text;
}

char *faa_env_keep(struct faa_str text)
{
    size_t cap = FAA_UTF8_CLEAN_MAX(text.n);
    char *copy = malloc(cap);
    if (copy)
        faa_utf8_clean(text, copy, cap);
    return copy;
}

void faa_env_log_level(void)
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

// SPDX-License-Identifier: MIT
// Reading single environment variables by the OpenTelemetry rules: empty is unset, what cannot be
// parsed is reported once and ignored, secrets are never shown.
#ifndef FAA_AGENT_ENV_H
#define FAA_AGENT_ENV_H

#include "base/str.h"

#include <stdint.h>

/// The variable's value, or NULL when unset or empty. Not copied.
const char *faa_env(const char *name);

/// True only for "true" in any case; another value than "true" or "false" gets a line.
int faa_env_bool(const char *name);

/// A whole number of milliseconds (or of things) from min to max.
uint32_t faa_env_number(const char *name, uint32_t fallback, uint32_t min, uint32_t max);

/// Sets the log level by FAA_LOG_LEVEL and OTEL_LOG_LEVEL.
void faa_env_log_level(void);

/// The line for a value that cannot be used.
void faa_env_reject(const char *name, const char *value, const char *instead);

/// The next element of a comma-separated list, without blanks around it; 0 at the end. Empty
/// elements are left out. `*rest` starts as the list and moves on.
int faa_env_next(struct faa_str *rest, struct faa_str *element);

/// Decodes percent-escapes in place; returns the new length, or -1 for a broken escape.
long faa_env_unescape(char *text);

/// A copy for ever, as valid UTF-8; NULL when there is no memory. Not even environment variables
/// stay where they are: setproctitle writes over them.
char *faa_env_keep(struct faa_str text);

#endif

// SPDX-License-Identifier: MIT
// The agent's only way to speak: one line on stderr, written with one write(2).
#ifndef FAA_BASE_LOG_H
#define FAA_BASE_LOG_H

#include "base/str.h"

enum faa_log_level {
    FAA_LOG_SILENT,
    FAA_LOG_WARN, ///< The default: a bad setting, the collector lost, the collector back.
    FAA_LOG_DEBUG ///< Everything that troubleshooting needs.
};

/// Sets the level of the whole process. Called once, before any other thread logs.
void faa_log_set_level(enum faa_log_level level);

/// True when lines of this level are written; lets a caller skip preparing them.
int faa_log_enabled(enum faa_log_level level);

/// Writes "<UTC time> <pid> faa <level>: <text>\n" to stderr, cut at 1024 bytes, control bytes
/// replaced by '?'. Any thread; async-signal-unsafe; errno is preserved; errors are ignored.
void faa_log(enum faa_log_level level, const char *fmt, ...) FAA_PRINTF(2, 3);

#define faa_warn(...) faa_log(FAA_LOG_WARN, __VA_ARGS__)
#define faa_debug(...)                                                                             \
    do {                                                                                           \
        if (faa_log_enabled(FAA_LOG_DEBUG))                                                        \
            faa_log(FAA_LOG_DEBUG, __VA_ARGS__);                                                   \
    } while (0)

#endif

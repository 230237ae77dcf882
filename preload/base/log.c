// SPDX-License-Identifier: MIT
// One log line is one write(2), so that lines of several processes never mix.
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 1024 };

static enum faa_log_level threshold = FAA_LOG_WARN;

void faa_log_set_level(enum faa_log_level level)
{
    threshold = level;
}

int faa_log_enabled(enum faa_log_level level)
{
    return level <= threshold;
}

static size_t put_prefix(char *line, size_t cap, enum faa_log_level level)
{
    struct timespec now;
    struct tm utc;
    char when[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &utc);
    int n = snprintf(line, cap, "%s.%03ldZ %ld faa %s: ", when, now.tv_nsec / 1000000L,
                     (long)getpid(), level == FAA_LOG_DEBUG ? "debug" : "warning");
    return n > 0 ? (size_t)n : 0;
}

void faa_log(enum faa_log_level level, const char *fmt, ...)
{
    if (!faa_log_enabled(level))
        return;
    int saved = errno;
    char line[LINE_MAX_BYTES];
    size_t start = put_prefix(line, sizeof(line), level);
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line + start, sizeof(line) - start - 1, fmt, args);
    va_end(args);
    size_t end = start + (n > 0 ? (size_t)n : 0);
    if (end > sizeof(line) - 2)
        end = sizeof(line) - 2;
    // What a library or a collector says may hold terminal escapes or line breaks.
    for (size_t i = start; i < end; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[end++] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line, end);
    (void)ignored;
    errno = saved;
}

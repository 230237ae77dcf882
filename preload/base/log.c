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

// What a library or a collector says may hold line breaks and terminal escapes: C0, DEL, and C1 in
// its UTF-8 form.
static void replace_controls(char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i], next = i + 1 < n ? (unsigned char)text[i + 1] : 0;
        if (c < 0x20 || c == 0x7f)
            text[i] = '?';
        else if (c == 0xc2 && next >= 0x80 && next <= 0x9f)
            text[i] = text[i + 1] = '?';
    }
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
    replace_controls(line + start, end - start);
    line[end++] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line, end);
    (void)ignored;
    errno = saved;
}

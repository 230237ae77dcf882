// SPDX-License-Identifier: MIT
// Traces as small trees in the terminal: what a person without Jaeger sees first.
#ifndef FAA_EXPORT_CONSOLE_H
#define FAA_EXPORT_CONSOLE_H

#include "base/str.h"

enum {
    FAA_CONSOLE_SPANS_MAX = 4096,    ///< Spans that wait for their root;
    FAA_CONSOLE_BYTES_MAX = 4 << 20, ///< and their bytes. The oldest is printed when full.
    FAA_CONSOLE_WIDTH = 120          ///< Columns of a line where there is no terminal.
};

struct faa_console;

/// Prints to `fd`, one write per tree; colours only when it is a terminal and neither NO_COLOR
/// nor TERM=dumb speaks against them. One thread at a time. NULL when out of memory.
FAA_MUSTUSE struct faa_console *faa_console_new(const char *service_name, int fd);
void faa_console_free(struct faa_console *console);

/// Takes a copy of a record. Returns 0, or -1 when it is damaged or there is no memory.
FAA_MUSTUSE int faa_console_add(struct faa_console *console, const void *record, size_t size);

/// Prints the trees that are finished: those whose top is this process's root of a trace, or the
/// child of a span that was printed before (it has outlived its request).
void faa_console_print(struct faa_console *console);

/// Prints everything, finished or not.
void faa_console_flush(struct faa_console *console);

#endif

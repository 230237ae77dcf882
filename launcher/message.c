// SPDX-License-Identifier: MIT
// How the launcher speaks to the user: whole lines on stderr, safe for a terminal.
#include "message.h"

#include <stdarg.h>
#include <stdio.h>

void faa_message_print(const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (n < 0)
        return;
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    fprintf(stderr, FAA_PROGRAM ": %s\n", text);
}

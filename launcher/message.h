// SPDX-License-Identifier: MIT
// How the launcher speaks to the user: whole lines on stderr, safe for a terminal.
#ifndef FAA_LAUNCHER_MESSAGE_H
#define FAA_LAUNCHER_MESSAGE_H

#include "base/str.h"

#define FAA_PROGRAM "fastapi-auto-agent"

/// Writes "fastapi-auto-agent: <text>\n" to stderr, cut at 1023 bytes. Control bytes, which may
/// come with a quoted argument, become '?', so that it is one line and no terminal sequence.
void faa_message_print(const char *fmt, ...) FAA_PRINTF(1, 2);

#endif

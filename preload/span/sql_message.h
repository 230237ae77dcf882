// SPDX-License-Identifier: MIT
// What a span may tell of a database's error message.
//
// Databases put names and values in quotes, as they are, with quotes of their own: where a value
// ends nobody can tell. So all from the first quote to the last becomes one `?`, or all that
// follows where there is only one. Numbers and the like are replaced as in a statement. The
// apostrophe of "can't" is no quote in front of the first, nor is the one of "doesn't exist" at the
// end.
#ifndef FAA_SPAN_SQL_MESSAGE_H
#define FAA_SPAN_SQL_MESSAGE_H

#include "base/str.h"

/// Writes the first line of `message` without values. Any bytes are accepted; FAA_SQL_MESSAGE_MAX
/// of them are told at most. Writes at most cap - 1 bytes, cut on a UTF-8 character boundary, and a
/// NUL (nothing when cap is 0). Returns the length without the NUL. Any thread.
size_t faa_sql_message(struct faa_str message, char *out, size_t cap);

enum { FAA_SQL_MESSAGE_MAX = 1024 };

#endif

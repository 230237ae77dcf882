// SPDX-License-Identifier: MIT
// Texts of exceptions: what libraries write into them may hold what a span must not tell.
#ifndef FAA_SPAN_MESSAGE_H
#define FAA_SPAN_MESSAGE_H

#include "base/str.h"

/// Bytes of a message that are read; the time is bounded by it.
enum { FAA_MESSAGE_READ_MAX = 65536 };

/// Copies an exception's message without what is known to be secret: SQLAlchemy's statement and
/// parameters, PostgreSQL's DETAIL line (it quotes the row), the inputs that pydantic and FastAPI
/// quote, user info and secret query and fragment values of URLs, values behind the names of
/// secrets (password=…, 'token': …; see url.h) and bearer tokens. Any bytes are accepted. Writes at
/// most cap - 1 bytes and a NUL; cap must be > 0. Returns the length without the NUL. Linear time.
size_t faa_message_redact(struct faa_str message, char *out, size_t cap);

/// Copies the first line of a database driver's message without what may be a value: all from the
/// first quote to the last one of its kind (drivers do not escape the quotes in what they quote),
/// numbers, and what follows where drivers are known to quote values bare. The error number of
/// MySQL's drivers stays. Bytes, cap and result as for faa_message_redact.
size_t faa_message_redact_driver(struct faa_str message, char *out, size_t cap);

/// With 1, faa_message_redact_driver does what faa_message_redact does: FAA_DB_QUERY_TEXT=raw.
/// Called before there are spans.
void faa_message_show_values(int show);

#endif

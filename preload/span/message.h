// SPDX-License-Identifier: MIT
// Texts of exceptions: what libraries write into them may hold what a span must not tell.
#ifndef FAA_SPAN_MESSAGE_H
#define FAA_SPAN_MESSAGE_H

#include "base/str.h"

/// Copies an exception's message without what is known to be secret: SQLAlchemy's statement and
/// parameters, PostgreSQL's DETAIL line (it quotes the row), the inputs that pydantic and FastAPI
/// quote, user info and secret query values of URLs. Any bytes are accepted. Writes at most cap - 1
/// bytes and a NUL; cap must be > 0. Returns the length without the NUL. Linear time.
size_t faa_message_redact(struct faa_str message, char *out, size_t cap);

#endif

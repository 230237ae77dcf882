// SPDX-License-Identifier: MIT
// UTF-8 cleaning: one invalid byte in one attribute makes a collector refuse the whole batch.
#ifndef FAA_BASE_UTF8_H
#define FAA_BASE_UTF8_H

#include "base/str.h"

/// The bytes that faa_utf8_clean may need for an input of n bytes, with the NUL.
#define FAA_UTF8_CLEAN_MAX(n) (3 * (n) + 1)

/// Copies `in` to `out` as valid UTF-8 without NUL bytes: each invalid byte, and each NUL, becomes
/// U+FFFD. Writes at most cap - 1 bytes, cut on a character boundary, and a NUL; cap must be > 0.
/// Returns the length written without the NUL. `in` and `out` must not overlap.
size_t faa_utf8_clean(struct faa_str in, char *out, size_t cap);

/// True when cleaning would change nothing: `in` is valid UTF-8 without NUL bytes.
int faa_utf8_valid(struct faa_str in);

#endif

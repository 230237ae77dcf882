// SPDX-License-Identifier: MIT
// gzip (RFC 1952) for requests.
#ifndef FAA_EXPORT_GZIP_H
#define FAA_EXPORT_GZIP_H

#include "base/str.h"

#include <stdint.h>

/// Compresses n bytes into memory of its own, `headroom` bytes behind its beginning: `*memory` is
/// for free(), `*len` the compressed bytes. Returns 0, or -1 (and nothing to free) without memory.
/// Any thread.
FAA_MUSTUSE int faa_gzip(const uint8_t *p, size_t n, size_t headroom, uint8_t **memory,
                         size_t *len);

#endif

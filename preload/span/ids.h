// SPDX-License-Identifier: MIT
// Random trace and span ids.
#ifndef FAA_SPAN_IDS_H
#define FAA_SPAN_IDS_H

#include "base/str.h"

#include <stdint.h>

/// Takes a new seed from the kernel. Called at start and in every forked child before it makes an
/// id, else parent and child would make the same ones. Not thread-safe.
void faa_ids_seed(void);

/// Fill in a random id that is not all zero. Any thread, lock-free.
void faa_ids_new_trace_id(uint8_t id[16]);
void faa_ids_new_span_id(uint8_t id[8]);

/// Both at once, for a root.
void faa_ids_new_root(uint8_t trace_id[16], uint8_t span_id[8]);

/// Lower-case hexadecimal digits of n bytes, without a NUL.
void faa_ids_hex(char *out, const uint8_t *id, unsigned n);

/// Reads 1 to 2n hexadecimal digits of either case into n bytes, with zeros before them. Returns 0,
/// or -1 for anything else; `id` is undefined then. Whether zero is an id is the caller's question.
FAA_MUSTUSE int faa_ids_parse(struct faa_str digits, uint8_t *id, unsigned n);

/// True when all n bytes are zero, which no valid id is.
int faa_ids_is_zero(const uint8_t *id, unsigned n);

#endif

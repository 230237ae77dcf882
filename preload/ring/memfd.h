// SPDX-License-Identifier: MIT
// Memory that another process can map by a descriptor, of a size that nobody can change.
#ifndef FAA_RING_MEMFD_H
#define FAA_RING_MEMFD_H

#include "base/str.h"

#include <stdint.h>

/// A sealed close-on-exec descriptor of `size` zero bytes, or -1.
FAA_MUSTUSE int faa_memfd_open(const char *name, uint64_t size);

/// True when its size cannot shrink under a reader's feet. Any descriptor may be given.
int faa_memfd_is_sealed(int fd);

/// Closes *fd if it is one, and sets it to -1. Keeps errno.
void faa_memfd_close(int *fd);

#endif

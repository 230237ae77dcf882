// SPDX-License-Identifier: MIT
// zlib's deflate in one call. It is the library that libcurl itself brings along.
#include "export/gzip.h"

#include <stdlib.h>
#include <zlib.h>

enum { GZIP_WRAPPER = 16 };

int faa_gzip(const uint8_t *p, size_t n, size_t headroom, uint8_t **memory, size_t *len)
{
    z_stream z = {0};
    // Spans repeat themselves: the fastest level makes them a tenth, the best a twelfth.
    if (n > UINT32_MAX / 2 || deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, MAX_WBITS + GZIP_WRAPPER,
                                           MAX_MEM_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
        return -1;
    size_t room = deflateBound(&z, n);
    *memory = malloc(headroom + room);
    z.next_in = (Bytef *)(uintptr_t)p; // Only read.
    z.avail_in = (uInt)n;
    z.next_out = *memory ? *memory + headroom : NULL;
    z.avail_out = (uInt)room;
    int done = *memory && deflate(&z, Z_FINISH) == Z_STREAM_END;
    *len = z.total_out;
    deflateEnd(&z);
    if (!done)
        free(*memory);
    return done ? 0 : -1;
}

// SPDX-License-Identifier: MIT
// A batch that a collector does not take in one piece, cut into smaller ones.
#ifndef FAA_EXPORT_PARTS_H
#define FAA_EXPORT_PARTS_H

#include "export/transport.h"

/// Zeroed: nothing is cut. One thread at a time.
struct faa_parts {
    struct faa_batch whole; ///< What is cut; not owned: it must stay until all parts are done.
    unsigned next;          ///< The first span of the part after the current one.
    unsigned size;          ///< Spans in a part.
    uint8_t *memory;        ///< Of the current part.
};

/// Cuts `batch`, which is a whole one or a part, in two and makes it the first half. Returns 0, or
/// -1 (and leaves it as it is) when it has one span only, or there is no memory.
FAA_MUSTUSE int faa_parts_cut(struct faa_parts *parts, struct faa_batch *batch);

/// `batch` is done: makes it the next part, or one of no spans when there is none. Returns how many
/// spans were lost on the way because there was no memory for them.
FAA_MUSTUSE unsigned faa_parts_next(struct faa_parts *parts, struct faa_batch *batch);

/// Spans in the parts that come after the current one.
unsigned faa_parts_left(const struct faa_parts *parts);

/// Gives all parts up.
void faa_parts_clear(struct faa_parts *parts);

#endif

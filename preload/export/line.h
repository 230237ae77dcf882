// SPDX-License-Identifier: MIT
// One span as one line of text.
#ifndef FAA_EXPORT_LINE_H
#define FAA_EXPORT_LINE_H

#include "base/str.h"
#include "span/record.h"

enum {
    FAA_LINE_WIDTH_MAX = 400, ///< Columns; wider terminals are not filled.
    FAA_LINE_BYTES = 2048     ///< Enough for that many columns, the colours and "\n".
};

struct faa_line_style {
    unsigned width; ///< Columns, at most FAA_LINE_WIDTH_MAX.
    int colours;
};

/// Writes the line of a span into `out` and returns its length in bytes. `prefix` is the branch of
/// the tree it hangs on. With `service`, the line is a tree's first: it begins with that name and
/// ends with the trace id. What a terminal could take for a command is replaced.
size_t faa_line_format(char out[FAA_LINE_BYTES], const struct faa_line_style *style,
                       const struct faa_record_view *view, const char *service, const char *prefix);

#endif

// SPDX-License-Identifier: MIT
// A span of what a dead process had begun and not ended.
#ifndef FAA_LAUNCHER_GUARD_REPORT_H
#define FAA_LAUNCHER_GUARD_REPORT_H

#include "span/record.h"

enum { FAA_REPORT_MAX = 4096 }; ///< Bytes.

/// Makes of `record` (`size` bytes of a stranger's) one that has ended at `end_ns` with an error:
/// error.type is `cause`, and the status message says so. Returns the size of what was written to
/// `out` (8-byte aligned), or 0 when it is no record.
size_t faa_report_make(const void *record, size_t size, uint64_t end_ns, const char *cause,
                       char out[FAA_REPORT_MAX]);

#endif

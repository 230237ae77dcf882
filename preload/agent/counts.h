// SPDX-License-Identifier: MIT
// What became of the spans of this process, told at each flush when the debug log is on.
#ifndef FAA_AGENT_COUNTS_H
#define FAA_AGENT_COUNTS_H

#include "export/exporter.h"

/// Shows how many spans have ended, were exported and were dropped. `e` is NULL where no exporter
/// has started; `is_exporting` says whether there should be one. Any thread.
void faa_counts_show(const struct faa_exporter *e, int is_exporting);

/// The same where the guard exports them, and shows what became of those that found room.
void faa_counts_show_guarded(void);

#endif

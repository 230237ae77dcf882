// SPDX-License-Identifier: MIT
// A file-descriptor table that belongs to one thread alone.
#ifndef FAA_EXPORT_FDTABLE_H
#define FAA_EXPORT_FDTABLE_H

/// Gives the calling thread its own descriptor table, in which only 2 (stderr) is still the
/// application's; 0 and 1 are occupied by a dummy. What the thread opens from then on is not seen,
/// closed or inherited by the rest of the process. The application's own table does not change.
/// Returns 1, or 0 where the kernel does not allow it and the table stays shared.
int faa_fdtable_unshare(void);

#endif

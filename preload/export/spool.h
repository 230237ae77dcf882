// SPDX-License-Identifier: MIT
// Batches in files, for as long as the collector is away: FAA_SPOOL_DIR.
//
// The folder may be shared by processes of one user, at the same time and one after the other: each
// file is one encoded request, which whoever finds the collector sends, and nobody twice. A file
// appears whole or not at all; one that was torn by a crash of the machine is known by its
// checksum, and thrown away.
#ifndef FAA_EXPORT_SPOOL_H
#define FAA_EXPORT_SPOOL_H

#include "base/str.h"
#include "export/transport.h"

struct faa_spool;

/// Opens the folder, made with permissions for its owner alone where it is not there. `limit`:
/// bytes of all files together. NULL when it cannot be used, with a line that says why: it is
/// nobody else's business, so a folder of another user, or that others may write to, is refused.
/// Used by the exporter thread alone, as all here.
FAA_MUSTUSE struct faa_spool *faa_spool_open(const char *folder, uint64_t limit);
void faa_spool_close(struct faa_spool *spool);

/// Keeps a batch. Where the limit asks for it the oldest files go: `*dropped` is how many spans
/// they had. Returns 0, or -1 when it cannot be kept, although room was made for it.
FAA_MUSTUSE int faa_spool_put(struct faa_spool *spool, const struct faa_batch *batch,
                              uint64_t *dropped);

/// The oldest batch that no other process is sending, read into memory of the spool's own with
/// room for gRPC's header. Returns 1, 0 when there is none, or -1 when it cannot be read now. It
/// stays this process's until faa_spool_done or faa_spool_leave. Files that are torn go: `*dropped`
/// is how many spans they say they had.
FAA_MUSTUSE int faa_spool_take(struct faa_spool *spool, struct faa_batch *batch, uint64_t *dropped);

/// The batch that was taken is sent, or will never be: its file goes.
void faa_spool_done(struct faa_spool *spool);

/// It could not be sent now: its file stays.
void faa_spool_leave(struct faa_spool *spool);

#endif

// SPDX-License-Identifier: MIT
// The batch that is on its way: attempts and the waits between them, its parts where it is too
// large, and files where the collector is away for long.
#ifndef FAA_EXPORT_SENDER_H
#define FAA_EXPORT_SENDER_H

#include "export/exporter.h"
#include "export/transport.h"

struct faa_sender;

/// Opens nothing but the spool's folder yet. `config` must outlive it. NULL when out of memory. The
/// exporter thread's alone, but for faa_sender_counts.
FAA_MUSTUSE struct faa_sender *faa_sender_new(const struct faa_exporter_config *config,
                                              int private_fds);

/// What waits goes into files, where there may be any, or is dropped. Returns the last numbers.
struct faa_exporter_counts faa_sender_free(struct faa_sender *sender);

/// True while there is a batch to be sent: then no other may be given.
int faa_sender_has_batch(const struct faa_sender *sender);

/// Takes a batch over. Its message must stay until faa_sender_has_batch is false.
void faa_sender_give(struct faa_sender *sender, const struct faa_batch *batch);

/// When the next attempt is due, for the batch or for one from the files: monotonic ns, 0 for at
/// once, UINT64_MAX for never.
uint64_t faa_sender_due(const struct faa_sender *sender);

/// One attempt. `last`: what fails is not kept to be tried again, but goes into a file or is
/// dropped; only a batch that was given is sent. `give_up(arg)` as for faa_transport_send.
void faa_sender_attempt(struct faa_sender *sender, int last, int (*give_up)(void *arg), void *arg);

/// There is no more room for what comes: a waiting batch goes into a file, where there may be any.
void faa_sender_unburden(struct faa_sender *sender);

/// Counts spans that were lost before they came here.
void faa_sender_count_dropped(struct faa_sender *sender, uint64_t spans);

/// Any thread.
struct faa_exporter_counts faa_sender_counts(const struct faa_sender *sender);

#endif

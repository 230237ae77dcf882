// SPDX-License-Identifier: MIT
// The processes whose rings the guard exports, from their offer until the last span of a dead one
// is sent. One thread.
#ifndef FAA_LAUNCHER_GUARD_WATCH_H
#define FAA_LAUNCHER_GUARD_WATCH_H

#include "export/exporter.h"

#include <poll.h>
#include <sys/types.h>

enum {
    FAA_WATCH_MAX = 512, ///< Processes at a time; the next ones wait at the socket.
    FAA_WATCH_DEAD_MAX =
        64,                ///< Dead ones that still have something to send; the oldest goes first.
    FAA_WATCH_TICK_MS = 50 ///< How often faa_watch_tick is to be called while it says so.
};

/// `config` must live as long as the guard; each process has its own resource.
void faa_watch_init(const struct faa_exporter_config *config);

/// True while nothing more can be accepted.
int faa_watch_is_full(void);

/// Accepts what waits at the listening socket.
void faa_watch_accept(int listener);

/// Fills in what is to be polled, at most 2 * FAA_WATCH_MAX. Returns the number.
size_t faa_watch_poll(struct pollfd *fds);

/// Takes what poll found: offers, and the ends of processes.
void faa_watch_handle(const struct pollfd *fds, size_t count);

/// A child of ours was waited for: its status would be known to nobody else any more.
void faa_watch_note_status(pid_t pid, int status);

/// Moves the dead ones on. Returns true while there are such.
int faa_watch_tick(void);

/// Sends what there is, for at most `timeout_ms`, and lets the living go on by themselves.
void faa_watch_finish(uint32_t timeout_ms);

#endif

// SPDX-License-Identifier: MIT
// How a process ended, also one that is not our child.
#ifndef FAA_LAUNCHER_GUARD_CAUSE_H
#define FAA_LAUNCHER_GUARD_CAUSE_H

#include "base/str.h"

#include <sys/types.h>

/// The wait status of a process that has ended, by its pidfd and pid; -1 when nobody can tell any
/// more: its parent was faster, on a Linux before 6.15.
int faa_cause_find(int pidfd, pid_t pid);

/// Its name for error.type: SIGKILL and the like, `exit` for a process that ended by itself, and
/// `killed` for -1. Static.
const char *faa_cause_name(int status);

#endif

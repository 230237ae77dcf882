// SPDX-License-Identifier: MIT
// The guard: a parent process that exports the rings of the processes below it, and so loses
// nothing when one of them is killed. This is what a process and its guard say to each other: one
// message over a Unix socket when the ring is made, with the descriptors of ring and flights.
#ifndef FAA_EXPORT_GUARD_H
#define FAA_EXPORT_GUARD_H

#include "base/str.h"
#include "export/exporter.h"

#include <sys/types.h>

/// The environment variable with the name of the guard's socket (in the abstract namespace).
#define FAA_GUARD_VARIABLE "FAA_GUARD_SOCKET"

enum {
    FAA_GUARD_MESSAGE_MAX = 16384, ///< Bytes of a message.
    FAA_GUARD_RESOURCE_MAX = 64    ///< Resource attributes in it.
};

/// A new ring as the guard gets it. Owns the descriptors; the attributes point into `message`.
struct faa_guard_offer {
    int ring, flights; ///< Descriptors; -1 after they were taken over.
    size_t resource_count;
    struct faa_resource_attribute resource[FAA_GUARD_RESOURCE_MAX];
    char message[FAA_GUARD_MESSAGE_MAX];
};

/// Offers a ring to the guard of this name. Returns 0, or -1 when there is no guard, it does not
/// answer at once, or the resource does not fit a message: then the process exports by itself.
/// Never blocks; leaves no descriptor open.
FAA_MUSTUSE int faa_guard_offer_ring(const char *name, int ring, int flights,
                                     const struct faa_resource_attribute *resource, size_t count);

/// False when the guard of this name has died. Never blocks; async-signal-safe.
int faa_guard_lives(const char *name);

/// Opens the guard's socket; returns the listening descriptor (close-on-exec, non-blocking) and
/// its name in `name`, or -1 with errno.
FAA_MUSTUSE int faa_guard_listen(char *name, size_t cap);

/// Accepts one connection, of a process of the same user only; those of others are closed. Returns
/// a descriptor, and the process as a pidfd in `*process`, -1 when it is dead and was waited for,
/// and a number in `*pid`; or -1 when there is none to accept.
FAA_MUSTUSE int faa_guard_accept(int listener, int *process, pid_t *pid);

/// Reads the offer of a connection. Returns 0, or -1 when it is none.
FAA_MUSTUSE int faa_guard_read_offer(int connection, struct faa_guard_offer *offer);

#endif

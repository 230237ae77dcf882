// SPDX-License-Identifier: MIT
// The gate between forks and the libraries beneath the exporter. A child gets a copy of the locks
// that these hold at that moment, libcrypto's among them, and nobody would ever release them there:
// so nobody forks while an exporter's thread is within a call of curl's.
#ifndef FAA_EXPORT_GATE_H
#define FAA_EXPORT_GATE_H

#include "base/str.h"

#include <stdint.h>

/// Around calls of curl's that may do more than set an option, on exporters' threads. They are not
/// nested, and nothing between the two waits for anything.
void faa_gate_enter(void);
void faa_gate_leave(void);

/// Before a fork: waits until no exporter is within, and keeps them out. Returns 0, or -1 when one
/// still was after `timeout_ms`. In either case faa_gate_open follows.
FAA_MUSTUSE int faa_gate_close(uint32_t timeout_ms);

/// After it, in the parent.
void faa_gate_open(void);

/// After it, in the child, which has no exporters. Async-signal-safe.
void faa_gate_forget(void);

#endif

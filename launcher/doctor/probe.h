// SPDX-License-Identifier: MIT
// What the probe says: the agent's reading of the settings, and one span sent.
#ifndef FAA_LAUNCHER_DOCTOR_PROBE_H
#define FAA_LAUNCHER_DOCTOR_PROBE_H

#include "doctor/check.h"

/// Runs the probe in the command's environment, once; doctor->probe holds what it says. Returns 0
/// when it has said all, -1 when not: then `doctor->probe_error` says why.
int faa_probe_run(struct faa_doctor *doctor);

/// The value that the probe has given to `key`, or "" for none.
const char *faa_probe_value(const struct faa_doctor *doctor, const char *key);

/// The same as a number.
double faa_probe_number(const struct faa_doctor *doctor, const char *key);

#endif

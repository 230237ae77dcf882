// SPDX-License-Identifier: MIT
// `fastapi-auto-agent doctor`: looks at everything between an application and its traces.
#ifndef FAA_LAUNCHER_DOCTOR_DOCTOR_H
#define FAA_LAUNCHER_DOCTOR_DOCTOR_H

#include "options.h"

/// Runs all checks, with time limits, and prints what they found to standard output. Changes this
/// process's environment into the command's. Returns the exit status: 0 when traces will arrive, 1
/// when they will not, when nobody can tell, or when the output could not be written.
FAA_MUSTUSE int faa_doctor_run(const struct faa_options *options);

#endif

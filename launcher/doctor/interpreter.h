// SPDX-License-Identifier: MIT
// What the doctor lets an interpreter run, isolated (-I) from the application.
#ifndef FAA_LAUNCHER_DOCTOR_INTERPRETER_H
#define FAA_LAUNCHER_DOCTOR_INTERPRETER_H

#include "doctor/check.h"

/// Prints what kind of interpreter it is, and of each module among its arguments whether it is
/// there and in which version, without importing any.
extern const char faa_interpreter_facts[];

/// Imports the modules among its arguments, one after another, and prints which have come.
extern const char faa_interpreter_imports[];

/// Runs one of them with `modules` (ended by NULL, at most FAA_LIBRARIES_MAX) in doctor->child,
/// with LD_PRELOAD set to `preload`, or not at all for NULL. Returns as faa_child_run.
int faa_interpreter_run(struct faa_doctor *doctor, const char *script, const char *const *modules,
                        const char *preload, unsigned limit_ms);

#endif

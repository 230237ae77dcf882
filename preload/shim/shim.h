// SPDX-License-Identifier: MIT
// What the files of libfaa.so share. The library lives in every process that inherits the preload,
// so it needs nothing but libc: no versioned symbol, no DT_NEEDED, no allocation, no thread.
#ifndef FAA_SHIM_SHIM_H
#define FAA_SHIM_SHIM_H

#define FAA_EXPORT __attribute__((visibility("default")))

/// The next definition of `name` after ours, for a call that came from `caller` (a return
/// address): by RTLD_NEXT, else in the object that called, else in any loaded object (a libpython
/// that was loaded with RTLD_LOCAL is in no global scope). NULL when nobody has it. Not
/// async-signal-safe.
void *faa_shim_real(const char *name, const void *caller);

/// Registers the audit hook if the interpreter is part of the program or one of its libraries.
/// Called by the constructor.
void faa_shim_arm_at_load(void);

/// Registers the audit hook when an interpreter is there and it is not registered yet.
void faa_shim_arm(void);

/// Starts the agent, once a process, if the interpreter is ready. Called with the GIL held.
void faa_shim_start(const char *road);

/// Sends finished spans, if an agent runs in this process. Bounded in time.
void faa_shim_flush(void);

/// Finds libc's own functions behind the ones of process.c. Called by the constructor, because
/// dlsym is not allowed where they are used (between vfork and exec, in signal handlers).
void faa_shim_find_process_functions(void);

#endif

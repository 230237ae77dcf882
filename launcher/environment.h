// SPDX-License-Identifier: MIT
// The environment that the command gets: the preload, and the settings that are not there yet.
#ifndef FAA_LAUNCHER_ENVIRONMENT_H
#define FAA_LAUNCHER_ENVIRONMENT_H

#include "options.h"

/// Composes a value of LD_PRELOAD: `current` (NULL for none) as it is when it has the entry
/// `library` already, else `library` before it. Sets *out, which the caller frees.
/// Returns 0, -EINVAL when the dynamic linker could not read the path of the library back from
/// LD_PRELOAD (white space and colons separate there, a dollar sign expands), or -ENOMEM.
FAA_MUSTUSE int faa_environment_preload(const char *current, const char *library, char **out);

/// Sets the variables of options and defaults that are not there yet: everything but LD_PRELOAD.
/// An empty variable counts as unset. Returns 0, or -1 with errno.
FAA_MUSTUSE int faa_environment_set(const struct faa_options *options);

/// Changes this process's environment into the command's. `library` is the path of libfaa.so.
/// Returns 0, or -1; the reason has been printed.
FAA_MUSTUSE int faa_environment_prepare(const struct faa_options *options, const char *library);

#endif

// SPDX-License-Identifier: MIT
// The variables that the agent reads, and what holds without them.
#ifndef FAA_LAUNCHER_DOCTOR_VARIABLES_H
#define FAA_LAUNCHER_DOCTOR_VARIABLES_H

#include "doctor/mask.h"

struct faa_variable {
    const char *name;
    const char *other;    ///< Another name for the same; NULL: none.
    int other_first;      ///< It goes before `name`, when both are set.
    const char *fallback; ///< As it would be written; "" for nothing.
    enum faa_mask mask;
};

extern const struct faa_variable faa_variables[];
extern const size_t faa_variable_count;

/// A variable of the agent that `name` may be a misspelling of, or NULL.
const char *faa_variable_like(const char *name);

/// True when the agent reads a variable of this name.
int faa_variable_is_known(const char *name);

#endif

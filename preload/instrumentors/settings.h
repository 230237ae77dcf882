// SPDX-License-Identifier: MIT
// What the user chose for the instrumentors, which cannot see the agent's configuration.
#ifndef FAA_INSTRUMENTORS_SETTINGS_H
#define FAA_INSTRUMENTORS_SETTINGS_H

#include <stdint.h>

/// FAA_FASTAPI_SPANS, bits.
enum {
    FAA_STEP_DEPENDENCIES = 1 << 0,
    FAA_STEP_ENDPOINT = 1 << 1,
    FAA_STEP_VALIDATION = 1 << 2,
    FAA_STEP_SERIALIZATION = 1 << 3,
    FAA_STEP_BACKGROUND_TASK = 1 << 4,
    FAA_STEP_SLOW_DEPENDENCY = 1 << 5, ///< Chosen together with FAA_STEP_DEPENDENCIES, too.
    FAA_STEP_DEFAULT = FAA_STEP_VALIDATION | FAA_STEP_BACKGROUND_TASK | FAA_STEP_SLOW_DEPENDENCY,
    FAA_STEP_ALL = (1 << 6) - 1
};

struct faa_settings {
    unsigned fastapi_spans;      ///< FAA_STEP_… bits.
    uint64_t slow_dependency_ns; ///< FAA_SLOW_DEPENDENCY: the shortest that is told; 0: every one.
};

/// The agent fills it before the first instrumentor is installed; it does not change after that.
extern struct faa_settings faa_settings;

#endif

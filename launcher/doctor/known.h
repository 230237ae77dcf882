// SPDX-License-Identifier: MIT
// The libraries that the agent instruments, from the descriptors of its instrumentors.
#ifndef FAA_LAUNCHER_DOCTOR_KNOWN_H
#define FAA_LAUNCHER_DOCTOR_KNOWN_H

#include "base/str.h"

struct faa_known_library {
    const char *name;     ///< As in OTEL_PYTHON_DISABLED_INSTRUMENTATIONS.
    const char *module;   ///< After whose import it is instrumented.
    const char *title;    ///< As people write it; NULL in a further module of the same name.
    const char *versions; ///< Oldest and newest that are tested, "1.4 to 2.1"; NULL like `title`.
};

extern const struct faa_known_library faa_known_libraries[];
extern const size_t faa_known_library_count;

/// True when `version` lies outside of `tested`: "2.1" means 2.1 and every 2.1.x. What is no
/// version is not outside.
int faa_known_is_untested(const char *version, const char *tested);

#endif

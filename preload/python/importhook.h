// SPDX-License-Identifier: MIT
// The import hook: tells when a library that we know has been imported.
#ifndef FAA_PYTHON_IMPORTHOOK_H
#define FAA_PYTHON_IMPORTHOOK_H

#include "python/capi.h"

/// One module to wait for. `loaded` runs right after its body, on the importing thread, with no
/// error set, and must leave none.
struct faa_import_target {
    const char *module;
    void (*loaded)(const struct faa_import_target *target, PyObject *module);
    const void *data;
};

/// Puts a finder at sys.meta_path[0], and calls `loaded` for what is imported already. Several
/// targets may name one module. `targets` is static. 0, -1 with a Python error, or 1 when another
/// copy of the agent has done so.
FAA_MUSTUSE int faa_importhook_install(const struct faa_import_target *targets, size_t count);

#endif

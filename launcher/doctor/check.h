// SPDX-License-Identifier: MIT
// What a check is, and the list of all of them.
//
// To add one, write doctor/check_<name>.c, which defines `const struct faa_check faa_check_<name>`,
// and add one line to the list. They run in its order, and may use what those before have found.
#ifndef FAA_LAUNCHER_DOCTOR_CHECK_H
#define FAA_LAUNCHER_DOCTOR_CHECK_H

#include "doctor/child.h"
#include "doctor/command.h"
#include "doctor/elf.h"
#include "doctor/report.h"
#include "options.h"

#define FAA_CHECKS(X)                                                                              \
    X(installation)                                                                                \
    X(command)                                                                                     \
    X(python)                                                                                      \
    X(trial)                                                                                       \
    X(others)                                                                                      \
    X(settings)                                                                                    \
    X(collector)

/// What the environment had before the launcher's options and defaults went into it.
struct faa_before {
    const char *name; ///< The variable; static.
    char *value;      ///< NULL: it was not set.
};

/// What the probe has said.
struct faa_said {
    const char *key, *value; ///< Into its output.
};

enum { FAA_BEFORE_MAX = 8, FAA_PROBE_LINES_MAX = 64 };

/// What the checks share. Large: static storage.
struct faa_doctor {
    const struct faa_options *options; ///< As given on the command line.
    struct faa_report *report;
    struct faa_before before[FAA_BEFORE_MAX]; ///< Ended by an entry without a name.
    char library[PATH_MAX]; ///< libfaa.so; "" when there is none, and nothing can be preloaded.
    char *preload;          ///< LD_PRELOAD as the command gets it; NULL like `library`.

    struct faa_command command; ///< Of the command's first word, or of one behind it.
    struct faa_elf program;     ///< Of command.program.
    const char *python;         ///< The interpreter, when there is one that can be asked; or NULL.
    char has_module[FAA_LIBRARIES_MAX]; ///< Of faa_known_libraries: its package is there.
    struct faa_child child; ///< For whoever needs one; after the settings, the probe's words.

    struct faa_said probe[FAA_PROBE_LINES_MAX]; ///< See doctor/probe.h.
    size_t probe_count;
    char probe_error[320]; ///< Why it has not said all; "".
};

struct faa_check {
    const char *title; ///< The heading of its findings.
    void (*run)(struct faa_doctor *doctor);
};

#define X(name) extern const struct faa_check faa_check_##name;
FAA_CHECKS(X)
#undef X

#endif

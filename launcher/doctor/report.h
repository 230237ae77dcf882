// SPDX-License-Identifier: MIT
// What the doctor has found out, before it is told to a person or to a program.
#ifndef FAA_LAUNCHER_DOCTOR_REPORT_H
#define FAA_LAUNCHER_DOCTOR_REPORT_H

#include "base/str.h"

enum {
    FAA_FINDINGS_MAX = 128, ///< What comes after them is left out, and makes the report a bad one.
    FAA_LIBRARIES_MAX = 64, ///< Of the command's environment,
    FAA_SETTINGS_MAX = 96,  ///< and variables.
    FAA_FACTS_MAX = 8,      ///< Of one finding.
    FAA_SUMMARY_MAX = 640,  ///< Bytes of a sentence, with the NUL; a longer one is cut.
    FAA_FACT_MAX = 320      ///< Bytes of a value, with the NUL.
};

enum faa_status {
    FAA_OK,
    FAA_NOTE,    ///< Good to know.
    FAA_WARNING, ///< Traces arrive, but not all or not as one might think.
    FAA_PROBLEM, ///< Traces do not arrive, or nobody can tell that they do.
    FAA_SKIPPED  ///< Could not be looked at, for want of something that another finding is about.
};

struct faa_fact {
    const char *key; ///< Static.
    char value[FAA_FACT_MAX];
};

struct faa_finding {
    enum faa_status status;
    const char *check; ///< Its name for programs, "collector.connect"; static.
    char summary[FAA_SUMMARY_MAX];
    char advice[FAA_SUMMARY_MAX]; ///< What to do; "" where nothing is to be done.
    size_t fact_count;
    struct faa_fact facts[FAA_FACTS_MAX];
};

/// What becomes of a library; the names for programs are in json_report.c.
enum faa_library_state {
    FAA_LIBRARY_INSTRUMENTED,
    FAA_LIBRARY_DISABLED,   ///< By OTEL_PYTHON_DISABLED_INSTRUMENTATIONS.
    FAA_LIBRARY_NOT_WANTED, ///< Only on demand, and there was none.
    FAA_LIBRARY_UNKNOWN_SHAPE,
    FAA_LIBRARY_BROKEN,    ///< It cannot be imported.
    FAA_LIBRARY_NOT_TRIED, ///< It is there; the trial did not come to it.
    FAA_LIBRARY_ABSENT
};

struct faa_library {
    const char *name;   ///< As in OTEL_PYTHON_DISABLED_INSTRUMENTATIONS; static.
    const char *title;  ///< As people write it; static.
    const char *tested; ///< "1.4 to 2.1"; static.
    enum faa_library_state state;
    char version[64]; ///< "" for the standard library.
    char reason[200]; ///< Why it is not instrumented; or "".
    int is_untested;  ///< Its version is outside of those that are tested.
};

enum faa_source {
    FAA_SOURCE_DEFAULT,
    FAA_SOURCE_ENVIRONMENT,
    FAA_SOURCE_OPTION,  ///< Of the launcher.
    FAA_SOURCE_LAUNCHER ///< Its default, which differs from the agent's.
};

struct faa_setting {
    const char *variable;    ///< The one that counts; static.
    const char *alternative; ///< Another name for the same, NULL: none; static.
    const char *option;      ///< FAA_SOURCE_OPTION: its name; static. Else NULL.
    enum faa_source source;
    int is_masked; ///< `value` is not all of it.
    char value[FAA_FACT_MAX];
};

/// Large: static storage.
struct faa_report {
    size_t finding_count, library_count, setting_count;
    int is_cut; ///< Something was left out.
    struct faa_finding findings[FAA_FINDINGS_MAX];
    struct faa_library libraries[FAA_LIBRARIES_MAX];
    struct faa_setting settings[FAA_SETTINGS_MAX];
};

/// Adds a finding with a sentence without a full stop. Whatever it quotes may hold any bytes: who
/// prints it makes it harmless. Never NULL (what does not fit is written over, and `is_cut` set).
struct faa_finding *faa_report_add(struct faa_report *report, enum faa_status status,
                                   const char *check, const char *fmt, ...) FAA_PRINTF(4, 5);

/// What to do about it. Returns `finding`.
struct faa_finding *faa_finding_advise(struct faa_finding *finding, const char *fmt, ...)
    FAA_PRINTF(2, 3);

/// A detail for programs. One too many is left out. Returns `finding`.
struct faa_finding *faa_finding_fact(struct faa_finding *finding, const char *key, const char *fmt,
                                     ...) FAA_PRINTF(3, 4);

/// Findings of this status.
size_t faa_report_count(const struct faa_report *report, enum faa_status status);

/// True when traces will arrive, as far as can be told.
int faa_report_is_good(const struct faa_report *report);

/// Formats into a buffer; a text that is cut ends in "..." and never within a character.
void faa_report_format(char *out, size_t cap, const char *fmt, ...) FAA_PRINTF(3, 4);

#endif

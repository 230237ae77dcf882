// SPDX-License-Identifier: MIT
// The report, for people and for programs.
#ifndef FAA_LAUNCHER_DOCTOR_PRINT_H
#define FAA_LAUNCHER_DOCTOR_PRINT_H

#include "doctor/report.h"
#include "options.h"

/// The version of the JSON document; it grows when a field is renamed or goes, not when one comes.
#define FAA_JSON_SCHEMA 1

/// Prints the findings from `first` on under their heading; nothing when there are none.
void faa_print_section(const struct faa_report *report, const char *title, size_t first);

/// The last line.
void faa_print_verdict(const struct faa_report *report);

/// Everything as one JSON object.
void faa_print_json(const struct faa_report *report, const struct faa_options *options);

#endif

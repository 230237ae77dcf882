// SPDX-License-Identifier: MIT
// The command line: what was asked for, and the text of --help.
#ifndef FAA_LAUNCHER_OPTIONS_H
#define FAA_LAUNCHER_OPTIONS_H

#include "base/str.h"

#include <stdbool.h>

#define FAA_DEFAULT_SERVICE_NAME "fastapi-application"
#define FAA_DEFAULT_ENDPOINT "http://localhost:4317"

/// The longest service name that is accepted, in bytes.
#define FAA_SERVICE_NAME_MAX 255

/// Every pointer is borrowed from argv.
struct faa_options {
    const char *service_name;    ///< NULL when not given; else valid UTF-8 and not blank.
    const char *jaeger_endpoint; ///< NULL when not given; else a URL that was checked.
    bool debug;
    bool guard;           ///< Stay as the command's parent: asked for, or by default as PID 1.
    bool die_with_parent; ///< The guard ends its command when its own parent ends.
    bool doctor;          ///< Look at everything instead of running the command,
    bool json;            ///< and tell it as JSON.
    char **command;       ///< The command and its arguments, ended by NULL; doctor: may be empty.
};

enum faa_options_action {
    FAA_OPTIONS_RUN,
    FAA_OPTIONS_HELP,
    FAA_OPTIONS_VERSION,
    FAA_OPTIONS_BAD ///< The reason has been printed.
};

/// Reads the options up to the first argument that is none, or to "--". `out` is complete only
/// with FAA_OPTIONS_RUN. To be called once, as getopt keeps state.
FAA_MUSTUSE enum faa_options_action faa_options_parse(int argc, char **argv,
                                                      struct faa_options *out);

/// The text of --help.
extern const char faa_options_help[];

#endif

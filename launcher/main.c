// SPDX-License-Identifier: MIT
// fastapi-auto-agent: becomes the command that it is given, with the tracer preloaded.
#include "become.h"
#include "doctor/doctor.h"
#include "environment.h"
#include "library.h"
#include "message.h"
#include "options.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int print(const char *text)
{
    if (fputs(text, stdout) >= 0 && fflush(stdout) == 0)
        return EXIT_SUCCESS;
    faa_message_print("cannot write to standard output: %s", strerror(errno));
    return EXIT_FAILURE;
}

// The guard gets the preload as an argument and puts it into its child's environment: it is no
// place for the tracer itself. Returns, with the exit status, only when there is none.
static int become_guard(const struct faa_options *options, const char *library, int argc)
{
    static char die[] = "die", stay[] = "-";
    char path[PATH_MAX];
    char *preload = strdup(getenv("LD_PRELOAD"));
    char **argv = calloc((size_t)argc + 4, sizeof(*argv)), **next = argv;
    if (!preload || !argv || faa_library_find_guard(library, path, sizeof(path)) < 0)
        return EXIT_UNUSABLE;
    *next++ = path;
    *next++ = preload;
    *next++ = options->die_with_parent ? die : stay;
    for (char **word = options->command; *word; word++)
        *next++ = *word;
    unsetenv("LD_PRELOAD");
    execv(path, argv);
    faa_message_print("%.512s: %s", path, strerror(errno));
    return EXIT_UNUSABLE;
}

int main(int argc, char **argv)
{
    struct faa_options options;
    char library[PATH_MAX];
    switch (faa_options_parse(argc, argv, &options)) {
    case FAA_OPTIONS_HELP:
        return print(faa_options_help);
    case FAA_OPTIONS_VERSION:
        return print(FAA_PROGRAM " " FAA_VERSION "\n");
    case FAA_OPTIONS_BAD:
        fputs("Try '" FAA_PROGRAM " --help'.\n", stderr);
        return EXIT_UNUSABLE;
    case FAA_OPTIONS_RUN:
        break;
    }
    if (options.doctor)
        return faa_doctor_run(&options);
    if (faa_library_find(library, sizeof(library)) < 0 ||
        faa_environment_prepare(&options, library) < 0)
        return EXIT_UNUSABLE;
    return options.guard ? become_guard(&options, library, argc) : faa_become(options.command);
}

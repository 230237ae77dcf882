// SPDX-License-Identifier: MIT
// Programs that the doctor asks: heard out, and ended when their time is over.
#ifndef FAA_LAUNCHER_DOCTOR_CHILD_H
#define FAA_LAUNCHER_DOCTOR_CHILD_H

#include "base/str.h"

enum {
    FAA_CHILD_OUT_MAX = 65536, ///< Bytes of output that are kept, with the NUL; the rest is lost.
    FAA_CHILD_VARIABLES_MAX = 4
};

/// What to run, and what came of it. Large: static storage.
struct faa_child {
    char *const *argv;     ///< argv[0] is a path; or NULL, and `run` is called in the child.
    int (*run)(void *arg); ///< Returns the exit status.
    void *arg;
    unsigned limit_ms;
    struct {
        const char *name, *value; ///< `value` NULL: taken out of the environment.
    } variables[FAA_CHILD_VARIABLES_MAX];

    int status;    ///< As of waitpid; -1 when it could not be started.
    int timed_out; ///< It was killed after `limit_ms`.
    char out[FAA_CHILD_OUT_MAX], err[FAA_CHILD_OUT_MAX];
};

/// Runs it with an empty standard input, in a process group of its own that ends with it. Returns 0
/// when it has ended with the exit status 0, else -1.
int faa_child_run(struct faa_child *child);

/// How it ended when that was not well, in words: "it was killed by signal 11 (…)".
void faa_child_describe(const struct faa_child *child, char *out, size_t cap);

/// The next line of `*rest`, without its end; 0 when there is none. `*rest` starts as the text
/// and moves on; line breaks become NULs.
int faa_child_line(char **rest, char **line);

#endif

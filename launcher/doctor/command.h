// SPDX-License-Identifier: MIT
// Which interpreter a command ends up in: through PATH, and through the first lines of scripts.
#ifndef FAA_LAUNCHER_DOCTOR_COMMAND_H
#define FAA_LAUNCHER_DOCTOR_COMMAND_H

#include "base/str.h"

#include <limits.h>

enum {
    FAA_SCRIPTS_MAX = 5,      ///< Scripts that run scripts, as the kernel allows.
    FAA_SCRIPT_HEAD_MAX = 512 ///< Bytes of a script that are looked at.
};

enum faa_command_kind {
    FAA_COMMAND_PROGRAM,      ///< `program` is an ELF file.
    FAA_COMMAND_SHELL_SCRIPT, ///< What it runs cannot be seen from outside.
    FAA_COMMAND_NOT_FOUND,    ///< `program` is what was not found.
    FAA_COMMAND_NOT_EXECUTABLE,
    FAA_COMMAND_UNREADABLE,
    FAA_COMMAND_LOOP ///< Scripts without an end.
};

struct faa_command {
    enum faa_command_kind kind;
    char path[PATH_MAX];    ///< Of the word itself.
    char program[PATH_MAX]; ///< What runs it; the same as `path` when it is no script.
    int scripts;            ///< How many lie between the two.
    int error;              ///< errno, where there is one.
};

/// Finds out what runs when `word` is executed with this PATH.
void faa_command_find(const char *word, const char *path, struct faa_command *out);

/// Searches as execvp does. Returns 0 with the path in `out`, or a negative errno.
FAA_MUSTUSE int faa_command_search(const char *word, const char *path, char out[PATH_MAX]);

/// Reads the beginning of a script (`n` bytes): the program that its first line names, through
/// /usr/bin/env, and through the two lines that installers write where that line would be too long
/// (`#!/bin/sh`, `'''exec' /path/python "$0" "$@"`). Returns 1 with the program in `out`: a path,
/// or a name to be searched for; 0 when it is no script of this kind.
FAA_MUSTUSE int faa_command_read_script(const char *head, size_t n, char out[PATH_MAX]);

/// The part of a path behind its last slash.
const char *faa_command_basename(const char *path);

#endif

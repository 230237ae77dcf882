// SPDX-License-Identifier: MIT
// The end of launching: this process becomes the command.
#ifndef FAA_LAUNCHER_BECOME_H
#define FAA_LAUNCHER_BECOME_H

/// EXIT_UNUSABLE means that nothing was started; the other two are what a shell reports.
enum { EXIT_UNUSABLE = 2, EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127 };

/// execvp() of the command, its NULL behind it. Returns, with the exit status, only when it could
/// not be started, which one line has told then.
int faa_become(char **command);

#endif

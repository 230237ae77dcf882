// SPDX-License-Identifier: MIT
#include "become.h"

#include "message.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

int faa_become(char **command)
{
    execvp(command[0], command);
    int err = errno;
    int absent = err == ENOENT || err == ENOTDIR;
    int searched = absent && !strchr(command[0], '/');
    faa_message_print("%.512s: %s", command[0], searched ? "command not found" : strerror(err));
    return absent ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
}

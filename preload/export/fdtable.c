// SPDX-License-Identifier: MIT
// Leaving the process's descriptor table without a trace in it.
#include "export/fdtable.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

// The headers of older C libraries lack both; the numbers are the same on every architecture.
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
enum { UNSHARE_TABLE = 1 << 1, DEFAULT_TABLE_SIZE = 65536 };

// The kernel says how large the thread's table is, which bounds what can be open in it.
static int table_size(void)
{
    char text[4096];
    int fd = open("/proc/thread-self/status", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return DEFAULT_TABLE_SIZE;
    text[n] = '\0';
    const char *line = strstr(text, "\nFDSize:");
    long size = line ? strtol(line + strlen("\nFDSize:"), NULL, 10) : 0;
    return size > 0 && size < 1 << 30 ? (int)size : DEFAULT_TABLE_SIZE;
}

// Kernels before 5.9: copy the table, then close the copies. This releases no POSIX lock of the
// application, because locks belong to a table, and sends no EOF, because its originals stay open.
static int unshare_and_close(void)
{
    if (unshare(CLONE_FILES) != 0)
        return 0;
    for (int fd = 3, size = table_size(); fd < size; fd++)
        close(fd);
    return 1;
}

int faa_fdtable_unshare(void)
{
    if (syscall(SYS_close_range, 3u, ~0u, UNSHARE_TABLE) != 0 && !unshare_and_close())
        return 0;
    // A peer of the application's stdin or stdout must see EOF when the application closes them,
    // so they may not stay open here. Nor may they be free: a socket would take the number 2 when
    // the application has closed it, and libuv refuses to close a descriptor below 3. To read or
    // write an epoll descriptor fails at once.
    int dummy = epoll_create1(EPOLL_CLOEXEC);
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fd != dummy && (fd < STDERR_FILENO || fcntl(fd, F_GETFD) < 0))
            dup3(dummy, fd, O_CLOEXEC);
    if (dummy > STDERR_FILENO)
        close(dummy);
    return 1;
}

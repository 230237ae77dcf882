// SPDX-License-Identifier: MIT
// Three sources: wait for a child of ours, /proc while its parent has not waited for it, and the
// pidfd after that.
#include "guard/cause.h"

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

// Of linux/pidfd.h, in its first form.
struct pidfd_info {
    uint64_t mask, cgroup;
    uint32_t pid, tgid, ppid, ids[8];
    int32_t exit_code;
};
enum { PIDFD_INFO_EXIT = 1 << 3 };
#define PIDFD_GET_INFO _IOWR(0xff, 11, struct pidfd_info)

static int from_child(int pidfd)
{
    siginfo_t info = {0};
    if (waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
        info.si_pid == 0)
        return -1;
    return info.si_code == CLD_EXITED ? W_EXITCODE(info.si_status, 0) : info.si_status;
}

static int from_pidfd(int pidfd)
{
    struct pidfd_info info = {.mask = PIDFD_INFO_EXIT};
    if (ioctl(pidfd, PIDFD_GET_INFO, &info) < 0 || !(info.mask & PIDFD_INFO_EXIT))
        return -1;
    return info.exit_code;
}

// The 52nd field, the last one. What lies between the first two may hold blanks and parentheses.
static int from_proc(int pidfd, pid_t pid)
{
    char path[48], text[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return -1;
    size_t n = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[n] = '\0';
    const char *last = strrchr(text, ' ');
    // Still the same process: one that was waited for has given its number back.
    if (!last || syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) < 0)
        return -1;
    return (int)strtol(last, NULL, 10);
}

int faa_cause_find(int pidfd, pid_t pid)
{
    if (pidfd < 0)
        return -1;
    int status = from_child(pidfd);
    if (status < 0)
        status = from_proc(pidfd, pid);
    return status < 0 ? from_pidfd(pidfd) : status;
}

const char *faa_cause_name(int status)
{
    static const char *const names[] = {
        [SIGHUP] = "SIGHUP",   [SIGINT] = "SIGINT",   [SIGQUIT] = "SIGQUIT", [SIGILL] = "SIGILL",
        [SIGTRAP] = "SIGTRAP", [SIGABRT] = "SIGABRT", [SIGBUS] = "SIGBUS",   [SIGFPE] = "SIGFPE",
        [SIGKILL] = "SIGKILL", [SIGUSR1] = "SIGUSR1", [SIGSEGV] = "SIGSEGV", [SIGUSR2] = "SIGUSR2",
        [SIGPIPE] = "SIGPIPE", [SIGALRM] = "SIGALRM", [SIGTERM] = "SIGTERM", [SIGXCPU] = "SIGXCPU",
        [SIGXFSZ] = "SIGXFSZ", [SIGSYS] = "SIGSYS",
    };
    if (status < 0)
        return "killed";
    if (!WIFSIGNALED(status))
        return "exit";
    size_t n = (size_t)WTERMSIG(status);
    return n < FAA_COUNT(names) && names[n] ? names[n] : "signal";
}

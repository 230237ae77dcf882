// SPDX-License-Identifier: MIT
// The ends of a process that run no exit handler. uvicorn ends on SIGTERM by raising the signal
// again, which skips atexit: without these the last requests would be lost.
#include "shim/shim.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

static int (*real_raise)(int);
static int (*real_kill)(pid_t, int);
static void (*real_exit)(int);

void faa_shim_find_process_functions(void)
{
    const void *here = __builtin_return_address(0);
    real_raise = (int (*)(int))faa_shim_real("raise", here);
    real_kill = (int (*)(pid_t, int))faa_shim_real("kill", here);
    real_exit = (void (*)(int))faa_shim_real("_exit", here);
}

// True when the signal, sent to this process, would end it.
static int is_fatal(int sig)
{
    switch (sig) {
    case SIGCHLD:
    case SIGCONT:
    case SIGURG:
    case SIGWINCH:
    case SIGSTOP:
    case SIGTSTP:
    case SIGTTIN:
    case SIGTTOU:
        return 0;
    default:
        break;
    }
    struct sigaction now;
    return sig > 0 && sigaction(sig, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) &&
           now.sa_handler == SIG_DFL;
}

FAA_EXPORT int raise(int sig)
{
    if (is_fatal(sig))
        faa_shim_flush();
    if (real_raise)
        return real_raise(sig);
    return (int)syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), sig);
}

FAA_EXPORT int kill(pid_t pid, int sig)
{
    if ((pid == 0 || pid == getpid()) && is_fatal(sig))
        faa_shim_flush();
    if (real_kill)
        return real_kill(pid, sig);
    return (int)syscall(SYS_kill, pid, sig);
}

FAA_EXPORT __attribute__((noreturn)) void _exit(int status)
{
    faa_shim_flush();
    if (real_exit)
        real_exit(status);
    for (;;)
        syscall(SYS_exit_group, status);
}

FAA_EXPORT __attribute__((noreturn)) void _Exit(int status)
{
    _exit(status);
}

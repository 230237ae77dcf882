// SPDX-License-Identifier: MIT
// The ends of a process that run no exit handler. uvicorn ends on SIGTERM by raising the signal
// again, which skips atexit: without these the last requests would be lost.
#include "shim/shim.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int (*real_raise)(int);
static int (*real_kill)(pid_t, int);
static int (*real_killpg)(pid_t, int);
static int (*real_pthread_kill)(pthread_t, int);
static int (*real_execve)(const char *, char *const[], char *const[]);
static void (*real_abort)(void);
static void (*real_exit)(int);

void faa_shim_find_process_functions(void)
{
    const void *here = __builtin_return_address(0);
    real_raise = (int (*)(int))faa_shim_real("raise", here);
    real_kill = (int (*)(pid_t, int))faa_shim_real("kill", here);
    real_killpg = (int (*)(pid_t, int))faa_shim_real("killpg", here);
    real_pthread_kill = (int (*)(pthread_t, int))faa_shim_real("pthread_kill", here);
    real_execve =
        (int (*)(const char *, char *const[], char *const[]))faa_shim_real("execve", here);
    real_abort = (void (*)(void))faa_shim_real("abort", here);
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
    // A blocked signal stays pending: so do programs wake their own sigwait or signalfd.
    sigset_t blocked;
    if (sigprocmask(SIG_SETMASK, NULL, &blocked) != 0 || sigismember(&blocked, sig) == 1)
        return 0;
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
    if ((pid == 0 || pid == getpid() || pid == -getpgrp()) && is_fatal(sig))
        faa_shim_flush();
    if (real_kill)
        return real_kill(pid, sig);
    return (int)syscall(SYS_kill, pid, sig);
}

FAA_EXPORT int killpg(pid_t group, int sig)
{
    if ((group == 0 || group == getpgrp()) && is_fatal(sig))
        faa_shim_flush();
    if (real_killpg)
        return real_killpg(group, sig);
    return group < 0 ? (errno = EINVAL, -1) : kill(-group, sig);
}

FAA_EXPORT int pthread_kill(pthread_t thread, int sig)
{
    if (is_fatal(sig))
        faa_shim_flush();
    // Before glibc 2.34 it lives in libpthread, which may have been loaded after us.
    if (!real_pthread_kill)
        real_pthread_kill =
            (int (*)(pthread_t, int))faa_shim_real("pthread_kill", __builtin_return_address(0));
    return real_pthread_kill ? real_pthread_kill(thread, sig) : ESRCH;
}

// The program that comes knows nothing of the spans of this one. In the child of a vfork, flush
// does nothing.

FAA_EXPORT int execv(const char *path, char *const argv[])
{
    return execve(path, argv, environ);
}

FAA_EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
    faa_shim_flush();
    return real_execve ? real_execve(path, argv, envp) : (int)syscall(SYS_execve, path, argv, envp);
}

FAA_EXPORT __attribute__((noreturn)) void abort(void)
{
    faa_shim_flush();
    if (real_abort)
        real_abort();
    for (;;)
        __builtin_trap();
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

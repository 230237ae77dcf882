// SPDX-License-Identifier: MIT
// fastapi-auto-agent-guard LD_PRELOAD die|- COMMAND…: the command's parent. The launcher becomes
// it; nobody else calls it.
//
// It exports the rings of all processes below it, and else it is what a parent has to be: it passes
// signals on, reaps, and ends as its command did. It is in the command's process group, so that the
// terminal treats both as one job.
#include "agent/config_exporter.h"
#include "agent/env.h"
#include "base/log.h"
#include "become.h"
#include "export/guard.h"
#include "guard/watch.h"
#include "message.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

static sigset_t given; // The signal mask that the command gets.

// Everything but what the processor raises for our own faults.
static int block_signals(void)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    sigset_t wanted;
    sigfillset(&wanted);
    for (size_t i = 0; i < FAA_COUNT(faults); i++)
        sigdelset(&wanted, faults[i]);
    sigprocmask(SIG_BLOCK, &wanted, &given);
    return signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
}

// In the child. Returns only when the command could not be started.
static int become(const char *preload, const char *guard, char **command)
{
    if (setenv("LD_PRELOAD", preload, 1) < 0 || setenv(FAA_GUARD_VARIABLE, guard, 1) < 0)
        return EXIT_UNUSABLE;
    sigprocmask(SIG_SETMASK, &given, NULL);
    return faa_become(command);
}

// What the terminal sends comes to the command as well: it is in the same process group. A hang-up
// comes to the session's leader alone.
static int is_for_the_command(const struct signalfd_siginfo *info)
{
    if (info->ssi_signo == SIGCHLD)
        return 0;
    return info->ssi_code != SI_KERNEL || (info->ssi_signo == SIGHUP && getsid(0) == getpid());
}

static void handle_signals(int fd, pid_t command)
{
    struct signalfd_siginfo info;
    while (read(fd, &info, sizeof(info)) == sizeof(info)) {
        if (is_for_the_command(&info))
            kill(command, (int)info.ssi_signo);
    }
}

// The terminal has stopped the job, and whoever waits for us must see that. A command that was
// stopped by itself (SIGSTOP) is no job: the spans of others go on.
static void stop_with(int status)
{
    int signo = WSTOPSIG(status);
    if (signo == SIGTSTP || signo == SIGTTIN || signo == SIGTTOU)
        raise(SIGSTOP);
}

// Reaps what has ended. True when the command has, with its status.
static int reap(pid_t command, int *status)
{
    int ended = 0, one;
    pid_t pid;
    while ((pid = waitpid(-1, &one, WNOHANG | WUNTRACED)) > 0) {
        if (WIFSTOPPED(one)) {
            if (pid == command)
                stop_with(one);
            continue;
        }
        faa_watch_note_status(pid, one);
        if (pid == command) {
            *status = one;
            ended = 1;
        }
    }
    return ended;
}

// Until the command has ended; returns its status.
static int watch(pid_t command, int signals, int listener)
{
    static struct pollfd fds[2 + 2 * FAA_WATCH_MAX];
    int status = 0;
    for (;;) {
        int busy = faa_watch_tick();
        fds[0] = (struct pollfd){.fd = signals, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = faa_watch_is_full() ? -1 : listener, .events = POLLIN};
        size_t n = faa_watch_poll(fds + 2);
        if (poll(fds, 2 + n, busy ? FAA_WATCH_TICK_MS : -1) < 0 && errno != EINTR)
            return status;
        if (fds[1].revents)
            faa_watch_accept(listener);
        if (fds[0].revents)
            handle_signals(signals, command);
        int ended = reap(command, &status);
        faa_watch_handle(fds + 2, n);
        if (ended)
            return status;
    }
}

static int exit_status(int status)
{
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
    static struct faa_exporter_config config = {.version = FAA_VERSION};
    char name[64];
    if (argc < 4) {
        faa_message_print("the guard is started by " FAA_PROGRAM " --guard");
        return EXIT_UNUSABLE;
    }
    faa_env_log_level();
    int signals = block_signals(), listener = faa_guard_listen(name, sizeof(name));
    if (signals < 0 || listener < 0 || faa_config_read_exporter(&config)) {
        faa_message_print("the guard cannot start: %s", strerror(errno));
        return EXIT_UNUSABLE;
    }
    uint32_t flush_ms = faa_env_number("FAA_FLUSH_TIMEOUT", 2000, 0, 60000);
    faa_watch_init(&config);
    if (strcmp(argv[2], "die") == 0)
        prctl(PR_SET_PDEATHSIG, SIGTERM);
    pid_t command = fork();
    if (command < 0) {
        faa_message_print("cannot start a process: %s", strerror(errno));
        return EXIT_UNUSABLE;
    }
    if (command == 0)
        _exit(become(argv[1], name, argv + 3));
    int status = watch(command, signals, listener);
    faa_watch_accept(listener);
    close(listener);
    faa_watch_finish(flush_ms);
    return exit_status(status);
}

// SPDX-License-Identifier: MIT
// fork, two pipes and a deadline.
#include "doctor/child.h"

#include "base/clock.h"
#include "doctor/report.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TICK_MS = 20, EXIT_NOT_STARTED = 127 };

struct stream {
    int fd; // -1 at its end.
    char *text;
    size_t n;
};

static void become(const struct faa_child *child, int out, int err)
{
    int in = open("/dev/null", O_RDONLY);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (in < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
        _exit(EXIT_NOT_STARTED);
    for (size_t i = 0; i < FAA_CHILD_VARIABLES_MAX && child->variables[i].name; i++) {
        if (child->variables[i].value)
            setenv(child->variables[i].name, child->variables[i].value, 1);
        else
            unsetenv(child->variables[i].name);
    }
    if (!child->argv) {
        int status = child->run(child->arg);
        fflush(stdout);
        _exit(status);
    }
    execv(child->argv[0], child->argv);
    dprintf(2, "%s\n", strerror(errno));
    _exit(EXIT_NOT_STARTED);
}

// True while there may be more.
static int take(struct stream *stream)
{
    char lost[4096];
    size_t room = FAA_CHILD_OUT_MAX - 1 - stream->n;
    ssize_t n =
        read(stream->fd, room ? stream->text + stream->n : lost, room ? room : sizeof(lost));
    if (n > 0 && room)
        stream->n += (size_t)n;
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
        return n > 0;
    close(stream->fd);
    stream->fd = -1;
    return 0;
}

// Until it has ended or its time is over. What it has started may hold the pipes longer.
static void listen_to(struct faa_child *child, pid_t pid, struct stream streams[2])
{
    uint64_t deadline = faa_clock_mono_ns() + child->limit_ms * (uint64_t)1000000;
    for (;;) {
        struct pollfd fds[2] = {{streams[0].fd, POLLIN, 0}, {streams[1].fd, POLLIN, 0}};
        poll(fds, 2, TICK_MS);
        int ended = waitpid(pid, &child->status, WNOHANG) == pid;
        for (size_t i = 0; i < 2; i++)
            while (streams[i].fd >= 0 && take(&streams[i]) && faa_clock_mono_ns() < deadline)
                continue;
        if (ended)
            break;
        if (faa_clock_mono_ns() >= deadline) {
            child->timed_out = 1;
            kill(-pid, SIGKILL);
            kill(pid, SIGKILL); // It may not have come to its own group.
            waitpid(pid, &child->status, 0);
            break;
        }
    }
    kill(-pid, SIGKILL); // Nothing of it stays.
}

int faa_child_run(struct faa_child *child)
{
    int out[2] = {-1, -1}, err[2] = {-1, -1};
    pid_t pid = -1;
    child->status = -1;
    child->timed_out = 0;
    child->out[0] = child->err[0] = '\0';
    fflush(stdout);
    if (pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0)
        pid = fork();
    if (pid == 0)
        become(child, out[1], err[1]);
    close(out[1]);
    close(err[1]);
    struct stream streams[2] = {{out[0], child->out, 0}, {err[0], child->err, 0}};
    if (pid > 0) {
        fcntl(out[0], F_SETFL, O_NONBLOCK);
        fcntl(err[0], F_SETFL, O_NONBLOCK);
        listen_to(child, pid, streams);
        child->out[streams[0].n] = child->err[streams[1].n] = '\0';
    }
    for (size_t i = 0; i < 2; i++)
        if (streams[i].fd >= 0)
            close(streams[i].fd);
    return !child->timed_out && child->status == 0 ? 0 : -1;
}

// The last line that is not empty: where programs say what has stopped them.
static const char *last_line(const char *text, size_t *n)
{
    const char *end = text + strlen(text);
    while (end > text && (end[-1] == '\n' || end[-1] == '\r' || end[-1] == ' '))
        end--;
    const char *begin = end;
    while (begin > text && begin[-1] != '\n')
        begin--;
    *n = (size_t)(end - begin) < 300 ? (size_t)(end - begin) : 300;
    return begin;
}

void faa_child_describe(const struct faa_child *child, char *out, size_t cap)
{
    size_t n;
    const char *line = last_line(child->err, &n);
    if (child->timed_out)
        faa_report_format(out, cap, "it did not end within %u seconds", child->limit_ms / 1000);
    else if (child->status < 0)
        faa_report_format(out, cap, "no process could be started");
    else if (WIFSIGNALED(child->status))
        faa_report_format(out, cap, "it was ended by signal %d (%s)", WTERMSIG(child->status),
                          strsignal(WTERMSIG(child->status)));
    else if (n)
        faa_report_format(out, cap, "%.*s", (int)n, line);
    else
        faa_report_format(out, cap, "it ended with status %d", WEXITSTATUS(child->status));
}

int faa_child_line(char **rest, char **line)
{
    if (!**rest)
        return 0;
    *line = *rest;
    size_t n = strcspn(*rest, "\n");
    *rest += n;
    if (**rest)
        *(*rest)++ = '\0';
    return 1;
}

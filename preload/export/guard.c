// SPDX-License-Identifier: MIT
// The message: a header, then key, value and kind of each attribute, each ended by a NUL; and the
// two descriptors (SCM_RIGHTS). What comes in is not trusted.
#include "export/guard.h"

#include "base/random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

enum { DESCRIPTORS = 2, BACKLOG = 128 };

static const char magic[8] = "faa-g 1";

union control {
    struct cmsghdr header;
    char room[CMSG_SPACE(DESCRIPTORS * sizeof(int))];
};

static socklen_t address_of(const char *name, struct sockaddr_un *address)
{
    size_t n = strnlen(name, sizeof(address->sun_path) - 1);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path + 1, name, n); // Behind a NUL: a name that is no file's.
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
}

// ---- the process ------------------------------------------------------------------------------

// Appends a text and its NUL. Returns the new length, or 0 when there is no room.
static size_t put(char *message, size_t at, const char *text)
{
    size_t n = strlen(text) + 1;
    if (at == 0 || n > FAA_GUARD_MESSAGE_MAX - at)
        return 0;
    memcpy(message + at, text, n);
    return at + n;
}

static size_t compose(char *message, const struct faa_resource_attribute *resource, size_t count)
{
    size_t at = sizeof(magic);
    memcpy(message, magic, at);
    for (size_t i = 0; i < count; i++) {
        char number[32];
        snprintf(number, sizeof(number), "%lld", (long long)resource[i].number);
        at = put(message, at, resource[i].key);
        at = put(message, at, resource[i].is_int ? number : resource[i].value);
        at = put(message, at, resource[i].is_int ? "i" : "s");
    }
    return at;
}

static int send_offer(int fd, char *message, size_t n, int ring, int flights)
{
    const int descriptors[DESCRIPTORS] = {ring, flights};
    union control control = {0};
    struct iovec part = {message, n};
    struct msghdr m = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = control.room,
                       .msg_controllen = sizeof(control.room)};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&m);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(descriptors));
    memcpy(CMSG_DATA(rights), descriptors, sizeof(descriptors));
    return sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)n ? 0 : -1;
}

int faa_guard_offer_ring(const char *name, int ring, int flights,
                         const struct faa_resource_attribute *resource, size_t count)
{
    char message[FAA_GUARD_MESSAGE_MAX];
    struct sockaddr_un address;
    socklen_t size = address_of(name, &address);
    size_t n = count <= FAA_GUARD_RESOURCE_MAX ? compose(message, resource, count) : 0;
    int fd = n ? socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;
    if (fd < 0)
        return -1;
    int rc = connect(fd, (struct sockaddr *)&address, size) == 0
                 ? send_offer(fd, message, n, ring, flights)
                 : -1;
    close(fd); // What was sent stays to be read.
    return rc;
}

// Not by its pid: a dead one may be a zombie, or another process by now.
int faa_guard_lives(const char *name)
{
    struct sockaddr_un address;
    socklen_t size = address_of(name, &address);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return 1;
    int lives = connect(fd, (struct sockaddr *)&address, size) == 0 || errno != ECONNREFUSED;
    close(fd);
    return lives;
}

// ---- the guard --------------------------------------------------------------------------------

int faa_guard_listen(char *name, size_t cap)
{
    struct sockaddr_un address;
    snprintf(name, cap, "faa-guard-%d-%016llx", getpid(), (unsigned long long)faa_random_u64());
    socklen_t size = address_of(name, &address);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int saved = errno;
    if (fd >= 0)
        close(fd);
    errno = saved;
    return -1;
}

// The peer's pidfd; -1 when it is dead, was waited for, and the kernel has no more of it.
static int open_peer(int fd, pid_t pid)
{
    int process;
    socklen_t size = sizeof(process);
    // Before Linux 6.5, by its number, which it may have given back.
    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &process, &size) == 0)
        return process;
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

int faa_guard_accept(int listener, int *process, pid_t *pid)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        struct ucred peer;
        socklen_t size = sizeof(peer);
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid()) {
            *pid = peer.pid;
            *process = open_peer(fd, peer.pid);
            return fd;
        }
        close(fd);
    }
    return -1;
}

// The next NUL-terminated text of the message; NULL when there is none.
static const char *next_text(const char **at, const char *end)
{
    const char *text = *at;
    size_t n = strnlen(text, (size_t)(end - text));
    if (text + n >= end)
        return NULL;
    *at = text + n + 1;
    return text;
}

static int read_message(struct faa_guard_offer *offer, size_t n)
{
    const char *at = offer->message + sizeof(magic), *end = offer->message + n;
    if (n < sizeof(magic) || memcmp(offer->message, magic, sizeof(magic)) != 0)
        return -1;
    while (at < end && offer->resource_count < FAA_GUARD_RESOURCE_MAX) {
        struct faa_resource_attribute *a = &offer->resource[offer->resource_count++];
        const char *kind;
        if (!(a->key = next_text(&at, end)) || !(a->value = next_text(&at, end)) ||
            !(kind = next_text(&at, end)))
            return -1;
        a->is_int = *kind == 'i';
        a->number = a->is_int ? strtoll(a->value, NULL, 10) : 0;
    }
    return 0;
}

static void take_descriptors(struct msghdr *m, struct faa_guard_offer *offer)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        int got[DESCRIPTORS] = {-1, -1};
        size_t bytes = c->cmsg_len - CMSG_LEN(0);
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || bytes > sizeof(got))
            continue;
        memcpy(got, CMSG_DATA(c), bytes);
        offer->ring = got[0];
        offer->flights = got[1];
    }
}

int faa_guard_read_offer(int connection, struct faa_guard_offer *offer)
{
    union control control;
    struct iovec part = {offer->message, sizeof(offer->message)};
    struct msghdr m = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = control.room,
                       .msg_controllen = sizeof(control.room)};
    offer->ring = offer->flights = -1;
    offer->resource_count = 0;
    ssize_t n = recvmsg(connection, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n <= 0)
        return -1;
    take_descriptors(&m, offer);
    if (offer->ring >= 0 && offer->flights >= 0 && !(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) &&
        read_message(offer, (size_t)n) == 0)
        return 0;
    if (offer->ring >= 0)
        close(offer->ring);
    if (offer->flights >= 0)
        close(offer->flights);
    return -1;
}

// SPDX-License-Identifier: MIT
// A small collector for tests: a process of its own that answers as it is told to.
//
// It speaks as much HTTP/1.1 and HTTP/2 as the exporter needs. What it saw lies in memory that is
// shared with the test.
#ifndef FAA_TESTS_COLLECTOR_H
#define FAA_TESTS_COLLECTOR_H

#include <arpa/inet.h>
#include <check.h>
#include <opentelemetry/proto/collector/trace/v1/trace_service.pb-c.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum collector_mode {
    COLLECT_HTTP,
    COLLECT_GRPC,
    COLLECT_SILENCE, // Takes everything and never answers.
    COLLECT_GARBAGE,
    COLLECT_HANG_UP
};

struct collector {
    // Orders to the collector.
    _Atomic int absent; // Refuses connections, for as long as this is set.
    _Atomic int mode, status; // status: of HTTP, or of gRPC.
    _Atomic int failures;     // So many requests are answered with `status`, then all is well.
    _Atomic size_t body_size; // Of a body of zeros; 0: the response below.
    _Atomic unsigned rejected;
    char headers[256]; // More lines for an HTTP answer, each with "\r\n".
    // What it saw.
    _Atomic unsigned requests, spans, connections, open, damaged;
    char head[4096]; // Of the last HTTP request.
    // The test's own.
    unsigned port;
    pid_t pid;
};

static struct collector *collector;

static int receive(int fd, void *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t got = recv(fd, (char *)p + at, n - at, 0);
        if (got <= 0)
            return -1;
        at += (size_t)got;
    }
    return 0;
}

static void reply(int fd, const void *p, size_t n)
{
    while (n) {
        ssize_t put = send(fd, p, n, MSG_NOSIGNAL);
        if (put <= 0)
            return;
        p = (const char *)p + put;
        n -= (size_t)put;
    }
}

static void collect(const uint8_t *p, size_t n)
{
    typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceRequest pb_request;
    pb_request *request =
        opentelemetry__proto__collector__trace__v1__export_trace_service_request__unpack(NULL, n,
                                                                                         p);
    if (!request) {
        atomic_fetch_add(&collector->damaged, 1);
        return;
    }
    for (size_t i = 0; i < request->n_resource_spans; i++)
        for (size_t j = 0; j < request->resource_spans[i]->n_scope_spans; j++)
            atomic_fetch_add(&collector->spans,
                             (unsigned)request->resource_spans[i]->scope_spans[j]->n_spans);
    opentelemetry__proto__collector__trace__v1__export_trace_service_request__free_unpacked(
        request, NULL);
}

// The status for this request; the spans of one that is refused are not counted.
static int next_status(int good, const uint8_t *p, size_t n)
{
    atomic_fetch_add(&collector->requests, 1);
    if (atomic_load(&collector->failures) > 0) {
        atomic_fetch_sub(&collector->failures, 1);
        return atomic_load(&collector->status);
    }
    collect(p, n);
    return good;
}

static size_t response_message(uint8_t out[8])
{
    unsigned rejected = atomic_load(&collector->rejected);
    if (!rejected)
        return 0;
    memcpy(out, (uint8_t[]){0x0a, 2, 0x08, (uint8_t)rejected}, 4);
    return 4;
}

static int serve_http(int fd)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    size_t n = 0, length = 0;
    char head[sizeof(collector->head)], text[512];
    do {
        if (n + 1 >= sizeof(head) || receive(fd, head + n, 1) != 0)
            return -1;
        head[++n] = '\0';
    } while (n < 4 || memcmp(head + n - 4, "\r\n\r\n", 4) != 0);
    if (strncmp(head, "POST ", 5) != 0) {
        static const char bad[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
        reply(fd, bad, sizeof(bad) - 1);
        return -1;
    }
    pthread_mutex_lock(&mutex);
    memcpy(collector->head, head, n + 1);
    pthread_mutex_unlock(&mutex);
    const char *line = strcasestr(head, "\r\ncontent-length:");
    length = line ? strtoul(line + 17, NULL, 10) : 0;
    uint8_t *body = malloc(length + 1), message[8];
    int rc = body ? receive(fd, body, length) : -1;
    if (rc == 0) {
        int status = next_status(200, body, length);
        size_t zeros = atomic_load(&collector->body_size), m = response_message(message);
        int len = snprintf(text, sizeof(text),
                           "HTTP/1.1 %d X\r\n%sContent-Length: %zu\r\n\r\n", status,
                           collector->headers, zeros ? zeros : m);
        reply(fd, text, (size_t)len);
        reply(fd, message, zeros ? 0 : m);
        for (; zeros; zeros -= zeros < sizeof(text) ? zeros : sizeof(text))
            reply(fd, memset(text, 0, sizeof(text)), zeros < sizeof(text) ? zeros : sizeof(text));
    }
    free(body);
    return rc;
}

static void frame(int fd, unsigned type, unsigned flags, unsigned stream, const void *p, size_t n)
{
    uint8_t head[9] = {(uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n, (uint8_t)type,
                       (uint8_t)flags, 0, 0, (uint8_t)(stream >> 8), (uint8_t)stream};
    reply(fd, head, sizeof(head));
    reply(fd, p, n);
}

// A header field as HPACK's "literal without indexing".
static size_t field(uint8_t *out, const char *name, const char *value)
{
    size_t n = strlen(name), v = strlen(value);
    out[0] = 0;
    out[1] = (uint8_t)n;
    memcpy(out + 2, name, n);
    out[2 + n] = (uint8_t)v;
    memcpy(out + 3 + n, value, v);
    return 3 + n + v;
}

static void answer_call(int fd, unsigned stream, const uint8_t *body, size_t length)
{
    uint8_t block[128] = {0x88}, message[16] = {0};
    char number[12];
    int good = length >= 5 && body[0] == 0;
    int status = next_status(0, body + (good ? 5 : 0), good ? length - 5 : 0);
    snprintf(number, sizeof(number), "%d", status);
    size_t n = 1 + field(block + 1, "content-type", "application/grpc");
    frame(fd, 1, 4, stream, block, n);
    message[4] = (uint8_t)response_message(message + 5);
    frame(fd, 0, 0, stream, message, 5u + message[4]);
    n = field(block, "grpc-status", number);
    n += field(block + n, "grpc-message", "as%20told");
    frame(fd, 1, 4 | 1, stream, block, n);
}

static void serve_grpc(int fd)
{
    static const uint8_t window[] = {0, 4, 0x7f, 0xff, 0xff, 0xff}, more[] = {0x7f, 0, 0, 0};
    char preface[24];
    frame(fd, 4, 0, 0, window, sizeof(window));
    frame(fd, 8, 0, 0, more, sizeof(more));
    if (receive(fd, preface, sizeof(preface)) != 0 || memcmp(preface, "PRI * HTTP/2.0", 14) != 0)
        return;
    uint8_t head[9], *body = NULL;
    size_t length = 0;
    while (receive(fd, head, sizeof(head)) == 0) {
        size_t n = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        uint8_t *longer = realloc(body, length + n + 1);
        if (!longer || receive(fd, (body = longer) + length, n) != 0)
            break;
        if (head[3] == 4 && !(head[4] & 1))
            frame(fd, 4, 1, 0, NULL, 0);
        if (head[3] != 0)
            continue;
        length += n;
        if (head[4] & 1) {
            answer_call(fd, (unsigned)head[7] << 8 | head[8], body, length);
            length = 0;
        }
    }
    free(body);
}

static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg;
    static const char garbage[] = "\x16\x03\0\0 nonsense\r\n\0\0\r\n\r\n";
    char rest[4096];
    atomic_fetch_add(&collector->connections, 1);
    atomic_fetch_add(&collector->open, 1);
    switch (atomic_load(&collector->mode)) {
    case COLLECT_HTTP:
        while (serve_http(fd) == 0)
            ;
        break;
    case COLLECT_GRPC:
        serve_grpc(fd);
        break;
    case COLLECT_GARBAGE:
        reply(fd, garbage, sizeof(garbage));
        break;
    case COLLECT_SILENCE:
        while (recv(fd, rest, sizeof(rest), 0) > 0)
            ;
        break;
    }
    close(fd);
    atomic_fetch_sub(&collector->open, 1);
    return NULL;
}

static void collector_run(int listener)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (atomic_load(&collector->absent))
        usleep(1000);
    listen(listener, 16);
    for (;;) {
        pthread_t thread;
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0 && pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd) == 0)
            pthread_detach(thread);
    }
}

// Takes a free port of the loopback; connections to it are refused.
static int collector_bind(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    collector->port = ntohs(at.sin_port);
    return fd;
}

static void collector_prepare(void)
{
    collector = mmap(NULL, sizeof(*collector), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                     -1, 0);
    ck_assert_ptr_ne(collector, MAP_FAILED);
}

// Before the exporter starts, as this forks.
static void collector_start(enum collector_mode mode)
{
    atomic_store(&collector->mode, mode);
    int listener = collector_bind();
    if (!atomic_load(&collector->absent))
        listen(listener, 16);
    pid_t pid = fork();
    if (pid == 0)
        collector_run(listener);
    collector->pid = pid;
    close(listener);
}

static void collector_stop(void)
{
    if (collector->pid > 0) {
        kill(collector->pid, SIGKILL);
        waitpid(collector->pid, NULL, 0);
        collector->pid = 0;
    }
}

#endif

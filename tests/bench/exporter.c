// SPDX-License-Identifier: MIT
// How many spans a second the exporter drains, encodes and sends, on one core, and how many are
// lost at a given rate: exporter URL. To a sink that accepts everything: exporter sink prints its
// port.
#include "export/bell.h"
#include "export/exporter.h"
#include "ring/ring.h"
#include "tests/unit/record_builder.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    SPANS = 1000000,
    RING_BYTES = 2 << 20, // As in an application.
    RATE = 300000,        // A second: what the exporter must be able to send.
    SECONDS = 3
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static size_t length_of(const char *head)
{
    const char *field = strcasestr(head, "\r\ncontent-length:");
    return field ? strtoul(field + strlen("\r\ncontent-length:"), NULL, 10) : 0;
}

// One request; 0 when the peer is gone.
static int serve_one(int fd)
{
    static char buffer[1 << 20];
    static const char answer[] = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\n"
                                 "content-length: 0\r\n\r\n";
    size_t have = 0;
    char *end = NULL;
    while (!end) {
        ssize_t n = read(fd, buffer + have, sizeof(buffer) - 1 - have);
        if (n <= 0)
            return 0;
        have += (size_t)n;
        buffer[have] = '\0';
        end = strstr(buffer, "\r\n\r\n");
    }
    size_t body = length_of(buffer), got = have - (size_t)(end + 4 - buffer);
    while (got < body) {
        ssize_t n = read(fd, buffer, sizeof(buffer));
        if (n <= 0)
            return 0;
        got += (size_t)n;
    }
    return write(fd, answer, sizeof(answer) - 1) == (ssize_t)sizeof(answer) - 1;
}

// Serves one connection at a time, each in a process of its own, for as long as the caller lives.
static void sink(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGCHLD, SIG_IGN);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) || listen(listener, 8) ||
        getsockname(listener, (struct sockaddr *)&address, &size))
        die("sink");
    printf("%u\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            while (fd >= 0 && serve_one(fd)) {
            }
            _exit(0);
        }
        close(fd);
    }
}

// The SERVER span of a request with what it tells by default.
static void typical(struct record_builder *b)
{
    builder_begin(b, FAA_KIND_SERVER, 1, 2, 3, 0, 5, "GET /items/{item_id}", "fastapi");
    builder_str(b, 0, FAA_KEY_HTTP_REQUEST_METHOD, "GET");
    builder_str(b, 0, FAA_KEY_URL_PATH, "/items/4711");
    builder_str(b, 0, FAA_KEY_URL_SCHEME, "http");
    builder_str(b, 0, FAA_KEY_HTTP_ROUTE, "/items/{item_id}");
    builder_str(b, 0, FAA_KEY_SERVER_ADDRESS, "shop.example");
    builder_int(b, 0, FAA_KEY_SERVER_PORT, 8000);
    builder_str(b, 0, FAA_KEY_CLIENT_ADDRESS, "10.1.2.3");
    builder_str(b, 0, FAA_KEY_NETWORK_PROTOCOL_VERSION, "1.1");
    builder_str(b, 0, FAA_KEY_USER_AGENT_ORIGINAL, "python-httpx/0.28.1");
    builder_int(b, 0, FAA_KEY_HTTP_RESPONSE_STATUS_CODE, 200);
    builder_int(b, 0, FAA_KEY_FAA_EVENT_LOOP_BUSY_US, 412);
}

// As an application's thread does it. Returns 0, or -1 when the ring is full.
static int put(struct faa_ring *ring, struct record_builder *b, unsigned number)
{
    void *place = faa_ring_reserve(ring, b->u.head.size);
    if (place) {
        memcpy(b->u.head.span_id, &number, sizeof(number));
        memcpy(place, b, b->u.head.size);
        faa_ring_commit(ring, place);
    }
    if (faa_bell_is_idle(faa_ring_bell(ring)) || faa_ring_used(ring) > RING_BYTES / 2)
        faa_bell_ring(faa_ring_bell(ring));
    return place ? 0 : -1;
}

static double wall(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

// Seconds of CPU that the thread of this name has used, by the scheduler's own count.
static double cpu_of(const char *name)
{
    double seconds = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *entry; tasks && (entry = readdir(tasks));) {
        char path[320], comm[32] = "";
        unsigned long long ns = 0;
        snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = fopen(path, "r");
        if (file && fgets(comm, sizeof(comm), file))
            comm[strcspn(comm, "\n")] = '\0';
        if (file)
            fclose(file);
        snprintf(path, sizeof(path), "/proc/self/task/%s/schedstat", entry->d_name);
        file = strcmp(comm, name) == 0 ? fopen(path, "r") : NULL;
        if (file && fscanf(file, "%llu", &ns) == 1)
            seconds += (double)ns / 1e9;
        if (file)
            fclose(file);
    }
    if (tasks)
        closedir(tasks);
    return seconds;
}

static void print_row(const char *what, double value, int digits, const char *unit)
{
    printf("agent: %-60s %*.*f%s\n", what, 12 - (int)strlen(unit), digits, value, unit);
}

// As many as it takes: the producer waits where the ring is full.
static int measure_throughput(struct faa_exporter *exporter, struct faa_ring *ring,
                              struct record_builder *record)
{
    double begin = wall(), cpu = cpu_of("faa-export");
    for (unsigned i = 0; i < SPANS; i++)
        while (put(ring, record, i + 1))
            nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    while (faa_exporter_flush(exporter, 60000)) {
    }
    cpu = cpu_of("faa-export") - cpu;
    double seconds = wall() - begin;
    uint64_t sent = faa_exporter_counts(exporter).exported;
    print_row("spans sent per second of its thread's CPU (300000 or more)", (double)sent / cpu, 0,
              "");
    print_row("the same of wall time, with producer and sink", (double)sent / seconds, 0, "");
    return sent == SPANS ? 0 : 1;
}

// At a steady rate, and nobody waits.
static void measure_drops(struct faa_exporter *exporter, struct faa_ring *ring,
                          struct record_builder *record)
{
    unsigned offered = 0, dropped = 0;
    double begin = wall(), now;
    while ((now = wall() - begin) < SECONDS) {
        for (; offered < now * RATE; offered++)
            dropped += put(ring, record, SPANS + offered) != 0;
        nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
    }
    while (faa_exporter_flush(exporter, 60000)) {
    }
    char what[64];
    snprintf(what, sizeof(what), "of %u a second for %u s, dropped", RATE, SECONDS);
    print_row(what, 100.0 * dropped / offered, 2, "%");
}

int main(int argc, char **argv)
{
    struct record_builder record;
    struct faa_resource_attribute service = {.key = "service.name", .value = "bench"};
    struct faa_exporter_config config = {
        .otlp = 1,
        .protocol = FAA_PROTOCOL_HTTP,
        .timeout_ms = 10000,
        .schedule_delay_ms = 5000,
        .max_batch_size = 512,
        .version = "0",
        .service_name = "bench",
        .resource = &service,
        .resource_count = 1,
    };
    if (argc != 2) {
        fprintf(stderr, "usage: %s URL|sink\n", argv[0]);
        return 2;
    }
    if (strcmp(argv[1], "sink") == 0)
        sink();
    config.endpoint = argv[1];
    struct faa_ring *ring = faa_ring_new(RING_BYTES, NULL);
    struct faa_exporter *exporter = ring ? faa_exporter_start(&config, ring) : NULL;
    if (!exporter || faa_exporter_await_start(exporter, 10000))
        die("exporter");
    typical(&record);
    printf("spans of a request, records of %u bytes, batches of 512, HTTP to a local sink\n",
           record.u.head.size);
    int rc = measure_throughput(exporter, ring, &record);
    measure_drops(exporter, ring, &record);
    faa_exporter_stop(exporter);
    faa_ring_free(ring);
    return rc;
}

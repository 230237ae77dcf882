// SPDX-License-Identifier: MIT
// Each process has an exporter of its own, which drains its ring as that of the process would. When
// it dies, what it had begun goes into its ring as well.
#include "guard/watch.h"

#include "base/clock.h"
#include "base/log.h"
#include "export/bell.h"
#include "export/guard.h"
#include "guard/cause.h"
#include "guard/report.h"
#include "ring/flights.h"
#include "ring/ring.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct watched {
    struct watched *next;
    pid_t pid;
    int pidfd;           // -1: it was dead when we heard of it.
    int connection;      // -1 once the offer has come.
    int is_dead, status; // status: -1 while it is not known.
    uint64_t died_ns;    // Unix time.
    // What was in progress when it died, and has to go into the ring yet.
    uint64_t in_progress[FAA_FLIGHTS_MAX / 64];
    struct faa_ring *ring;
    struct faa_flights *flights;
    struct faa_exporter *exporter;
    struct faa_exporter_config config;
    struct faa_guard_offer offer;
};

static const struct faa_exporter_config *settings;
static struct watched *first; // In the order in which they came.
static size_t count, dead_count;

void faa_watch_init(const struct faa_exporter_config *config)
{
    settings = config;
}

// Of a dead process nobody will export what is in its ring; a live one does it by itself.
static void show_counts(const struct watched *w, struct faa_exporter_counts counts)
{
    struct faa_ring_cursor cursor = faa_ring_begin(w->ring), end = faa_ring_end(w->ring);
    uint64_t left = 0;
    size_t size;
    while (w->is_dead && faa_ring_next(w->ring, &cursor, &size, &end))
        left++;
    faa_debug("process %d: %llu spans exported from here, %llu dropped", w->pid,
              (unsigned long long)counts.exported,
              (unsigned long long)(counts.dropped + counts.unspooled_dropped + left));
    if (counts.spooled || counts.unspooled || counts.unspooled_dropped)
        faa_debug("process %d: %llu went into files, and %llu came out of such and were sent",
                  w->pid, (unsigned long long)counts.spooled, (unsigned long long)counts.unspooled);
}

static void drop(struct watched *w)
{
    struct watched **at = &first;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    count--;
    dead_count -= (size_t)w->is_dead;
    if (w->exporter)
        show_counts(w, faa_exporter_stop(w->exporter));
    if (w->ring && !w->is_dead)
        faa_bell_leave(faa_ring_bell(w->ring));
    faa_ring_free(w->ring);
    faa_flights_free(w->flights);
    if (w->connection >= 0)
        close(w->connection);
    if (w->pidfd >= 0)
        close(w->pidfd);
    free(w);
}

// Maps what the process has offered and starts to export it. Returns 0 or -1.
static int take_offer(struct watched *w)
{
    if (faa_guard_read_offer(w->connection, &w->offer))
        return -1;
    w->ring = faa_ring_attach(w->offer.ring, 1);
    w->flights = faa_flights_attach(w->offer.flights);
    close(w->offer.ring);
    close(w->offer.flights);
    close(w->connection);
    w->connection = -1;
    w->config = *settings;
    w->config.resource = w->offer.resource;
    w->config.resource_count = w->offer.resource_count;
    for (size_t i = 0; i < w->offer.resource_count; i++)
        if (strcmp(w->offer.resource[i].key, "service.name") == 0)
            w->config.service_name = w->offer.resource[i].value;
    if (w->ring && w->flights)
        w->exporter = faa_exporter_start(&w->config, w->ring);
    if (w->exporter)
        faa_debug("process %d: its spans are exported from here", w->pid);
    return w->exporter ? 0 : -1;
}

// A second flight of the same span comes after the first one, and says more.
static int is_replaced(const struct watched *w, int slot, const void *record)
{
    for (int later = 0; later < FAA_FLIGHTS_MAX; later++) {
        size_t size;
        const struct faa_record *other = faa_flights_look(w->flights, later, w->ring, &size);
        if (later != slot && other && size >= sizeof(*other) &&
            memcmp(other->span_id, ((const struct faa_record *)record)->span_id, 8) == 0 &&
            (other->name_len > ((const struct faa_record *)record)->name_len ||
             (other->name_len == ((const struct faa_record *)record)->name_len && later > slot)))
            return 1;
    }
    return 0;
}

// Before the exporter skips anything: the ring cannot tell afterwards what was not committed.
static void find_flights(struct watched *w)
{
    for (int slot = 0; slot < FAA_FLIGHTS_MAX; slot++) {
        size_t size;
        const void *record = faa_flights_look(w->flights, slot, w->ring, &size);
        if (record && size >= sizeof(struct faa_record) && !is_replaced(w, slot, record))
            w->in_progress[slot / 64] |= UINT64_C(1) << slot % 64;
    }
}

// Returns 0, or -1 when there is no room for it now.
static int report_flight(struct watched *w, int slot)
{
    _Alignas(8) char copy[FAA_FLIGHT_SIZE_MAX], out[FAA_REPORT_MAX];
    size_t size = faa_flights_copy(w->flights, slot, copy);
    size_t n = faa_report_make(copy, size, w->died_ns, faa_cause_name(w->status), out);
    void *place = n ? faa_ring_reserve(w->ring, n) : NULL;
    if (place) {
        memcpy(place, out, n);
        faa_ring_commit(w->ring, place);
        faa_bell_ring(faa_ring_bell(w->ring));
    }
    return n && !place ? -1 : 0;
}

// Puts what was in progress into the ring, as far as there is room. Returns true when all of it is.
static int report_flights(struct watched *w)
{
    for (int slot = 0; slot < FAA_FLIGHTS_MAX; slot++) {
        uint64_t *bits = &w->in_progress[slot / 64], bit = UINT64_C(1) << slot % 64;
        if (!(*bits & bit))
            continue;
        if (report_flight(w, slot))
            return 0;
        *bits &= ~bit;
    }
    return 1;
}

// True when there is nothing more to do for it.
static int is_done(struct watched *w)
{
    return report_flights(w) && faa_exporter_is_done(w->exporter);
}

static void bury(struct watched *w)
{
    w->is_dead = 1;
    dead_count++;
    w->died_ns = faa_clock_wall_of_mono(faa_clock_mono_ns());
    if (w->connection >= 0 && take_offer(w)) {
        drop(w);
        return;
    }
    if (w->status < 0)
        w->status = faa_cause_find(w->pidfd, w->pid);
    faa_debug("process %d ended: %s", w->pid, faa_cause_name(w->status));
    find_flights(w);
    faa_exporter_rescue(w->exporter);
    report_flights(w);
}

int faa_watch_is_full(void)
{
    return count >= FAA_WATCH_MAX || dead_count >= FAA_WATCH_DEAD_MAX;
}

void faa_watch_accept(int listener)
{
    while (count < FAA_WATCH_MAX) {
        int process;
        pid_t pid;
        int connection = faa_guard_accept(listener, &process, &pid);
        if (connection < 0)
            return;
        struct watched *w = calloc(1, sizeof(*w));
        if (!w) {
            close(connection);
            if (process >= 0)
                close(process);
            return;
        }
        w->pid = pid;
        w->pidfd = process;
        w->connection = connection;
        w->status = -1;
        struct watched **at = &first;
        while (*at)
            at = &(*at)->next;
        *at = w;
        count++;
        if (process < 0)
            bury(w); // What it had to say lies in its connection.
    }
}

size_t faa_watch_poll(struct pollfd *fds)
{
    size_t n = 0;
    for (const struct watched *w = first; w; w = w->next) {
        if (w->connection >= 0)
            fds[n++] = (struct pollfd){.fd = w->connection, .events = POLLIN};
        if (!w->is_dead)
            fds[n++] = (struct pollfd){.fd = w->pidfd, .events = POLLIN};
    }
    return n;
}

static short found(const struct pollfd *fds, size_t n, int fd)
{
    for (size_t i = 0; fd >= 0 && i < n; i++)
        if (fds[i].fd == fd)
            return fds[i].revents;
    return 0;
}

void faa_watch_handle(const struct pollfd *fds, size_t n)
{
    for (struct watched *w = first, *next; w; w = next) {
        next = w->next;
        if (found(fds, n, w->connection) && take_offer(w)) {
            faa_debug("process %d offered what cannot be used", w->pid);
            drop(w);
        } else if (!w->is_dead && found(fds, n, w->pidfd)) {
            bury(w);
        }
    }
}

void faa_watch_note_status(pid_t pid, int status)
{
    for (struct watched *w = first; w; w = w->next)
        if (w->pid == pid && !w->is_dead)
            w->status = status;
}

int faa_watch_tick(void)
{
    for (struct watched *w = first, *next; w; w = next) {
        next = w->next;
        if (w->is_dead && is_done(w))
            drop(w);
    }
    return dead_count > 0;
}

// Those that died just now, and are not known to have.
static void bury_the_dead(void)
{
    for (struct watched *w = first, *next; w; w = next) {
        next = w->next;
        struct pollfd end = {.fd = w->pidfd, .events = POLLIN};
        if (!w->is_dead && poll(&end, 1, 0) > 0)
            bury(w);
        else if (w->connection >= 0 && take_offer(w))
            drop(w);
    }
}

void faa_watch_finish(uint32_t timeout_ms)
{
    uint64_t until = faa_clock_mono_ns() + timeout_ms * (uint64_t)1000000;
    bury_the_dead();
    for (struct watched *w = first; w; w = w->next) {
        uint64_t now = faa_clock_mono_ns();
        if (w->is_dead)
            report_flights(w);
        // One attempt each; what was not sent by then is given up.
        if (w->exporter &&
            faa_exporter_flush(w->exporter, now < until ? (uint32_t)((until - now) / 1000000) : 0))
            faa_warn("there was no time to send all spans of process %d", w->pid);
    }
    while (first)
        drop(first);
}

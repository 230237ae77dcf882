// SPDX-License-Identifier: MIT
// Fuzz target: any bytes as the ring and the flights of a process that was killed, or ran wild, and
// the guard that reads them and writes into them. It must stay within the mappings and come to an
// end, whatever it finds.
//
// The input is a list of steps of 12 bytes: what to do, where, and a value. Steps that make things
// as they should be stand beside such that put anything anywhere: else nothing but the first check
// would ever be reached.
#include "ring/ring.c"

#include "export/bell.h"
#include "guard/report.h"
#include "require.h"
#include "ring/flights.h"

#include <unistd.h>

enum step {
    HEADER_WORD, // Any word of the ring's header.
    RECORD_WORD, // Any word of its records.
    FLIGHT_WORD, // Any word of the flights.
    HEAD,        // So far behind the tail.
    RECORD,      // A header with the tag of its place.
    NEXT_RECORD, // One behind the last one.
    FLIGHT,      // A slot's state, size and position, and a record in it.
    STEPS
};

enum {
    CAPACITY = CAPACITY_MIN,
    STEP_BYTES = 12,
    STEPS_MAX = 4096,
    WORD = sizeof(uint64_t),
    FLIGHTS_HEADER = 64, // Before the slots, of which each has a header and a payload.
    FLIGHT_HEADER = 16
};

struct process {
    struct faa_ring *ring;
    struct faa_flights *flights;
    unsigned char *flights_memory;
    size_t flights_size;
    int ring_fd, flights_fd;
    uint64_t last; // The position of the last record that a step made.
};

// ---- the process that ran wild ----------------------------------------------------------------

static void open_process(struct process *p)
{
    struct stat st;
    p->ring = faa_ring_new(CAPACITY, &p->ring_fd);
    p->flights = faa_flights_new(&p->flights_fd);
    REQUIRE(p->ring && p->flights && fstat(p->flights_fd, &st) == 0);
    p->flights_size = (size_t)st.st_size;
    REQUIRE(p->flights_size ==
            FLIGHTS_HEADER + FAA_FLIGHTS_MAX * (size_t)(FLIGHT_HEADER + FAA_FLIGHT_SIZE_MAX));
    p->flights_memory =
        mmap(NULL, p->flights_size, PROT_READ | PROT_WRITE, MAP_SHARED, p->flights_fd, 0);
    REQUIRE(p->flights_memory != MAP_FAILED);
}

static void close_process(struct process *p)
{
    munmap(p->flights_memory, p->flights_size);
    faa_flights_free(p->flights);
    faa_ring_free(p->ring);
    close(p->flights_fd);
    close(p->ring_fd);
}

static void put_word(void *memory, size_t size, uint64_t where, uint64_t value)
{
    memcpy((char *)memory + where % (size / WORD) * WORD, &value, WORD);
}

static void put_record(struct process *p, uint64_t position, unsigned how, uint64_t value)
{
    position &= ~UINT64_C(15); // The tail may be anything by now.
    struct slot *slot = slot_at(p->ring, position);
    slot->size = (uint32_t)(how & 4 ? value : value % 512);
    slot->tag = (position ^ p->ring->cookie) | (how & 3);
    p->last = position;
}

static void put_flight(struct process *p, uint64_t where, unsigned how, uint64_t value)
{
    size_t size = FLIGHT_HEADER + FAA_FLIGHT_SIZE_MAX;
    unsigned char *slot = p->flights_memory + FLIGHTS_HEADER + where % FAA_FLIGHTS_MAX * size;
    struct faa_record record = {.size = sizeof(record) + WORD, .kind = 1, .trace_id = {1}};
    record.span_id[0] = 1;
    record.start_ns = record.end_ns = value;
    const uint32_t head[2] = {how % 5, how & 8 ? (uint32_t)value : record.size};
    memcpy(slot, head, sizeof(head));
    memcpy(slot + WORD, &value, WORD);
    memcpy(slot + FLIGHT_HEADER, &record, sizeof(record));
    memset(slot + FLIGHT_HEADER + sizeof(record), 0, WORD);
}

static void take_step(struct process *p, const uint8_t step[STEP_BYTES])
{
    struct shared *shared = p->ring->shared;
    uint64_t where = (uint64_t)step[1] | (uint64_t)step[2] << 8, value;
    unsigned how = step[3];
    memcpy(&value, step + 4, WORD);
    switch ((enum step)(step[0] % STEPS)) {
    case HEADER_WORD:
        put_word(shared, how & 1 ? sizeof(*shared) : DATA_AT, where, value);
        break;
    case RECORD_WORD:
        put_word(p->ring->data, CAPACITY, where, value);
        break;
    case FLIGHT_WORD:
        put_word(p->flights_memory, p->flights_size, where, value);
        break;
    case HEAD:
        shared->head = shared->tail + value % (2 * CAPACITY) / (how & 1 ? 1 : 16) * 16;
        break;
    case RECORD:
        put_record(p, shared->tail + where % (CAPACITY / 16) * 16, how, value);
        break;
    case NEXT_RECORD:
        put_record(p, p->last + span_of(slot_at(p->ring, p->last & ~UINT64_C(15))->size), how,
                   value);
        break;
    case FLIGHT:
        put_flight(p, where, how, value);
        break;
    case STEPS:
        break;
    }
}

// ---- the guard --------------------------------------------------------------------------------

// Maps the ring anew, between two pages that nobody may touch.
static unsigned char *fence(struct faa_ring *ring, int fd)
{
    size_t size = DATA_AT + CAPACITY, page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *room =
        mmap(NULL, size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(room != MAP_FAILED);
    void *mapping = mmap(room + page, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
    REQUIRE(mapping != MAP_FAILED);
    munmap(ring->shared, size);
    ring->shared = mapping;
    ring->data = (unsigned char *)mapping + DATA_AT;
    return room;
}

static void read_record(const struct faa_ring *ring, const void *payload, size_t size)
{
    const unsigned char *at = payload;
    REQUIRE(at >= ring->data + sizeof(struct slot) && size <= CAPACITY &&
            at + size <= ring->data + CAPACITY);
    // Of its exact size, so that a sanitizer sees a byte too far.
    void *copy = malloc(size ? size : 1);
    struct faa_record_view view;
    REQUIRE(copy);
    memcpy(copy, payload, size);
    int opens = faa_record_open(copy, size, &view) == 0;
    REQUIRE(!opens || size >= sizeof(struct faa_record));
    free(copy);
}

static void read_all(struct faa_ring *ring, const struct faa_ring_cursor *dead)
{
    struct faa_ring_cursor cursor = faa_ring_begin(ring);
    const void *payload;
    size_t size, count = 0;
    while ((payload = faa_ring_next(ring, &cursor, &size, dead)) != NULL) {
        REQUIRE(++count <= CAPACITY / FAA_RING_ALIGN);
        read_record(ring, payload, size);
    }
    faa_ring_release(ring, cursor);
}

// As launcher/guard/watch.c does with what was in progress.
static void report(struct faa_ring *ring, const struct faa_flights *flights, int slot)
{
    _Alignas(8) char copy[FAA_FLIGHT_SIZE_MAX], out[FAA_REPORT_MAX];
    size_t size = faa_flights_copy(flights, slot, copy);
    REQUIRE(size <= sizeof(copy));
    size_t n = faa_report_make(copy, size, 1, "SIGKILL", out);
    REQUIRE(n <= sizeof(out));
    unsigned char *place = n ? faa_ring_reserve(ring, n) : NULL;
    if (!place)
        return;
    REQUIRE(place >= ring->data + sizeof(struct slot) && place + n <= ring->data + CAPACITY);
    memcpy(place, out, n);
    faa_ring_commit(ring, place);
    faa_bell_ring(faa_ring_bell(ring));
}

static void guard(struct faa_ring *ring, const struct faa_flights *flights)
{
    uint8_t in_progress[FAA_FLIGHTS_MAX] = {0};
    read_all(ring, NULL);
    for (int slot = 0; slot < FAA_FLIGHTS_MAX; slot++) {
        size_t size;
        in_progress[slot] = faa_flights_look(flights, slot, ring, &size) != NULL;
        REQUIRE(!in_progress[slot] || size <= FAA_FLIGHT_SIZE_MAX);
    }
    struct faa_ring_cursor dead = faa_ring_end(ring);
    for (int slot = 0; slot < FAA_FLIGHTS_MAX; slot++) {
        if (in_progress[slot])
            report(ring, flights, slot);
        if (slot % 64 == 0)
            read_all(ring, &dead);
    }
    read_all(ring, &dead);
    faa_bell_wake(faa_ring_bell(ring));
    (void)faa_bell_is_idle(faa_ring_bell(ring));
    (void)faa_ring_used(ring);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct process process = {0};
    open_process(&process);
    for (size_t i = 0; i < STEPS_MAX && (i + 1) * STEP_BYTES <= size; i++)
        take_step(&process, data + i * STEP_BYTES);
    struct faa_ring *ring = faa_ring_attach(process.ring_fd, 1);
    struct faa_flights *flights = faa_flights_attach(process.flights_fd);
    unsigned char *room = ring ? fence(ring, process.ring_fd) : NULL;
    if (ring && flights)
        guard(ring, flights);
    faa_flights_free(flights);
    faa_ring_free(ring);
    if (room)
        munmap(room, DATA_AT + CAPACITY + 2 * (size_t)sysconf(_SC_PAGESIZE));
    close_process(&process);
    return 0;
}

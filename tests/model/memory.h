// SPDX-License-Identifier: MIT
// Memory as C11 sees it: a location is not one value but the list of those written to it, and a
// thread may read an old one as long as nothing that it has seen forbids it.
//
// Each thread has a view: for each location the oldest write that it may still read. A release
// passes the view on with the value, an acquire takes it over. What this leaves out is said in
// explore.h.
#ifndef FAA_TESTS_MODEL_MEMORY_H
#define FAA_TESTS_MODEL_MEMORY_H

#include <stddef.h>
#include <stdint.h>

enum { THREADS_MAX = 6, LOCATIONS_MAX = 48, MESSAGES_MAX = 160, THREADS_ROOM = 8 };

/// What a thread has seen: of each location the last write, of each thread the last read.
struct view {
    uint8_t writes[LOCATIONS_MAX];
    uint8_t reads[THREADS_ROOM];
};

/// One write. Stamps of a location count its writes from 1; 0 is what lay there at first.
struct message {
    uint64_t value;
    uint8_t location, stamp, is_plain;
    struct view view; ///< What who acquires this takes over.
};

struct memory {
    uint8_t latest[LOCATIONS_MAX]; ///< Stamps.
    /// The last read of each location by each thread, as that thread counts its reads; the plain
    /// ones apart, since an atomic write may meet an atomic read.
    uint8_t reads[LOCATIONS_MAX][THREADS_ROOM], plain_reads[LOCATIONS_MAX][THREADS_ROOM];
    uint16_t count;
    struct message messages[MESSAGES_MAX]; ///< `count` of them are copied and compared.
};

/// How an access fails: a race, or stores in no order, which the model does not know.
enum memory_result { MEMORY_OK, MEMORY_RACE, MEMORY_UNORDERED };

struct memory_order {
    unsigned acquires : 1, releases : 1;
};

void memory_copy(struct memory *to, const struct memory *from);
void view_join(struct view *view, const struct view *other);

/// The value with this stamp.
uint64_t memory_value(const struct memory *memory, int location, int stamp, uint64_t initial);

/// An atomic read of the write with this stamp, which is not older than the view allows. `thread`:
/// who reads; -1 where no plain write will ever meet it.
enum memory_result memory_read(struct memory *memory, struct view *view, int thread, int location,
                               int stamp, struct memory_order order);

/// An atomic write. `as_update`: it is the other half of a read of the latest value.
/// `may_be_unordered`: two threads may store here without knowing of each other.
enum memory_result memory_write(struct memory *memory, struct view *view, int location,
                                uint64_t value, struct memory_order order, int as_update,
                                int may_be_unordered);

/// A plain read or write: it must be ordered with all writes, and a write with all reads. The value
/// of a write is filled in when it is known.
enum memory_result memory_read_plain(struct memory *memory, struct view *view, int thread,
                                     int location);
enum memory_result memory_write_plain(struct memory *memory, struct view *view, int location,
                                      struct message **written);

/// Forgets what no thread of these views can read any more.
void memory_prune(struct memory *memory, const struct view *oldest);

/// The same for memories that behave the same for threads that have seen at least `oldest`.
uint64_t memory_hash(const struct memory *memory, const struct view *oldest);

static inline uint64_t hash_mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 29);
}

uint64_t view_hash(const struct view *view, uint64_t hash);

#endif

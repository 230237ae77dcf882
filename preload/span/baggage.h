// SPDX-License-Identifier: MIT
// W3C Baggage (https://www.w3.org/TR/baggage/): what a request's callers want its callees to know.
// We carry it on and never look at what it says: it may be personal, and is no attribute.
#ifndef FAA_SPAN_BAGGAGE_H
#define FAA_SPAN_BAGGAGE_H

#include "base/str.h"

#include <stdint.h>

enum {
    FAA_BAGGAGE_MAX = 8192,       ///< Bytes that are carried; the specification's own limit.
    FAA_BAGGAGE_MEMBERS_MAX = 180 ///< It asks for 64 at least; 180 was its limit before.
};

/// A list of members that never changes, shared by the spans of a request. References are counted
/// with atomics: any thread may take and drop its own.
struct faa_baggage;

/// Makes one of the values of a request's `baggage` headers, in their order. A list that is valid
/// stays as it is, byte by byte; of another, the members that are not valid, or for which there is
/// no room, are left out and counted. Returns a reference, or NULL when nothing is left or there is
/// no memory (counted too).
FAA_MUSTUSE struct faa_baggage *faa_baggage_new(const struct faa_str *headers, size_t count);

/// One more reference to the same; NULL for NULL.
FAA_MUSTUSE struct faa_baggage *faa_baggage_ref(struct faa_baggage *baggage);

/// Drops a reference; NULL is none.
void faa_baggage_unref(struct faa_baggage *baggage);

/// The value of an outgoing `baggage` header: printable ASCII, 1 to FAA_BAGGAGE_MAX bytes. It lives
/// as long as the caller's reference. Empty for NULL.
struct faa_str faa_baggage_text(const struct faa_baggage *baggage);

/// Counts `n` members that others left out.
void faa_baggage_drop(uint64_t n);

/// Members that were left out since this process began.
uint64_t faa_baggage_dropped(void);

/// Counts from zero again: for the child of a fork. Async-signal-safe.
void faa_baggage_forget_count(void);

#endif

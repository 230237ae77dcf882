// SPDX-License-Identifier: MIT
// A ring for the spans of a test, and what comes out of it.
#ifndef FAA_TESTS_SPAN_RING_H
#define FAA_TESTS_SPAN_RING_H

#include "ring/ring.h"
#include "span/ids.h"
#include "span/span.h"
#include "span/tracer.h"

#include <check.h>
#include <stdlib.h>

static struct faa_ring *ring;

static struct faa_ring *span_ring_start(void)
{
    return ring;
}

static void span_ring_committed(int crowded)
{
    (void)crowded;
}

static void span_ring_flush(void)
{
}

// A checked fixture.
static void span_ring_setup(void)
{
    static const struct faa_tracer_ops ops = {span_ring_start, span_ring_committed, span_ring_flush,
                                              0};
    ring = faa_ring_new(1 << 20, NULL);
    faa_ids_seed();
    faa_tracer_init(&ops);
    faa_tracer_forget_ring();
}

static void span_ring_teardown(void)
{
    faa_ring_free(ring);
}

// Takes the oldest record out of the ring. It stays readable until the ring is used again.
static inline int take(struct faa_record_view *view)
{
    struct faa_ring_cursor cursor = faa_ring_begin(ring);
    size_t size;
    const void *p = faa_ring_next(ring, &cursor, &size, 0);
    faa_ring_release(ring, cursor);
    if (!p)
        return 0;
    ck_assert_int_eq(faa_record_open(p, size, view), 0);
    return 1;
}

static inline void end_and_take(struct faa_span *span, struct faa_record_view *view)
{
    faa_span_end(span, 0);
    ck_assert_int_eq(take(view), 1);
}

static inline struct faa_item_view next_item(struct faa_record_view *view)
{
    struct faa_item_view item;
    ck_assert_int_eq(faa_record_next(view, &item), 1);
    return item;
}

static inline void check_str(struct faa_str got, const char *wanted)
{
    ck_assert_str_eq(got.p, wanted);
    ck_assert_uint_eq(got.n, strlen(wanted));
}

// What a parent in another process says; the test may change it.
static const char remote_state[] = "rojo=1,congo=2";

static inline struct faa_span_context remote_parent(void)
{
    struct faa_span_context parent = {.flags = 1,
                                      .remote = 1,
                                      .tracestate = remote_state,
                                      .tracestate_len = sizeof(remote_state) - 1};
    memset(parent.trace_id, 0xaa, sizeof(parent.trace_id));
    memset(parent.span_id, 0xbb, sizeof(parent.span_id));
    return parent;
}

#endif

// SPDX-License-Identifier: MIT
// An exporter, the ring that it reads, and a collector to send to.
#ifndef FAA_TESTS_EXPORTING_H
#define FAA_TESTS_EXPORTING_H

#include "export/bell.h"
#include "export/exporter.h"
#include "ring/ring.h"
#include "tests/unit/collector.h"
#include "tests/unit/record_builder.h"

static struct faa_exporter_config config;
static struct faa_exporter *exporter;
static struct faa_ring *ring;
static char url[64]; // Of the collector; where `config` sends to.

// Before each test; the collector is not started, and nor is the exporter.
static void prepare_export(unsigned schedule_delay_ms)
{
    collector_prepare();
    config = (struct faa_exporter_config){.otlp = 1,
                                          .endpoint = url,
                                          .timeout_ms = 10000,
                                          .schedule_delay_ms = schedule_delay_ms,
                                          .max_batch_size = 512,
                                          .version = "0",
                                          .service_name = "test"};
    ring = faa_ring_new(1 << 20, NULL);
    ck_assert_ptr_nonnull(ring);
}

// After each test.
static void end_export(void)
{
    if (exporter)
        faa_exporter_stop(exporter);
    faa_ring_free(ring);
    collector_stop();
}

// Names the collector as it is now.
static void aim(void)
{
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", collector->port);
}

static void start(void)
{
    aim();
    exporter = faa_exporter_start(&config, ring);
    ck_assert_ptr_nonnull(exporter);
}

// Puts n spans into the ring as the tracer does. Returns how many there was room for.
static unsigned put(unsigned n)
{
    struct record_builder builder;
    unsigned done = 0;
    builder_begin(&builder, FAA_KIND_SERVER, 1, 2, 0, 0, 5, "GET /", "test");
    builder_str(&builder, 0, FAA_KEY_URL_PATH, "/some/path");
    while (done < n) {
        void *place = faa_ring_reserve(ring, builder.u.head.size);
        if (!place)
            break;
        memcpy(place, &builder, builder.u.head.size);
        faa_ring_commit(ring, place);
        if (faa_bell_is_idle(faa_ring_bell(ring)))
            faa_bell_ring(faa_ring_bell(ring));
        done++;
    }
    return done;
}

#endif

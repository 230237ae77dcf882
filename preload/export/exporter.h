// SPDX-License-Identifier: MIT
// The exporter: one thread that drains the ring and sends batches to where the user asked.
//
// The thread owns everything it opens, blocks every signal, is named "faa-export" and never calls
// Python. It sleeps on the ring's bell while there is nothing to do: application threads wake it
// without touching a descriptor, which the application could have closed or reused.
#ifndef FAA_EXPORT_EXPORTER_H
#define FAA_EXPORT_EXPORTER_H

#include "base/str.h"
#include "export/connection.h"

#include <stdint.h>

struct faa_ring;
struct faa_exporter;

enum faa_protocol {
    FAA_PROTOCOL_DETECT, ///< gRPC first when the endpoint's port is 4317, else HTTP; may switch.
    FAA_PROTOCOL_HTTP,   ///< http/protobuf
    FAA_PROTOCOL_GRPC
};

/// A resource attribute; strings are NUL-terminated valid UTF-8. With `is_int`, `number` counts.
struct faa_resource_attribute {
    const char *key;
    const char *value;
    int64_t number;
    int is_int;
};

/// Settings. Strings and arrays must outlive the exporter.
struct faa_exporter_config {
    int otlp;                    ///< Send to `endpoint`.
    int console;                 ///< Print traces to stderr.
    const char *endpoint;        ///< Base URL (http or https, no trailing slash needed).
    const char *traces_endpoint; ///< Or the exact URL of OTEL_EXPORTER_OTLP_TRACES_ENDPOINT; NULL.
    enum faa_protocol protocol;
    const char *const *headers; ///< Further ones, "Name: value".
    size_t header_count;
    int gzip; ///< Compress requests.
    struct faa_connection_config connection;
    const char *spool_dir;         ///< Folder for batches while the collector is away; NULL: none.
    uint64_t spool_size;           ///< Bytes of all files in it together.
    uint32_t timeout_ms;           ///< Of one export; > 0.
    uint32_t schedule_delay_ms;    ///< The longest time a span waits to be sent; > 0.
    uint32_t max_batch_size;       ///< Spans in one request; > 0.
    const char *sampling_endpoint; ///< Base URL of Jaeger's SamplingManager; NULL: not asked.
    uint32_t sampling_interval_ms; ///< Between two questions; > 0.
    const char *version;           ///< Of the agent, for User-Agent and telemetry.distro.version.
    const char *service_name;      ///< For the console and for sampling strategies.
    const struct faa_resource_attribute *resource;
    size_t resource_count;
    int share_descriptors; ///< For tests: as where the kernel allows no private descriptor table.
};

/// What happened to spans after they left the ring, since the exporter started.
struct faa_exporter_counts {
    uint64_t exported;  ///< Acknowledged by the collector (or printed, without OTLP).
    uint64_t dropped;   ///< Given up: refused, or the process ended first.
    uint64_t spooled;   ///< Put into files, to be sent by whoever finds the collector.
    uint64_t unspooled; ///< Sent from files, this process's or another's; not in `exported`.
    uint64_t unspooled_dropped; ///< Given up that were in files: refused, or no room for them.
};

/// Starts the thread on this ring, this process's or an attached one; producers ring its bell when
/// faa_bell_is_idle, or the ring is half full. NULL with errno (out of memory or threads), and
/// nothing left behind. Costs one pthread_create; does no other I/O on the calling thread.
FAA_MUSTUSE struct faa_exporter *faa_exporter_start(const struct faa_exporter_config *config,
                                                    struct faa_ring *ring);

/// Waits until the thread has initialised its libraries (some milliseconds after its start), at
/// most timeout_ms. A fork must not happen meanwhile: their locks would be held in the child for
/// ever. Returns 0, or -1 when time ran out. Any thread.
FAA_MUSTUSE int faa_exporter_await_start(struct faa_exporter *exporter, uint32_t timeout_ms);

/// Waits until every record committed before the call has been sent or given up (one attempt
/// each, no retries), at most timeout_ms. Returns 0, or -1 when time ran out: then a transfer that
/// still runs is cancelled. Any thread, async-signal-safe.
FAA_MUSTUSE int faa_exporter_flush(struct faa_exporter *exporter, uint32_t timeout_ms);

/// From now on the thread works only while a flush waits for it, and sleeps else: exit handlers
/// may take away what its libraries need. Called before the last flush of a process. Any thread,
/// async-signal-safe.
void faa_exporter_park(struct faa_exporter *exporter);

/// The process that fills this attached ring is dead: what it has reserved and not committed is
/// passed over from now on. What is reserved later, by who calls this, is not. Once only.
void faa_exporter_rescue(struct faa_exporter *exporter);

/// True when there is nothing left to send, nor any attempt to repeat.
int faa_exporter_is_done(struct faa_exporter *exporter);

/// Stops and joins the thread (tests and the guard; a traced process never stops it). Returns the
/// last numbers; what is in the ring is in none of them.
struct faa_exporter_counts faa_exporter_stop(struct faa_exporter *exporter);

struct faa_exporter_counts faa_exporter_counts(const struct faa_exporter *exporter);

#endif

// SPDX-License-Identifier: MIT
// Records to the bytes of one ExportTraceServiceRequest.
#ifndef FAA_EXPORT_OTLP_H
#define FAA_EXPORT_OTLP_H

#include "base/str.h"

#include <stdint.h>

struct faa_exporter_config;
struct faa_otlp;

enum {
    FAA_OTLP_HEADROOM = 5, ///< Free bytes before the message, for gRPC's frame header.
    FAA_OTLP_MESSAGE_MAX = 32 << 20
};

/// A batch being built. It keeps pointers into the records until faa_otlp_pack. `config` must
/// outlive it. NULL when out of memory. One thread at a time.
FAA_MUSTUSE struct faa_otlp *faa_otlp_new(const struct faa_exporter_config *config);
void faa_otlp_free(struct faa_otlp *otlp);

/// Adds the record of `size` bytes at `record`, which must stay valid until the batch is packed.
/// Returns 1 when it is in, 0 when the batch is full without it, -1 when it is damaged: then it is
/// skipped, because a collector refuses a whole batch for one span without ids.
FAA_MUSTUSE int faa_otlp_add(struct faa_otlp *otlp, const void *record, size_t size);

/// Spans in the batch.
unsigned faa_otlp_count(const struct faa_otlp *otlp);

/// Encodes the batch and empties it. On 0, `*message` and `*len` are the encoded request (owned by
/// otlp, valid until the next pack, trim or free), with FAA_OTLP_HEADROOM writable bytes before it.
/// Returns -1 when there is no memory for it, or it is larger than FAA_OTLP_MESSAGE_MAX.
FAA_MUSTUSE int faa_otlp_pack(struct faa_otlp *otlp, uint8_t **message, size_t *len);

/// Gives back the memory that batches have needed: for when there will be none for a while. The
/// batch must be empty. Costs little where there was none since the last time.
void faa_otlp_trim(struct faa_otlp *otlp);

#endif

// SPDX-License-Identifier: MIT
// Asking Jaeger which spans of this service it wants: jaeger.api_v2.SamplingManager over gRPC.
#ifndef FAA_EXPORT_SAMPLING_H
#define FAA_EXPORT_SAMPLING_H

#include "export/exporter.h"

struct faa_sampling;

enum {
    FAA_SAMPLING_ANSWER_MAX = 256 << 10, ///< Bytes of an answer; a longer one is none.
    FAA_SAMPLING_TIMEOUT_MS = 2000       ///< Of one question, during which no spans are sent.
};

/// Opens nothing yet. `config` must outlive it. NULL when out of memory, or the endpoint or the
/// service's name cannot be used. Used by the exporter thread alone, as everything here but
/// faa_sampling_read.
FAA_MUSTUSE struct faa_sampling *faa_sampling_new(const struct faa_exporter_config *config);
void faa_sampling_free(struct faa_sampling *sampling);

/// Asks once, and hands the answer to the sampler; a failure leaves its strategy as it is, and is
/// said once. `private_fds`: see loop.h; nothing is kept open in either case. `give_up(arg)` is
/// asked all the while. Returns 0, or -1 when it said so, and nothing was learned.
FAA_MUSTUSE int faa_sampling_ask(struct faa_sampling *sampling, int private_fds,
                                 int (*give_up)(void *arg), void *arg);

/// Reads an encoded SamplingStrategyResponse and hands it to the sampler. Returns 1 when that
/// changed its strategy, 0 when not, -1 when the bytes are no strategy or there is no memory.
FAA_MUSTUSE int faa_sampling_read(const uint8_t *p, size_t n);

#endif

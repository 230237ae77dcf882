// SPDX-License-Identifier: MIT
// Fuzz target: any bytes as the answer of Jaeger's SamplingManager, and decisions by what came of
// it.
#include "export/sampling.h"
#include "span/sampler.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decide(const uint8_t *data, size_t size)
{
    uint8_t id[16] = {0};
    memcpy(id, data, size < sizeof(id) ? size : sizeof(id));
    // The answer's own bytes as operations: some of them are its names.
    for (size_t at = 0; at < size && at < 64; at++) {
        for (size_t n = 0; n <= 8 && n <= size - at; n++) {
            struct faa_str operation = {(const char *)data + at, n};
            int sampled = faa_sampler_decide(id, FAA_PARENT_NONE, operation);
            if (sampled != 0 && sampled != 1)
                abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    // A copy of the exact size, so that a sanitizer sees a byte too far.
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        return 0;
    memcpy(copy, data, size);
    faa_sampler_init(&(struct faa_sampler_config){FAA_SAMPLER_REMOTE, 0, 0.5});
    int changed = faa_sampling_read(copy, size);
    // What was a strategy is the same one when it comes again.
    if (changed >= 0 && faa_sampling_read(copy, size) != 0)
        abort();
    decide(copy, size);
    free(copy);
    return 0;
}

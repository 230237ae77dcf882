// SPDX-License-Identifier: MIT
// The exporter's own ways, used once.
#include "probe/trial.h"

#include "export/sampling.h"
#include "export/spool.h"

static int never(void *arg)
{
    (void)arg;
    return 0;
}

void faa_probe_try_spool(const struct faa_exporter_config *config)
{
    if (config->otlp && config->spool_dir)
        faa_spool_close(faa_spool_open(config->spool_dir, config->spool_size));
}

void faa_probe_try_sampling(const struct faa_exporter_config *config)
{
    struct faa_sampling *sampling = faa_sampling_new(config);
    if (!sampling)
        return;
    int ignored = faa_sampling_ask(sampling, 1, never, NULL); // It says itself what is wrong.
    (void)ignored;
    faa_sampling_free(sampling);
}

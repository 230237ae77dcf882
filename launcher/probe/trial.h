// SPDX-License-Identifier: MIT
// Settings that only turn out to be of use when they are tried.
#ifndef FAA_LAUNCHER_PROBE_TRIAL_H
#define FAA_LAUNCHER_PROBE_TRIAL_H

#include "export/exporter.h"

/// Opens the folder of the spool, if there is to be one. What is wrong with it is said in a line on
/// standard error, as the agent does.
void faa_probe_try_spool(const struct faa_exporter_config *config);

/// Asks Jaeger for a sampling strategy, once; else the same. The sampler is one that asks.
void faa_probe_try_sampling(const struct faa_exporter_config *config);

#endif

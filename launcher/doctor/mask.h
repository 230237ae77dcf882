// SPDX-License-Identifier: MIT
// Values of settings as they may be shown: a doctor's output ends up in tickets.
#ifndef FAA_LAUNCHER_DOCTOR_MASK_H
#define FAA_LAUNCHER_DOCTOR_MASK_H

#include "base/str.h"

enum faa_mask {
    FAA_MASK_NOTHING, ///< Numbers, names, paths, expressions.
    FAA_MASK_URL,     ///< User and password, query and fragment; what is no URL altogether.
    FAA_MASK_PAIRS,   ///< In key=value,key=value: URLs, and values whose key sounds like a secret.
    FAA_MASK_VALUES   ///< In the same: every value.
};

/// Writes `value` to `out` with "***" in place of what may be a secret, cut to `cap` bytes. Returns
/// 1 when something was masked, else 0.
int faa_mask(enum faa_mask mask, const char *value, char *out, size_t cap);

#endif

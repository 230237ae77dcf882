// SPDX-License-Identifier: MIT
// The table behind the attribute keys.
#include "span/semconv.h"

static const char *const names[FAA_KEY_COUNT] = {[FAA_KEY_NONE] = "",
#define X(id, name) [FAA_KEY_##id] = name,
                                                 FAA_SEMCONV(X)
#undef X
};

const char *faa_key_name(unsigned key)
{
    return key < FAA_KEY_COUNT ? names[key] : "";
}

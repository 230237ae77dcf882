// SPDX-License-Identifier: MIT
// The one instance of the settings.
#include "instrumentors/settings.h"

struct faa_settings faa_settings;

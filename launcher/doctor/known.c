// SPDX-License-Identifier: MIT
// The table is written by `make docs`, beside docs/LIBRARIES.md.
#include "doctor/known.h"

#include "doctor/report.h"

#include <stdlib.h>

const struct faa_known_library faa_known_libraries[] = {
#include "doctor/libraries.inc"
};

_Static_assert(FAA_COUNT(faa_known_libraries) <= FAA_LIBRARIES_MAX, "more room is needed");

const size_t faa_known_library_count = FAA_COUNT(faa_known_libraries);

// Compares the numbers of `version` with those of `bound`, as far as the bound has any.
static int compare(const char *version, const char *bound)
{
    while (*bound >= '0' && *bound <= '9') {
        char *version_end, *bound_end;
        unsigned long v = strtoul(version, &version_end, 10), b = strtoul(bound, &bound_end, 10);
        if (v != b)
            return v < b ? -1 : 1;
        version = version_end + (*version_end == '.');
        bound = bound_end + (*bound_end == '.');
    }
    return 0;
}

int faa_known_is_untested(const char *version, const char *tested)
{
    const char *to = strstr(tested, " to ");
    if (*version < '0' || *version > '9' || *tested < '0' || *tested > '9')
        return 0;
    return compare(version, tested) < 0 || compare(version, to ? to + 4 : tested) > 0;
}

// SPDX-License-Identifier: MIT
// What every fuzz target has: the function that is called with an input, and a check that is there
// in every build.
#ifndef FAA_TESTS_FUZZ_REQUIRE_H
#define FAA_TESTS_FUZZ_REQUIRE_H

#include <stdint.h>
#include <stdlib.h>

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif

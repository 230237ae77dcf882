// SPDX-License-Identifier: MIT
// Places: the locations in memory that threads share, and the places in the code with an order.
#ifndef FAA_TESTS_MODEL_PLACES_H
#define FAA_TESTS_MODEL_PLACES_H

#include "tests/model/memory.h"

/// The number of the location at this address, made when it is new; -1 outside of all regions.
int place_of(void *address, size_t size);

int place_flags(int location);                        ///< Of its region.
uint64_t place_initial(int location);                 ///< What lay there when it was first met.
uint64_t place_bytes(int location);                   ///< What lies there now.
void place_name(int location, char *out, size_t cap); ///< "head+0", "record+32".

/// The order of the access at this place in the code: as it is, or relaxed when explore_weaken says
/// so. `kind` and the location give the place its name.
struct memory_order place_order(struct memory_order order, const void *code, const char *kind,
                                int location);

/// Forgets regions and locations.
void places_reset(void);

/// Ends the program: the scenario asks for more than the model has.
_Noreturn void place_die(const char *what);

#endif

// SPDX-License-Identifier: MIT
// What the suites of the model do alike with their plans: scenarios, and what the threads do there.
#ifndef FAA_TESTS_MODEL_SUITE_H
#define FAA_TESTS_MODEL_SUITE_H

#include "tests/model/explore.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

struct model {
    size_t count; ///< Of the plans.
    struct explore_result (*run)(size_t plan, int broken_site);
    const char *(*name)(size_t plan);
    int (*takes_long)(size_t plan); ///< Not to find what is broken.
};

/// Runs the plans until one fails. Returns its number, or -1.
static inline int model_find(const struct model *m, int broken_site, const char *what)
{
    for (size_t i = 0; i < m->count; i++) {
        if (m->takes_long(i))
            continue;
        struct explore_result result = m->run(i, broken_site);
        if (result.failure) {
            printf("%-38s found by \"%s\": %s\n", what, m->name(i), result.failure);
            return (int)i;
        }
    }
    return -1;
}

/// Nothing is found where nothing is broken; afterwards the sites are known.
static inline void model_assert_sound(const struct model *m)
{
    for (size_t i = 0; i < m->count; i++)
        if (!m->takes_long(i))
            ck_assert_ptr_null(m->run(i, -1).failure);
}

/// Each of these orders is needed: weakened, at one of its sites at least, it is found.
static inline void model_assert_needed(const struct model *m, const char *const *sites, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        int count = 0;
        for (size_t i = 0; i < explore_site_count(); i++)
            count +=
                strcmp(explore_site_name(i), sites[k]) == 0 && model_find(m, (int)i, sites[k]) >= 0;
        ck_assert_msg(count > 0, "%s: not found", sites[k]);
    }
}

#endif

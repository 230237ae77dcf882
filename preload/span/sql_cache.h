// SPDX-License-Identifier: MIT
// What was told of statements lately: an application executes the same ones again and again.
//
// A statement is known by its whole text, and kept when it comes a second time in a row of misses,
// so that texts with values in them, of which each is new, push nothing out. At most
// FAA_SQL_CACHE_ENTRIES statements of at most FAA_SQL_CACHED_MAX bytes are kept: some hundred
// kilobytes in practice, 2.3 MB at the very most.
#ifndef FAA_SPAN_SQL_CACHE_H
#define FAA_SPAN_SQL_CACHE_H

#include "span/sql.h"

enum {
    FAA_SQL_CACHE_ENTRIES = 256,
    FAA_SQL_CACHED_MAX = 4096 ///< Bytes of a statement that is kept.
};

/// The same as faa_sql_tell, faster for a statement that came before: then 1 is returned, else 0.
/// Any thread; who would have to wait for another thread does without the cache.
int faa_sql_tell_cached(struct faa_str sql, unsigned flags, struct faa_sql_told *out);

#endif

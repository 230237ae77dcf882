// SPDX-License-Identifier: MIT
// How often a synchronous client has sent a request in one call of the application: redirects and
// challenges that it answers are all exchanges of the call, and each tells how many came before it.
// A call is noted when its first answer leads to another request, which few do.
//
// All functions need the GIL and, but for faa_http_call_run, leave no error set.
#ifndef FAA_INSTRUMENTORS_HTTP_CALL_H
#define FAA_INSTRUMENTORS_HTTP_CALL_H

#include "python/capi.h"

/// 0, or -1 with a Python error. Called again nothing happens.
FAA_MUSTUSE int faa_http_call_init(void);

/// Calls `wrapped`, a method of `args[0]`, a client (an opener: compared by identity only), that
/// deals with an answer: one exchange has been made. Where a call of the same client is under way
/// and `continues` is true, this is a part of that one. For hooks: what it raises stays set.
PyObject *faa_http_call_run(int continues, PyObject *wrapped, PyObject *const *args, size_t nargsf,
                            PyObject *kwnames);

/// How many exchanges of the call that is under way have begun, before the one that begins now; 0
/// where none is under way.
int faa_http_call_count(void);

#endif

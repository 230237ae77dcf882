// SPDX-License-Identifier: MIT
// How often a synchronous client has sent a request in one call of the application: redirects,
// challenges that it answers and retries are all exchanges of the call, and each tells how many
// came before it.
//
// All functions need the GIL and, but for faa_http_call_run, leave no error set.
#ifndef FAA_INSTRUMENTORS_HTTP_CALL_H
#define FAA_INSTRUMENTORS_HTTP_CALL_H

#include "python/capi.h"

/// 0, or -1 with a Python error. Called again nothing happens.
FAA_MUSTUSE int faa_http_call_init(void);

/// Calls `wrapped`, a method of `args[0]`, as one call of that client (a session, an opener:
/// compared by identity only). Where one of the same client is under way and `continues` is true,
/// it is a part of that one. For hooks: what it raises stays set.
PyObject *faa_http_call_run(int continues, PyObject *wrapped, PyObject *const *args, size_t nargsf,
                            PyObject *kwnames);

/// How many exchanges of the call that is under way have begun; 0 where there is none.
int faa_http_call_sent(void);

/// Says that they are `count` now. Nothing happens where no call is under way.
void faa_http_call_set_sent(int count);

#endif

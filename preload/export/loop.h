// SPDX-License-Identifier: MIT
// Drives one transfer of libcurl to its end.
#ifndef FAA_EXPORT_LOOP_H
#define FAA_EXPORT_LOOP_H

#include "base/str.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <stdio.h>

struct faa_loop;

enum { FAA_LOOP_TICK_MS = 20 }; ///< How often a running transfer asks whether to go on.

/// With `private_fds` (see fdtable.h) the loop is libuv's and may be kept between transfers.
/// Without, it is curl's own poll, which does not abort the process when the application closes
/// descriptors that are not its own, and it must not outlive a transfer. It is curl's also where
/// libuv has no descriptors or memory left. NULL on failure.
FAA_MUSTUSE struct faa_loop *faa_loop_new(int private_fds);
void faa_loop_free(struct faa_loop *loop);

/// Runs the transfer of `easy`. `give_up(arg)` is asked at least every FAA_LOOP_TICK_MS; once it
/// says so, the transfer is cancelled and CURLE_ABORTED_BY_CALLBACK returned.
FAA_MUSTUSE CURLcode faa_loop_run(struct faa_loop *loop, CURL *easy, int (*give_up)(void *arg),
                                  void *arg);

/// True when faa_loop_run was left in the middle (CURLE_OUT_OF_MEMORY): nobody may touch loop and
/// easy handle again, not even to free them. This happens once in a process at most.
int faa_loop_is_wreck(const struct faa_loop *loop);

/// What the build renames abort and __assert_fail to in its own copy of libuv, which ends the
/// process where memory or descriptors run out. That is not its to end: the loop is left instead,
/// by longjmp, and from then on every loop is curl's.
_Noreturn void faa_loop_abort(void);
_Noreturn void faa_loop_assert_fail(const char *expression, const char *file, unsigned line,
                                    const char *function);

/// What the build renames pthread_atfork to in its own copy of libuv, whose fork handler would open
/// two descriptors in every child of the application, and abort it where that is not possible.
int faa_loop_no_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));

/// What the same copy of libuv is given for libc's variables of these names, to which the code of a
/// shared library may not refer as libuv's does. Nothing that we call looks at them; `stderr` is
/// for its last words, and set.
extern char **faa_loop_environ;
extern FILE *faa_loop_stderr;
extern const struct in6_addr faa_loop_in6addr_any;

#endif

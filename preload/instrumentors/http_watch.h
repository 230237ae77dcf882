// SPDX-License-Identifier: MIT
// The end of an answer's body, without a hook: http.client lets go of the file that it reads an
// answer from when it has read all of it, when it is closed, and when it is dropped.
#ifndef FAA_INSTRUMENTORS_HTTP_WATCH_H
#define FAA_INSTRUMENTORS_HTTP_WATCH_H

#include "python/capi.h"

/// Called once, when the file is gone, from wherever that happened. `response` is what was given to
/// faa_http_watch, borrowed, or NULL where that one is gone too.
typedef void faa_http_gone(PyObject *exchange, PyObject *response);

/// 0, or -1 with a Python error. Called again nothing happens.
FAA_MUSTUSE int faa_http_watch_init(void);

/// Keeps the exchange until `file` is gone, and neither that one nor `response`. 0; -1, with no
/// error set, where they cannot be watched.
FAA_MUSTUSE int faa_http_watch(PyObject *exchange, PyObject *file, PyObject *response,
                               faa_http_gone *gone);

/// The exchange that this file is watched for (new reference), or NULL. Not for hot paths.
PyObject *faa_http_watch_exchange(PyObject *file);

#endif

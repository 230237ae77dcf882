// SPDX-License-Identifier: MIT
// An exchange whose answer is still being read: the object that the application reads it by keeps
// it, and its span ends when the body has been read, is closed, or is dropped unread.
//
// All functions need the GIL and leave no error set.
#ifndef FAA_INSTRUMENTORS_HTTP_BODY_H
#define FAA_INSTRUMENTORS_HTTP_BODY_H

#include "python/capi.h"

/// Gives the class of such objects what a look at one that keeps nothing finds. 0, or -1.
FAA_MUSTUSE int faa_http_body_prepare(PyObject *holder_class);

/// The holder keeps the exchange from now on. One that cannot ends it.
void faa_http_body_attach(PyObject *holder, PyObject *exchange);

/// What the holder keeps the exchange in (new reference), or NULL. It lets whoever has it end the
/// exchange, and the holder may still have it then.
PyObject *faa_http_body_of(PyObject *holder);

/// The exchange that is in there, borrowed.
PyObject *faa_http_body_kept(PyObject *body);

/// The exchange that the holder keeps (new reference), or NULL.
PyObject *faa_http_body_exchange(PyObject *holder);

/// Ends the exchange that the holder keeps, if it does. `error` is what reading failed by,
/// borrowed, or NULL.
void faa_http_body_end(PyObject *holder, PyObject *error);

#endif

// SPDX-License-Identifier: MIT
// Requests of httpx: what they say, and our headers in them, which are put in while the exchange
// runs and taken out again.
//
// httpx.Headers keeps a list of (name, name in lower case, value), which its own methods search and
// copy in Python; here that takes a tenth of the time. A header is ours when its name is one of our
// bytes objects, not merely equal to one: copies that a transport makes of the headers keep that.
//
// All functions need the GIL and leave no error set.
#ifndef FAA_INSTRUMENTORS_HTTPX_REQUEST_H
#define FAA_INSTRUMENTORS_HTTPX_REQUEST_H

#include "python/capi.h"

enum { FAA_HTTPX_URL_MAX = 2048 }; // Bytes of a URL that are written here.

/// A request's method and URL. On the stack.
struct faa_httpx_line {
    PyObject *method, *text; // References, or NULL.
    struct faa_str url;      ///< In `text` or in `room`; empty when there is none.
    char room[FAA_HTTPX_URL_MAX];
};

void faa_httpx_line_init(struct faa_httpx_line *line, PyObject *request);
void faa_httpx_line_fini(struct faa_httpx_line *line);

/// 0 when httpx.Headers is made as said above; -1 with a debug line.
FAA_MUSTUSE int faa_httpx_headers_check(void);

/// The headers that tell the exchange, as a list for faa_httpx_headers_put. New reference; NULL
/// when there is nothing to tell, or the request tells a trace of its own.
PyObject *faa_httpx_headers_make(PyObject *exchange, PyObject *request);

/// Puts them behind the request's own, in place of what another exchange has left there. Nothing
/// happens with NULL.
void faa_httpx_headers_put(PyObject *request, PyObject *headers);

/// Takes all that are ours out.
void faa_httpx_headers_take(PyObject *request);

#endif

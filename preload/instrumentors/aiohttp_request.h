// SPDX-License-Identifier: MIT
// Requests of aiohttp: the URL, and the head as it goes out.
//
// All functions need the GIL and leave no error set.
#ifndef FAA_INSTRUMENTORS_AIOHTTP_REQUEST_H
#define FAA_INSTRUMENTORS_AIOHTTP_REQUEST_H

#include "python/capi.h"

enum { FAA_AIOHTTP_URL_MAX = 2048 }; // Bytes of a URL that are written here.

/// A text of a yarl.URL. On the stack.
struct faa_aiohttp_url {
    struct faa_str str; ///< In `text` or in `room`; empty when there is none.
    PyObject *text;     // A reference, or NULL.
    char room[FAA_AIOHTTP_URL_MAX];
};

/// `object` may be NULL.
void faa_aiohttp_url_init(struct faa_aiohttp_url *url, PyObject *object);
void faa_aiohttp_url_fini(struct faa_aiohttp_url *url);

/// A copy of the head (a bytes object that ends with the empty line) with the headers that tell the
/// exchange behind its own: new reference; NULL when there is nothing to tell, or the head tells a
/// trace of its own.
PyObject *faa_aiohttp_head_tell(PyObject *head, PyObject *exchange);

#endif

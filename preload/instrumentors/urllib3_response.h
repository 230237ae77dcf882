// SPDX-License-Identifier: MIT
// urllib3's HTTPResponse, which requests hands on as `raw`: what a span tells of it, and when its
// body has been read.
//
// All functions need the GIL and leave no error set.
#ifndef FAA_INSTRUMENTORS_URLLIB3_RESPONSE_H
#define FAA_INSTRUMENTORS_URLLIB3_RESPONSE_H

#include "python/wrapper.h"

/// Whether the ends of bodies can be seen: 0, or -1. What has to be hooked for that is when the
/// first body needs it.
FAA_MUSTUSE int faa_urllib3_response_check(void);

/// Says on the exchange what the response is: status, version, headers. Once for each attempt. Any
/// object will do, NULL too.
void faa_urllib3_response_tell(PyObject *exchange, PyObject *response);

/// Ends the exchange when the response's body has been read, it was closed or released, or is
/// dropped; at once where there is nothing left to read.
void faa_urllib3_response_follow(PyObject *exchange, PyObject *response);

/// The same at less cost, for a client that always closes a response before it gives the connection
/// back.
void faa_urllib3_response_watch(PyObject *exchange, PyObject *response);

#endif

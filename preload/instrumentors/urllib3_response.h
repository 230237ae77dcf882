// SPDX-License-Identifier: MIT
// urllib3's HTTPResponse, which requests hands on as `raw`: what a span tells of it, and when its
// body has been read.
//
// All functions need the GIL and leave no error set.
#ifndef FAA_INSTRUMENTORS_URLLIB3_RESPONSE_H
#define FAA_INSTRUMENTORS_URLLIB3_RESPONSE_H

#include "python/capi.h"

/// Says on the exchange what the response is: status, version, headers. Once for each attempt. Any
/// object will do, NULL too.
void faa_urllib3_response_tell(PyObject *exchange, PyObject *response);

/// Ends the exchange when the response's body has been read, it was closed or released, or is
/// dropped; at once where there is nothing left to read.
void faa_urllib3_response_follow(PyObject *exchange, PyObject *response);

#endif

// SPDX-License-Identifier: MIT
// urllib3's HTTPResponse, which requests hands on as `raw`: what a span tells of it, and when its
// body has been read.
//
// All functions need the GIL and leave no error set.
#ifndef FAA_INSTRUMENTORS_URLLIB3_RESPONSE_H
#define FAA_INSTRUMENTORS_URLLIB3_RESPONSE_H

#include "python/wrapper.h"

/// For the patches of a client that reads bodies through it.
#define FAA_URLLIB3_RESPONSE_PATCHES                                                               \
    {"urllib3.response:HTTPResponse.release_conn", faa_urllib3_response_release_conn},             \
    {                                                                                              \
        "urllib3.response:HTTPResponse.close", faa_urllib3_response_close                          \
    }

/// They end the exchange that the response carries.
faa_hook faa_urllib3_response_release_conn, faa_urllib3_response_close;

/// For a client whose bodies have mostly been read when a call returns: whether these patches could
/// be made, 0 or -1. They are when the first body has to be followed.
FAA_MUSTUSE int faa_urllib3_response_check(void);

/// Says on the exchange what the response is: status, version, headers. Once for each attempt. Any
/// object will do, NULL too.
void faa_urllib3_response_tell(PyObject *exchange, PyObject *response);

/// Ends the exchange when the response's body has been read, it was closed or released, or is
/// dropped; at once where there is nothing left to read.
void faa_urllib3_response_follow(PyObject *exchange, PyObject *response);

#endif

// SPDX-License-Identifier: MIT
// The one place where requests of requests, urllib3 and urllib leave: http.client's connection,
// when the head of a request is complete.
//
// The trace is told there, in the lines that go out: no object of the application's is touched, and
// each attempt of a request tells its own span.
#ifndef FAA_INSTRUMENTORS_HTTP_WIRE_H
#define FAA_INSTRUMENTORS_HTTP_WIRE_H

#include "python/wrapper.h"

/// For the patches of each of these clients.
#define FAA_HTTP_WIRE_PATCH                                                                        \
    {                                                                                              \
        "http.client:HTTPConnection.endheaders", faa_http_wire_endheaders                          \
    }

/// Adds the headers of the current exchange, unless the request tells a trace already, and records
/// those that the user has asked for.
faa_hook faa_http_wire_endheaders;

#endif

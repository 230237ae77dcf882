// SPDX-License-Identifier: MIT
// The check of a collector's base URL before anything is started with it.
#ifndef FAA_LAUNCHER_ENDPOINT_H
#define FAA_LAUNCHER_ENDPOINT_H

#include "base/str.h"

/// The longest URL that is accepted, in bytes.
#define FAA_ENDPOINT_MAX 2048

/// Tells whether `url` can be the base URL of an OTLP collector: RFC 3986 with the scheme http or
/// https in any case, a host name, IPv4 address or bracketed IPv6 address without a zone, a port
/// from 1 to 65535 or none, and a path or none. User information is refused because a URL is
/// shown in process lists and logs; query and fragment because a path is appended to the URL.
/// Returns NULL, or what is wrong with it: a constant phrase that never quotes the URL.
FAA_MUSTUSE const char *faa_endpoint_check(const char *url);

#endif

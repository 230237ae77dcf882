// SPDX-License-Identifier: MIT
// What proxies say about the client's request: Forwarded (RFC 7239) and the X-Forwarded-… headers
// before it. All bytes are the client's; what is no value is none.
#ifndef FAA_SPAN_FORWARDED_H
#define FAA_SPAN_FORWARDED_H

#include "base/str.h"

/// The first hop's values; slices of the header, empty where it says nothing.
struct faa_forwarded {
    struct faa_str client; ///< An address, without port and brackets.
    struct faa_str host;   ///< As in a Host header.
    struct faa_str proto;  ///< "http" or "https", as written.
};

/// Reads the first element of a Forwarded header.
struct faa_forwarded faa_forwarded_parse(struct faa_str header);

/// The first address of an X-Forwarded-For header.
struct faa_str faa_forwarded_for(struct faa_str header);

/// The first element of a comma-separated header, without blanks around it.
struct faa_str faa_forwarded_first(struct faa_str header);

#endif

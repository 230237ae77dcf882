// SPDX-License-Identifier: MIT
// From the endpoint that the user gave to the URLs that are posted to.
#ifndef FAA_EXPORT_ENDPOINT_H
#define FAA_EXPORT_ENDPOINT_H

#include "base/str.h"

enum {
    FAA_URL_MAX = 2048,       ///< Bytes of one URL, with the NUL.
    FAA_SOCKET_PATH_MAX = 108 ///< Bytes of a Unix socket's path, with the NUL (sun_path).
};

struct faa_endpoint {
    char http_url[FAA_URL_MAX];   ///< For OTLP/HTTP.
    char grpc_url[FAA_URL_MAX];   ///< For gRPC.
    char shown[FAA_URL_MAX];      ///< For messages: without credentials, query and fragment.
    char http_shown[FAA_URL_MAX]; ///< The same of http_url.
    char socket_path[FAA_SOCKET_PATH_MAX]; ///< Of `unix:///path`; else empty.
    int tls;
    int is_local;  ///< On this machine: localhost, 127.0.0.0/8, ::1 or a Unix socket.
    unsigned port; ///< 0 for a Unix socket.
};

/// Fills in `endpoint` from the base URL, or from the exact URL of the traces endpoint when that
/// is not NULL. Returns 0, or -1 with errno: EINVAL when it is no usable http or https URL, nor
/// unix:///path (whose requests have the standard's paths), or ENOMEM.
FAA_MUSTUSE int faa_endpoint_init(struct faa_endpoint *endpoint, const char *base,
                                  const char *traces);

/// The same for Jaeger's remote sampling by gRPC: `grpc_url` is that of the SamplingManager.
FAA_MUSTUSE int faa_endpoint_init_sampling(struct faa_endpoint *endpoint, const char *base);

#endif

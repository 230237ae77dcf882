// SPDX-License-Identifier: MIT
// How every transfer of ours reaches its peer: directly, through a proxy, by a Unix socket; and
// whose certificates are believed.
#ifndef FAA_EXPORT_CONNECTION_H
#define FAA_EXPORT_CONNECTION_H

#include "export/endpoint.h"

#include <curl/curl.h>

/// The user's choice. Strings must outlive the transfers; NULL where nothing is set. They are read
/// once at start: libcurl would read proxy variables from the environment at each transfer, on our
/// thread, while the application may be changing them.
struct faa_connection_config {
    const char *certificate;        ///< File of the authorities to believe (PEM), and no others.
    const char *client_certificate; ///< PEM file of our own certificate (mTLS), and its
    const char *client_key;         ///< private key.
    const char *certificate_file;   ///< SSL_CERT_FILE: in place of the system's.
    const char *certificate_dir;    ///< SSL_CERT_DIR
    const char *http_proxy, *https_proxy, *all_proxy, *no_proxy;
};

/// Sets an option; `rc` becomes -1 when there is no memory for it. Nothing may be sent then: not
/// without the certificate to believe, nor by way of a proxy of the environment's. An option that
/// an older library does not know is none that matters.
#define FAA_CONNECTION_SET(rc, easy, option, value)                                                \
    do {                                                                                           \
        if (curl_easy_setopt(easy, option, value) == CURLE_OUT_OF_MEMORY)                          \
            (rc) = -1;                                                                             \
    } while (0)

/// Sets the options of one transfer to `endpoint`; 0, or -1 without memory for them. Peers on this
/// machine (localhost, 127.0.0.0/8,
/// ::1, Unix sockets) are never reached through a proxy. `grpc`: HTTP/2 goes through one by
/// CONNECT.
FAA_MUSTUSE int faa_connection_set(CURL *easy, const struct faa_connection_config *config,
                                   const struct faa_endpoint *endpoint, int grpc);

#endif

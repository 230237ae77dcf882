// SPDX-License-Identifier: MIT
// One batch to the collector, in the protocol that it speaks.
#ifndef FAA_EXPORT_TRANSPORT_H
#define FAA_EXPORT_TRANSPORT_H

#include "export/answer.h"
#include "export/exporter.h"

struct faa_transport;

/// A request: an encoded message with FAA_OTLP_HEADROOM writable bytes before it.
struct faa_batch {
    uint8_t *message;
    size_t len;
    unsigned spans;
};

/// Initialises libcurl, to be undone by curl_global_cleanup. Returns 0 or -1.
FAA_MUSTUSE int faa_transport_init_curl(void);

/// Opens nothing yet. `config` must outlive it; with `private_fds`, connections are kept between
/// batches (see fdtable.h). NULL with errno: ENOMEM, or EINVAL when the endpoint cannot be used.
/// Used by the exporter thread alone, as everything here.
FAA_MUSTUSE struct faa_transport *faa_transport_new(const struct faa_exporter_config *config,
                                                    int private_fds);
void faa_transport_free(struct faa_transport *transport);

/// Sends the batch once, and once more in the other protocol where that may be detected and the
/// answer looks like it. Never FAA_VERDICT_WRONG_PROTOCOL. `give_up(arg)` is asked all the while;
/// when it says so, the batch is left with FAA_VERDICT_RETRY.
struct faa_outcome faa_transport_send(struct faa_transport *transport,
                                      const struct faa_batch *batch, int (*give_up)(void *arg),
                                      void *arg);

/// How far the last request came, for people who look for a reason. Times are milliseconds since
/// its beginning, 0 where it did not come so far or needed not to.
struct faa_transport_steps {
    int grpc;         ///< It was made by gRPC, else by HTTP.
    int tls;          ///< The endpoint wants it.
    int proxied;      ///< A proxy was asked; the address is the proxy's.
    int curl_code;    ///< 0 when there was an answer,
    long status;      ///< with this HTTP status.
    char address[64]; ///< Whom it was connected to; "" when to nobody.
    long port;        ///< Its port; 0 for a Unix socket.
    double name_ms, connect_ms, tls_ms, total_ms;
};

/// Fills in `steps`. Only with private_fds, and only after faa_transport_send.
void faa_transport_read_steps(const struct faa_transport *transport,
                              struct faa_transport_steps *steps);

/// The endpoint as it may be shown, without credentials.
const char *faa_transport_endpoint(const struct faa_transport *transport);

#endif

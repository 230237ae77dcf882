// SPDX-License-Identifier: MIT
// The options of libcurl that say how a peer is reached and believed.
#include "export/connection.h"

#include <unistd.h>

// Where distributions keep the certificates of the authorities that they trust. libcurl knows the
// place of the system that it was built on, which may be another one.
static const char *system_certificates(void)
{
    static const char *const files[] = {
        "/etc/ssl/certs/ca-certificates.crt",                // Debian, Alpine, Arch
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Red Hat 7 and later
        "/etc/pki/tls/certs/ca-bundle.crt",                  // Red Hat
        "/etc/ssl/ca-bundle.pem",                            // SUSE
        "/var/lib/ca-certificates/ca-bundle.pem",            // SUSE
        "/etc/ssl/cert.pem",                                 // Alpine without its package
    };
    for (size_t i = 0; i < FAA_COUNT(files); i++)
        if (access(files[i], R_OK) == 0)
            return files[i];
    return NULL;
}

static int set_tls(CURL *easy, const struct faa_connection_config *config)
{
    int rc = 0;
    const char *file = config->certificate ? config->certificate : config->certificate_file;
    const char *dir = config->certificate ? NULL : config->certificate_dir;
    if (!file && !dir)
        file = system_certificates();
    // Without any, libcurl's own places are tried.
    if (file || dir) {
        FAA_CONNECTION_SET(rc, easy, CURLOPT_CAINFO, file);
        FAA_CONNECTION_SET(rc, easy, CURLOPT_CAPATH, dir);
    }
    if (config->client_certificate) {
        FAA_CONNECTION_SET(rc, easy, CURLOPT_SSLCERT, config->client_certificate);
        FAA_CONNECTION_SET(rc, easy, CURLOPT_SSLKEY,
                           config->client_key ? config->client_key : config->client_certificate);
    }
    return rc;
}

static int set_proxy(CURL *easy, const struct faa_connection_config *config,
                     const struct faa_endpoint *endpoint)
{
    int rc = 0;
    const char *proxy = endpoint->tls ? config->https_proxy : config->http_proxy;
    if (!proxy)
        proxy = config->all_proxy;
    if (!proxy || endpoint->is_local)
        proxy = ""; // And not the environment's of this moment.
    FAA_CONNECTION_SET(rc, easy, CURLOPT_PROXY, proxy);
    FAA_CONNECTION_SET(rc, easy, CURLOPT_NOPROXY, config->no_proxy ? config->no_proxy : "");
    return rc;
}

int faa_connection_set(CURL *easy, const struct faa_connection_config *config,
                       const struct faa_endpoint *endpoint, int grpc)
{
    int rc = 0;
    FAA_CONNECTION_SET(rc, easy, CURLOPT_HTTPPROXYTUNNEL, grpc ? 1L : 0L);
    FAA_CONNECTION_SET(rc, easy, CURLOPT_NOSIGNAL, 1L);
    // A connection is kept for all batches. When it is gone, its address may be.
    FAA_CONNECTION_SET(rc, easy, CURLOPT_DNS_CACHE_TIMEOUT, 0L);
#if LIBCURL_VERSION_NUM >= 0x075500
    FAA_CONNECTION_SET(rc, easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    FAA_CONNECTION_SET(rc, easy, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
    // Do not wait for a thread that resolves a name when the transfer is given up.
    FAA_CONNECTION_SET(rc, easy, CURLOPT_QUICK_EXIT, 1L);
#endif
    FAA_CONNECTION_SET(rc, easy, CURLOPT_FOLLOWLOCATION, 0L);
    FAA_CONNECTION_SET(rc, easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    if (endpoint->socket_path[0])
        FAA_CONNECTION_SET(rc, easy, CURLOPT_UNIX_SOCKET_PATH, endpoint->socket_path);
    if (endpoint->tls && set_tls(easy, config))
        rc = -1;
    return set_proxy(easy, config, endpoint) ? -1 : rc;
}

// SPDX-License-Identifier: MIT
// URLs in spans: taken apart, and with their secrets removed.
//
// The value of a query or fragment parameter is replaced by REDACTED, its key kept, when the key
// (percent-decoded) is
//   - exactly one of the semantic conventions' list: AWSAccessKeyId, Signature, sig,
//     X-Amz-Credential, X-Amz-Security-Token, X-Amz-Signature, X-Goog-Signature;
//   - or, in any case and with `-` and `_` ignored (Api-Key, apiKey and api_key are the same), one
//     of ours: password, passwd, pwd, passphrase, secret, token, api key, auth, authorization, jwt,
//     credentials, access/auth/id/refresh/session token, access/private/secret key, client secret,
//     x api key; in form notation too (user[password], token[0]);
//   - or, by the same rule, one of FAA_REDACT_QUERY;
//   - or `key` with a value of at least 20 bytes: an API key, where `sort_key=name` is none.
// Parameters begin behind `&`, `;` and `?`, so that a URL in a value is searched as well unless it
// is percent-encoded; a secret value ends at `&` only. Paths are not searched.
#ifndef FAA_SPAN_URL_H
#define FAA_SPAN_URL_H

#include "base/str.h"

enum {
    FAA_URL_READ_MAX = 65536, ///< Bytes of a URL that are read; the time is bounded by it.
    FAA_URL_SECRETS_MAX = 64  ///< Names of parameters that can be added to the list.
};

/// Slices of the URL that was split, valid as long as that one.
struct faa_url {
    struct faa_str scheme; ///< "http", "https", "ws" or "wss", static.
    struct faa_str host;   ///< Without user information and brackets, never empty.
    struct faa_str path;   ///< From its slash on; may be empty.
    struct faa_str query;  ///< Without the question mark; may be empty.
    unsigned port;         ///< The URL's own, or the scheme's default.
};

/// Adds a name to the list of parameters whose values are secret: in any case, and with `-` and `_`
/// ignored. Called before there are spans. 0, or -1 when it can be no parameter's name (empty,
/// longer than 64 bytes, or with a byte that ends a name or stands for another) or the list is
/// full.
FAA_MUSTUSE int faa_url_add_secret(struct faa_str name);

/// True when a parameter of this name, percent-encoded or not, is secret with a value of that many
/// bytes.
int faa_url_is_secret(struct faa_str name, size_t value_len);

/// Writes an absolute URL without credentials: `REDACTED:REDACTED@` for user and password,
/// `REDACTED@` for a user alone, and parameters as said above. Control bytes are percent-encoded,
/// all other bytes are accepted and kept. Writes at most cap - 1 bytes, cut on a UTF-8 character
/// boundary, and a NUL (nothing when cap is 0). Returns the length without the NUL. Any thread.
size_t faa_url_redact(struct faa_str url, char *out, size_t cap);

/// The same for a query alone, given without its question mark.
size_t faa_query_redact(struct faa_str query, char *out, size_t cap);

/// Takes an http, https, ws or wss URL apart (a WebSocket's handshake is HTTP). Returns 0, or -1
/// (and an untouched `out`) when it is no such URL, has no host or a port outside 1 to 65535, or
/// control bytes, spaces or backslashes before its path.
FAA_MUSTUSE int faa_url_split(struct faa_str url, struct faa_url *out);

/// Both at once, as one needs them for a span: what faa_url_redact writes, and `parts` as
/// faa_url_split would fill it, with an empty host where it would refuse.
size_t faa_url_describe(struct faa_str url, char *out, size_t cap, struct faa_url *parts);

#endif

// SPDX-License-Identifier: MIT
// What the instrumentors of HTTP clients share: one CLIENT span for each exchange on the wire,
// after the semantic conventions for HTTP.
//
// An exchange is a faa.span object. While it is current, a client that another one is built on
// (urllib3 under requests) knows that its exchange has a span, and only tells when the request goes
// out once more. It may last longer than the call, as long as its body is read: then it is kept on
// the response, and ends with it at the latest. All functions need the GIL and leave no error set.
#ifndef FAA_INSTRUMENTORS_HTTP_CLIENT_H
#define FAA_INSTRUMENTORS_HTTP_CLIENT_H

#include "instrumentors/http_rules.h"
#include "python/pyspan.h"
#include "span/propagation.h"

/// One client library. Static.
struct faa_http_client {
    const char *scope;      ///< The instrumentation scope's name.
    enum faa_rule excluded; ///< Its own list of URLs; before OTEL_PYTHON_EXCLUDED_URLS.
};

/// Starts the span of an exchange as the child of `outer`, which faa_context_current has just
/// returned (borrowed, may be NULL), with method and URL (absolute, as it is: it is redacted here).
/// `resend_count`: how often the request has gone out before. One to an excluded URL is not
/// recorded, nor is what happens within it, and it tells no trace.
/// New reference; NULL when there is no memory: then the call passes through.
PyObject *faa_http_client_begin(const struct faa_http_client *client, struct faa_str method,
                                struct faa_str url, int resend_count, PyObject *outer);

/// The same for a call that blocks its thread: the exchange is current until …_leave. It is told
/// whether the call blocks an event loop. An empty method will be that of the request line on the
/// wire.
PyObject *faa_http_client_enter(const struct faa_http_client *client, struct faa_str method,
                                struct faa_str url, int resend_count, PyObject *outer);
void faa_http_client_leave(PyObject *exchange);

/// Tells the method of an exchange that was begun without one. Once: then nothing happens any more.
void faa_http_client_set_method(PyObject *exchange, struct faa_str method);
int faa_http_client_has_method(PyObject *exchange);

/// The exchange that is current and has not ended (new reference), or NULL.
PyObject *faa_http_client_current(void);

/// True when this object, which faa_context_current has returned (or NULL), is such an exchange.
int faa_http_client_is_exchange(PyObject *current);

/// Room for what the instrumentor that has begun an exchange keeps for it, uninitialised and
/// aligned for pointers. It dies with the exchange's object: then `fini`, if one has been set, is
/// called with it.
enum { FAA_HTTP_CLIENT_ROOM = 64 }; // Bytes.
void *faa_http_client_room(PyObject *exchange);
void faa_http_client_set_fini(PyObject *exchange, void (*fini)(void *room));

/// For a client that others are built on, when it is asked to send: 1 when the request is that of
/// the exchange that is `current` (as above), carried from now on. `again` says that an attempt has
/// ended, and the caller is to begin the next one by faa_http_client_resend. 0 when the caller is
/// to begin an exchange itself: there is none, or it is on its way already and this is another
/// request (made by an iterator that gives the body, say).
int faa_http_client_carry(PyObject *current, int *again);

/// For a client that carries its own exchange: what other clients send from now on is not its
/// request.
void faa_http_client_mark_sent(PyObject *exchange);

/// True when `current` (as above) is an exchange that nobody has carried yet: for a client that is
/// built on others and may itself be what another one is built on.
int faa_http_client_is_waiting(PyObject *current);

/// Ends the span of the attempt that a carried exchange is at: it has failed, by `error` (borrowed)
/// or by the status that was set, and the request will go out once more when the client has waited
/// a while.
void faa_http_client_end_attempt(PyObject *exchange, PyObject *error);

/// How often the request had gone out before the attempt that the exchange is at.
int faa_http_client_resend_count(PyObject *exchange);

/// Ends the attempt that the exchange, which is current, is at, and begins the next one in its
/// place: the same request, or the one that the answer sent us to, on its way again. `status` is
/// what the attempt was answered with, 0 when it was not; `error` is what it failed by, borrowed,
/// or NULL.
void faa_http_client_resend(PyObject *exchange, int status, PyObject *error, struct faa_str method,
                            struct faa_str url, int resend_count);

/// Notes the status code (0: none); from 400 on the exchange has failed.
void faa_http_client_set_status(PyObject *exchange, int status);

/// The status code of the attempt that the exchange is at, or was at last; 0 when it has none.
int faa_http_client_status(PyObject *exchange);

/// Notes the size of the answer's body as it came over the wire; -1: not known.
void faa_http_client_set_body_size(PyObject *exchange, long long size);

/// Sets network.protocol.version from "HTTP/1.1", "HTTP/2", "1.1" and the like; or from 10, 11, 20.
void faa_http_client_set_version(PyObject *exchange, struct faa_str version);
void faa_http_client_set_version_number(PyObject *exchange, long long version);

/// Records the headers that OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST or _RESPONSE
/// asks for. `headers` is a list or tuple of pairs, or a mapping whose items() gives them, with
/// every line of a header that comes several times; borrowed, may be NULL. Python code may run,
/// where there is such a rule only.
void faa_http_client_capture_request(PyObject *exchange, PyObject *headers);
void faa_http_client_capture_response(PyObject *exchange, PyObject *headers);

/// Marks the attempt as failed by this exception of the library's (borrowed), unless it is a
/// cancellation, without ending it: the call may go on with another one.
void faa_http_client_fail(PyObject *exchange, PyObject *error);

/// Ends the span, with the end now. `error` is the exception that the call raised, borrowed, or
/// NULL; a cancellation is none of the exchange's failures. Ending twice does nothing. An exchange
/// that nobody has ended does so when its object dies.
void faa_http_client_end(PyObject *exchange, PyObject *error);

/// What goes into the request's headers. Empty when there is nothing to tell.
void faa_http_client_context(PyObject *exchange, struct faa_injection *out);

/// Whether a request has a header of this lower-case name, in any case. Not 0 where it cannot be
/// asked.
typedef int faa_http_has(const void *request, struct faa_str name);

/// Those of them that are to be put into this request: none where it tells a trace already, as what
/// the application has set itself is respected, and without those that yield to one that is there.
void faa_http_client_headers(PyObject *exchange, faa_http_has *has, const void *request,
                             struct faa_injection *out);

/// Puts them into a mutable mapping that answers `name in headers` for lower-case names in any
/// case.
void faa_http_client_inject(PyObject *exchange, PyObject *headers);

#endif

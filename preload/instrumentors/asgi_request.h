// SPDX-License-Identifier: MIT
// What the asgi files share; other instrumentors need asgi.h only.
#ifndef FAA_INSTRUMENTORS_ASGI_REQUEST_H
#define FAA_INSTRUMENTORS_ASGI_REQUEST_H

#include "instrumentors/asgi.h"
#include "instrumentors/http_rules.h"
#include "python/awaitable.h"

enum { FAA_ROUTE_MAX = 512, FAA_ASGI_ARGS_MAX = 8 };

/// How long a request's steps held the event loop; see asgi_steps.c.
struct faa_steps {
    int running;      ///< One of them runs now,
    uint64_t since;   ///< and its part that is not counted yet began then (monotonic ns).
    uint64_t busy;    ///< ns, of all.
    uint64_t longest; ///< ns, of one.
    unsigned events;  ///< How many were told as too long.
};

/// Messages of a WebSocket connection, each way.
struct faa_messages {
    uint64_t count, bytes;
};

/// What a request's span needs until it ends. Owned by its faa.span object.
struct faa_request {
    PyObject *headers; ///< scope["headers"]: tells this request from another; NULL when it is over.
    PyObject *receive, *send; ///< The server's own, borrowed from the proxy, NULL when it is over:
                              ///< at an unusual end they tell about the client.
    PyObject *handled;        ///< Type of the exception that a handler made a response of, or NULL,
    const void *handled_id;   ///< and its address: it may be raised again.
    const char *outcome;      ///< Why it ended before its time, static; NULL: it did not.
    struct faa_str method;    ///< For the span's name; static.
    size_t route_len;
    size_t mount_len; ///< The part of `route` that comes from mounts and the application's root.
    int has_route;    ///< A route was chosen; else only mounts were.
    int has_mount;
    int status; ///< Of the response; 0: none yet.
    int has_trailers;
    int has_headers;   ///< Those of the response were recorded.
    int is_served;     ///< By a server whose edge we see: it answers 500 where the application does
                       ///< not.
    int is_at_server;  ///< Seen by a server's edge, and by no framework's yet.
    int has_begun;     ///< The application runs; one that was called and not awaited is no request.
    int is_sending;    ///< A server error's last part is on its way: its exception comes after it.
    int is_streaming;  ///< A part of the body was sent that is not the last.
    int64_t body_size; ///< Bytes of the response's body so far; -1: not known.
    uint64_t end_ns;   ///< When the response was complete; 0: not yet.
    uint64_t wait_ns[FAA_WAIT_COUNT]; ///< By enum faa_wait.
    struct faa_steps steps;
    struct faa_messages received, sent; ///< WebSocket.
    int close_code;                     ///< WebSocket; 0: none yet.
    char route[FAA_ROUTE_MAX];          ///< Templates of the mounts gone through, then the route's.
};

/// The request of a span object that is a server span, else NULL.
struct faa_request *faa_asgi_request_of(PyObject *span);

/// A new span object with a request, both empty. NULL when there is no memory.
PyObject *faa_asgi_request_new(void);

/// The scope's entries that matter, borrowed, NULL where absent.
#define FAA_SCOPE_FIELDS(X)                                                                        \
    X(type)                                                                                        \
    X(http_version)                                                                                \
    X(server)                                                                                      \
    X(client)                                                                                      \
    X(scheme)                                                                                      \
    X(method)                                                                                      \
    X(path)                                                                                        \
    X(raw_path)                                                                                    \
    X(query_string)                                                                                \
    X(headers)

struct faa_scope {
#define X(name) PyObject *name;
    FAA_SCOPE_FIELDS(X)
#undef X
};

void faa_asgi_read_scope(struct faa_scope *fields, PyObject *scope);

/// Starts the span and sets what the scope tells: method, URL, addresses, headers.
void faa_asgi_start_span(struct faa_span *span, struct faa_request *request,
                         const struct faa_scope *scope, const char *scope_name);

/// True when this rule wants no trace of the URL. Looking may run Python code: `fields` are read
/// from the scope again after it.
int faa_asgi_is_excluded(struct faa_scope *fields, PyObject *scope, enum faa_rule rule);

/// The application's root (uvicorn --root-path, FastAPI(root_path=…)) is part of the route.
void faa_asgi_note_root(struct faa_request *request, PyObject *scope);

/// Sets http.route and the span's name.
void faa_asgi_set_route(struct faa_span *span, const struct faa_request *request);

/// The steps of the request `data`, a span object: from the awaitable proxy's ops. The end of a
/// step that was longer than the threshold is an event on the span.
void faa_asgi_step_begins(PyObject *data);
void faa_asgi_step_ends(PyObject *data);

/// The response is complete, or the connection closed: counts a step that still runs as far as it
/// has come, and returns the end of the span (Unix time).
uint64_t faa_asgi_step_cut(PyObject *data);
void faa_asgi_set_steps(struct faa_span *span, const struct faa_steps *steps);

/// What both ops do at the first step, at the last one, and when the span is made: the request is
/// current in between. Where log records tell their span it stays so in the server's task, which
/// lives for the one request: the server logs the application's exception, and its own answer, when
/// the application has left.
void faa_asgi_enter(PyObject *object);
void faa_asgi_exit(PyObject *object);
void faa_asgi_forget(struct faa_request *request);

/// The ops of the proxy around the application's coroutine, and what sees its messages.
extern const struct faa_awaitable_ops faa_asgi_http_ops, faa_asgi_websocket_ops;
faa_hook faa_asgi_http_send_hook, faa_asgi_websocket_send_hook, faa_asgi_websocket_receive_hook;

/// Records the headers of a message that begins a response, as the user's rules want it.
void faa_asgi_capture_response(PyObject *object, PyObject *message);

/// Around the awaitable of a connection's send(`sent`), or of its receive() where `sent` is NULL: a
/// span for the message, if the user wants them. Takes the reference to `result`.
PyObject *faa_asgi_trace_message(PyObject *connection, PyObject *sent, PyObject *result);

/// Records `exception`, with which the application ended, unless the client or a cancellation is
/// behind it: then the request's outcome says so.
void faa_asgi_note_failure(PyObject *object, PyObject *exception);

/// Ends the span of a request that is over.
void faa_asgi_end(PyObject *object);

PyObject *faa_asgi_call_lifespan(PyObject *wrapped, PyObject *const *args, size_t nargs, size_t at,
                                 const char *scope_name);

#endif

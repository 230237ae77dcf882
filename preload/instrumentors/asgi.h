// SPDX-License-Identifier: MIT
// The server edge that the ASGI instrumentors share: one SERVER span for one HTTP request or one
// WebSocket connection, wherever it is first seen.
#ifndef FAA_INSTRUMENTORS_ASGI_H
#define FAA_INSTRUMENTORS_ASGI_H

#include "python/pyspan.h"
#include "python/wrapper.h"

/// What a request may have to wait for; see faa_asgi_add_wait.
enum faa_wait {
    FAA_WAIT_THREAD,     ///< A thread of the thread pool.
    FAA_WAIT_CONNECTION, ///< A connection of a database pool.
    FAA_WAIT_COUNT
};

/// The current request's span object (new reference), or NULL; also where a span inside it is the
/// current one.
PyObject *faa_asgi_current_request(void);

/// Calls, for a server, an ASGI application with args[at], args[at + 1], args[at + 2] = scope,
/// receive, send: a request or connection that nobody has seen yet becomes a span. `scope_name`,
/// static, is the instrumentation scope's where no framework's edge sees it, too.
PyObject *faa_asgi_serve(PyObject *wrapped, PyObject *const *args, size_t nargs, size_t at,
                         const char *scope_name);

enum faa_framework { FAA_STARLETTE, FAA_FASTAPI, FAA_FRAMEWORK_COUNT };

/// The hook for `Starlette.__call__(self, scope, receive, send)`, to which FastAPI's own comes too.
faa_hook faa_asgi_application_hook;

/// Traces applications of this class and its subclasses. FastAPI, a subclass of Starlette, counts
/// before it. `adopt` (or NULL) is called with the request's span and scope: a framework that makes
/// a span of its own for the request lets ours stand aside there (faa_span_follow).
void faa_asgi_trace_class(enum faa_framework framework, PyObject *class,
                          void (*adopt)(struct faa_span *span, PyObject *scope));

/// Says that another hook notes the routes of this class, before Starlette's own hook sees them.
void faa_asgi_set_noted_routes(PyObject *class);

/// True for a route of that class.
int faa_asgi_is_noted(PyObject *route);

/// Notes on the current request that a mount, or a route, with this path template handles it.
void faa_asgi_note_mount(struct faa_str path);
void faa_asgi_note_route(struct faa_str path);

/// Where `result`, an awaitable, is to run in another task than the one that the request's proxy
/// sees (BaseHTTPMiddleware): something that counts its steps for the request. Takes the reference.
PyObject *faa_asgi_in_task(PyObject *result);

/// Adds to the time that the current request has waited for something; its SERVER span tells the
/// sum. Call it in the request's context, on any thread that has the GIL. Without a request nothing
/// happens.
void faa_asgi_add_wait(enum faa_wait what, uint64_t ns);

/// True for the exceptions by which frameworks and servers say that the client has gone.
int faa_asgi_is_disconnect(PyObject *exception);

/// True for exceptions by which an application answers, and which are no failures: HTTPException
/// and failed validations of what the client has sent.
int faa_asgi_is_answer(PyObject *exception);

/// Records an exception that an exception handler is about to turn into a response.
void faa_asgi_handle_exception(PyObject *exception);

/// For the descriptors of those who make these spans: what every one of them sets, and what changes
/// it.
#define FAA_ASGI_ATTRIBUTES                                                                        \
    "http.request.method http.request.method_original url.scheme url.path url.query "              \
    "server.address server.port client.address network.peer.address network.peer.port "            \
    "network.protocol.name network.protocol.version user_agent.original "                          \
    "http.request.body.size http.request.header.<key> http.response.status_code "                  \
    "http.response.body.size http.response.header.<key> error.type exception.type "                \
    "exception.message exception.stacktrace faa.request.outcome faa.event_loop.busy_us "           \
    "faa.event_loop.longest_us faa.event_loop.blocked_us code.stacktrace "                         \
    "faa.websocket.close_code faa.websocket.messages_received faa.websocket.messages_sent "        \
    "faa.websocket.bytes_received faa.websocket.bytes_sent faa.websocket.message_size"
#define FAA_ASGI_SWITCHES                                                                          \
    "OTEL_PYTHON_EXCLUDED_URLS OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST "          \
    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE "                                   \
    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS "                                   \
    "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS FAA_WEBSOCKET_MESSAGES FAA_BLOCKED_THRESHOLD"

#endif

// SPDX-License-Identifier: MIT
// The server edge that the ASGI instrumentors share: one SERVER span for one HTTP request.
#ifndef FAA_INSTRUMENTORS_ASGI_H
#define FAA_INSTRUMENTORS_ASGI_H

#include "python/pyspan.h"
#include "python/wrapper.h"

enum { FAA_ROUTE_MAX = 512 };

/// What a request may have to wait for; see faa_asgi_add_wait.
enum faa_wait {
    FAA_WAIT_THREAD,     ///< A thread of the thread pool.
    FAA_WAIT_CONNECTION, ///< A connection of a database pool.
    FAA_WAIT_COUNT
};

/// What a request's span needs until it ends. Owned by its faa.span object.
struct faa_request {
    PyObject *headers; ///< scope["headers"]: tells this request from another; NULL when it is over.
    struct faa_str method; ///< For the span's name; static.
    size_t route_len;
    size_t mount_len; ///< The part of `route` that comes from mounts and the application's root.
    int has_route;    ///< A route was chosen; else only mounts were.
    int has_mount;
    int status; ///< Of the response; 0: none yet.
    int has_trailers;
    int blocked_count; ///< Events that tell of a blocked event loop.
    uint64_t step_ns;  ///< When the running step began, on the monotonic clock; 0: none is watched.
    int has_begun;     ///< The application runs; one that was called and not awaited is no request.
    uint64_t end_ns;   ///< When the response was complete; 0: not yet.
    uint64_t wait_ns[FAA_WAIT_COUNT]; ///< By enum faa_wait.
    char route[FAA_ROUTE_MAX];        ///< Templates of the mounts gone through, then the route's.
};

/// The hook for `Starlette.__call__(self, scope, receive, send)`, to which FastAPI's own comes too:
/// a request is a span, once; the lifespan is none, but at its end spans are sent.
faa_hook faa_asgi_application_hook;

enum faa_framework { FAA_STARLETTE, FAA_FASTAPI, FAA_FRAMEWORK_COUNT };

/// Traces applications of this class and its subclasses. FastAPI, a subclass of Starlette, counts
/// before it.
void faa_asgi_trace_class(enum faa_framework framework, PyObject *class);

/// Says that another hook notes the routes of this class, before Starlette's own hook sees them.
void faa_asgi_set_noted_routes(PyObject *class);

/// True for a route of that class.
int faa_asgi_is_noted(PyObject *route);

/// Notes on the current request that a mount, or a route, with this path template handles it.
void faa_asgi_note_mount(struct faa_str path);
void faa_asgi_note_route(struct faa_str path);

/// Adds to the time that the current request has waited for something; its SERVER span tells the
/// sum. Call it in the request's context, on any thread that has the GIL. Without a request nothing
/// happens.
void faa_asgi_add_wait(enum faa_wait what, uint64_t ns);

/// Reads the scope's method, URL, addresses and headers into the span, which is started here.
void faa_asgi_read_scope(struct faa_span *span, struct faa_request *request, PyObject *scope,
                         const char *scope_name);

#endif

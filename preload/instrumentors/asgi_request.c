// SPDX-License-Identifier: MIT
// The request that a span object stands for, and the one that is current.
#include "instrumentors/asgi_request.h"

#include "instrumentors/settings.h"

#include <stdlib.h>

static const char owner; // Its address marks the spans of requests.

struct faa_request *faa_asgi_request_of(PyObject *span)
{
    struct faa_pyspan *s = faa_pyspan(span);
    return s->owner == &owner ? s->extra : NULL;
}

static void free_request(void *extra)
{
    struct faa_request *r = extra;
    faa_clear(&r->headers);
    faa_clear(&r->handled);
    free(r);
}

// Spans of steps inside it may be current; it is what they were activated in.
PyObject *faa_asgi_current_request(void)
{
    PyObject *current = faa_context_current(), *span = current;
    while (span && !faa_asgi_request_of(span))
        span = faa_pyspan(span)->previous;
    span = span && faa_asgi_request_of(span)->headers ? faa_newref(span) : NULL;
    Py_DecRef(current);
    return span;
}

// True when `send` is the server's own, so that we are called by its task for this one request.
static int is_of_server(PyObject *send)
{
    PyObject *self, *module = NULL;
    int yes = 0;
    if (send && faa_getattr(send, FAA_NAME(__self__), &self) == 1) {
        faa_getattr((PyObject *)faa_type_of(self), FAA_NAME(__module__), &module);
        struct faa_str name = faa_text(module);
        yes = faa_str_starts(name, FAA_STR("uvicorn.")) ||
              faa_str_starts(name, FAA_STR("hypercorn."));
        Py_DecRef(self);
        Py_DecRef(module);
    }
    return yes;
}

void faa_asgi_exit(PyObject *object)
{
    const struct faa_request *r = faa_asgi_request_of(object);
    if (faa_settings.log_correlation && r->is_served && is_of_server(r->send))
        faa_context_keep(object);
    else
        faa_context_deactivate(object);
}

void faa_asgi_add_wait(enum faa_wait what, uint64_t ns)
{
    PyObject *span = faa_asgi_current_request();
    if (span)
        faa_asgi_request_of(span)->wait_ns[what] += ns;
    Py_DecRef(span);
}

PyObject *faa_asgi_request_new(void)
{
    struct faa_request *r = malloc(sizeof(*r));
    PyObject *object = r ? faa_pyspan_new() : NULL;
    if (!object) {
        free(r);
        return NULL;
    }
    memset(r, 0, offsetof(struct faa_request, route));
    struct faa_pyspan *s = faa_pyspan(object);
    s->owner = &owner;
    s->extra = r;
    s->free_extra = free_request;
    return object;
}

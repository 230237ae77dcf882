// SPDX-License-Identifier: MIT
// A span for each message of a WebSocket connection, where the user wants them: many connections
// have thousands.
#include "instrumentors/asgi_request.h"

#include "instrumentors/settings.h"
#include "python/err.h"
#include "python/exception.h"

#include <stdlib.h>

struct message {
    PyObject *connection; // The span object of the connection.
    int64_t sent;         // Bytes; -1: it is to be received.
};

static const char owner; // Its address marks the spans of this file.

static void free_message(void *extra)
{
    struct message *m = extra;
    Py_DecRef(m->connection);
    free(m);
}

static void enter(PyObject *object)
{
    struct faa_pyspan *s = faa_pyspan(object);
    const struct message *m = s->extra;
    const struct faa_span *connection = &faa_pyspan(m->connection)->span;
    struct faa_span_context parent = connection->context;
    parent.remote = 0;
    faa_span_start(&s->span, FAA_KIND_INTERNAL, connection->scope, &parent);
    faa_span_set_name(&s->span,
                      m->sent < 0 ? FAA_STR("websocket receive") : FAA_STR("websocket send"));
}

// The size of a websocket.send or websocket.receive, else -1: it is no message of the connection's.
static int64_t size_of(PyObject *message)
{
    if (!message || !faa_is_dict(message))
        return -1;
    struct faa_str type = faa_text(faa_dict_peek(message, FAA_NAME(type)));
    if (!faa_str_eq(type, FAA_STR("websocket.send")) &&
        !faa_str_eq(type, FAA_STR("websocket.receive")))
        return -1;
    return (int64_t)(faa_text(faa_dict_peek(message, FAA_NAME(text))).n +
                     faa_text(faa_dict_peek(message, FAA_NAME(bytes))).n);
}

// What else is waited for (the handshake, the client's leaving) leaves no span.
static void leave(PyObject *object, enum faa_outcome outcome, PyObject *value)
{
    struct faa_pyspan *s = faa_pyspan(object);
    const struct message *m = s->extra;
    int64_t size = m->sent;
    if (size < 0 && outcome == FAA_RETURNED)
        size = size_of(value);
    if (size < 0)
        return;
    faa_span_set_int(&s->span, FAA_KEY_FAA_WEBSOCKET_MESSAGE_SIZE, size);
    // That the client has gone, or the task is cancelled, is the connection's to tell.
    if (outcome == FAA_RAISED && value && !faa_exception_is_cancellation(value) &&
        !faa_asgi_is_disconnect(value))
        faa_span_record_exception(&s->span, value);
    faa_span_end(&s->span, 0);
}

static const struct faa_awaitable_ops ops = {.enter = enter, .leave = leave};

static PyObject *new_message(PyObject *connection, int64_t sent)
{
    struct message *m = malloc(sizeof(*m));
    PyObject *object = m ? faa_pyspan_new() : NULL;
    if (!object) {
        free(m);
        return NULL;
    }
    *m = (struct message){faa_newref(connection), sent};
    struct faa_pyspan *s = faa_pyspan(object);
    s->owner = &owner;
    s->extra = m;
    s->free_extra = free_message;
    return object;
}

PyObject *faa_asgi_trace_message(PyObject *connection, PyObject *sent, PyObject *result)
{
    if (!result || !faa_settings.websocket_messages || !faa_pyspan(connection)->span.recording)
        return result;
    int saved = errno;
    int64_t size = sent ? size_of(sent) : -1;
    PyObject *object = !sent || size >= 0 ? new_message(connection, size) : NULL;
    if (object)
        result = faa_awaitable_around(result, &ops, object);
    Py_DecRef(object);
    errno = saved;
    return result;
}

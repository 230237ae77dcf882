// SPDX-License-Identifier: MIT
// A WebSocket connection: one span from the handshake to the close.
#include "instrumentors/asgi_request.h"

#include "python/err.h"

enum { NO_CODE = 1005, ABNORMAL = 1006, INTERNAL_ERROR = 1011 };

static int int_of(PyObject *message, PyObject *name, int fallback)
{
    PyObject *value;
    faa_dict_get(message, name, &value);
    long long number = faa_int(value, fallback);
    Py_DecRef(value);
    return number >= 0 && number <= 65535 ? (int)number : fallback;
}

static void count(struct faa_messages *messages, PyObject *message)
{
    PyObject *text, *bytes;
    faa_dict_get(message, FAA_NAME(text), &text);
    faa_dict_get(message, FAA_NAME(bytes), &bytes);
    messages->count++;
    messages->bytes += faa_text(text).n + faa_text(bytes).n;
    Py_DecRef(text);
    Py_DecRef(bytes);
}

// The first one counts: the other side's answer repeats it.
static void note_close(PyObject *object, int code)
{
    struct faa_request *r = faa_asgi_request_of(object);
    if (r->close_code)
        return;
    r->close_code = code;
    r->end_ns = faa_asgi_step_cut(object);
}

static struct faa_str type_of(PyObject *message, PyObject **type)
{
    *type = NULL;
    if (faa_is_dict(message))
        faa_dict_get(message, FAA_NAME(type), type);
    return faa_text(*type);
}

static void see_sent(PyObject *object, PyObject *message)
{
    struct faa_request *r = faa_asgi_request_of(object);
    PyObject *type;
    struct faa_str name = type_of(message, &type);
    if (faa_str_eq(name, FAA_STR("websocket.send"))) {
        count(&r->sent, message);
    } else if (faa_str_eq(name, FAA_STR("websocket.accept"))) {
        r->status = 101;
        faa_asgi_capture_response(object, message);
    } else if (faa_str_eq(name, FAA_STR("websocket.http.response.start"))) {
        r->status = int_of(message, FAA_NAME(status), 403);
        faa_asgi_capture_response(object, message);
    } else if (faa_str_eq(name, FAA_STR("websocket.close"))) {
        if (r->status == 101)
            note_close(object, int_of(message, FAA_NAME(code), 1000));
        else
            r->status = 403; // Before the handshake was answered it is a refusal.
    }
    Py_DecRef(type);
}

PyObject *faa_asgi_websocket_send_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                       size_t nargsf, PyObject *kwnames)
{
    if (data && FAA_NARGS(nargsf) == 1) {
        int saved = errno;
        see_sent(data, args[0]);
        errno = saved;
        return faa_asgi_trace_message(data, args[0], faa_call(wrapped, args, nargsf, kwnames));
    }
    return faa_call(wrapped, args, nargsf, kwnames);
}

// A refused handshake has no connection that could close.
static int is_refused(const struct faa_request *r)
{
    return r->status && r->status != 101;
}

// hypercorn says 1006 of every client. Where the client has said goodbye, its connection
// (wsproto's) is no longer open; with which code, nobody has kept.
static int has_said_goodbye(const struct faa_request *r)
{
    PyObject *stream = NULL, *connection = NULL, *state = NULL, *name = NULL;
    int yes = r->send && faa_getattr(r->send, FAA_NAME(__self__), &stream) == 1 &&
              faa_getattr(stream, FAA_NAME(connection), &connection) == 1 &&
              faa_getattr(connection, FAA_NAME(state), &state) == 1 &&
              faa_getattr(state, FAA_NAME(name), &name) == 1 &&
              (faa_str_eq(faa_text(name), FAA_STR("CLOSED")) ||
               faa_str_eq(faa_text(name), FAA_STR("REMOTE_CLOSING")));
    Py_DecRef(stream);
    Py_DecRef(connection);
    Py_DecRef(state);
    Py_DecRef(name);
    return yes;
}

static int code_of(const struct faa_request *r, PyObject *message)
{
    int code = int_of(message, FAA_NAME(code), NO_CODE);
    return code == ABNORMAL && has_said_goodbye(r) ? NO_CODE : code;
}

static void see_received(PyObject *object, enum faa_outcome outcome, PyObject *message)
{
    struct faa_request *r = faa_asgi_request_of(object);
    PyObject *type;
    if (outcome != FAA_RETURNED || !message)
        return;
    struct faa_str name = type_of(message, &type);
    if (faa_str_eq(name, FAA_STR("websocket.receive")))
        count(&r->received, message);
    else if (faa_str_eq(name, FAA_STR("websocket.disconnect")) && !is_refused(r))
        note_close(object, code_of(r, message));
    Py_DecRef(type);
}

static const struct faa_awaitable_ops receive_ops = {.leave = see_received};

PyObject *faa_asgi_websocket_receive_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                          size_t nargsf, PyObject *kwnames)
{
    PyObject *result = faa_call(wrapped, args, nargsf, kwnames);
    if (!data)
        return result;
    return faa_awaitable_around(faa_asgi_trace_message(data, NULL, result), &receive_ops, data);
}

static void set_messages(struct faa_span *span, const struct faa_request *r)
{
    faa_span_set_str(span, FAA_KEY_NETWORK_PROTOCOL_NAME, FAA_STR("websocket"));
    if (r->close_code)
        faa_span_set_int(span, FAA_KEY_FAA_WEBSOCKET_CLOSE_CODE, r->close_code);
    if (r->status != 101)
        return;
    faa_span_set_int(span, FAA_KEY_FAA_WEBSOCKET_MESSAGES_RECEIVED, (int64_t)r->received.count);
    faa_span_set_int(span, FAA_KEY_FAA_WEBSOCKET_MESSAGES_SENT, (int64_t)r->sent.count);
    faa_span_set_int(span, FAA_KEY_FAA_WEBSOCKET_BYTES_RECEIVED, (int64_t)r->received.bytes);
    faa_span_set_int(span, FAA_KEY_FAA_WEBSOCKET_BYTES_SENT, (int64_t)r->sent.bytes);
}

// Where the application has left the handshake without an answer, the server refuses it.
static void note_servers_answer(struct faa_span *span, struct faa_request *r)
{
    if (r->status || r->outcome || r->close_code)
        return;
    if (span->status != FAA_STATUS_ERROR) {
        faa_span_set_status(span, FAA_STATUS_ERROR, FAA_STR("the handshake is not answered"));
        faa_span_set_str(span, FAA_KEY_ERROR_TYPE, FAA_STR("incomplete_response"));
    }
    if (r->is_served)
        r->status = 500;
}

static void note_end(PyObject *object, enum faa_outcome outcome, PyObject *value)
{
    struct faa_request *r = faa_asgi_request_of(object);
    struct faa_span *span = &faa_pyspan(object)->span;
    if (outcome == FAA_RAISED && value)
        faa_asgi_note_failure(object, value);
    else if (outcome == FAA_CLOSED)
        r->outcome = "cancelled";
    // To leave is how a connection ends; only to vanish is unusual.
    if (r->close_code)
        r->outcome = r->close_code == ABNORMAL ? "client_disconnected" : NULL;
    if (r->close_code == INTERNAL_ERROR && span->status != FAA_STATUS_ERROR) {
        faa_span_set_status(span, FAA_STATUS_ERROR, FAA_STR(""));
        faa_span_set_str(span, FAA_KEY_ERROR_TYPE, FAA_STR("1011"));
    }
    note_servers_answer(span, r);
    if (r->status != 101) // A path that nothing behind the mount knows is refused, not "not found".
        r->has_mount = 0;
}

static void leave(PyObject *object, enum faa_outcome outcome, PyObject *value)
{
    struct faa_request *r = faa_asgi_request_of(object);
    struct faa_span *span = &faa_pyspan(object)->span;
    faa_asgi_step_ends(object);
    faa_asgi_exit(object);
    if (r->has_begun && span->recording) {
        note_end(object, outcome, value);
        set_messages(span, r);
        faa_asgi_end(object);
    }
    faa_asgi_forget(r);
}

const struct faa_awaitable_ops faa_asgi_websocket_ops = {
    .enter = faa_asgi_enter,
    .resume = faa_asgi_step_begins,
    .waits = faa_asgi_step_ends,
    .leave = leave,
};

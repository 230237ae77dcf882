// SPDX-License-Identifier: MIT
// An HTTP request from its first step to the last chunk of its response.
#include "instrumentors/asgi_request.h"

#include "instrumentors/http_rules.h"
#include "python/err.h"
#include "python/exception.h"
#include "span/http.h"

static void set_waits(struct faa_span *span, const struct faa_request *r)
{
    static const enum faa_key keys[] = {
        [FAA_WAIT_THREAD] = FAA_KEY_FAA_THREAD_POOL_WAIT_US,
        [FAA_WAIT_CONNECTION] = FAA_KEY_FAA_DB_POOL_WAIT_US,
    };
    for (size_t i = 0; i < FAA_COUNT(keys); i++)
        if (r->wait_ns[i])
            faa_span_set_int(span, keys[i], (int64_t)(r->wait_ns[i] / 1000));
}

// A server error that a handler made of an exception is called by the exception.
static void set_handled_error(struct faa_span *span, const struct faa_request *r)
{
    char type[256];
    if (r->status < 500 || !r->handled || span->status == FAA_STATUS_ERROR)
        return;
    size_t n = faa_exception_type_name(r->handled, type, sizeof(type));
    faa_span_set_status(span, FAA_STATUS_ERROR, FAA_STR(""));
    faa_span_set_str(span, FAA_KEY_ERROR_TYPE, (struct faa_str){type, n});
}

void faa_asgi_end(PyObject *object)
{
    struct faa_span *span = &faa_pyspan(object)->span;
    struct faa_request *r = faa_asgi_request_of(object);
    if (!span->recording)
        return;
    faa_asgi_set_route(span, r);
    set_waits(span, r);
    faa_asgi_set_steps(span, &r->steps);
    if (r->outcome)
        faa_span_set_str(span, FAA_KEY_FAA_REQUEST_OUTCOME, faa_str_of(r->outcome));
    set_handled_error(span, r);
    faa_http_set_status(span, r->status, 500);
    faa_span_end(span, r->end_ns);
}

// uvicorn's request says so on what `receive` is bound to, hypercorn's stream on what `send` is.
static int flag_of(PyObject *method, PyObject *name)
{
    PyObject *self, *flag = NULL;
    int yes = -1;
    if (method && faa_getattr(method, FAA_NAME(__self__), &self) == 1) {
        if (faa_getattr(self, name, &flag) == 1)
            yes = flag == Py_True;
        Py_DecRef(self);
        Py_DecRef(flag);
    }
    return yes;
}

// 1: the client has gone, 0: it has not, -1: this server does not tell.
static int is_client_gone(const struct faa_request *r)
{
    int gone = flag_of(r->receive, FAA_NAME(disconnected));
    return gone >= 0 ? gone : flag_of(r->send, FAA_NAME(closed));
}

// ---- the response -----------------------------------------------------------------------------

// The response is complete. A server error waits for the exception behind it: the framework raises
// it again after it has sent the error page.
static void complete(PyObject *object)
{
    struct faa_request *r = faa_asgi_request_of(object);
    struct faa_span *span = &faa_pyspan(object)->span;
    r->end_ns = faa_asgi_step_cut(object);
    if (r->is_streaming && is_client_gone(r) == 1)
        r->outcome = "client_disconnected";
    if (faa_str_eq(r->method, FAA_STR("HEAD"))) // The server sends none of it.
        r->body_size = 0;
    if (r->body_size >= 0)
        faa_span_set_int(span, FAA_KEY_HTTP_RESPONSE_BODY_SIZE, r->body_size);
    if (r->status < 500)
        faa_asgi_end(object);
}

// What a flag says, as the server will take it. An object of the application's own is not asked:
// that would run its code once more than without us.
static int is_true(PyObject *dict, PyObject *key)
{
    PyObject *value = faa_dict_peek(dict, key);
    if (!value || value == Py_True || value == Py_False || value == Py_None)
        return value == Py_True;
    PyTypeObject *type = faa_type_of(value);
    if (type == &PyLong_Type)
        return faa_int(value, 1) != 0;
    return (type != &PyUnicode_Type && type != &PyBytes_Type) || faa_text(value).n > 0;
}

void faa_asgi_capture_response(PyObject *object, PyObject *message)
{
    struct faa_request *r = faa_asgi_request_of(object);
    PyObject *headers;
    if (!faa_http_rules_has(FAA_RULE_SERVER_RESPONSE) || r->has_headers)
        return; // A second start of a response is a fault, and no server sends it.
    r->has_headers = 1;
    if (faa_dict_get(message, FAA_NAME(headers), &headers) == 1)
        faa_http_rules_capture(FAA_RULE_SERVER_RESPONSE, headers, &faa_pyspan(object)->span,
                               FAA_KEY_HTTP_RESPONSE_HEADER);
    Py_DecRef(headers);
}

static void see_start(PyObject *object, struct faa_request *r, PyObject *message)
{
    long long code = faa_int(faa_dict_peek(message, FAA_NAME(status)), 0);
    r->status = code >= 100 && code <= 999 ? (int)code : 0;
    r->has_trailers = is_true(message, FAA_NAME(trailers));
    faa_asgi_capture_response(object, message);
}

// Servers take other buffers than bytes, too, whose size is theirs to know.
static void add_size(struct faa_request *r, PyObject *body)
{
    if (!faa_is_bytes(body))
        r->body_size = -1;
    else if (r->body_size >= 0)
        r->body_size += (int64_t)faa_text(body).n;
}

static void see_body(PyObject *object, struct faa_request *r, PyObject *message)
{
    PyObject *body = faa_dict_peek(message, FAA_NAME(body));
    if (body)
        add_size(r, body);
    if (!is_true(message, FAA_NAME(more_body))) {
        if (!r->has_trailers)
            complete(object);
    } else if (!r->is_streaming) {
        r->is_streaming = 1;
        faa_span_add_event(&faa_pyspan(object)->span, FAA_STR("first byte"));
    }
}

static void observe(PyObject *object, PyObject *message)
{
    struct faa_request *r = faa_asgi_request_of(object);
    if (r->end_ns || !faa_is_dict(message))
        return;
    struct faa_str name = faa_text(faa_dict_peek(message, FAA_NAME(type)));
    if (faa_str_eq(name, FAA_STR("http.response.body"))) {
        see_body(object, r, message);
    } else if (faa_str_eq(name, FAA_STR("http.response.start"))) {
        see_start(object, r, message);
    } else if (faa_str_eq(name, FAA_STR("http.response.trailers"))) {
        if (!is_true(message, FAA_NAME(more_trailers)))
            complete(object);
    } else if (faa_str_eq(name, FAA_STR("http.response.zerocopysend"))) {
        r->body_size = -1;
        see_body(object, r, message);
    } else if (faa_str_eq(name, FAA_STR("http.response.pathsend"))) {
        r->body_size = -1;
        if (!r->has_trailers)
            complete(object);
    }
}

static void sent(PyObject *object, enum faa_outcome outcome, PyObject *value)
{
    (void)outcome;
    (void)value;
    faa_asgi_request_of(object)->is_sending = 0;
}

static const struct faa_awaitable_ops send_ops = {.leave = sent};

// Sending may have to wait (a slow client, one that has gone); the framework raises after that.
static PyObject *watch_sending(PyObject *object, PyObject *result)
{
    PyObject *proxy = faa_awaitable_around(result, &send_ops, object);
    faa_asgi_request_of(object)->is_sending = proxy != result;
    return proxy;
}

PyObject *faa_asgi_http_send_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                  size_t nargsf, PyObject *kwnames)
{
    if (data && FAA_NARGS(nargsf) == 1) {
        int saved = errno;
        observe(data, args[0]);
        errno = saved;
    }
    PyObject *result = faa_call(wrapped, args, nargsf, kwnames);
    // Of what is complete only a server error goes on.
    if (result && data && faa_asgi_request_of(data)->end_ns && faa_pyspan(data)->span.recording)
        result = watch_sending(data, result);
    return result;
}

// ---- the end ----------------------------------------------------------------------------------

int faa_asgi_is_disconnect(PyObject *exception)
{
    return faa_exception_is(exception, "starlette.requests", "ClientDisconnect") ||
           faa_exception_is(exception, "starlette.websockets", "WebSocketDisconnect") ||
           faa_exception_is(exception, "uvicorn.protocols.utils", "ClientDisconnected");
}

void faa_asgi_note_failure(PyObject *object, PyObject *exception)
{
    struct faa_request *r = faa_asgi_request_of(object);
    if (faa_asgi_is_disconnect(exception))
        r->outcome = "client_disconnected";
    else if (faa_exception_is_cancellation(exception))
        r->outcome = is_client_gone(r) == 1 ? "client_disconnected" : "cancelled";
    else if (r->handled_id == exception)
        faa_span_fail(&faa_pyspan(object)->span, exception);
    else
        faa_span_record_exception(&faa_pyspan(object)->span, exception);
}

int faa_asgi_is_answer(PyObject *exception)
{
    return faa_exception_is(exception, "starlette.exceptions", "HTTPException") ||
           faa_exception_is(exception, "starlette.exceptions", "WebSocketException") ||
           faa_exception_is(exception, "fastapi.exceptions", "RequestValidationError") ||
           faa_exception_is(exception, "fastapi.exceptions", "WebSocketRequestValidationError");
}

void faa_asgi_handle_exception(PyObject *exception)
{
    PyObject *object = faa_asgi_current_request();
    if (!object)
        return;
    struct faa_request *r = faa_asgi_request_of(object);
    if (r->handled_id != exception) { // Else its handler has raised it again, to the next handler.
        // What an answer is and says is all that there is to tell.
        int answer = faa_asgi_is_answer(exception);
        faa_clear(&r->handled);
        r->handled = answer ? NULL : faa_newref((PyObject *)faa_type_of(exception));
        r->handled_id = exception;
        faa_span_add_exception(&faa_pyspan(object)->span, exception, answer ? 0 : FAA_WITH_STACK);
    }
    Py_DecRef(object);
}

// The application has returned and not finished its response: the client had gone, or it is a fault
// of the application, which the server makes an error page or a cut connection of. Where the server
// does not tell, half a response may be either.
static void note_incomplete(PyObject *object)
{
    struct faa_request *r = faa_asgi_request_of(object);
    struct faa_span *span = &faa_pyspan(object)->span;
    int gone = is_client_gone(r);
    if (gone == 1) {
        r->outcome = "client_disconnected";
    } else if (gone < 0 && r->status) {
        r->outcome = "incomplete";
    } else {
        faa_span_set_status(span, FAA_STATUS_ERROR, FAA_STR("the response is not complete"));
        faa_span_set_str(span, FAA_KEY_ERROR_TYPE, FAA_STR("incomplete_response"));
    }
}

// Where the application has sent nothing and the client is still there, the server answers itself.
static void note_servers_answer(struct faa_request *r)
{
    if (r->is_served && !r->status && !r->outcome)
        r->status = 500;
}

void faa_asgi_enter(PyObject *object)
{
    struct faa_request *r = faa_asgi_request_of(object);
    r->has_begun = 1;
    faa_span_announce(&faa_pyspan(object)->span, r->method);
    faa_context_activate(object);
    faa_asgi_step_begins(object);
}

void faa_asgi_forget(struct faa_request *r)
{
    faa_clear(&r->headers);
    r->receive = r->send = NULL;
}

// A server error whose exception has not come by now has none: what goes on is background work.
static void waits(PyObject *object)
{
    const struct faa_request *r = faa_asgi_request_of(object);
    faa_asgi_step_ends(object);
    if (r->end_ns && !r->is_sending)
        faa_asgi_end(object);
}

static void leave(PyObject *object, enum faa_outcome outcome, PyObject *value)
{
    struct faa_request *r = faa_asgi_request_of(object);
    faa_asgi_step_ends(object);
    faa_asgi_exit(object);
    if (r->has_begun && faa_pyspan(object)->span.recording) {
        if (outcome == FAA_RAISED && value) {
            faa_asgi_note_failure(object, value);
            // The client has gone: the error page that was sent reached nobody, and nothing failed.
            if (r->outcome && faa_asgi_is_disconnect(value))
                r->status = 0;
        } else if (outcome == FAA_CLOSED && !r->end_ns) {
            r->outcome = "cancelled";
        } else if (outcome == FAA_RETURNED && !r->end_ns) {
            note_incomplete(object);
        }
        note_servers_answer(r);
        faa_asgi_end(object);
    }
    faa_asgi_forget(r);
}

const struct faa_awaitable_ops faa_asgi_http_ops = {faa_asgi_enter, faa_asgi_step_begins, waits,
                                                    leave};

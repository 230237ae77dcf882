// SPDX-License-Identifier: MIT
// The end of a body: urllib3 releases the connection when it has read all of it, and when reading
// has failed.
#include "instrumentors/urllib3_response.h"

#include "instrumentors/http_client.h"
#include "python/err.h"

static long long number(PyObject *object, PyObject *name, long long fallback)
{
    PyObject *value;
    faa_getattr(object, name, &value);
    long long n = faa_int(value, fallback);
    Py_DecRef(value);
    return n;
}

static int is_true(PyObject *object, PyObject *name)
{
    PyObject *value;
    faa_getattr(object, name, &value);
    int yes = value == Py_True;
    Py_DecRef(value);
    return yes;
}

// 10, 11 or 20.
static struct faa_str version_of(long long number)
{
    return number == 10   ? FAA_STR("1.0")
           : number == 11 ? FAA_STR("1.1")
           : number == 20 ? FAA_STR("2")
                          : FAA_STR("");
}

void faa_urllib3_response_tell(PyObject *exchange, PyObject *response)
{
    PyObject *headers;
    if (!response || !faa_pyspan(exchange)->span.recording || faa_http_client_is_answered(exchange))
        return;
    faa_http_client_set_status(exchange, (int)number(response, FAA_NAME(status), 0));
    faa_http_client_set_version(exchange, version_of(number(response, FAA_NAME(version), 0)));
    if (!faa_http_rules_has(FAA_RULE_CLIENT_RESPONSE))
        return;
    if (faa_getattr(response, FAA_NAME(headers), &headers) == 1)
        faa_http_client_capture_response(exchange, headers);
    Py_DecRef(headers);
}

// True when http.client's response, below, has not been read to its end and not been closed.
static int is_open(PyObject *response)
{
    PyObject *below, *fp = NULL;
    int open = faa_getattr(response, FAA_NAME(_original_response), &below) == 1 &&
               faa_getattr(below, FAA_NAME(fp), &fp) == 1 && fp != Py_None;
    Py_DecRef(below);
    Py_DecRef(fp);
    return open;
}

// How much of the body http.client still waits for, where it counts.
static long long left_of(PyObject *response)
{
    PyObject *below;
    long long left = 0;
    if (faa_getattr(response, FAA_NAME(_original_response), &below) == 1)
        left = number(below, FAA_NAME(length), 0);
    Py_DecRef(below);
    return left;
}

// The size of a body that has been read as a whole, where it is known: chunks that urllib3 takes
// apart by itself are not counted.
static long long size_of(PyObject *response)
{
    long long size = number(response, FAA_NAME(_fp_bytes_read), -1);
    return size > 0 || !is_true(response, FAA_NAME(chunked)) ? size : -1;
}

// The exchange, taken off the response (new reference), or NULL.
static PyObject *take(PyObject *response)
{
    PyObject *exchange;
    if (faa_getattr(response, FAA_NAME(_faa_span), &exchange) == 1 &&
        PyObject_DelAttr(response, FAA_NAME(_faa_span)))
        faa_err_discard();
    return exchange;
}

// The function in which the exception has been raised or through which it came last.
static int is_leaving(PyObject *error, struct faa_str function)
{
    PyObject *traceback = PyException_GetTraceback(error), *frame = NULL, *code = NULL;
    PyObject *name = NULL;
    if (traceback && faa_getattr(traceback, FAA_NAME(tb_frame), &frame) == 1 &&
        faa_getattr(frame, FAA_NAME(f_code), &code) == 1)
        faa_getattr(code, FAA_NAME(co_name), &name);
    int yes = faa_str_eq(faa_text(name), function);
    Py_DecRef(traceback);
    Py_DecRef(frame);
    Py_DecRef(code);
    Py_DecRef(name);
    return yes;
}

// The exception that is on its way out of this function of urllib3's, which handles it at this
// moment (new reference), or NULL. One that the application handles while it uses the response has
// been elsewhere.
static PyObject *leaving(struct faa_str function)
{
    PyObject *type, *value, *traceback;
    PyErr_GetExcInfo(&type, &value, &traceback);
    if (value && (value == Py_None || !is_leaving(value, function)))
        faa_clear(&value);
    Py_DecRef(type);
    Py_DecRef(traceback);
    return value;
}

// Both when all has been read and when reading has failed.
PyObject *faa_urllib3_response_release_conn(PyObject *wrapped, PyObject *data,
                                            PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    (void)data;
    int saved = errno;
    PyObject *exchange = FAA_NARGS(nargsf) > 0 ? take(args[0]) : NULL;
    if (exchange) {
        PyObject *error = leaving(FAA_STR("_error_catcher"));
        if (error || left_of(args[0]) > 0)
            faa_http_client_set_body_size(exchange, -1); // It has not come as a whole.
        faa_http_client_end(exchange, error);
        Py_DecRef(error);
        Py_DecRef(exchange);
    }
    errno = saved;
    return faa_call(wrapped, args, nargsf, kwnames);
}

// Where the size of a chunk is no number, urllib3 closes the response before it raises what it
// makes of that; it will release the connection then.
static int is_broken(void)
{
    PyObject *error = leaving(FAA_STR("_update_chunk_length"));
    Py_DecRef(error);
    return error != NULL;
}

PyObject *faa_urllib3_response_close(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                     size_t nargsf, PyObject *kwnames)
{
    (void)data;
    int saved = errno;
    PyObject *exchange = FAA_NARGS(nargsf) > 0 && !is_broken() ? take(args[0]) : NULL;
    if (exchange) {
        faa_http_client_set_body_size(exchange, -1);
        faa_http_client_end(exchange, NULL);
    }
    Py_DecRef(exchange);
    errno = saved;
    return faa_call(wrapped, args, nargsf, kwnames);
}

static const struct faa_patch patches[] = {FAA_URLLIB3_RESPONSE_PATCHES};

int faa_urllib3_response_check(void)
{
    return faa_patch_check(patches, FAA_COUNT(patches));
}

// True when the ends of bodies are seen. Threads that race here do the same.
static int ends_are_seen(void)
{
    static _Atomic(int) status = 1;
    if (status == 1)
        status = faa_patch_all(patches, FAA_COUNT(patches));
    return status == 0;
}

void faa_urllib3_response_follow(PyObject *exchange, PyObject *response)
{
    long long expected = number(response, FAA_NAME(length_remaining), -1);
    int open = is_open(response);
    if (expected != 0 && open && ends_are_seen()) {
        faa_http_client_set_body_size(exchange, expected);
        if (PyObject_SetAttr(response, FAA_NAME(_faa_span), exchange) == 0)
            return;
        faa_err_discard();
    }
    faa_http_client_set_body_size(exchange, open ? expected : size_of(response));
    faa_http_client_end(exchange, NULL);
}

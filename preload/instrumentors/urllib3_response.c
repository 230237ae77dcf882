// SPDX-License-Identifier: MIT
// The end of a body: urllib3 releases the connection when it has read all of it, and when reading
// has failed. Where nobody releases one that is not closed, http.client's file is all that has to
// be watched, unless the body breaks off.
#include "instrumentors/urllib3_response.h"

#include "instrumentors/http_body.h"
#include "instrumentors/http_client.h"
#include "instrumentors/http_watch.h"
#include "python/err.h"
#include "python/exception.h"

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

void faa_urllib3_response_tell(PyObject *exchange, PyObject *response)
{
    PyObject *headers;
    if (!response || !faa_pyspan(exchange)->span.recording || faa_http_client_status(exchange))
        return;
    faa_http_client_set_status(exchange, (int)number(response, FAA_NAME(status), 0));
    faa_http_client_set_version_number(exchange, number(response, FAA_NAME(version), 0));
    if (!faa_http_rules_has(FAA_RULE_CLIENT_RESPONSE))
        return;
    if (faa_getattr(response, FAA_NAME(headers), &headers) == 1)
        faa_http_client_capture_response(exchange, headers);
    Py_DecRef(headers);
}

// http.client's response, below (new reference), or NULL. It keeps the exchange: whatever reads,
// closes or drops one of the two does so with the other.
static PyObject *below(PyObject *response)
{
    PyObject *found;
    if (faa_getattr(response, FAA_NAME(_original_response), &found) == 1 && found == Py_None)
        faa_clear(&found);
    return found;
}

// What that one reads from (new reference); NULL where it has been read to its end, or closed.
static PyObject *file_of(PyObject *original)
{
    PyObject *fp;
    if (faa_getattr(original, FAA_NAME(fp), &fp) == 1 && fp == Py_None)
        faa_clear(&fp);
    return fp;
}

// How much of the body http.client still waits for, where it counts.
static long long left_of(PyObject *original)
{
    return number(original, FAA_NAME(length), 0);
}

// The size of a body that has been read as a whole, where it is known: chunks that urllib3 takes
// apart by itself are not counted.
static long long size_of(PyObject *response)
{
    long long size = number(response, FAA_NAME(_fp_bytes_read), -1);
    return size > 0 || !is_true(response, FAA_NAME(chunked)) ? size : -1;
}

// An exception that is on its way out of a function of urllib3's, or of http.client's, which
// handles it at this moment. One that the application handles while it uses the response has been
// elsewhere.
enum leaving {
    NOT_LEAVING,
    FAILED,  // It is what reading has failed by.
    BREAKING // The size of a chunk is no number: what will be made of that is not there yet.
};

// `error` is a new reference, or NULL unless reading has FAILED.
static enum leaving leaving(PyObject **error)
{
    PyObject *name;
    *error = faa_exception_handled(&name);
    if (!*error)
        return NOT_LEAVING;
    struct faa_str function = faa_text(name);
    enum leaving found = NOT_LEAVING;
    if (faa_str_eq(function, FAA_STR("_error_catcher")))
        found = FAILED;
    else if (faa_str_eq(function, FAA_STR("_update_chunk_length")) ||
             faa_str_eq(function, FAA_STR("_read_next_chunk_size")))
        found = BREAKING;
    if (found != FAILED)
        faa_clear(error);
    Py_DecRef(name);
    return found;
}

// Both when all has been read and when reading has failed.
static void released(PyObject *response)
{
    PyObject *error, *original = below(response);
    PyObject *exchange = original ? faa_http_body_exchange(original) : NULL;
    if (exchange) {
        if (leaving(&error) == FAILED || left_of(original) > 0)
            faa_http_client_set_body_size(exchange, -1); // It has not come as a whole.
        faa_http_body_end(original, error);
        Py_DecRef(error);
        Py_DecRef(exchange);
    }
    Py_DecRef(original);
}

// A response that breaks is closed before urllib3 raises: it will release the connection then.
static void closed(PyObject *response)
{
    PyObject *error, *original = below(response);
    PyObject *exchange = original ? faa_http_body_exchange(original) : NULL;
    if (exchange) {
        if (leaving(&error) != BREAKING) {
            faa_http_client_set_body_size(exchange, -1);
            faa_http_body_end(original, NULL);
        }
        Py_DecRef(error);
        Py_DecRef(exchange);
    }
    Py_DecRef(original);
}

static PyObject *release_conn_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                   size_t nargsf, PyObject *kwnames)
{
    (void)data;
    int saved = errno;
    if (FAA_NARGS(nargsf) > 0)
        released(args[0]);
    errno = saved;
    return faa_call(wrapped, args, nargsf, kwnames);
}

static PyObject *close_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                            PyObject *kwnames)
{
    (void)data;
    int saved = errno;
    if (FAA_NARGS(nargsf) > 0)
        closed(args[0]);
    errno = saved;
    return faa_call(wrapped, args, nargsf, kwnames);
}

static const struct faa_patch patches[] = {
    {"urllib3.response:HTTPResponse.release_conn", release_conn_hook},
    {"urllib3.response:HTTPResponse.close", close_hook},
};

int faa_urllib3_response_check(void)
{
    return faa_http_watch_init() ? -1 : faa_patch_check(patches, FAA_COUNT(patches));
}

// True when the ends of bodies are seen. Threads that race here do the same.
static int ends_are_seen(void)
{
    static _Atomic(int) status = 1;
    if (status == 1)
        status = faa_patch_all(patches, FAA_COUNT(patches));
    return status == 0;
}

static void attach(PyObject *exchange, PyObject *original)
{
    if (ends_are_seen())
        faa_http_body_attach(original, exchange);
    else
        faa_http_client_end(exchange, NULL);
}

// Closed too early, or by http.client at an end that came too early: what that leads to is seen on
// the response.
static void file_is_gone(PyObject *exchange, PyObject *original)
{
    PyObject *error;
    enum leaving state = leaving(&error);
    if (state != FAILED && original && (state == BREAKING || left_of(original) > 0)) {
        attach(exchange, original);
        return;
    }
    if (state == FAILED || !original)
        faa_http_client_set_body_size(exchange, -1);
    faa_http_client_end(exchange, error);
    Py_DecRef(error);
}

static void follow(PyObject *exchange, PyObject *response, int watch)
{
    PyObject *original = below(response), *file = original ? file_of(original) : NULL;
    long long size = file ? number(response, FAA_NAME(length_remaining), -1) : size_of(response);
    faa_http_client_set_body_size(exchange, size);
    if (!file || size == 0)
        faa_http_client_end(exchange, NULL);
    else if (!watch || faa_http_watch(exchange, file, original, file_is_gone))
        attach(exchange, original);
    Py_DecRef(original);
    Py_DecRef(file);
}

void faa_urllib3_response_follow(PyObject *exchange, PyObject *response)
{
    follow(exchange, response, 0);
}

void faa_urllib3_response_watch(PyObject *exchange, PyObject *response)
{
    follow(exchange, response, 1);
}

// SPDX-License-Identifier: MIT
// httpcore: the trace is told where the head of a request is complete.
#include "instrumentors/httpx_wire.h"

#include "base/log.h"
#include "instrumentors/http_client.h"
#include "instrumentors/instrumentor.h"
#include "instrumentors/step.h"
#include "python/err.h"
#include "python/wrapper.h"

#include <string.h>
#include <strings.h>

enum { HEADERS_MAX = 256 }; // More are not looked at.

static int hooked;

int faa_httpx_wire_is_hooked(void)
{
    return hooked;
}

// A bytes object ends with a NUL, which is in no name.
static int line_is_named(PyObject *line, struct faa_str name)
{
    const char *p = faa_is_bytes(line) ? PyBytes_AsString(line) : "";
    return (p[0] | 0x20) == (name.p[0] | 0x20) && strncasecmp(p, name.p, name.n) == 0 &&
           p[name.n] == ':';
}

static int pair_is_named(PyObject *pair, struct faa_str name)
{
    struct faa_str text = faa_text(faa_sequence_item(pair, 0));
    return text.n == name.n && strncasecmp(text.p, name.p, name.n) == 0;
}

static int has(PyObject *list, int (*is_named)(PyObject *header, struct faa_str name),
               struct faa_str name)
{
    Py_ssize_t n = PyList_Size(list);
    for (Py_ssize_t i = 0; i < n && i < HEADERS_MAX; i++)
        if (is_named(PyList_GetItem(list, i), name))
            return 1;
    return 0;
}

static int lines_have(const void *request, struct faa_str name)
{
    return has((PyObject *)request, line_is_named, name);
}

static int pairs_have(const void *request, struct faa_str name)
{
    return has((PyObject *)request, pair_is_named, name);
}

static PyObject *new_line(const struct faa_header *h)
{
    static const char colon[] = ": ", end[] = "\r\n";
    PyObject *line = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(h->name.n + h->value.n + 4));
    if (!line)
        return NULL;
    char *p = PyBytes_AsString(line);
    memcpy(p, h->name.p, h->name.n);
    memcpy(p + h->name.n, colon, 2);
    memcpy(p + h->name.n + 2, h->value.p, h->value.n);
    memcpy(p + h->name.n + 2 + h->value.n, end, 2);
    return line;
}

static PyObject *new_pair(const struct faa_header *h)
{
    return Py_BuildValue("(y#y#)", h->name.p, (Py_ssize_t)h->name.n, h->value.p,
                         (Py_ssize_t)h->value.n);
}

// Puts the headers of the exchange into the list, before the `behind` last ones.
static void tell(PyObject *exchange, PyObject *list, faa_http_has *have,
                 PyObject *(*make)(const struct faa_header *), Py_ssize_t behind)
{
    struct faa_injection in;
    faa_http_client_headers(exchange, have, list, &in);
    for (size_t i = 0; i < in.count; i++) {
        PyObject *header = make(&in.headers[i]);
        if (!header || PyList_Insert(list, PyList_Size(list) - behind, header))
            PyErr_Clear();
        Py_DecRef(header);
    }
}

// ---- HTTP/1.1 -----------------------------------------------------------------------------------

// True for the lines of a request's head that is to tell the trace: trailers have none, and a
// CONNECT goes to a proxy on the request's behalf.
static int is_head(PyObject *exchange, PyObject *lines)
{
    static const struct faa_str version = FAA_STR(" HTTP/1.1\r\n"), connect = FAA_STR("CONNECT ");
    Py_ssize_t n = PyList_Size(lines);
    struct faa_str first = n > 1 ? faa_text(PyList_GetItem(lines, 0)) : FAA_STR("");
    if (first.n < version.n || memcmp(first.p + first.n - version.n, version.p, version.n) != 0)
        return 0;
    return memcmp(first.p, connect.p, connect.n) != 0 || faa_httpx_wire_is_connect(exchange);
}

// write_headers(headers, write), where `write` is the append method of the list of lines. The last
// one that is written is the empty line.
static PyObject *write_headers_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                    size_t nargsf, PyObject *kwnames)
{
    (void)data;
    PyObject *result = faa_call(wrapped, args, nargsf, kwnames);
    if (!result || FAA_NARGS(nargsf) != 2 || faa_type_of(args[1]) != &PyCFunction_Type)
        return result;
    int saved = errno;
    PyObject *lines = PyCFunction_GetSelf(args[1]);
    PyObject *exchange = lines && faa_is_list(lines) ? faa_httpx_wire_exchange() : NULL;
    if (exchange && is_head(exchange, lines))
        tell(exchange, lines, lines_have, new_line, 1);
    Py_DecRef(exchange);
    errno = saved;
    return result;
}

// ---- HTTP/2 -------------------------------------------------------------------------------------

// HTTP2Connection._send_request_headers(request, stream_id): httpcore's own request, whose list of
// headers was made for it.
static PyObject *send_headers_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                   size_t nargsf, PyObject *kwnames)
{
    (void)data;
    int saved = errno;
    PyObject *request = FAA_NARGS(nargsf) >= 2
                            ? args[1]
                            : faa_step_keyword(args, nargsf, kwnames, FAA_NAME(request));
    PyObject *exchange = request ? faa_httpx_wire_exchange() : NULL, *headers = NULL;
    if (exchange && faa_getattr(request, FAA_NAME(headers), &headers) == 1 && faa_is_list(headers))
        tell(exchange, headers, pairs_have, new_pair, 0);
    Py_DecRef(headers);
    Py_DecRef(exchange);
    errno = saved;
    return faa_call(wrapped, args, nargsf, kwnames);
}

// ---- install ------------------------------------------------------------------------------------

static int is_loaded(const char *name)
{
    PyObject *key = PyUnicode_FromString(name);
    PyObject *module = key ? PyImport_GetModule(key) : NULL;
    int loaded = module != NULL;
    Py_DecRef(key);
    Py_DecRef(module);
    PyErr_Clear();
    return loaded;
}

// Before httpcore 0.14 requests were no objects, and other classes sent them. HTTP/2 is there with
// the package h2 only.
static int install(PyObject *module)
{
    static const struct faa_patch patches[] = {
        {"h11._writers:write_headers", write_headers_hook},
        {"httpcore._sync.http2:HTTP2Connection._send_request_headers", send_headers_hook},
        {"httpcore._async.http2:AsyncHTTP2Connection._send_request_headers", send_headers_hook},
    };
    if (!PyObject_HasAttrString(module, "Request")) {
        faa_debug(
            "httpcore is older than 0.14: the trace goes with the headers of httpx's requests");
        return 0;
    }
    size_t count = is_loaded("httpcore._sync.http2") ? FAA_COUNT(patches) : 1;
    hooked = faa_patch_all(patches, count) == 0;
    return hooked ? 0 : -1;
}

// The second one of httpx, which imports httpcore when it makes its first transport.
const struct faa_instrumentor faa_instrumentor_httpx_wire = {
    .name = "httpx",
    .module = "httpcore",
    .install = install,
};

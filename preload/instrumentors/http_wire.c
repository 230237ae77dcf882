// SPDX-License-Identifier: MIT
// The lines of an outgoing request's head, in http.client.HTTPConnection._buffer: a list of bytes,
// the request line first.
#include "instrumentors/http_wire.h"

#include "instrumentors/http_client.h"
#include "python/err.h"

#include <stdio.h>
#include <strings.h>

enum { LINES_MAX = 256 }; // More header lines are not looked at.

// The line's name and what follows the colon; -1 for the request line and what is no header.
static int split(PyObject *line, struct faa_str *name, struct faa_str *value)
{
    struct faa_str text = faa_text(line);
    const char *colon = text.n ? memchr(text.p, ':', text.n) : NULL;
    if (!colon)
        return -1;
    size_t n = (size_t)(colon - text.p), skip = n + 1;
    while (skip < text.n && (text.p[skip] == ' ' || text.p[skip] == '\t'))
        skip++;
    *name = (struct faa_str){text.p, n};
    *value = (struct faa_str){text.p + skip, text.n - skip};
    return 0;
}

// The number of lines to look at.
static Py_ssize_t count_of(PyObject *lines)
{
    Py_ssize_t count = PyList_Size(lines);
    return count < LINES_MAX ? count : LINES_MAX;
}

static int is_header(PyObject *line, struct faa_str wanted)
{
    if (!line || !faa_is_bytes(line))
        return 0;
    const char *p = PyBytes_AsString(line); // It ends in a NUL.
    return (p[0] | 0x20) == (wanted.p[0] | 0x20) && (size_t)PyBytes_Size(line) > wanted.n &&
           p[wanted.n] == ':' && strncasecmp(p, wanted.p, wanted.n) == 0;
}

static int has(const void *request, struct faa_str wanted)
{
    PyObject *lines = (PyObject *)request;
    Py_ssize_t count = count_of(lines);
    for (Py_ssize_t i = 1; i < count; i++)
        if (is_header(PyList_GetItem(lines, i), wanted))
            return 1;
    return 0;
}

static void add(PyObject *lines, const struct faa_header *h)
{
    static const char colon[] = ": ";
    size_t n = h->name.n + 2 + h->value.n;
    PyObject *line = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)n);
    if (line) {
        char *p = PyBytes_AsString(line);
        memcpy(p, h->name.p, h->name.n);
        memcpy(p + h->name.n, colon, 2);
        memcpy(p + h->name.n + 2, h->value.p, h->value.n);
    }
    if (!line || PyList_Append(lines, line))
        PyErr_Clear();
    Py_DecRef(line);
}

static void inject(PyObject *exchange, PyObject *lines)
{
    struct faa_injection ours;
    faa_http_client_headers(exchange, has, lines, &ours);
    for (size_t i = 0; i < ours.count; i++)
        add(lines, &ours.headers[i]);
}

// The headers as pairs, for the rules.
static void capture(PyObject *exchange, PyObject *lines)
{
    PyObject *pairs = PyList_New(0);
    Py_ssize_t count = count_of(lines);
    struct faa_str name, value;
    for (Py_ssize_t i = 1; pairs && i < count; i++) {
        if (split(PyList_GetItem(lines, i), &name, &value))
            continue;
        PyObject *pair =
            Py_BuildValue("(y#y#)", name.p, (Py_ssize_t)name.n, value.p, (Py_ssize_t)value.n);
        if (!pair || PyList_Append(pairs, pair))
            PyErr_Clear();
        Py_DecRef(pair);
    }
    if (pairs)
        faa_http_client_capture_request(exchange, pairs);
    faa_err_discard();
    Py_DecRef(pairs);
}

// For a client that has left it to the request line.
static void tell_method(PyObject *exchange, PyObject *lines)
{
    struct faa_str line = faa_text(PyList_Size(lines) > 0 ? PyList_GetItem(lines, 0) : NULL);
    const char *blank = line.n ? memchr(line.p, ' ', line.n) : NULL;
    if (blank)
        faa_http_client_set_method(exchange, (struct faa_str){line.p, (size_t)(blank - line.p)});
}

// From here on the request is on its way, also where a client has gone around the layer that says
// so: what an iterator that gives the body calls is another exchange.
static void tell(PyObject *exchange, PyObject *connection)
{
    PyObject *lines;
    faa_http_client_mark_sent(exchange);
    if (faa_getattr(connection, FAA_NAME(_buffer), &lines) != 1)
        return;
    if (faa_is_list(lines)) {
        if (!faa_http_client_has_method(exchange))
            tell_method(exchange, lines);
        inject(exchange, lines);
        if (faa_pyspan(exchange)->span.recording && faa_http_rules_has(FAA_RULE_CLIENT_REQUEST))
            capture(exchange, lines);
    }
    Py_DecRef(lines);
}

PyObject *faa_http_wire_endheaders(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                   size_t nargsf, PyObject *kwnames)
{
    (void)data;
    int saved = errno;
    PyObject *exchange = FAA_NARGS(nargsf) > 0 ? faa_http_client_current() : NULL;
    if (exchange)
        tell(exchange, args[0]);
    Py_DecRef(exchange);
    errno = saved;
    return faa_call(wrapped, args, nargsf, kwnames);
}

// SPDX-License-Identifier: MIT
// httpx's objects by their private parts, since the public ones are properties in Python. The lists
// of headers are changed in place: what the application does to them meanwhile stays done.
#include "instrumentors/httpx_request.h"

#include "base/log.h"
#include "instrumentors/http_client.h"
#include "python/err.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

// ---- method and URL ----------------------------------------------------------------------------

// Adds a text to the URL; what there is no room for is left out, and `ok` cleared.
static void put(struct faa_httpx_line *line, struct faa_str text, int *ok)
{
    if (text.n > sizeof(line->room) - line->url.n) {
        *ok = 0;
        return;
    }
    memcpy(line->room + line->url.n, text.p, text.n);
    line->url.n += text.n;
}

// With what stands before and behind it, where there is one.
static void put_part(struct faa_httpx_line *line, const char *before, PyObject *part,
                     const char *behind, int *ok)
{
    struct faa_str text = faa_text(part);
    if (part == Py_None)
        return;
    put(line, faa_str_of(before), ok);
    put(line, text, ok);
    put(line, faa_str_of(behind), ok);
}

enum { SCHEME, USER, HOST, PORT, PATH, QUERY, FRAGMENT, PARTS };

static void put_port(struct faa_httpx_line *line, PyObject *port, int *ok)
{
    char text[32];
    int n = snprintf(text, sizeof(text), ":%lld", faa_int(port, 0));
    put(line, (struct faa_str){text, n > 0 ? (size_t)n : 0}, ok);
}

// An httpx.URL from 0.24 on has its parts in a tuple, of which str() makes a text in Python; here
// that takes a tenth of the time. 0, or -1 for any other, and for one that is too long.
static int put_parts(struct faa_httpx_line *line, PyObject *uri)
{
    PyObject *part[PARTS];
    int ok = 1;
    if (!faa_is_tuple(uri) || PyTuple_Size(uri) != PARTS)
        return -1;
    for (size_t i = 0; i < PARTS; i++)
        part[i] = PyTuple_GetItem(uri, (Py_ssize_t)i);
    struct faa_str host = faa_text(part[HOST]), user = faa_text(part[USER]);
    int is_ipv6 = host.n > 0 && memchr(host.p, ':', host.n) != NULL;
    put(line, faa_text(part[SCHEME]), &ok);
    put(line, FAA_STR("://"), &ok);
    if (user.n > 0)
        put_part(line, "", part[USER], "@", &ok);
    if (is_ipv6)
        put_part(line, "[", part[HOST], "]", &ok);
    else
        put(line, host, &ok);
    if (faa_is_int(part[PORT]))
        put_port(line, part[PORT], &ok);
    put(line, faa_text(part[PATH]), &ok);
    put_part(line, "?", part[QUERY], "", &ok);
    put_part(line, "#", part[FRAGMENT], "", &ok);
    return ok && host.n > 0 ? 0 : -1;
}

static int put_url(struct faa_httpx_line *line, PyObject *url)
{
    PyObject *uri;
    line->url = (struct faa_str){line->room, 0};
    int status = faa_getattr(url, FAA_NAME(_uri_reference), &uri) == 1 ? put_parts(line, uri) : -1;
    Py_DecRef(uri);
    return status;
}

void faa_httpx_line_init(struct faa_httpx_line *line, PyObject *request)
{
    PyObject *url;
    line->text = NULL;
    faa_getattr(request, FAA_NAME(method), &line->method);
    if (faa_getattr(request, FAA_NAME(url), &url) != 1 || put_url(line, url)) {
        line->text = url ? PyObject_Str(url) : NULL;
        line->url = faa_text(line->text);
        faa_err_discard();
    }
    Py_DecRef(url);
}

void faa_httpx_line_fini(struct faa_httpx_line *line)
{
    Py_DecRef(line->method);
    Py_DecRef(line->text);
}

// ---- headers -----------------------------------------------------------------------------------

enum { NAMES_MAX = 16 };

// Our bytes objects, for ever. Two threads without the GIL may make one twice: both are ours.
static PyObject *names[NAMES_MAX];

static int is_ours(PyObject *item)
{
    PyObject *name = faa_is_tuple(item) ? PyTuple_GetItem(item, 0) : NULL;
    if (!name)
        PyErr_Clear();
    for (size_t i = 0; name && i < NAMES_MAX && names[i]; i++)
        if (names[i] == name)
            return 1;
    return 0;
}

// The bytes object of a name. Borrowed; NULL without memory.
static PyObject *name_of(struct faa_str name)
{
    for (size_t i = 0; i < NAMES_MAX; i++) {
        if (!names[i])
            names[i] = PyBytes_FromStringAndSize(name.p, (Py_ssize_t)name.n);
        if (!names[i] || faa_str_eq(faa_text(names[i]), name))
            return names[i];
    }
    return NULL;
}

// The list in a request's headers. New reference, or NULL.
static PyObject *list_of(PyObject *request)
{
    PyObject *headers, *list = NULL;
    if (faa_getattr(request, FAA_NAME(headers), &headers) == 1)
        faa_getattr(headers, FAA_NAME(_list), &list);
    if (list && !faa_is_list(list))
        faa_clear(&list);
    Py_DecRef(headers);
    return list;
}

static int has(const void *request, struct faa_str name)
{
    PyObject *list = (PyObject *)request;
    for (Py_ssize_t i = 0, n = PyList_Size(list); i < n; i++) {
        PyObject *item = PyList_GetItem(list, i);
        struct faa_str other = item ? faa_text(faa_sequence_item(item, 0)) : FAA_STR("");
        if (other.n == name.n && strncasecmp(other.p, name.p, name.n) == 0 && !is_ours(item))
            return 1;
    }
    PyErr_Clear();
    return 0;
}

static int add(PyObject *ours, const struct faa_header *h)
{
    PyObject *name = name_of(h->name);
    PyObject *value = PyBytes_FromStringAndSize(h->value.p, (Py_ssize_t)h->value.n);
    PyObject *item = name && value ? PyTuple_Pack(3, name, name, value) : NULL;
    int status = item ? PyList_Append(ours, item) : -1;
    Py_DecRef(value);
    Py_DecRef(item);
    return status;
}

PyObject *faa_httpx_headers_make(PyObject *exchange, PyObject *request)
{
    struct faa_injection in = {.count = 0};
    PyObject *list = list_of(request);
    if (list)
        faa_http_client_headers(exchange, has, list, &in);
    PyObject *ours = in.count > 0 ? PyList_New(0) : NULL;
    int status = 0;
    for (size_t i = 0; ours && status == 0 && i < in.count; i++)
        status = add(ours, &in.headers[i]);
    PyErr_Clear();
    Py_DecRef(list);
    if (status)
        faa_clear(&ours);
    return ours;
}

static void take(PyObject *list)
{
    for (Py_ssize_t i = PyList_Size(list); i-- > 0;) {
        PyObject *item = PyList_GetItem(list, i);
        if (item && is_ours(item) && PyList_SetSlice(list, i, i + 1, NULL))
            break;
    }
    PyErr_Clear();
}

void faa_httpx_headers_put(PyObject *request, PyObject *headers)
{
    PyObject *list = headers ? list_of(request) : NULL;
    if (!list)
        return;
    take(list);
    Py_ssize_t n = PyList_Size(list);
    if (PyList_SetSlice(list, n, n, headers))
        PyErr_Clear();
    Py_DecRef(list);
}

void faa_httpx_headers_take(PyObject *request)
{
    PyObject *list = list_of(request);
    if (list)
        take(list);
    Py_DecRef(list);
}

int faa_httpx_headers_check(void)
{
    PyObject *module = PyImport_ImportModule("httpx");
    PyObject *headers =
        module ? PyObject_CallMethod(module, "Headers", "{ss}", "X-One", "1") : NULL;
    PyObject *list = headers ? PyObject_GetAttr(headers, FAA_NAME(_list)) : NULL;
    PyObject *want = Py_BuildValue("[(yyy)]", "X-One", "x-one", "1");
    int same = list && want ? PyObject_RichCompareBool(list, want, Py_EQ) : 0;
    Py_DecRef(module);
    Py_DecRef(headers);
    Py_DecRef(list);
    Py_DecRef(want);
    faa_err_discard();
    if (same == 1)
        return 0;
    faa_debug("httpx:Headers._list is not there, or no list of (name, lower-case name, value)");
    return -1;
}

// SPDX-License-Identifier: MIT
// yarl.URL by its private parts, since str() makes a text of them in Python; and bytes of a head.
#include "instrumentors/aiohttp_request.h"

#include "instrumentors/http_client.h"
#include "python/err.h"

#include <string.h>
#include <strings.h>

// ---- the URL ------------------------------------------------------------------------------------

enum { SCHEME, NETLOC, PATH, QUERY, FRAGMENT, PARTS };

static int ends_with(struct faa_str text, struct faa_str end)
{
    return text.n >= end.n && memcmp(text.p + text.n - end.n, end.p, end.n) == 0;
}

// yarl leaves out the port that a scheme has anyway, which is not the only thing that ends like it.
static int may_have_default_port(struct faa_str netloc)
{
    return ends_with(netloc, FAA_STR(":80")) || ends_with(netloc, FAA_STR(":443"));
}

static int put(struct faa_aiohttp_url *url, const char *before, struct faa_str text)
{
    size_t n = strlen(before);
    if (n + text.n > sizeof(url->room) - url->str.n)
        return -1;
    memcpy(url->room + url->str.n, before, n);
    memcpy(url->room + url->str.n + n, text.p, text.n);
    url->str.n += n + text.n;
    return 0;
}

// 0, or -1 where it takes yarl itself to say it: before 1.17 the parts were kept in another way.
static int put_parts(struct faa_aiohttp_url *url, PyObject *object)
{
    PyObject *const names[PARTS] = {FAA_NAME(_scheme), FAA_NAME(_netloc), FAA_NAME(_path),
                                    FAA_NAME(_query), FAA_NAME(_fragment)};
    PyObject *part[PARTS] = {NULL};
    struct faa_str text[PARTS];
    int status = 0;
    for (size_t i = 0; status == 0 && i < PARTS; i++) {
        status = faa_getattr(object, names[i], &part[i]) == 1 ? 0 : -1;
        text[i] = faa_text(part[i]);
    }
    url->str = (struct faa_str){url->room, 0};
    if (status == 0 && text[SCHEME].n > 0 && text[NETLOC].n > 0 &&
        !may_have_default_port(text[NETLOC])) {
        if (text[PATH].n == 0 && text[QUERY].n + text[FRAGMENT].n > 0)
            text[PATH] = FAA_STR("/");
        status = put(url, "", text[SCHEME]) || put(url, "://", text[NETLOC]) ||
                 put(url, "", text[PATH]) || (text[QUERY].n > 0 && put(url, "?", text[QUERY])) ||
                 (text[FRAGMENT].n > 0 && put(url, "#", text[FRAGMENT]));
    } else {
        status = -1;
    }
    for (size_t i = 0; i < PARTS; i++)
        Py_DecRef(part[i]);
    return status ? -1 : 0;
}

void faa_aiohttp_url_init(struct faa_aiohttp_url *url, PyObject *object)
{
    url->text = NULL;
    if (object && put_parts(url, object) == 0)
        return;
    url->text = object ? PyObject_Str(object) : NULL;
    url->str = faa_text(url->text);
    faa_err_discard();
}

void faa_aiohttp_url_fini(struct faa_aiohttp_url *url)
{
    Py_DecRef(url->text);
}

// ---- the head -----------------------------------------------------------------------------------

// Whether a line of the head, behind the first, has this name.
static int has(const void *request, struct faa_str name)
{
    const struct faa_str *head = request;
    const char *end = head->p + head->n, *line = head->p;
    while ((line = memchr(line, '\n', (size_t)(end - line))) != NULL) {
        line++;
        if ((size_t)(end - line) <= name.n)
            return 0;
        if (line[name.n] == ':' && strncasecmp(line, name.p, name.n) == 0)
            return 1;
    }
    return 0;
}

static const struct faa_str colon = FAA_STR(": "), newline = FAA_STR("\r\n");

static char *add(char *p, struct faa_str text)
{
    memcpy(p, text.p, text.n);
    return p + text.n;
}

PyObject *faa_aiohttp_head_tell(PyObject *head, PyObject *exchange)
{
    struct faa_injection in;
    struct faa_str old = faa_is_bytes(head) ? faa_text(head) : FAA_STR("");
    size_t n = old.n;
    if (!ends_with(old, FAA_STR("\r\n\r\n")))
        return NULL;
    faa_http_client_headers(exchange, has, &old, &in);
    if (in.count == 0)
        return NULL;
    for (size_t i = 0; i < in.count; i++)
        n += in.headers[i].name.n + colon.n + in.headers[i].value.n + newline.n;
    PyObject *result = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)n);
    if (!result) {
        PyErr_Clear();
        return NULL;
    }
    char *p = add(PyBytes_AsString(result), (struct faa_str){old.p, old.n - newline.n});
    for (size_t i = 0; i < in.count; i++) {
        p = add(add(p, in.headers[i].name), colon);
        p = add(add(p, in.headers[i].value), newline);
    }
    add(p, newline);
    return result;
}

// SPDX-License-Identifier: MIT
// Template strings (t"..." of Python 3.14) and composed SQL (psycopg.sql, psycopg2.sql) as text.
#include "instrumentors/dbapi_text.h"

#include "python/err.h"

#include <string.h>

enum { DEPTH_MAX = 4 }; // Of templates within templates; deeper ones are values.

struct text {
    char *p;
    size_t n, cap;
};

static void put(struct text *t, struct faa_str s)
{
    size_t n = s.n < t->cap - t->n ? s.n : t->cap - t->n;
    memcpy(t->p + t->n, s.p, n);
    t->n += n;
}

static int put_template(struct text *t, PyObject *template, int depth);

// As psycopg reads them: `i` is an identifier, without quotes yet; a template is a part of the
// statement; all else are values, as far as anyone can tell.
static void put_interpolation(struct text *t, PyObject *interpolation, int depth)
{
    PyObject *value, *format = NULL;
    if (faa_getattr(interpolation, FAA_NAME(value), &value) == 1)
        faa_getattr(interpolation, FAA_NAME(format_spec), &format);
    struct faa_str name = faa_text(value);
    if (faa_str_eq(faa_text(format), FAA_STR("i")) && name.n && !memchr(name.p, '"', name.n)) {
        put(t, FAA_STR("\""));
        put(t, name);
        put(t, FAA_STR("\""));
    } else if (!value || name.n || depth >= DEPTH_MAX || put_template(t, value, depth + 1)) {
        put(t, FAA_STR("?"));
    }
    Py_DecRef(value);
    Py_DecRef(format);
}

// 0, or -1 and nothing written when it is no template.
static int put_template(struct text *t, PyObject *template, int depth)
{
    PyObject *strings, *interpolations = NULL;
    int status = -1;
    if (faa_getattr(template, FAA_NAME(strings), &strings) == 1 && faa_is_tuple(strings) &&
        faa_getattr(template, FAA_NAME(interpolations), &interpolations) == 1)
        status = 0;
    Py_ssize_t count = status == 0 ? PyTuple_Size(strings) : 0;
    for (Py_ssize_t i = 0; i < count && t->n < t->cap; i++) {
        put(t, faa_text(PyTuple_GetItem(strings, i)));
        PyObject *next = faa_sequence_item(interpolations, i);
        if (next)
            put_interpolation(t, next, depth);
    }
    Py_DecRef(strings);
    Py_DecRef(interpolations);
    return status;
}

struct faa_str faa_dbapi_text(PyObject *sql, PyObject *self, char *out, size_t cap, PyObject **held)
{
    struct text t = {out, 0, cap};
    PyObject *as_string;
    *held = NULL;
    if (faa_getattr(sql, FAA_NAME(as_string), &as_string) == 1) {
        *held = PyObject_CallFunctionObjArgs(as_string, self, NULL);
        faa_err_discard();
        Py_DecRef(as_string);
        return faa_text(*held);
    }
    if (put_template(&t, sql, 0))
        return FAA_STR("");
    return (struct faa_str){t.p, t.n};
}

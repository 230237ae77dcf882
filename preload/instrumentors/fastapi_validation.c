// SPDX-License-Identifier: MIT
// A request that fails validation: an event on its SERVER span that says how many errors there were
// and where, but never what was sent. Messages quote the input, so they stay home as well.
#include "instrumentors/asgi.h"
#include "instrumentors/fastapi_steps.h"
#include "instrumentors/step.h"
#include "python/err.h"

#include <stdio.h>

enum {
    LOCATIONS_MAX = 32,
    PARTS_MAX = 16, // Of one location; what lies deeper is cut off.
    PART_MAX = 64,
    TEXT_MAX = 1024
};

// A text of locations that takes each of them whole or not at all.
struct locations {
    size_t n;
    char text[TEXT_MAX];
};

static int is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

// Keys of a dict come from the client, and may be secrets or megabytes. Names of fields look like
// identifiers; those of headers, which the application has declared, may have hyphens besides.
static int is_plain(struct faa_str part, int is_header)
{
    if (!part.n || part.n > PART_MAX || !is_letter(part.p[0]))
        return 0;
    for (size_t i = 1; i < part.n; i++)
        if (!is_letter(part.p[i]) && !is_digit(part.p[i]) && !(is_header && part.p[i] == '-'))
            return 0;
    return 1;
}

// Writes one part into `out`, which has room for PART_MAX bytes.
static size_t put_part(PyObject *part, int is_header, char *out)
{
    struct faa_str text = faa_text(part);
    long long index = faa_int(part, -1);
    if (is_plain(text, is_header)) {
        memcpy(out, text.p, text.n);
        return text.n;
    }
    if (index >= 0)
        return (size_t)snprintf(out, PART_MAX, "%lld", index);
    out[0] = '*';
    return 1;
}

// Appends "body.items.0.price".
static void add_location(struct locations *all, PyObject *parts)
{
    char text[PARTS_MAX * (PART_MAX + 1)];
    size_t n = 0;
    PyObject *part;
    int is_header = 0;
    for (Py_ssize_t i = 0; i < PARTS_MAX && (part = faa_sequence_item(parts, i)); i++) {
        if (i)
            text[n++] = '.';
        n += put_part(part, is_header, text + n);
        is_header = i == 0 && faa_str_eq(faa_text(part), FAA_STR("header"));
    }
    size_t comma = all->n ? 2 : 0;
    if (!n || all->n + comma + n > sizeof(all->text))
        return;
    memcpy(all->text + all->n, ", ", comma);
    memcpy(all->text + all->n + comma, text, n);
    all->n += comma + n;
}

static Py_ssize_t size_of(PyObject *sequence)
{
    return faa_is_list(sequence) ? PyList_Size(sequence) : PyTuple_Size(sequence);
}

// The errors as a list or tuple of dicts (new reference), or NULL. Pydantic 1 gives the exception
// errors of its own, of which `errors()` makes the list that the error's handler will ask for next.
static PyObject *errors_of(PyObject *exception, PyObject *given)
{
    PyObject *first = faa_sequence_item(given, 0), *method, *list = NULL;
    if (first && faa_is_dict(first))
        return faa_newref(given);
    if (faa_getattr(exception, FAA_NAME(errors), &method) == 1)
        list = PyObject_CallFunctionObjArgs(method, NULL);
    faa_err_discard();
    Py_DecRef(method);
    if (list && (faa_is_list(list) || faa_is_tuple(list)))
        return list;
    Py_DecRef(list);
    return NULL;
}

static void tell(PyObject *exception, PyObject *given)
{
    PyObject *request = faa_asgi_current_request(), *location, *one;
    struct faa_span *span = request ? &faa_pyspan(request)->span : NULL;
    PyObject *errors = span && span->recording ? errors_of(exception, given) : NULL;
    if (!errors) {
        Py_DecRef(request);
        return;
    }
    struct locations all = {.n = 0};
    for (Py_ssize_t i = 0; i < LOCATIONS_MAX && (one = faa_sequence_item(errors, i)); i++) {
        if (faa_is_dict(one) && faa_dict_get(one, FAA_NAME(loc), &location) == 1) {
            add_location(&all, location);
            Py_DecRef(location);
        }
    }
    faa_span_add_event(span, FAA_STR("validation failed"));
    faa_span_event_set_int(span, FAA_KEY_FAA_VALIDATION_ERROR_COUNT, size_of(errors));
    if (all.n)
        faa_span_event_set_str(span, FAA_KEY_FAA_VALIDATION_LOCATIONS,
                               (struct faa_str){all.text, all.n});
    Py_DecRef(errors);
    Py_DecRef(request);
}

static PyObject *error_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                            PyObject *kwnames)
{
    (void)data;
    PyObject *result = faa_call(wrapped, args, nargsf, kwnames);
    if (!result || FAA_NARGS(nargsf) < 1)
        return result;
    int saved = errno;
    PyObject *given = FAA_NARGS(nargsf) >= 2
                          ? args[1]
                          : faa_step_keyword(args, nargsf, kwnames, FAA_NAME(errors));
    if (given)
        tell(args[0], given);
    errno = saved;
    return result;
}

void faa_fastapi_validation_install(void)
{
    static const struct faa_patch http = {"fastapi.exceptions:RequestValidationError.__init__",
                                          error_hook};
    static const struct faa_patch websocket = {
        "fastapi.exceptions:WebSocketRequestValidationError.__init__", error_hook};
    // A seam that is not there has its debug line.
    (void)!faa_patch_all(&http, 1);
    (void)!faa_patch_all(&websocket, 1);
}

// SPDX-License-Identifier: MIT
// The rule: where the application has configured an OpenTelemetry provider and FastAPI makes a span
// of a request with it, ours stands aside, and what the request calls hangs on FastAPI's. It is the
// application's choice, its metrics and logs belong to it, and both may go to the same collector.
#include "instrumentors/fastapi_telemetry.h"

#include "python/err.h"

static PyObject *key; // "fastapi.telemetry" in the scope: FastAPI's telemetry of this request.

// An id, an int in Python, as bytes. 0, or -1 when it is none.
static int read_id(PyObject *context, const char *name, uint8_t *id, Py_ssize_t n)
{
    PyObject *number = PyObject_GetAttrString(context, name);
    PyObject *bytes = number ? PyObject_CallMethod(number, "to_bytes", "ns", n, "big") : NULL;
    struct faa_str text = faa_text(bytes);
    int status = text.n == (size_t)n ? 0 : -1;
    if (status == 0)
        memcpy(id, text.p, text.n);
    faa_err_discard();
    Py_DecRef(number);
    Py_DecRef(bytes);
    return status;
}

// The context of an opentelemetry.trace.Span. 0, or -1 where there is none.
static int read_context(PyObject *span, struct faa_span_context *out)
{
    PyObject *context = PyObject_CallMethod(span, "get_span_context", NULL), *flags = NULL;
    int status = -1;
    if (context && read_id(context, "trace_id", out->trace_id, sizeof(out->trace_id)) == 0 &&
        read_id(context, "span_id", out->span_id, sizeof(out->span_id)) == 0) {
        flags = PyObject_GetAttrString(context, "trace_flags");
        out->flags = (uint8_t)faa_int(flags, 0);
        status = 0;
    }
    faa_err_discard();
    Py_DecRef(context);
    Py_DecRef(flags);
    return status;
}

static void adopt(struct faa_span *span, PyObject *scope)
{
    PyObject *telemetry, *theirs;
    if (faa_dict_get(scope, key, &telemetry) != 1)
        return;
    struct faa_span_context context = {.flags = 0};
    if (faa_getattr(telemetry, FAA_NAME(span), &theirs) == 1 && theirs != Py_None &&
        read_context(theirs, &context) == 0)
        faa_span_follow(span, &context);
    Py_DecRef(telemetry);
    Py_DecRef(theirs);
}

void (*faa_fastapi_telemetry(void))(struct faa_span *span, PyObject *scope)
{
    PyObject *name = PyUnicode_InternFromString("fastapi.telemetry");
    PyObject *module = name ? PyImport_GetModule(name) : NULL;
    if (!module) {
        PyErr_Clear();
        Py_DecRef(name);
        return NULL;
    }
    Py_DecRef(module);
    faa_clear(&key);
    key = name;
    return adopt;
}

// SPDX-License-Identifier: MIT
// logging: with OTEL_PYTHON_LOG_CORRELATION=true each record tells the span that it was made under,
// by the attributes that OpenTelemetry's instrumentation of logging gives it. It makes no spans.
//
// They are set when the record is handled and not when it is made: what the application gives it
// itself (`extra`, a record factory, makeRecord) is there by then, and stays. A record that never
// passes a logger gets them by its first handler.
#include "instrumentors/instrumentor.h"
#include "instrumentors/settings.h"
#include "python/err.h"
#include "python/pyspan.h"
#include "python/wrapper.h"
#include "span/ids.h"

// Made once: str objects of the service's name and of "0".
static PyObject *service_name, *no_id;

// Returns a new reference to the id as text; "0" where there is no span.
static PyObject *text_of(const uint8_t *id, unsigned n)
{
    char digits[32];
    if (!id || faa_ids_is_zero(id, n))
        return faa_newref(no_id);
    faa_ids_hex(digits, id, n);
    return PyUnicode_FromStringAndSize(digits, (Py_ssize_t)n * 2);
}

// What is there already is the application's, or ours from another thread (a QueueHandler's record
// is handled twice). Takes the reference.
static void set_absent(PyObject *attributes, PyObject *name, PyObject *value)
{
    if (value && !faa_dict_peek(attributes, name) && PyDict_SetItem(attributes, name, value))
        PyErr_Clear();
    PyErr_Clear();
    Py_DecRef(value);
}

static void set_span(PyObject *attributes)
{
    static const struct faa_span_context none;
    PyObject *span = faa_context_current();
    const struct faa_span_context *c = span ? &faa_pyspan(span)->span.context : &none;
    if (c->suppressed) // Below an excluded URL there is no trace to look for.
        c = &none;
    set_absent(attributes, FAA_NAME(otelTraceID), text_of(c->trace_id, sizeof(c->trace_id)));
    set_absent(attributes, FAA_NAME(otelSpanID), text_of(c->span_id, sizeof(c->span_id)));
    set_absent(attributes, FAA_NAME(otelTraceSampled),
               faa_newref(c->flags & FAA_FLAG_SAMPLED ? Py_True : Py_False));
    set_absent(attributes, FAA_NAME(otelServiceName), faa_newref(service_name));
    Py_DecRef(span);
}

static void see(PyObject *record)
{
    struct faa_err e = faa_err_save();
    PyObject *attributes;
    if (faa_getattr(record, FAA_NAME(__dict__), &attributes) == 1 && faa_is_dict(attributes) &&
        !(faa_dict_peek(attributes, FAA_NAME(otelTraceID)) &&
          faa_dict_peek(attributes, FAA_NAME(otelSpanID)) &&
          faa_dict_peek(attributes, FAA_NAME(otelServiceName))))
        set_span(attributes);
    Py_DecRef(attributes);
    faa_err_restore(&e);
}

// handle(self, record) of a logger and of a handler.
static PyObject *handle_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                             size_t nargsf, PyObject *kwnames)
{
    (void)data;
    if (FAA_NARGS(nargsf) >= 2)
        see(args[1]);
    return faa_call(wrapped, args, nargsf, kwnames);
}

static int wanted(void)
{
    return faa_settings.log_correlation;
}

static int install(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {"logging:Logger.handle", handle_hook},
        {"logging:Handler.handle", handle_hook},
    };
    service_name = PyUnicode_FromString(faa_settings.service_name);
    no_id = PyUnicode_FromString("0");
    if (!service_name || !no_id)
        return -1;
    return faa_patch_all(patches, FAA_COUNT(patches));
}

const struct faa_instrumentor faa_instrumentor_logging = {
    .name = "logging",
    .module = "logging",
    .wanted = wanted,
    .install = install,
    .about =
        {
            .library = "logging",
            .versions = "of CPython 3.9 to 3.14",
            .spans = "none of its own: each log record has otelTraceID, otelSpanID, "
                     "otelTraceSampled and otelServiceName",
            .attributes = "",
            .switches = "OTEL_PYTHON_LOG_CORRELATION",
        },
};

// SPDX-License-Identifier: MIT
// The rule: where the application has configured an OpenTelemetry provider and FastAPI makes a span
// of a request with it, ours stands aside, and what the request calls hangs on FastAPI's. It is the
// application's choice, its metrics and logs belong to it, and both may go to the same collector.
#include "instrumentors/fastapi_telemetry.h"

#include "python/err.h"
#include "python/wrapper.h"

#include <stdlib.h>

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
    PyObject *telemetry = faa_newref(faa_dict_peek(scope, key)), *theirs;
    if (!telemetry || telemetry == Py_None) {
        Py_DecRef(telemetry);
        return;
    }
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

// ---- telemetry without a provider -------------------------------------------------------------

// The global providers of opentelemetry-api: None until the application, or one of these variables,
// sets one. FastAPI asks for all three in every request, which costs several times what our span
// does.
static const struct provider {
    const char *module, *name, *variable, *option;
} providers[] = {
    {"opentelemetry.trace", "_TRACER_PROVIDER", "OTEL_PYTHON_TRACER_PROVIDER", "tracer_provider"},
    {"opentelemetry.metrics._internal", "_METER_PROVIDER", "OTEL_PYTHON_METER_PROVIDER",
     "meter_provider"},
    {"opentelemetry._logs._internal", "_LOGGER_PROVIDER", "OTEL_PYTHON_LOGGER_PROVIDER",
     "logger_provider"},
};

static PyObject *globals[FAA_COUNT(providers)]; // Of these modules,
static PyObject *names[FAA_COUNT(providers)];   // the names in them,
static PyObject *options[FAA_COUNT(providers)]; // and those in FastAPI(telemetry={…}).

// True while neither the process nor this application has a provider of any kind.
static int is_idle(PyObject *application)
{
    PyObject *telemetry, *config = NULL;
    for (size_t i = 0; i < FAA_COUNT(providers); i++)
        if (faa_dict_peek(globals[i], names[i]) != Py_None)
            return 0;
    int idle = faa_getattr(application, FAA_NAME(_native_telemetry), &telemetry) == 1 &&
               faa_getattr(telemetry, FAA_NAME(config), &config) == 1 && faa_is_dict(config);
    for (size_t i = 0; idle && i < FAA_COUNT(providers); i++)
        idle = faa_dict_peek(config, options[i]) == Py_None;
    Py_DecRef(telemetry);
    Py_DecRef(config);
    return idle;
}

static PyObject *call_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                           PyObject *kwnames)
{
    (void)data;
    if (FAA_NARGS(nargsf) == 4 && !kwnames && faa_type_of(args[1]) == &PyDict_Type) {
        int saved = errno;
        if (is_idle(args[0]) && !faa_dict_peek(args[1], key) &&
            PyDict_SetItem(args[1], key, Py_None))
            PyErr_Clear();
        errno = saved;
    }
    return faa_call(wrapped, args, nargsf, kwnames);
}

// The module's globals, if it has this one; new reference.
static PyObject *globals_of(const struct provider *p)
{
    PyObject *name = PyUnicode_FromString(p->module);
    PyObject *module = name ? PyImport_GetModule(name) : NULL;
    PyObject *dict = module ? PyObject_GetAttrString(module, "__dict__") : NULL;
    if (dict && (!faa_is_dict(dict) || !PyDict_GetItemString(dict, p->name)))
        faa_clear(&dict);
    PyErr_Clear();
    Py_DecRef(name);
    Py_DecRef(module);
    return dict;
}

void faa_fastapi_telemetry_install(void)
{
    static const struct faa_patch patches[] = {
        {"fastapi.applications:FastAPI.__call__", call_hook},
    };
    if (!key)
        return;
    for (size_t i = 0; i < FAA_COUNT(providers); i++) {
        const struct provider *p = &providers[i];
        if (getenv(p->variable))
            return; // FastAPI's question is what loads it.
        faa_clear(&globals[i]);
        globals[i] = globals_of(p);
        names[i] = PyUnicode_InternFromString(p->name);
        options[i] = PyUnicode_InternFromString(p->option);
        if (!globals[i] || !names[i] || !options[i]) {
            PyErr_Clear();
            return;
        }
    }
    if (faa_patch_all(patches, FAA_COUNT(patches)))
        PyErr_Clear();
}

// SPDX-License-Identifier: MIT
// FastAPI: its applications, whose requests come through Starlette.__call__, and the templates of
// included routers.
#include "base/log.h"
#include "instrumentors/asgi.h"
#include "instrumentors/fastapi_steps.h"
#include "instrumentors/fastapi_telemetry.h"
#include "instrumentors/instrumentor.h"
#include "python/err.h"

// Since FastAPI 0.137 a route does not know the prefixes of the routers that include it; what was
// chosen lies in the scope. Older ones have the whole template in their own path.
static PyObject *effective_route(PyObject *route, PyObject *scope)
{
    PyObject *own = faa_is_dict(scope) ? faa_dict_peek(scope, FAA_NAME(fastapi)) : NULL, *original;
    if (!own || !faa_is_dict(own))
        return faa_newref(route);
    PyObject *context = faa_newref(faa_dict_peek(own, FAA_NAME(effective_route_context)));
    if (context && faa_getattr(context, FAA_NAME(original_route), &original) == 1) {
        Py_DecRef(original); // The context keeps it.
        if (original == route)
            return context;
    }
    Py_DecRef(context);
    return faa_newref(route);
}

static PyObject *route_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                            PyObject *kwnames)
{
    (void)data;
    if (FAA_NARGS(nargsf) >= 2) {
        int saved = errno;
        PyObject *path, *route = effective_route(args[0], args[1]);
        if (faa_getattr(route, FAA_NAME(path), &path) == 1)
            faa_asgi_note_route(faa_text(path));
        Py_DecRef(path);
        Py_DecRef(route);
        errno = saved;
    }
    return faa_asgi_in_task(faa_call(wrapped, args, nargsf, kwnames));
}

// An APIRoute that handles requests in its own way (0.137 and newer) may be found through an
// included router. Older ones leave it to Starlette's Route, whose hook notes their whole path.
static int inherits_handle(PyObject *route)
{
    PyObject *dict = PyObject_GetAttrString(route, "__dict__");
    int inherits =
        dict && !PyMapping_HasKeyString(dict, "handle") && PyObject_HasAttrString(route, "handle");
    PyErr_Clear();
    Py_DecRef(dict);
    return inherits;
}

// A class of the library, or NULL with a debug line.
static PyObject *find_class(const char *module_name, const char *name)
{
    PyObject *module = PyImport_ImportModule(module_name); // Imported by now.
    PyObject *class = module ? PyObject_GetAttrString(module, name) : NULL;
    if (!class)
        faa_debug("%s:%s is not there", module_name, name);
    Py_DecRef(module);
    return class;
}

static int install(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {"starlette.applications:Starlette.__call__", faa_asgi_application_hook},
        {"fastapi.routing:APIRoute.handle", route_hook},
    };
    PyObject *class = find_class("fastapi.applications", "FastAPI");
    PyObject *route = class ? find_class("fastapi.routing", "APIRoute") : NULL;
    int inherits = route && inherits_handle(route);
    int status = route ? faa_patch_all(patches, inherits ? 1 : 2) : -1;
    if (status == 0) {
        if (!inherits)
            faa_asgi_set_noted_routes(route);
        faa_asgi_trace_class(FAA_FASTAPI, class, faa_fastapi_telemetry());
        faa_fastapi_telemetry_install();
        faa_fastapi_steps_install();
    }
    Py_DecRef(class);
    Py_DecRef(route);
    return status;
}

const struct faa_instrumentor faa_instrumentor_fastapi = {
    .name = "fastapi",
    .module = "fastapi.applications",
    .install = install,
    .about =
        {
            .library = "FastAPI",
            .versions = "0.95 to 0.165",
            .spans = "one SERVER span per HTTP request and per WebSocket connection; INTERNAL "
                     "spans for background tasks and slow dependencies, on request for "
                     "dependencies, endpoint and serialization, and for each message of a "
                     "WebSocket; an event for a failed validation",
            .attributes = FAA_ASGI_ATTRIBUTES
            " http.route faa.validation.error_count faa.validation.locations "
            "code.function.name code.file.path code.line.number",
            .switches = FAA_ASGI_SWITCHES
            " OTEL_PYTHON_FASTAPI_EXCLUDED_URLS FAA_FASTAPI_SPANS FAA_SLOW_DEPENDENCY",
        },
};

// SPDX-License-Identifier: MIT
// Starlette: the application's edge, and the templates of the routes that handle a request.
#include "base/log.h"
#include "instrumentors/asgi.h"
#include "instrumentors/fastapi_steps.h"
#include "instrumentors/instrumentor.h"
#include "python/err.h"

static void note_path(PyObject *route, void (*note)(struct faa_str path))
{
    PyObject *path;
    int saved = errno;
    if (faa_getattr(route, FAA_NAME(path), &path) == 1)
        note(faa_text(path));
    Py_DecRef(path);
    errno = saved;
}

// `handle` runs once, on the route that was chosen: no route is matched a second time, and a
// middleware that copied the scope hides nothing.
static PyObject *route_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                            PyObject *kwnames)
{
    (void)data;
    if (FAA_NARGS(nargsf) >= 1 && !faa_asgi_is_noted(args[0]))
        note_path(args[0], faa_asgi_note_route);
    return faa_asgi_in_task(faa_call(wrapped, args, nargsf, kwnames));
}

static PyObject *mount_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                            PyObject *kwnames)
{
    (void)data;
    if (FAA_NARGS(nargsf) >= 1)
        note_path(args[0], faa_asgi_note_mount);
    return faa_call(wrapped, args, nargsf, kwnames);
}

// Asked about a handler when one has been found for the exception that is being handled, by its
// class or by its status.
static PyObject *handler_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                              size_t nargsf, PyObject *kwnames)
{
    (void)data;
    PyObject *type, *value, *traceback;
    PyErr_GetExcInfo(&type, &value, &traceback);
    if (value && value != Py_None) {
        struct faa_err e = faa_err_save();
        faa_asgi_handle_exception(value);
        faa_err_restore(&e);
    }
    Py_DecRef(type);
    Py_DecRef(value);
    Py_DecRef(traceback);
    return faa_call(wrapped, args, nargsf, kwnames);
}

// Where it is depends on the version; without it handled exceptions are not recorded, and all else
// is.
static void hook_handlers(void)
{
    static const struct faa_patch places[] = {
        {"starlette._exception_handler:is_async_callable", handler_hook},
        {"starlette.middleware.exceptions:is_async_callable", handler_hook}, // Before 0.28.
    };
    if (faa_patch_all(&places[0], 1) && faa_patch_all(&places[1], 1))
        faa_debug("starlette: exceptions with a handler are not recorded");
}

static int install(PyObject *module)
{
    static const struct faa_patch patches[] = {
        {"starlette.routing:Route.handle", route_hook},
        {"starlette.routing:WebSocketRoute.handle", route_hook},
        {"starlette.routing:Mount.handle", mount_hook},
        {"starlette.applications:Starlette.__call__", faa_asgi_application_hook},
    };
    int status = faa_patch_all(patches, FAA_COUNT(patches));
    PyObject *class = status == 0 ? PyObject_GetAttrString(module, "Starlette") : NULL;
    if (class) {
        faa_asgi_trace_class(FAA_STARLETTE, class, NULL);
        hook_handlers();
        faa_background_install();
    }
    Py_DecRef(class);
    return status;
}

const struct faa_instrumentor faa_instrumentor_starlette = {
    .name = "starlette",
    .module = "starlette.applications",
    .install = install,
    .about =
        {
            .library = "Starlette",
            .versions = "0.27 to 1.10",
            .spans = "one SERVER span per HTTP request and per WebSocket connection; an "
                     "INTERNAL span per background task, on request for each message of a "
                     "WebSocket",
            .attributes = FAA_ASGI_ATTRIBUTES
            " http.route code.function.name code.file.path code.line.number",
            .switches = FAA_ASGI_SWITCHES " OTEL_PYTHON_STARLETTE_EXCLUDED_URLS FAA_FASTAPI_SPANS",
        },
};

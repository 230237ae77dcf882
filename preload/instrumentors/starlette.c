// SPDX-License-Identifier: MIT
// Starlette: the application's edge, and the templates of the routes that handle a request.
#include "instrumentors/asgi.h"
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
    return faa_call(wrapped, args, nargsf, kwnames);
}

static PyObject *mount_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                            PyObject *kwnames)
{
    (void)data;
    if (FAA_NARGS(nargsf) >= 1)
        note_path(args[0], faa_asgi_note_mount);
    return faa_call(wrapped, args, nargsf, kwnames);
}

static int install(PyObject *module)
{
    static const struct faa_patch patches[] = {
        {"starlette.routing:Route.handle", route_hook},
        {"starlette.routing:Mount.handle", mount_hook},
        {"starlette.applications:Starlette.__call__", faa_asgi_application_hook},
    };
    PyObject *class = PyObject_GetAttrString(module, "Starlette");
    int status = class ? faa_patch_all(patches, FAA_COUNT(patches)) : -1;
    if (status == 0)
        faa_asgi_trace_class(FAA_STARLETTE, class);
    Py_DecRef(class);
    return status;
}

const struct faa_instrumentor faa_instrumentor_starlette = {
    .name = "starlette",
    .module = "starlette.applications",
    .install = install,
};

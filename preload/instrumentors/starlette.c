// SPDX-License-Identifier: MIT
// Starlette: the application's edge, and the templates of the routes that handle a request.
#include "instrumentors/asgi.h"
#include "instrumentors/instrumentor.h"
#include "python/err.h"
#include "python/wrapper.h"

static PyObject *call_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                           PyObject *kwnames)
{
    (void)data;
    if (faa_asgi_scope_is(args, nargsf, FAA_STR("lifespan")))
        return faa_asgi_call_lifespan(wrapped, args, nargsf, kwnames);
    return faa_asgi_call(wrapped, args, nargsf, kwnames, "starlette");
}

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
    if (FAA_NARGS(nargsf) >= 1)
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
    (void)module;
    static const struct faa_patch patches[] = {
        {"starlette.routing:Route.handle", route_hook},
        {"starlette.routing:Mount.handle", mount_hook},
        {"starlette.applications:Starlette.__call__", call_hook},
    };
    return faa_patch_all(patches, FAA_COUNT(patches));
}

const struct faa_instrumentor faa_instrumentor_starlette = {
    .name = "starlette",
    .module = "starlette.applications",
    .install = install,
};

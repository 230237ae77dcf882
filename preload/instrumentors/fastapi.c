// SPDX-License-Identifier: MIT
// FastAPI: its own edge, which lies before Starlette's, and the templates of included routers.
#include "instrumentors/asgi.h"
#include "instrumentors/instrumentor.h"
#include "python/err.h"
#include "python/wrapper.h"

static PyObject *call_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                           PyObject *kwnames)
{
    (void)data;
    return faa_asgi_call(wrapped, args, nargsf, kwnames, "fastapi");
}

// Since FastAPI 0.137 a route does not know the prefixes of the routers that include it; what was
// chosen lies in the scope. Older ones have the whole template in their own path.
static PyObject *effective_route(PyObject *route, PyObject *scope)
{
    PyObject *own, *context = NULL, *original = NULL;
    if (!faa_is_dict(scope))
        return faa_newref(route);
    if (faa_dict_get(scope, FAA_NAME(fastapi), &own) == 1 && faa_is_dict(own) &&
        faa_dict_get(own, FAA_NAME(effective_route_context), &context) == 1)
        faa_getattr(context, FAA_NAME(original_route), &original);
    PyObject *chosen = faa_newref(original == route ? context : route);
    Py_DecRef(own);
    Py_DecRef(context);
    Py_DecRef(original);
    return chosen;
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
    return faa_call(wrapped, args, nargsf, kwnames);
}

static int install(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {"fastapi.routing:APIRoute.handle", route_hook},
        {"fastapi.applications:FastAPI.__call__", call_hook},
    };
    return faa_patch_all(patches, FAA_COUNT(patches));
}

const struct faa_instrumentor faa_instrumentor_fastapi = {
    .name = "fastapi",
    .module = "fastapi.applications",
    .install = install,
};

// SPDX-License-Identifier: MIT
// uvicorn: the server's edge, which sees every request of any ASGI application, with all of its
// middleware inside.
#include "instrumentors/asgi.h"
#include "instrumentors/instrumentor.h"
#include "python/err.h"

static PyObject *request_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                              size_t nargsf, PyObject *kwnames)
{
    (void)data;
    if (FAA_NARGS(nargsf) != 3 || kwnames)
        return faa_call(wrapped, args, nargsf, kwnames);
    return faa_asgi_serve(wrapped, args, 3, 0, "uvicorn");
}

// Config.load leaves the application in `loaded_app`, whatever kind it is, as an ASGI 3 callable.
static PyObject *load_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                           PyObject *kwnames)
{
    (void)data;
    PyObject *result = faa_call(wrapped, args, nargsf, kwnames), *application;
    if (!result || FAA_NARGS(nargsf) < 1)
        return result;
    int saved = errno;
    if (faa_getattr(args[0], FAA_NAME(loaded_app), &application) == 1) {
        PyObject *wrapper = faa_wrapper_new(application, request_hook, NULL);
        if (!wrapper || PyObject_SetAttr(args[0], FAA_NAME(loaded_app), wrapper))
            faa_err_discard();
        Py_DecRef(wrapper);
    }
    Py_DecRef(application);
    errno = saved;
    return result;
}

static int install(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {{"uvicorn.config:Config.load", load_hook}};
    return faa_patch_all(patches, FAA_COUNT(patches));
}

const struct faa_instrumentor faa_instrumentor_uvicorn = {
    .name = "uvicorn",
    .module = "uvicorn.config",
    .install = install,
    .about =
        {
            .library = "uvicorn",
            .versions = "0.21 to 0.54",
            .spans = "one SERVER span per HTTP request and per WebSocket connection of any "
                     "ASGI application that no framework known here sees",
            .attributes = FAA_ASGI_ATTRIBUTES,
            .switches = FAA_ASGI_SWITCHES,
        },
};

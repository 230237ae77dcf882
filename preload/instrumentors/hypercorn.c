// SPDX-License-Identifier: MIT
// hypercorn: the server's edge, which sees every request of any ASGI application.
#include "instrumentors/asgi.h"
#include "instrumentors/instrumentor.h"

// ASGIWrapper.__call__(self, scope, receive, send, sync_spawn, call_soon)
static PyObject *call_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                           PyObject *kwnames)
{
    (void)data;
    size_t n = FAA_NARGS(nargsf);
    if (n < 4 || kwnames)
        return faa_call(wrapped, args, nargsf, kwnames);
    return faa_asgi_serve(wrapped, args, n, 1, "hypercorn");
}

static int install(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {"hypercorn.app_wrappers:ASGIWrapper.__call__", call_hook},
    };
    return faa_patch_all(patches, FAA_COUNT(patches));
}

const struct faa_instrumentor faa_instrumentor_hypercorn = {
    .name = "hypercorn",
    .module = "hypercorn.app_wrappers",
    .install = install,
    .about =
        {
            .library = "hypercorn",
            .versions = "0.18",
            .spans = "one SERVER span per HTTP request and per WebSocket connection of any "
                     "ASGI application that no framework known here sees",
            .attributes = FAA_ASGI_ATTRIBUTES,
            .switches = FAA_ASGI_SWITCHES,
        },
};

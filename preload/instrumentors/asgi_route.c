// SPDX-License-Identifier: MIT
// The route of a request: the templates of what handles it, noted as the request comes to them.
#include "instrumentors/asgi_request.h"

static void append_route(struct faa_request *r, size_t at, struct faa_str path)
{
    size_t room = sizeof(r->route) - at;
    size_t n = path.n < room ? path.n : room;
    memcpy(r->route + at, path.p, n);
    r->route_len = at + n;
}

static PyObject *noted_routes;

void faa_asgi_set_noted_routes(PyObject *class)
{
    faa_clear(&noted_routes);
    noted_routes = faa_newref(class);
}

int faa_asgi_is_noted(PyObject *route)
{
    return noted_routes && PyType_IsSubtype(faa_type_of(route), (PyTypeObject *)noted_routes);
}

// "GET /items/{item_id}", or the method alone where there is no route.
static void set_name(struct faa_span *span, struct faa_str method, struct faa_str route)
{
    char name[FAA_SPAN_NAME_MAX];
    size_t room = sizeof(name) - method.n - 1;
    size_t n = route.n < room ? route.n : room;
    memcpy(name, method.p, method.n);
    name[method.n] = ' ';
    memcpy(name + method.n + 1, route.p, n);
    faa_span_set_name(span, (struct faa_str){name, n ? method.n + 1 + n : method.n});
}

// Puts a template behind those of the mounts that the current request has gone through.
static void note(struct faa_str path, int is_mount)
{
    PyObject *span = faa_asgi_current_request();
    if (!span)
        return;
    struct faa_request *r = faa_asgi_request_of(span);
    append_route(r, r->mount_len, path);
    if (is_mount) {
        r->mount_len = r->route_len;
        r->has_mount = 1;
    } else {
        r->has_route = 1;
    }
    // Who watches over this process shall know the request by its route.
    struct faa_span *shown = &faa_pyspan(span)->span;
    if (shown->flight && !is_mount) {
        set_name(shown, r->method, (struct faa_str){r->route, r->route_len});
        faa_span_announce(shown, r->method);
    }
    Py_DecRef(span);
}

void faa_asgi_note_mount(struct faa_str path)
{
    note(path, 1);
}

void faa_asgi_note_route(struct faa_str path)
{
    note(path, 0);
}

// It belongs to the route when it belongs to the path.
void faa_asgi_note_root(struct faa_request *r, PyObject *scope)
{
    struct faa_str root = faa_text(faa_dict_peek(scope, FAA_NAME(root_path)));
    if (root.n) {
        struct faa_str path = faa_text(faa_dict_peek(scope, FAA_NAME(path)));
        if (path.n < root.n || memcmp(path.p, root.p, root.n) != 0)
            root.n = 0;
    }
    while (root.n && root.p[root.n - 1] == '/')
        root.n--;
    append_route(r, 0, root);
    r->mount_len = r->route_len;
}

void faa_asgi_set_route(struct faa_span *span, const struct faa_request *r)
{
    // A mount alone that ended in 404 matched nothing.
    int routed = r->has_route || (r->has_mount && r->status != 404);
    struct faa_str route = {r->route, routed ? r->route_len : 0};
    if (routed && !route.n)
        route = FAA_STR("/");
    if (route.n)
        faa_span_set_str(span, FAA_KEY_HTTP_ROUTE, route);
    set_name(span, r->method, route);
}

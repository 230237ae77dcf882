// SPDX-License-Identifier: MIT
// A weak reference to the file, whose callback is an object that keeps the reference itself and the
// exchange. The two keep each other until the file is gone, which the callback cannot miss.
#include "instrumentors/http_watch.h"

#include "python/err.h"

struct watch {
    PyObject *file, *response; // Weak references.
    PyObject *exchange;
    faa_http_gone *gone;
};

static PyObject *type;

static PyObject *watch_call(PyObject *self, PyObject *args, PyObject *kwargs)
{
    struct watch *w = faa_state(self);
    (void)args;
    (void)kwargs;
    if (!w->file)
        return faa_newref(Py_None);
    struct faa_err e = faa_err_save();
    PyObject *response = faa_call(w->response, NULL, 0, NULL);
    if (!response || response == Py_None)
        faa_clear(&response);
    faa_clear(&w->file);
    w->gone(w->exchange, response);
    Py_DecRef(response);
    faa_err_restore(&e);
    return faa_newref(Py_None);
}

static void watch_dealloc(PyObject *self)
{
    struct watch *w = faa_state(self);
    faa_clear(&w->file);
    faa_clear(&w->response);
    faa_clear(&w->exchange);
    faa_free(self, 0);
}

static PyType_Slot slots[] = {
    {Py_tp_call, watch_call},
    {Py_tp_dealloc, watch_dealloc},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "faa.http_watch",
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};

int faa_http_watch_init(void)
{
    if (!type)
        type = faa_type_new(&spec, sizeof(struct watch));
    return type ? 0 : -1;
}

int faa_http_watch(PyObject *exchange, PyObject *file, PyObject *response, faa_http_gone *gone)
{
    PyObject *self = faa_alloc_raw(type, sizeof(struct watch));
    if (!self) {
        PyErr_Clear();
        return -1;
    }
    struct watch *w = faa_state(self);
    w->exchange = faa_newref(exchange);
    w->gone = gone;
    w->file = NULL;
    w->response = PyWeakref_NewRef(response, NULL);
    if (w->response)
        w->file = PyWeakref_NewRef(file, self);
    if (!w->file)
        PyErr_Clear();
    int status = w->file ? 0 : -1;
    Py_DecRef(self); // The reference to the file has one.
    return status;
}

PyObject *faa_http_watch_exchange(PyObject *file)
{
    PyObject *exchange = NULL, *callback;
    PyObject *module = PyImport_ImportModule("_weakref");
    PyObject *all = module ? PyObject_CallMethod(module, "getweakrefs", "O", file) : NULL;
    for (Py_ssize_t i = 0; !exchange && all && i < PyList_Size(all); i++) {
        callback = PyObject_GetAttrString(PyList_GetItem(all, i), "__callback__");
        if (callback && faa_type_of(callback) == (PyTypeObject *)type)
            exchange = faa_newref(((struct watch *)faa_state(callback))->exchange);
        PyErr_Clear();
        Py_DecRef(callback);
    }
    faa_err_discard();
    Py_DecRef(module);
    Py_DecRef(all);
    return exchange;
}

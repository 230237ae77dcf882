// SPDX-License-Identifier: MIT
// The call that is under way, in a context variable: openers are shared by threads and greenlets.
#include "instrumentors/http_call.h"

#include "python/err.h"

struct call {
    const void *client; // For comparison only: it may be gone when another one asks.
    int sent;
    // Then it stays in the variable: to set that one costs more than all else here.
    int is_over;
};

// What lasts as long as one call.
struct scope {
    PyObject *state, *outer;
};

static PyObject *type;
static PyObject *variable;

// Of all threads: mostly none, and then nobody has to be asked.
static _Atomic(int) under_way;

static void call_dealloc(PyObject *self)
{
    faa_free(self, 0);
}

static PyType_Slot slots[] = {
    {Py_tp_dealloc, call_dealloc},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "faa.http_call",
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};

int faa_http_call_init(void)
{
    if (!type)
        type = faa_type_new(&spec, sizeof(struct call));
    if (type && !variable)
        variable = PyContextVar_New("faa.http_call", NULL);
    return variable ? 0 : -1;
}

// The call that is under way (new reference), or NULL.
static PyObject *current(void)
{
    PyObject *value = NULL;
    if (!variable || !under_way)
        return NULL;
    if (PyContextVar_Get(variable, NULL, &value) < 0)
        PyErr_Clear();
    if (value && (faa_type_of(value) != (PyTypeObject *)type ||
                  ((const struct call *)faa_state(value))->is_over))
        faa_clear(&value);
    return value;
}

static void set_current(PyObject *value)
{
    PyObject *token = PyContextVar_Set(variable, value);
    if (!token)
        PyErr_Clear();
    Py_DecRef(token);
}

static void enter(struct scope *call, PyObject *client, int continues)
{
    call->state = NULL;
    call->outer = current();
    const struct call *outer = call->outer ? faa_state(call->outer) : NULL;
    if (continues && outer && outer->client == client) {
        faa_clear(&call->outer);
        return;
    }
    call->state = faa_alloc_raw(type, sizeof(struct call));
    if (!call->state) {
        PyErr_Clear();
        faa_clear(&call->outer);
        return;
    }
    struct call *c = faa_state(call->state);
    c->client = client;
    c->sent = 1;
    c->is_over = 0;
    under_way++;
    set_current(call->state);
}

static void leave(struct scope *call)
{
    if (call->state) {
        ((struct call *)faa_state(call->state))->is_over = 1;
        under_way--;
    }
    if (call->outer)
        set_current(call->outer);
    faa_clear(&call->outer);
    faa_clear(&call->state);
}

PyObject *faa_http_call_run(int continues, PyObject *wrapped, PyObject *const *args, size_t nargsf,
                            PyObject *kwnames)
{
    struct scope call;
    int saved = errno;
    enter(&call, FAA_NARGS(nargsf) > 0 ? args[0] : NULL, continues);
    errno = saved;
    PyObject *result = faa_call(wrapped, args, nargsf, kwnames);
    struct faa_err e = faa_err_save_of(result);
    leave(&call);
    faa_err_restore(&e);
    return result;
}

int faa_http_call_count(void)
{
    PyObject *call = current();
    int sent = call ? ((struct call *)faa_state(call))->sent++ : 0;
    Py_DecRef(call);
    return sent;
}

// SPDX-License-Identifier: MIT
// The lifespan is no span. But at its end what has ended is sent, since the process may be ended by
// force now; and a start-up or shutdown that fails is told as one.
#include "instrumentors/asgi_request.h"

#include "python/err.h"
#include "python/exception.h"
#include "span/tracer.h"

#include <stdlib.h>

struct lifespan {
    struct faa_span span;
    const char *failed; // The name of what failed, static; NULL: nothing has.
};

// Its address marks this file's objects. Their own span stays without a trace: what is called while
// one is current is nobody's child.
static const char owner;

static struct lifespan *lifespan_of(PyObject *object)
{
    struct faa_pyspan *s = faa_pyspan(object);
    return s->owner == &owner ? s->extra : NULL;
}

static void free_lifespan(void *extra)
{
    struct lifespan *l = extra;
    faa_span_fini(&l->span);
    free(l);
}

static PyObject *send_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                           PyObject *kwnames)
{
    PyObject *type = NULL;
    int saved = errno;
    if (data && FAA_NARGS(nargsf) == 1 && faa_is_dict(args[0]))
        faa_dict_get(args[0], FAA_NAME(type), &type);
    struct faa_str name = faa_text(type);
    if (faa_str_eq(name, FAA_STR("lifespan.startup.failed")))
        lifespan_of(data)->failed = "lifespan startup";
    else if (faa_str_eq(name, FAA_STR("lifespan.shutdown.failed")))
        lifespan_of(data)->failed = "lifespan shutdown";
    Py_DecRef(type);
    errno = saved;
    return faa_call(wrapped, args, nargsf, kwnames);
}

// Other threads run on while this one waits.
static void flush(void)
{
    PyThreadState *state = PyEval_SaveThread();
    faa_tracer_flush();
    PyEval_RestoreThread(state);
}

// hypercorn raises in `send`, over the exception of which the application tells it.
static PyObject *cause_of(PyObject *exception)
{
    PyObject *context = faa_exception_is(exception, "hypercorn.utils", "LifespanFailureError")
                            ? PyException_GetContext(exception)
                            : NULL;
    return context ? context : faa_newref(exception);
}

static void leave(PyObject *object, enum faa_outcome outcome, PyObject *value)
{
    struct lifespan *l = lifespan_of(object);
    faa_context_deactivate(object);
    if (l->failed) {
        faa_span_set_name(&l->span, faa_str_of(l->failed));
        faa_span_set_status(&l->span, FAA_STATUS_ERROR, FAA_STR(""));
        if (outcome == FAA_RAISED && value) {
            PyObject *cause = cause_of(value);
            faa_span_record_exception(&l->span, cause);
            Py_DecRef(cause);
        }
        faa_span_end(&l->span, 0);
    }
    flush();
}

static const struct faa_awaitable_ops ops = {.enter = faa_context_activate, .leave = leave};

// NULL, too, inside another one: the server's edge and the framework's see the same lifespan.
static PyObject *new_lifespan(const char *scope_name)
{
    PyObject *outer = faa_context_current();
    int is_inner = outer && lifespan_of(outer);
    Py_DecRef(outer);
    struct lifespan *l = is_inner ? NULL : malloc(sizeof(*l));
    PyObject *object = l ? faa_pyspan_new() : NULL;
    if (!object) {
        free(l);
        return NULL;
    }
    struct faa_pyspan *s = faa_pyspan(object);
    s->owner = &owner;
    s->extra = l;
    s->free_extra = free_lifespan;
    l->failed = NULL;
    faa_span_start(&l->span, FAA_KIND_INTERNAL, scope_name, NULL);
    return object;
}

PyObject *faa_asgi_call_lifespan(PyObject *wrapped, PyObject *const *args, size_t nargs, size_t at,
                                 const char *scope_name)
{
    PyObject *own[FAA_ASGI_ARGS_MAX];
    PyObject *object = new_lifespan(scope_name);
    PyObject *send = object ? faa_wrapper_new(args[at + 2], send_hook, object) : NULL;
    PyErr_Clear();
    memcpy(own, args, nargs * sizeof(own[0]));
    own[at + 2] = send ? send : args[at + 2];
    PyObject *result = faa_call(wrapped, own, nargs, NULL);
    if (object)
        result = faa_awaitable_around(result, &ops, object);
    Py_DecRef(send);
    Py_DecRef(object);
    return result;
}

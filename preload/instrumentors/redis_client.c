// SPDX-License-Identifier: MIT
// The span of a Redis command or pipeline.
#include "instrumentors/redis_client.h"

#include "instrumentors/db_client.h"
#include "instrumentors/redis_error.h"
#include "instrumentors/settings.h"
#include "python/awaitable.h"
#include "python/blocking.h"
#include "python/err.h"

static const char scope[] = "redis";

// What is noted on the object of an operation.
enum { IS_WORDY = 1, IS_LOCATED = 2 };

static uintptr_t notes_of(PyObject *operation)
{
    return (uintptr_t)faa_pyspan(operation)->extra;
}

static void note(PyObject *operation, unsigned what)
{
    struct faa_pyspan *s = faa_pyspan(operation);
    s->extra = (void *)((uintptr_t)s->extra | what);
}

void faa_redis_hide_words(PyObject *operation)
{
    note(operation, IS_WORDY);
}

// True when `current` is a command's operation that has not ended.
static int is_redis(PyObject *current)
{
    return current && faa_pyspan(current)->owner && faa_pyspan(current)->span.scope == scope;
}

PyObject *faa_redis_current(void)
{
    PyObject *current = faa_context_current();
    if (!is_redis(current))
        faa_clear(&current);
    return current;
}

int faa_redis_parse_words(PyObject *first, PyObject *second, Py_ssize_t count,
                          struct faa_redis_command *command)
{
    struct faa_str none = {NULL, 0};
    int has_more = faa_redis_parse(first ? faa_text(first) : none, (size_t)count, command);
    if (has_more && second)
        faa_redis_add_subcommand(command, faa_text(second));
    return has_more;
}

// The digest of a script and the name of a function; the script itself, behind EVAL, stays home.
static void set_procedure(struct faa_span *span, struct faa_str command, PyObject *second)
{
    if (!second || !faa_redis_calls_procedure(command))
        return;
    struct faa_str name = faa_text(second);
    if (faa_redis_is_procedure(name))
        faa_span_set_str(span, FAA_KEY_DB_STORED_PROCEDURE_NAME, name);
}

void faa_redis_set_name(PyObject *operation, struct faa_str name)
{
    struct faa_span *span = &faa_pyspan(operation)->span;
    faa_span_set_name(span, name);
    faa_span_set_str(span, FAA_KEY_DB_OPERATION_NAME, name);
}

// FAA_DB_QUERY_TEXT=raw is about statements, in which the application may have left no values: a
// command always has them.
void faa_redis_set_text(PyObject *operation, struct faa_str text)
{
    if (text.n && faa_settings.query_text != FAA_QUERY_TEXT_OFF)
        faa_span_set_str(&faa_pyspan(operation)->span, FAA_KEY_DB_QUERY_TEXT, text);
}

void faa_redis_describe_command(PyObject *operation, const struct faa_redis_words *words)
{
    struct faa_span *span = &faa_pyspan(operation)->span;
    struct faa_redis_command command;
    char text[FAA_REDIS_TEXT_MAX];
    (void)faa_redis_parse_words(words->first, words->second, words->count, &command);
    struct faa_str name = {command.name, command.name_len};
    if (!name.n) {
        faa_redis_hide_words(operation);
        return;
    }
    faa_redis_set_name(operation, name);
    faa_redis_set_text(operation,
                       (struct faa_str){text, faa_redis_text(&command, text, sizeof(text))});
    if (faa_redis_is_wordy(name)) {
        faa_redis_hide_words(operation);
        set_procedure(span, name, words->second);
    }
}

void faa_redis_set_server(PyObject *operation, PyObject *host, PyObject *port)
{
    if (!host || (notes_of(operation) & IS_LOCATED))
        return;
    note(operation, IS_LOCATED);
    faa_db_set_server(operation, &faa_db_redis, host, port ? port : Py_None);
}

int faa_redis_is_true(PyObject *object, PyObject *name)
{
    PyObject *value;
    if (faa_getattr(object, name, &value) != 1)
        return 0;
    int yes = value == Py_True || (faa_is_int(value) && faa_int(value, 0) != 0);
    Py_DecRef(value);
    return yes;
}

// The operation, current now, or NULL where there is none to trace.
static PyObject *begin(const struct faa_redis_call *call, const struct faa_redis_words *words,
                       int blocks)
{
    PyObject *outer = faa_context_current(), *operation = NULL;
    if (!is_redis(outer) && (!call->is_sent || call->is_sent(words->client)))
        operation = faa_db_begin(&faa_db_redis, scope, outer);
    if (operation) {
        struct faa_span *span = &faa_pyspan(operation)->span;
        if (span->recording) {
            call->describe(operation, words);
            if (blocks)
                faa_span_mark_blocking(span);
        }
        faa_context_enter(operation, outer);
    }
    Py_DecRef(outer);
    return operation;
}

// `error` is borrowed, or NULL.
static void end(const struct faa_redis_call *call, PyObject *operation, PyObject *client,
                PyObject *error)
{
    faa_context_leave(operation);
    if (faa_pyspan(operation)->span.recording) {
        if (call->locate)
            call->locate(operation, client);
        if (error && faa_redis_error_tell(&faa_pyspan(operation)->span, error,
                                          (notes_of(operation) & IS_WORDY) != 0))
            error = NULL;
    }
    faa_db_end(operation, error);
}

static struct faa_redis_words words_of(PyObject *const *args, size_t nargs)
{
    return (struct faa_redis_words){
        .client = args[0],
        .first = nargs > 1 ? args[1] : NULL,
        .second = nargs > 2 ? args[2] : NULL,
        .count = (Py_ssize_t)nargs - 1,
    };
}

PyObject *faa_redis_run(const struct faa_redis_call *call, PyObject *wrapped, PyObject *const *args,
                        size_t nargsf, PyObject *kwnames)
{
    if (FAA_NARGS(nargsf) == 0)
        return faa_call(wrapped, args, nargsf, kwnames);
    int saved = errno;
    struct faa_redis_words words = words_of(args, FAA_NARGS(nargsf));
    PyObject *operation = begin(call, &words, 1);
    errno = saved;
    PyObject *result = faa_call(wrapped, args, nargsf, kwnames);
    if (operation) {
        struct faa_err e = faa_err_save();
        faa_err_normalize(&e);
        end(call, operation, args[0], e.value);
        faa_err_restore(&e);
        Py_DecRef(operation);
    }
    return result;
}

// What a coroutine needs until it ends, in a list: it is visible to the garbage collector, as what
// the coroutine itself holds.
enum { OPERATION, CLIENT, FIRST, SECOND, COUNT, CALL, STATE_SIZE };

static PyObject *state_new(const struct faa_redis_call *call, const struct faa_redis_words *words)
{
    PyObject *state = PyList_New(STATE_SIZE);
    PyObject *count = state ? PyLong_FromSsize_t(words->count) : NULL;
    PyObject *address = count ? PyLong_FromVoidPtr((void *)(uintptr_t)call) : NULL;
    if (!address) {
        PyErr_Clear();
        Py_DecRef(count);
        Py_DecRef(state);
        return NULL;
    }
    PyList_SetItem(state, OPERATION, faa_newref(Py_None));
    PyList_SetItem(state, CLIENT, faa_newref(words->client));
    PyList_SetItem(state, FIRST, faa_newref(words->first ? words->first : Py_None));
    PyList_SetItem(state, SECOND, faa_newref(words->second ? words->second : Py_None));
    PyList_SetItem(state, COUNT, count);
    PyList_SetItem(state, CALL, address);
    return state;
}

static const struct faa_redis_call *call_of(PyObject *state)
{
    return PyLong_AsVoidPtr(PyList_GetItem(state, CALL));
}

static void enter(PyObject *state)
{
    struct faa_redis_words words = {
        .client = PyList_GetItem(state, CLIENT),
        .first = PyList_GetItem(state, FIRST),
        .second = PyList_GetItem(state, SECOND),
        .count = (Py_ssize_t)faa_int(PyList_GetItem(state, COUNT), 0),
    };
    PyObject *operation = begin(call_of(state), &words, 0);
    if (operation)
        PyList_SetItem(state, OPERATION, operation);
}

static void leave(PyObject *state, enum faa_outcome outcome, PyObject *value)
{
    PyObject *operation = faa_newref(PyList_GetItem(state, OPERATION));
    if (operation != Py_None) {
        PyObject *error = outcome == FAA_RAISED ? value : NULL;
        end(call_of(state), operation, PyList_GetItem(state, CLIENT), error);
        PyList_SetItem(state, OPERATION, faa_newref(Py_None));
    }
    Py_DecRef(operation);
}

static const struct faa_awaitable_ops operation_ops = {
    .enter = enter,
    .leave = leave,
};

PyObject *faa_redis_run_async(const struct faa_redis_call *call, PyObject *wrapped,
                              PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    PyObject *coroutine = faa_call(wrapped, args, nargsf, kwnames);
    if (!coroutine || FAA_NARGS(nargsf) == 0)
        return coroutine;
    int saved = errno;
    struct faa_redis_words words = words_of(args, FAA_NARGS(nargsf));
    PyObject *state = state_new(call, &words);
    if (state)
        coroutine = faa_awaitable_around(coroutine, &operation_ops, state);
    Py_DecRef(state);
    errno = saved;
    return coroutine;
}

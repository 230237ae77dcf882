// SPDX-License-Identifier: MIT
// The span of a Redis command or pipeline.
#include "instrumentors/redis_client.h"

#include "instrumentors/db_client.h"
#include "instrumentors/redis_error.h"
#include "python/awaitable.h"
#include "python/blocking.h"
#include "python/err.h"
#include "span/redis.h"

enum { BATCH_TEXT_MAX = 1024 };

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

PyObject *faa_redis_current(void)
{
    PyObject *current = faa_context_current();
    if (current && (!faa_pyspan(current)->owner || faa_pyspan(current)->span.scope != scope))
        faa_clear(&current);
    return current;
}

// The second argument, mostly a key, is looked at only where it may be a part of the name.
static void parse(PyObject *first, PyObject *second, Py_ssize_t count,
                  struct faa_redis_command *command)
{
    struct faa_str none = {NULL, 0};
    if (faa_redis_parse(first ? faa_text(first) : none, (size_t)count, command) && second)
        faa_redis_add_subcommand(command, faa_text(second));
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

static void set_name(PyObject *operation, struct faa_str name)
{
    struct faa_span *span = &faa_pyspan(operation)->span;
    faa_span_set_name(span, name);
    faa_span_set_str(span, FAA_KEY_DB_OPERATION_NAME, name);
}

void faa_redis_describe_command(PyObject *operation, const struct faa_redis_words *words)
{
    struct faa_span *span = &faa_pyspan(operation)->span;
    struct faa_redis_command command;
    char text[FAA_REDIS_TEXT_MAX];
    parse(words->first, words->second, words->count, &command);
    struct faa_str name = {command.name, command.name_len};
    if (!name.n) {
        note(operation, IS_WORDY);
        return;
    }
    set_name(operation, name);
    size_t n = faa_redis_text(&command, text, sizeof(text));
    faa_span_set_str(span, FAA_KEY_DB_QUERY_TEXT, (struct faa_str){text, n});
    if (faa_redis_is_wordy(name)) {
        note(operation, IS_WORDY);
        set_procedure(span, name, words->second);
    }
}

// The commands of a pipeline, as they are read one by one.
struct batch {
    struct faa_redis_command first;
    PyObject *word;       // The first argument of the first command, borrowed.
    Py_ssize_t arguments; // Of the first command.
    int one_name, one_text, is_wordy, is_full;
    char text[BATCH_TEXT_MAX];
    size_t len, first_len; // Of the text, and of the first command in it.
};

static void add_text(struct batch *b, const struct faa_redis_command *command)
{
    static const struct faa_str rest = FAA_STR("; ...");
    char text[FAA_REDIS_TEXT_MAX];
    struct faa_str piece = {text, faa_redis_text(command, text, sizeof(text))};
    if (b->is_full)
        return;
    if (!piece.n)
        piece = FAA_STR("?");
    if (b->len + FAA_STR("; ").n + piece.n + rest.n >= sizeof(b->text)) {
        piece = rest;
        b->is_full = 1;
    } else if (b->len) {
        memcpy(b->text + b->len, "; ", 2);
        b->len += 2;
    }
    memcpy(b->text + b->len, piece.p, piece.n);
    b->len += piece.n;
}

static void add_command(struct batch *b, PyObject *args, int is_first)
{
    struct faa_redis_command command;
    PyObject *word = faa_sequence_item(args, 0);
    Py_ssize_t count = faa_is_tuple(args) ? PyTuple_Size(args) : 0;
    if (!is_first && word && word == b->word && count == b->arguments && b->is_full)
        return; // One of many that are alike.
    parse(word, faa_sequence_item(args, 1), count, &command);
    struct faa_str name = {command.name, command.name_len};
    add_text(b, &command);
    if (faa_redis_is_wordy(name) || !name.n)
        b->is_wordy = 1;
    if (is_first) {
        b->first = command;
        b->first_len = b->len;
        b->word = word;
        b->arguments = count;
        b->one_name = b->one_text = name.n > 0;
    } else if (!faa_str_eq(name, (struct faa_str){b->first.name, b->first.name_len})) {
        b->one_name = b->one_text = 0;
    } else if (command.values != b->first.values) {
        b->one_text = 0;
    }
}

static void read_batch(struct batch *b, PyObject *commands, Py_ssize_t count)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = faa_sequence_item(commands, i), *args = NULL;
        if (item && faa_is_tuple(item))
            args = faa_newref(faa_sequence_item(item, 0));
        else if (item)
            faa_getattr(item, FAA_NAME(args), &args);
        if (args)
            add_command(b, args, i == 0);
        Py_DecRef(args);
    }
}

void faa_redis_describe_batch(PyObject *operation, PyObject *commands, int is_transaction)
{
    struct faa_span *span = &faa_pyspan(operation)->span;
    struct batch b;
    memset(&b, 0, offsetof(struct batch, text));
    b.len = b.first_len = 0;
    Py_ssize_t count = commands && faa_is_list(commands) ? PyList_Size(commands) : 0;
    read_batch(&b, commands, count);
    char name[16 + FAA_REDIS_NAME_MAX];
    struct faa_str kind = is_transaction ? FAA_STR("MULTI") : FAA_STR("PIPELINE");
    memcpy(name, kind.p, kind.n);
    size_t n = kind.n;
    if (b.one_name) {
        name[n++] = ' ';
        memcpy(name + n, b.first.name, b.first.name_len);
        n += b.first.name_len;
    }
    set_name(operation, (struct faa_str){name, n});
    if (b.len)
        faa_span_set_str(span, FAA_KEY_DB_QUERY_TEXT,
                         (struct faa_str){b.text, b.one_text ? b.first_len : b.len});
    if (count != 1)
        faa_span_set_int(span, FAA_KEY_DB_OPERATION_BATCH_SIZE, count);
    if (b.is_wordy)
        note(operation, IS_WORDY);
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
    PyObject *around = faa_redis_current();
    Py_DecRef(around);
    if (around || (call->is_sent && !call->is_sent(words->client)))
        return NULL;
    PyObject *operation = faa_db_begin(&faa_db_redis, scope);
    if (!operation)
        return NULL;
    struct faa_span *span = &faa_pyspan(operation)->span;
    if (span->recording) {
        call->describe(operation, words);
        if (blocks)
            faa_span_mark_blocking(span);
    }
    faa_context_activate(operation);
    return operation;
}

// `error` is borrowed, or NULL.
static void end(const struct faa_redis_call *call, PyObject *operation, PyObject *client,
                PyObject *error)
{
    faa_context_deactivate(operation);
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

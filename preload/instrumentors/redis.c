// SPDX-License-Identifier: MIT
// redis-py, sync and asyncio: one CLIENT span for each command, and one for each pipeline.
//
// A pipeline under WATCH sends its commands at once until MULTI; they go through
// immediate_execute_command. What connections say to begin with (AUTH, HELLO, SELECT, CLIENT
// SETINFO) goes through none of these methods.
#include "base/clock.h"
#include "instrumentors/asgi.h"
#include "instrumentors/db_client.h"
#include "instrumentors/instrumentor.h"
#include "instrumentors/redis_client.h"
#include "python/awaitable.h"
#include "python/err.h"

// The pool of a sentinel's client learns where the server is when it connects.
static void set_sentinels_choice(PyObject *operation, PyObject *address)
{
    PyObject *host = faa_sequence_item(address, 0), *port = faa_sequence_item(address, 1);
    if (host && port)
        faa_redis_set_server(operation, host, port);
}

static void set_tcp_server(PyObject *operation, PyObject *pool, PyObject *kwargs)
{
    PyObject *host = faa_dict_peek(kwargs, FAA_NAME(host)), *address;
    if (!host && faa_getattr(pool, FAA_NAME(master_address), &address) == 1) {
        set_sentinels_choice(operation, address);
        Py_DecRef(address);
        return;
    }
    PyObject *port = faa_newref(faa_dict_peek(kwargs, FAA_NAME(port)));
    host = host ? faa_newref(host) : PyUnicode_FromString("localhost");
    faa_redis_set_server(operation, host, port);
    PyErr_Clear();
    Py_DecRef(host);
    Py_DecRef(port);
}

// A number, or the text of one; nothing where Python code would have to tell.
static void set_database(PyObject *operation, PyObject *db)
{
    char digits[24];
    struct faa_str index = db ? faa_text(db) : FAA_STR("");
    if (!index.n && (!db || db == Py_None || faa_is_int(db)))
        index = (struct faa_str){
            digits, (size_t)snprintf(digits, sizeof(digits), "%lld", db ? faa_int(db, 0) : 0)};
    faa_db_set_namespace(operation, index);
}

// What a pool was made with: what it does not say is redis-py's default.
static void locate(PyObject *operation, PyObject *client)
{
    PyObject *pool, *kwargs = NULL;
    if (faa_getattr(client, FAA_NAME(connection_pool), &pool) == 1 &&
        faa_getattr(pool, FAA_NAME(connection_kwargs), &kwargs) == 1 && faa_is_dict(kwargs)) {
        PyObject *path = faa_newref(faa_dict_peek(kwargs, FAA_NAME(path)));
        set_database(operation, faa_dict_peek(kwargs, FAA_NAME(db)));
        if (path)
            faa_redis_set_server(operation, path, NULL);
        else
            set_tcp_server(operation, pool, kwargs);
        Py_DecRef(path);
    }
    Py_DecRef(pool);
    Py_DecRef(kwargs);
}

// Without commands a pipeline sends nothing, unless keys are watched.
static int is_pipeline_sent(PyObject *pipeline)
{
    PyObject *stack;
    faa_getattr(pipeline, FAA_NAME(command_stack), &stack);
    int is_empty = stack && faa_is_list(stack) && PyList_Size(stack) == 0;
    Py_DecRef(stack);
    return !is_empty || faa_redis_is_true(pipeline, FAA_NAME(watching));
}

static void describe_pipeline(PyObject *operation, const struct faa_redis_words *words)
{
    PyObject *pipeline = words->client, *stack;
    int is_transaction = faa_redis_is_true(pipeline, FAA_NAME(explicit_transaction)) ||
                         faa_redis_is_true(pipeline, FAA_NAME(is_transaction)) ||
                         faa_redis_is_true(pipeline, FAA_NAME(transaction));
    faa_getattr(pipeline, FAA_NAME(command_stack), &stack);
    faa_redis_describe_batch(operation, stack, is_transaction);
    Py_DecRef(stack);
}

static const struct faa_redis_call command = {
    .describe = faa_redis_describe_command,
    .locate = locate,
};

static const struct faa_redis_call pipeline = {
    .is_sent = is_pipeline_sent,
    .describe = describe_pipeline,
    .locate = locate,
};

FAA_REDIS_HOOK(command_hook, faa_redis_run, command)
FAA_REDIS_HOOK(command_hook_async, faa_redis_run_async, command)
FAA_REDIS_HOOK(pipeline_hook, faa_redis_run, pipeline)
FAA_REDIS_HOOK(pipeline_hook_async, faa_redis_run_async, pipeline)

// BlockingConnectionPool.get_connection: what a request waits for a connection, with the time to
// make a new one. The other pool never waits.
static PyObject *wait_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                           PyObject *kwnames)
{
    (void)data;
    uint64_t asked = faa_clock_mono_ns();
    PyObject *result = faa_call(wrapped, args, nargsf, kwnames);
    struct faa_err e = faa_err_save();
    faa_asgi_add_wait(FAA_WAIT_CONNECTION, faa_clock_mono_ns() - asked);
    faa_err_restore(&e);
    return result;
}

// The same of a coroutine: `data` is a list that holds when its first step was.
static void wait_begins(PyObject *data)
{
    PyObject *now = PyLong_FromUnsignedLongLong(faa_clock_mono_ns());
    if (!now || PyList_Append(data, now))
        PyErr_Clear();
    Py_DecRef(now);
}

static void wait_ends(PyObject *data, enum faa_outcome outcome, PyObject *value)
{
    (void)outcome;
    (void)value;
    PyObject *asked = PyList_Size(data) == 1 ? PyList_GetItem(data, 0) : NULL;
    if (asked)
        faa_asgi_add_wait(FAA_WAIT_CONNECTION, faa_clock_mono_ns() - (uint64_t)faa_int(asked, 0));
}

static const struct faa_awaitable_ops wait_ops = {.enter = wait_begins, .leave = wait_ends};

static PyObject *wait_hook_async(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                 size_t nargsf, PyObject *kwnames)
{
    (void)data;
    PyObject *coroutine = faa_call(wrapped, args, nargsf, kwnames);
    PyObject *asked = coroutine ? PyList_New(0) : NULL;
    if (asked)
        coroutine = faa_awaitable_around(coroutine, &wait_ops, asked);
    else if (coroutine)
        PyErr_Clear();
    Py_DecRef(asked);
    return coroutine;
}

static int install(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {"redis.client:Redis.execute_command", command_hook},
        {"redis.client:Pipeline.immediate_execute_command", command_hook},
        {"redis.client:Pipeline.execute", pipeline_hook},
        {"redis.connection:BlockingConnectionPool.get_connection", wait_hook},
    };
    return faa_patch_all(patches, FAA_COUNT(patches));
}

static int install_asyncio(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {"redis.asyncio.client:Redis.execute_command", command_hook_async},
        {"redis.asyncio.client:Pipeline.immediate_execute_command", command_hook_async},
        {"redis.asyncio.client:Pipeline.execute", pipeline_hook_async},
        {"redis.asyncio.connection:BlockingConnectionPool.get_connection", wait_hook_async},
    };
    return faa_patch_all(patches, FAA_COUNT(patches));
}

const struct faa_instrumentor faa_instrumentor_redis = {
    .name = "redis",
    .module = "redis.client",
    .install = install,
    .about =
        {
            .library = "redis-py",
            .versions = "4.3.2 to 8.1",
            .spans =
                "one per command, one per pipeline or transaction; sync, asyncio (from 4.2 on) "
                "and cluster",
            .attributes = "db.system.name db.namespace db.operation.name db.operation.batch.size "
                          "db.query.text db.stored_procedure.name db.response.status_code "
                          "server.address server.port error.type faa.event_loop.blocking",
            .switches = "FAA_DB_QUERY_TEXT",
        },
};

const struct faa_instrumentor faa_instrumentor_redis_asyncio = {
    .name = "redis",
    .module = "redis.asyncio.client",
    .install = install_asyncio,
};

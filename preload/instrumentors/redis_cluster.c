// SPDX-License-Identifier: MIT
// redis-py's clients of a cluster, sync and asyncio: a command is one span, whichever nodes it goes
// to; the first one is told as its server.
#include "instrumentors/db_client.h"
#include "instrumentors/instrumentor.h"
#include "instrumentors/redis_client.h"
#include "python/err.h"

static void describe_command(PyObject *operation, const struct faa_redis_words *words)
{
    faa_redis_describe_command(operation, words);
    faa_db_set_namespace(operation, FAA_STR("0")); // A cluster has no other.
}

// The queued commands: with the strategy of the pipeline since version 6.1. New reference or NULL.
static PyObject *commands_of(PyObject *pipeline, int *is_transaction)
{
    PyObject *strategy, *commands = NULL, *flag = NULL;
    *is_transaction = 0;
    if (faa_getattr(pipeline, FAA_NAME(_execution_strategy), &strategy) == 1) {
        faa_getattr(strategy, FAA_NAME(_command_queue), &commands);
        *is_transaction = faa_getattr(strategy, FAA_NAME(_explicit_transaction), &flag) == 1;
    } else if (faa_getattr(pipeline, FAA_NAME(command_stack), &commands) != 1) {
        faa_getattr(pipeline, FAA_NAME(_command_stack), &commands);
    }
    Py_DecRef(strategy);
    Py_DecRef(flag);
    return commands;
}

static int is_watching(PyObject *pipeline)
{
    PyObject *strategy;
    int yes = faa_getattr(pipeline, FAA_NAME(_execution_strategy), &strategy) == 1 &&
              faa_redis_is_true(strategy, FAA_NAME(_watching));
    Py_DecRef(strategy);
    return yes;
}

static int is_pipeline_sent(PyObject *pipeline)
{
    int unused;
    PyObject *commands = commands_of(pipeline, &unused);
    int is_empty = commands && faa_is_list(commands) && PyList_Size(commands) == 0;
    Py_DecRef(commands);
    return !is_empty || is_watching(pipeline);
}

static void describe_pipeline(PyObject *operation, const struct faa_redis_words *words)
{
    int is_transaction;
    PyObject *commands = commands_of(words->client, &is_transaction);
    faa_redis_describe_batch(operation, commands, is_transaction);
    faa_db_set_namespace(operation, FAA_STR("0"));
    Py_DecRef(commands);
}

static const struct faa_redis_call command = {.describe = describe_command};
static const struct faa_redis_call pipeline = {
    .is_sent = is_pipeline_sent,
    .describe = describe_pipeline,
};

FAA_REDIS_HOOK(command_hook, faa_redis_run, command)
FAA_REDIS_HOOK(command_hook_async, faa_redis_run_async, command)
FAA_REDIS_HOOK(pipeline_hook, faa_redis_run, pipeline)
FAA_REDIS_HOOK(pipeline_hook_async, faa_redis_run_async, pipeline)

// RedisCluster._execute_command(self, node, *args), sync or a coroutine function: the node is known
// with the call.
static PyObject *node_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                           PyObject *kwnames)
{
    (void)data;
    int saved = errno;
    PyObject *operation = FAA_NARGS(nargsf) > 1 ? faa_redis_current() : NULL;
    if (operation) {
        PyObject *host, *port;
        faa_getattr(args[1], FAA_NAME(host), &host);
        faa_getattr(args[1], FAA_NAME(port), &port);
        faa_redis_set_server(operation, host, port);
        Py_DecRef(host);
        Py_DecRef(port);
        Py_DecRef(operation);
    }
    errno = saved;
    return faa_call(wrapped, args, nargsf, kwnames);
}

static int install(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {"redis.cluster:RedisCluster.execute_command", command_hook},
        {"redis.cluster:RedisCluster._execute_command", node_hook},
        {"redis.cluster:ClusterPipeline.execute", pipeline_hook},
        // Transactions came with version 6.1; their WATCH goes out at once.
        {"?redis.cluster:TransactionStrategy._immediate_execute_command", command_hook},
    };
    return faa_patch_all(patches, FAA_COUNT(patches));
}

static int install_asyncio(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {"redis.asyncio.cluster:RedisCluster.execute_command", command_hook_async},
        {"redis.asyncio.cluster:RedisCluster._execute_command", node_hook},
        {"redis.asyncio.cluster:ClusterPipeline.execute", pipeline_hook_async},
        {"?redis.asyncio.cluster:TransactionStrategy._immediate_execute_command",
         command_hook_async},
    };
    return faa_patch_all(patches, FAA_COUNT(patches));
}

const struct faa_instrumentor faa_instrumentor_redis_cluster = {
    .name = "redis",
    .module = "redis.cluster",
    .install = install,
};

const struct faa_instrumentor faa_instrumentor_redis_cluster_asyncio = {
    .name = "redis",
    .module = "redis.asyncio.cluster",
    .install = install_asyncio,
};

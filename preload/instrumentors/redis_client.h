// SPDX-License-Identifier: MIT
// What the clients of redis-py share (standalone and cluster, sync and asyncio): one CLIENT span
// for each command, and one for each pipeline, after the semantic conventions for Redis.
//
// What redis-py does to run a command (retries, connecting, asking sentinels or a cluster for its
// nodes) is a part of it and has no spans. All functions need the GIL.
#ifndef FAA_INSTRUMENTORS_REDIS_CLIENT_H
#define FAA_INSTRUMENTORS_REDIS_CLIENT_H

#include "python/pyspan.h"
#include "python/wrapper.h"
#include "span/redis.h"

/// What is called: borrowed references.
struct faa_redis_words {
    PyObject *client;         ///< The client, or the pipeline.
    PyObject *first, *second; ///< Of the command's arguments; NULL where there are fewer.
    Py_ssize_t count;         ///< Of the command's arguments.
};

/// One kind of call. Static. All functions leave no error set.
struct faa_redis_call {
    /// False where nothing goes to the server; NULL: always true.
    int (*is_sent)(PyObject *client);
    /// Sets what is known before the call. The operation's span records.
    void (*describe)(PyObject *operation, const struct faa_redis_words *words);
    /// Sets the server when the call has ended; may be NULL.
    void (*locate)(PyObject *operation, PyObject *client);
};

/// Hooks of a method's call, as faa_hook: of one that returns its result, and of one that returns a
/// coroutine. Inside of another operation of Redis' they only call it.
PyObject *faa_redis_run(const struct faa_redis_call *call, PyObject *wrapped, PyObject *const *args,
                        size_t nargsf, PyObject *kwnames);
PyObject *faa_redis_run_async(const struct faa_redis_call *call, PyObject *wrapped,
                              PyObject *const *args, size_t nargsf, PyObject *kwnames);

/// Defines the hook `function` that gives a call of the kind `call` to `run`, one of these two.
#define FAA_REDIS_HOOK(function, run, call)                                                        \
    static PyObject *function(PyObject *wrapped, PyObject *data, PyObject *const *args,            \
                              size_t nargsf, PyObject *kwnames)                                    \
    {                                                                                              \
        (void)data;                                                                                \
        return run(&(call), wrapped, args, nargsf, kwnames);                                       \
    }

/// The operation that is current and has not ended (new reference), or NULL.
PyObject *faa_redis_current(void);

/// `describe` of one command: name, text, stored procedure.
void faa_redis_describe_command(PyObject *operation, const struct faa_redis_words *words);

/// Sets name and text of the commands that one call sends: a list of redis-py's, whose items are
/// tuples that begin with the command's arguments, or objects that have them as `args`.
void faa_redis_describe_batch(PyObject *operation, PyObject *commands, int is_transaction);

/// For these two. The second argument, mostly a key, is looked at only where it may be a part of
/// the name: then 1 is returned, else 0. NULL for arguments that there are not.
int faa_redis_parse_words(PyObject *first, PyObject *second, Py_ssize_t count,
                          struct faa_redis_command *command);
void faa_redis_set_name(PyObject *operation, struct faa_str name);
void faa_redis_set_text(PyObject *operation, struct faa_str text);

/// Says that the server's words about an error are not to be told.
void faa_redis_hide_words(PyObject *operation);

/// Sets where the server is, once: later calls do nothing. `port` may be NULL.
void faa_redis_set_server(PyObject *operation, PyObject *host, PyObject *port);

/// A flag of redis-py's, an attribute of this object: true for True and for numbers but 0.
int faa_redis_is_true(PyObject *object, PyObject *name);

#endif

// SPDX-License-Identifier: MIT
// What the instrumentors of database drivers share: a call of a driver's method as an operation.
//
// A driver stands aside inside of another operation: under SQLAlchemy, and where one of its own
// methods calls another. So each method can be hooked by itself, and one statement is one span.
#ifndef FAA_INSTRUMENTORS_DBAPI_H
#define FAA_INSTRUMENTORS_DBAPI_H

#include "instrumentors/db_client.h"
#include "python/wrapper.h"

/// One call of a hooked method or function, as the hook was given it; a method's object is args[0].
struct faa_dbapi_call {
    PyObject *wrapped;
    PyObject *const *args;
    size_t nargsf;
    PyObject *kwnames;
};

/// One driver. Static.
struct faa_dbapi {
    const char *scope; ///< The instrumentation scope's name.
    const struct faa_db_system *system;
    /// The system that `self`, the method's object, turns out to talk to; NULL: always that.
    const struct faa_db_system *(*system_of)(PyObject *self);
    /// Sets server and namespace of the connection of `self`, without asking the server. May be
    /// NULL, and is for functions. Runs with no error set, and leaves none.
    void (*describe)(PyObject *operation, const struct faa_db_system *system, PyObject *self);
};

/// What a method does, and so when its operation is over.
enum faa_dbapi_manner {
    FAA_DBAPI_BLOCKS,          ///< When the call returns.
    FAA_DBAPI_AWAITABLE,       ///< When what it returns has been awaited.
    FAA_DBAPI_GENERATOR,       ///< When the generator ends; it is current only while that runs.
    FAA_DBAPI_ASYNC_GENERATOR, ///< The same.
    FAA_DBAPI_CONTEXT,         ///< When the context manager made of a generator is left.
    FAA_DBAPI_ASYNC_CONTEXT,   ///< The same, of an async generator.
};

/// One hooked method. Static.
struct faa_dbapi_method {
    const struct faa_dbapi *driver;
    enum faa_dbapi_manner manner;
    const char *sql;  ///< The first argument's name, the statement; NULL: it cannot be a keyword.
    const char *many; ///< The name of the second, a batch's parameters; NULL: it is no batch.
    /// Says what the operation is, where it is not the first argument's statement; or NULL.
    void (*tell)(PyObject *operation, const struct faa_dbapi_call *call);
    /// Only a failure is worth a span.
    int only_failures;
};

/// Defines a hook named `function`; the rest initializes its struct faa_dbapi_method.
#define FAA_DBAPI_HOOK(function, ...)                                                              \
    static PyObject *function(PyObject *wrapped, PyObject *data, PyObject *const *args,            \
                              size_t nargsf, PyObject *kwnames)                                    \
    {                                                                                              \
        static const struct faa_dbapi_method method = {__VA_ARGS__};                               \
        const struct faa_dbapi_call call = {wrapped, args, nargsf, kwnames};                       \
        (void)data;                                                                                \
        return faa_dbapi_run(&method, &call);                                                      \
    }

/// Calls the method as an operation and returns its result.
PyObject *faa_dbapi_run(const struct faa_dbapi_method *method, const struct faa_dbapi_call *call);

/// Calls a method that returns an awaitable, and hides what the driver does in it.
PyObject *faa_dbapi_run_hidden(const struct faa_dbapi_call *call);

/// Calls it as if it were not hooked.
PyObject *faa_dbapi_pass(const struct faa_dbapi_call *call);

/// The argument at `at` (1: the first behind the object), or the one with the keyword, which may
/// be NULL. Borrowed; NULL when it was not given.
PyObject *faa_dbapi_argument(const struct faa_dbapi_call *call, size_t at, const char *keyword);

/// How many items a list or a tuple has, 0 for anything else: iterators are not consumed.
Py_ssize_t faa_dbapi_count(PyObject *sequence);

/// Sets the statement: text, bytes, or what a driver composes of parts (an object with as_string(),
/// a template string). `self` is the cursor or connection that it is for.
void faa_dbapi_set_sql(PyObject *operation, PyObject *sql, Py_ssize_t batch, PyObject *self);

/// Sets the statement "<before><name><after>", for methods that make one of a name; cut at
/// FAA_DBAPI_TEXT_MAX bytes.
void faa_dbapi_set_named(PyObject *operation, const char *before, PyObject *name,
                         const char *after);

/// Sets the statement "<before><name>(%s,%s)", with a placeholder for each item of `parameters`.
void faa_dbapi_set_call(PyObject *operation, const char *before, PyObject *name,
                        PyObject *parameters);

/// Server and namespace from an object's three attributes, whose values are str or bytes, and
/// perhaps an int for the port. An attribute's name of NULL is not looked for.
void faa_dbapi_describe(PyObject *operation, const struct faa_db_system *system, PyObject *object,
                        PyObject *host, PyObject *port, PyObject *database);

#endif

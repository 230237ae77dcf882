// SPDX-License-Identifier: MIT
// What the files of SQLAlchemy's instrumentor share: the database that an engine talks to, and the
// steps around statements (making a connection, ending a transaction).
//
// Each hook is around the one function of SQLAlchemy that does the thing, so that whatever way it
// ends, by an error of any kind or by a greenlet that is thrown away, is seen. All functions need
// the GIL and leave no error set.
#ifndef FAA_INSTRUMENTORS_SQLALCHEMY_H
#define FAA_INSTRUMENTORS_SQLALCHEMY_H

#include "instrumentors/db_client.h"
#include "instrumentors/settings.h"
#include "python/wrapper.h"

/// The instrumentation scope's name. Its address marks our operations.
extern const char faa_sqlalchemy_scope[];

/// The database behind an engine, as its URL tells it, or where that is silent, its first
/// connection. Constant, and owned by the dialect; readers hold it.
struct faa_sqlalchemy_database {
    const struct faa_db_system *system;
    PyObject *namespace, *host; ///< str, or NULL when not known.
    PyObject *port;             ///< int, or NULL.
    int is_async;               ///< Statements wait in greenlets, beside which the loop runs on.
    int is_complete;            ///< A connection has nothing to add.
};

/// Keeps with the engine's dialect what its URL tells.
void faa_sqlalchemy_note_engine(PyObject *engine);

/// Completes that by a connection that was just made, of a _ConnectionRecord.
void faa_sqlalchemy_note_connection(PyObject *dialect, PyObject *record);

/// The database of a dialect, valid as long as `*holder` (new reference) is held. Where nothing is
/// known, a database without any name, and NULL in `*holder`.
const struct faa_sqlalchemy_database *faa_sqlalchemy_database_of(PyObject *dialect,
                                                                 PyObject **holder);

/// Server and namespace.
void faa_sqlalchemy_set_database(PyObject *operation,
                                 const struct faa_sqlalchemy_database *database);

/// Something that SQLAlchemy does to a connection that is no statement: what the driver executes
/// meanwhile is not told.
struct faa_sqlalchemy_step {
    struct faa_str name; ///< Of the span; static.
    int is_sql;          ///< The name is what the database executes.
    PyObject *dialect;   ///< Borrowed for the step's time; may be NULL.
    int chosen;          ///< It has a span anyway.
    PyObject *operation; ///< What is current meanwhile; NULL when there is no memory.
    uint64_t start_ns;   ///< Monotonic.
};

/// The caller has filled all but the last two.
void faa_sqlalchemy_step_begin(struct faa_sqlalchemy_step *step);

/// Ends it; the error that the call has raised stays set. It has a span when it was chosen, took
/// `slow_ns` (UINT64_MAX: is never slow), or failed, unless FAA_SQLALCHEMY_SPANS is none. Returns
/// how long it took.
uint64_t faa_sqlalchemy_step_end(struct faa_sqlalchemy_step *step, uint64_t slow_ns);

/// A span that is over, told afterwards: `wait_ns` long, begun at `start_ns` (monotonic). With an
/// error (borrowed, or NULL) it ends now.
void faa_sqlalchemy_tell_wait(PyObject *dialect, uint64_t start_ns, uint64_t wait_ns,
                              PyObject *error);

/// Notes on a connection's first statement how long the connection was waited for. `context` is the
/// statement's ExecutionContext or None.
void faa_sqlalchemy_set_pool_wait(struct faa_span *span, PyObject *context);

/// The hooks of pools.
faa_hook faa_sqlalchemy_checkout_hook, faa_sqlalchemy_connect_hook, faa_sqlalchemy_finalize_hook;

/// Those of dialects, but for statements.
faa_hook faa_sqlalchemy_begin_hook, faa_sqlalchemy_commit_hook, faa_sqlalchemy_rollback_hook,
    faa_sqlalchemy_savepoint_hook, faa_sqlalchemy_rollback_to_hook, faa_sqlalchemy_release_hook,
    faa_sqlalchemy_begin_twophase_hook, faa_sqlalchemy_prepare_hook,
    faa_sqlalchemy_commit_twophase_hook, faa_sqlalchemy_rollback_twophase_hook,
    faa_sqlalchemy_setting_hook;

#endif

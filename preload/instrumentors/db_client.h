// SPDX-License-Identifier: MIT
// What the instrumentors of databases share: one CLIENT span for each operation, after the semantic
// conventions for databases.
//
// An operation is a faa.span object. While it is current, the drivers below (psycopg under
// SQLAlchemy) know that it has a span and stand aside. All functions need the GIL and leave no
// error set.
#ifndef FAA_INSTRUMENTORS_DB_CLIENT_H
#define FAA_INSTRUMENTORS_DB_CLIENT_H

#include "python/pyspan.h"

/// A kind of database. Static.
struct faa_db_system {
    struct faa_str name;    ///< db.system.name; also the name of a span that has no better one.
    long long default_port; ///< Which goes without saying; 0: there is none.
};

extern const struct faa_db_system faa_db_mariadb, faa_db_mssql, faa_db_mysql, faa_db_oracle,
    faa_db_other_sql, faa_db_postgresql, faa_db_redis, faa_db_sqlite;

/// Starts the span of an operation as the child of `outer`, which faa_context_current has just
/// returned (borrowed, may be NULL); it is named after the system. `scope` is the instrumentation
/// scope's name, static. New reference; NULL when there is no memory: then the call passes through.
PyObject *faa_db_begin(const struct faa_db_system *system, const char *scope, PyObject *outer);

/// Something whose statements are none of the application's (a handshake, a pool that resets its
/// connection): while it is current, faa_db_is_inside is true, and other spans go under `outer`,
/// the one that was current before (as above). It has no span; faa_db_drop ends it. New reference,
/// or NULL when there is no memory.
PyObject *faa_db_hide(PyObject *outer);

/// True for what faa_db_hide has made.
static inline int faa_db_is_hidden(PyObject *operation)
{
    return faa_pyspan(operation)->span.kind != FAA_KIND_CLIENT;
}

/// True when `current`, which faa_context_current has returned (or NULL), is an operation that has
/// begun and not ended: what a driver does now has its span.
int faa_db_is_inside(PyObject *current);

/// Name and operation of one that is no statement, such as "connect".
void faa_db_set_operation(PyObject *operation, struct faa_str name);

/// Name, summary, operation, text (as FAA_DB_QUERY_TEXT says) and the called procedure of an SQL
/// statement. `batch`: how often it is executed in one call, when that is more than once. A driver
/// that calls a procedure by its name alone tells it as `CALL name(?, ?)`, or as what it sends.
void faa_db_set_statement(PyObject *operation, struct faa_str sql, Py_ssize_t batch);

/// Where the database is: text, and an int or text, borrowed; NULL or any other type for unknown.
void faa_db_set_server(PyObject *operation, const struct faa_db_system *system, PyObject *host,
                       PyObject *port);

/// db.namespace; an empty one is not set.
void faa_db_set_namespace(PyObject *operation, struct faa_str namespace);

/// Ends the span, with the end now. `error` is the driver's exception, borrowed, or NULL: its type
/// names the failure, SQLSTATE or the vendor's code (MySQL's number, SQLite's name of it) is the
/// status code, and its first line, without what may be a value, the message. A cancellation
/// is none of the operation's failures. Ending twice does nothing.
void faa_db_end(PyObject *operation, PyObject *error);

/// Gives up what faa_db_begin or faa_db_hide has begun: it is over, and leaves no span.
void faa_db_drop(PyObject *operation);

#endif

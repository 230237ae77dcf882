// SPDX-License-Identifier: MIT
// The steps of SQLAlchemy's transactions: BEGIN, COMMIT, ROLLBACK, savepoints, two phases.
#include "instrumentors/sqlalchemy.h"
#include "python/err.h"

// One that belongs to another operation is no step of its own: the methods of a dialect call each
// other, and the pool calls them for itself.
static PyObject *step_of(struct faa_str name, PyObject *wrapped, PyObject *const *args,
                         size_t nargsf, PyObject *kwnames)
{
    PyObject *outer = faa_context_current();
    int is_part = faa_db_is_inside(outer);
    Py_DecRef(outer);
    if (FAA_NARGS(nargsf) < 1 || is_part)
        return faa_call(wrapped, args, nargsf, kwnames);
    int saved = errno;
    struct faa_sqlalchemy_step step = {
        .name = name,
        .is_sql = 1,
        .dialect = args[0],
        .chosen = (faa_settings.sqlalchemy_spans & FAA_SQLALCHEMY_TRANSACTIONS) != 0,
    };
    faa_sqlalchemy_step_begin(&step);
    errno = saved;
    PyObject *result = faa_call(wrapped, args, nargsf, kwnames);
    (void)faa_sqlalchemy_step_end(&step, UINT64_MAX);
    return result;
}

#define HOOK(method, name)                                                                         \
    PyObject *faa_sqlalchemy_##method##_hook(PyObject *wrapped, PyObject *data,                    \
                                             PyObject *const *args, size_t nargsf,                 \
                                             PyObject *kwnames)                                    \
    {                                                                                              \
        (void)data;                                                                                \
        return step_of(name, wrapped, args, nargsf, kwnames);                                      \
    }

// self, connection, xid, is_prepared: one that was not prepared ends like any other.
static struct faa_str end_of(PyObject *const *args, size_t nargs, struct faa_str prepared,
                             struct faa_str other)
{
    return nargs > 3 && args[3] != Py_True ? other : prepared;
}

HOOK(begin, FAA_STR("BEGIN"))
HOOK(commit, FAA_STR("COMMIT"))
HOOK(rollback, FAA_STR("ROLLBACK"))
HOOK(savepoint, FAA_STR("SAVEPOINT"))
HOOK(rollback_to, FAA_STR("ROLLBACK TO SAVEPOINT"))
HOOK(release, FAA_STR("RELEASE SAVEPOINT"))
HOOK(begin_twophase, FAA_STR("BEGIN"))
HOOK(prepare, FAA_STR("PREPARE TRANSACTION"))
HOOK(commit_twophase,
     end_of(args, FAA_NARGS(nargsf), FAA_STR("COMMIT PREPARED"), FAA_STR("COMMIT")))
HOOK(rollback_twophase,
     end_of(args, FAA_NARGS(nargsf), FAA_STR("ROLLBACK PREPARED"), FAA_STR("ROLLBACK")))

// SPDX-License-Identifier: MIT
// What psycopg 3 and psycopg2 share: both are made on libpq.
#ifndef FAA_INSTRUMENTORS_LIBPQ_H
#define FAA_INSTRUMENTORS_LIBPQ_H

#include "instrumentors/dbapi.h"

/// How a driver's connect takes where to connect to. Static.
struct faa_libpq_connect {
    size_t at;           ///< The position of the connection string (0: the first argument).
    const char *keyword; ///< Its name.
    const char *module;  ///< Where the driver's own parser of it is, a function that gives a dict.
    const char *parser;
};

/// Says on the operation that it is a connect, and where to.
void faa_libpq_tell_connect(PyObject *operation, const struct faa_dbapi_call *call,
                            const struct faa_libpq_connect *how);

#endif

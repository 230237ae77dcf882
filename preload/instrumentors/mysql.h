// SPDX-License-Identifier: MIT
// What PyMySQL and aiomysql share: the same classes, once with coroutines.
#ifndef FAA_INSTRUMENTORS_MYSQL_H
#define FAA_INSTRUMENTORS_MYSQL_H

#include "instrumentors/dbapi.h"

/// faa_db_mariadb where the server has said to be one, else faa_db_mysql. `self` is a connection,
/// or a cursor.
const struct faa_db_system *faa_mysql_system_of(PyObject *self);

/// For struct faa_dbapi.
void faa_mysql_describe(PyObject *operation, const struct faa_db_system *system, PyObject *self);

/// For struct faa_dbapi_method.
void faa_mysql_tell_callproc(PyObject *operation, const struct faa_dbapi_call *call);
void faa_mysql_tell_connect(PyObject *operation, const struct faa_dbapi_call *call);

#endif

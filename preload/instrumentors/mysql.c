// SPDX-License-Identifier: MIT
// What a connection of PyMySQL or aiomysql knows about its server.
#include "instrumentors/mysql.h"

#include <string.h>

// New reference.
static PyObject *connection_of(PyObject *self)
{
    PyObject *connection;
    return faa_getattr(self, FAA_NAME(connection), &connection) == 1 ? connection
                                                                     : faa_newref(self);
}

const struct faa_db_system *faa_mysql_system_of(PyObject *self)
{
    PyObject *connection = connection_of(self), *version;
    faa_getattr(connection, FAA_NAME(server_version), &version);
    struct faa_str text = faa_text(version); // Ends with a NUL.
    const struct faa_db_system *system =
        strstr(text.p, "MariaDB") ? &faa_db_mariadb : &faa_db_mysql;
    Py_DecRef(connection);
    Py_DecRef(version);
    return system;
}

void faa_mysql_describe(PyObject *operation, const struct faa_db_system *system, PyObject *self)
{
    PyObject *connection = connection_of(self), *socket;
    faa_getattr(connection, FAA_NAME(unix_socket), &socket);
    int is_local = faa_text(socket).n > 0;
    faa_dbapi_describe(operation, system, connection,
                       is_local ? FAA_NAME(unix_socket) : FAA_NAME(host),
                       is_local ? NULL : FAA_NAME(port), FAA_NAME(db));
    Py_DecRef(connection);
    Py_DecRef(socket);
}

void faa_mysql_tell_callproc(PyObject *operation, const struct faa_dbapi_call *call)
{
    faa_dbapi_set_call(operation, "CALL ", faa_dbapi_argument(call, 1, "procname"),
                       faa_dbapi_argument(call, 2, "args"));
}

void faa_mysql_tell_connect(PyObject *operation, const struct faa_dbapi_call *call)
{
    (void)call;
    faa_db_set_operation(operation, FAA_STR("connect"));
}

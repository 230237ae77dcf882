// SPDX-License-Identifier: MIT
// PyMySQL: one CLIENT span per statement of a cursor, called procedure and connect.
#include "instrumentors/instrumentor.h"
#include "instrumentors/mysql.h"

static const struct faa_dbapi driver = {"pymysql", &faa_db_mysql, faa_mysql_system_of,
                                        faa_mysql_describe};

FAA_DBAPI_HOOK(execute, .driver = &driver, .sql = "query")
FAA_DBAPI_HOOK(many, .driver = &driver, .sql = "query", .many = "args")
FAA_DBAPI_HOOK(callproc, .driver = &driver, .tell = faa_mysql_tell_callproc)
FAA_DBAPI_HOOK(connect, .driver = &driver, .tell = faa_mysql_tell_connect)

static int install(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {"pymysql.cursors:Cursor.execute", execute},
        {"pymysql.cursors:Cursor.executemany", many},
        {"pymysql.cursors:Cursor.callproc", callproc},
        {"pymysql.connections:Connection.connect", connect},
    };
    return faa_patch_all(patches, FAA_COUNT(patches));
}

const struct faa_instrumentor faa_instrumentor_pymysql = {
    .name = "pymysql",
    .module = "pymysql",
    .install = install,
    .about =
        {
            .library = "PyMySQL",
            .versions = "1.0 to 1.2",
            .spans = "one per statement, called procedure and connect; none under SQLAlchemy",
            .attributes = "db.system.name db.namespace db.operation.name db.operation.batch.size "
                          "db.query.text db.query.summary db.response.status_code "
                          "db.stored_procedure.name error.type "
                          "server.address server.port faa.event_loop.blocking",
            .switches = "FAA_DB_QUERY_TEXT",
        },
};

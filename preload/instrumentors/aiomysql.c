// SPDX-License-Identifier: MIT
// aiomysql: one CLIENT span per statement of a cursor, called procedure and connect.
#include "instrumentors/instrumentor.h"
#include "instrumentors/mysql.h"

static const struct faa_dbapi driver = {"aiomysql", &faa_db_mysql, faa_mysql_system_of,
                                        faa_mysql_describe};

FAA_DBAPI_HOOK(execute, .driver = &driver, .sql = "query", .manner = FAA_DBAPI_AWAITABLE)
FAA_DBAPI_HOOK(many, .driver = &driver, .sql = "query", .many = "args",
               .manner = FAA_DBAPI_AWAITABLE)
FAA_DBAPI_HOOK(callproc, .driver = &driver, .tell = faa_mysql_tell_callproc,
               .manner = FAA_DBAPI_AWAITABLE)
FAA_DBAPI_HOOK(connect, .driver = &driver, .tell = faa_mysql_tell_connect,
               .manner = FAA_DBAPI_AWAITABLE)

static int install(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {"aiomysql.cursors:Cursor.execute", execute},
        {"aiomysql.cursors:Cursor.executemany", many},
        {"aiomysql.cursors:Cursor.callproc", callproc},
        {"aiomysql.connection:Connection._connect", connect},
    };
    return faa_patch_all(patches, FAA_COUNT(patches));
}

const struct faa_instrumentor faa_instrumentor_aiomysql = {
    .name = "aiomysql",
    .module = "aiomysql",
    .install = install,
    .about =
        {
            .library = "aiomysql",
            .versions = "0.1 to 0.3",
            .spans = "one per statement, called procedure and connect; none under SQLAlchemy",
            .attributes = "db.system.name db.namespace db.operation.name db.operation.batch.size "
                          "db.query.text db.query.summary db.response.status_code "
                          "db.stored_procedure.name error.type "
                          "server.address server.port",
            .switches = "FAA_DB_QUERY_TEXT",
        },
};

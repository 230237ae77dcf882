// SPDX-License-Identifier: MIT
// sqlite3: one CLIENT span per statement or script, of connections and cursors of any class. To
// open a file is no work worth a span; to fail at it is.
#include "instrumentors/dbapi.h"
#include "instrumentors/instrumentor.h"

static void tell_connect(PyObject *operation, const struct faa_dbapi_call *call)
{
    faa_db_set_operation(operation, FAA_STR("connect"));
    faa_db_set_namespace(operation, faa_text(faa_dbapi_argument(call, 0, "database")));
}

static const struct faa_dbapi driver = {"sqlite3", &faa_db_sqlite, NULL, NULL};

FAA_DBAPI_HOOK(execute, .driver = &driver)
FAA_DBAPI_HOOK(many, .driver = &driver, .many = "")
FAA_DBAPI_HOOK(connect, .driver = &driver, .tell = tell_connect, .only_failures = 1)

static int install(PyObject *module)
{
    (void)module;
    static const struct faa_patch patches[] = {
        {"_sqlite3:Cursor.execute", execute},
        {"_sqlite3:Cursor.executemany", many},
        {"_sqlite3:Cursor.executescript", execute},
        {"_sqlite3:Connection.execute", execute},
        {"_sqlite3:Connection.executemany", many},
        {"_sqlite3:Connection.executescript", execute},
        {"_sqlite3:connect", connect},
        {"sqlite3.dbapi2:connect", connect},
        {"sqlite3:connect", connect},
    };
    return faa_patch_all(patches, FAA_COUNT(patches));
}

const struct faa_instrumentor faa_instrumentor_sqlite3 = {
    .name = "sqlite3",
    .module = "sqlite3",
    .install = install,
    .about =
        {
            .library = "sqlite3",
            .versions = "of Python 3.9 to 3.14",
            .spans = "one per statement or script, and per failed connect; none under SQLAlchemy",
            .attributes = "db.system.name db.namespace db.operation.name db.operation.batch.size "
                          "db.query.text db.query.summary db.response.status_code "
                          "error.type faa.event_loop.blocking",
            .switches = "FAA_DB_QUERY_TEXT",
        },
};

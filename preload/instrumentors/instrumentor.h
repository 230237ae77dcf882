// SPDX-License-Identifier: MIT
// What an instrumentor is, and the list of all of them.
//
// To add a library, write instrumentors/<name>.c, which defines `const struct faa_instrumentor
// faa_instrumentor_<name>`, and add one line to the list. docs/EXTENDING.md walks through it.
#ifndef FAA_INSTRUMENTORS_INSTRUMENTOR_H
#define FAA_INSTRUMENTORS_INSTRUMENTOR_H

#include "python/capi.h"

#define FAA_INSTRUMENTORS(X)                                                                       \
    X(aiohttp)                                                                                     \
    X(aiomysql)                                                                                    \
    X(aiosqlite)                                                                                   \
    X(anyio)                                                                                       \
    X(anyio_workers)                                                                               \
    X(asyncpg)                                                                                     \
    X(fastapi)                                                                                     \
    X(futures_process)                                                                             \
    X(futures_thread)                                                                              \
    X(httpx)                                                                                       \
    X(httpx_wire)                                                                                  \
    X(hypercorn)                                                                                   \
    X(logging)                                                                                     \
    X(multiprocessing_pool)                                                                        \
    X(multiprocessing_process)                                                                     \
    X(psycopg)                                                                                     \
    X(psycopg2)                                                                                    \
    X(pymysql)                                                                                     \
    X(redis)                                                                                       \
    X(redis_asyncio)                                                                               \
    X(redis_cluster)                                                                               \
    X(redis_cluster_asyncio)                                                                       \
    X(requests)                                                                                    \
    X(sqlalchemy)                                                                                  \
    X(sqlite3)                                                                                     \
    X(starlette)                                                                                   \
    X(threading)                                                                                   \
    X(urllib)                                                                                      \
    X(urllib3)                                                                                     \
    X(uvicorn)

struct faa_instrumentor {
    const char *name;   ///< As in OTEL_PYTHON_DISABLED_INSTRUMENTATIONS, and in the log.
    const char *module; ///< The module after whose import `install` runs.
    /// Hooks into the library, all or nothing: 0, or -1 when its shape is not the expected one,
    /// with a debug line that says what is missing. Runs with no error set; may leave one.
    int (*install)(PyObject *module);
    /// Whether the user has asked for it; NULL: it needs no asking. Else nothing waits for the
    /// module.
    int (*wanted)(void);
    /// For docs/LIBRARIES.md, which is made of it; plain text without line breaks. Left out in a
    /// second descriptor of the same name, for another module of the library.
    struct {
        const char *library;    ///< Its name as people write it, "SQLAlchemy".
        const char *versions;   ///< Oldest and newest that are tested, "1.4 to 2.1".
        const char *spans;      ///< What is a span, "one per statement".
        const char *attributes; ///< Names with spaces between; `<key>` for a name's end; or "".
        const char *switches;   ///< Variables that change it, separated by spaces; "" for none.
    } about;
};

#define X(name) extern const struct faa_instrumentor faa_instrumentor_##name;
FAA_INSTRUMENTORS(X)
#undef X

#endif

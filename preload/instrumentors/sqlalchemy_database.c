// SPDX-License-Identifier: MIT
// Which database an engine of SQLAlchemy talks to. It is found out once, and not with each
// statement: from the engine's URL, and from its first connection where the URL leaves it to the
// driver or to a function of the application (`creator=`, `connect_args`, PGHOST).
#include "instrumentors/sqlalchemy.h"

#include "python/err.h"

#include <stdlib.h>

static const char capsule_name[] = "faa.database";

static const struct faa_sqlalchemy_database unknown = {.system = &faa_db_other_sql};

// SQLAlchemy's dialect names, and the database of a URL that names none.
static const struct {
    struct faa_str name;
    const struct faa_db_system *system;
    const char *database;
} dialects[] = {
    {FAA_STR("postgresql"), &faa_db_postgresql, NULL},
    {FAA_STR("mysql"), &faa_db_mysql, NULL},
    {FAA_STR("mariadb"), &faa_db_mariadb, NULL},
    {FAA_STR("sqlite"), &faa_db_sqlite, ":memory:"},
    {FAA_STR("mssql"), &faa_db_mssql, NULL},
    {FAA_STR("oracle"), &faa_db_oracle, NULL},
};

// Where a driver's connection knows its server, without asking it: the attribute that has the other
// ones, and these. "" for none.
static const struct driver {
    struct faa_str name;
    const char *info, *host, *port, *socket, *database;
} drivers[] = {
    {FAA_STR("psycopg"), "info", "host", "port", "", "dbname"},
    {FAA_STR("psycopg_async"), "info", "host", "port", "", "dbname"},
    {FAA_STR("psycopg2"), "info", "host", "port", "", "dbname"},
    {FAA_STR("pymysql"), "", "host", "port", "unix_socket", "db"},
    {FAA_STR("aiomysql"), "", "host", "port", "unix_socket", "db"},
};

static void free_database(PyObject *capsule)
{
    struct faa_sqlalchemy_database *d = PyCapsule_GetPointer(capsule, capsule_name);
    Py_DecRef(d->namespace);
    Py_DecRef(d->host);
    Py_DecRef(d->port);
    free(d);
}

// An attribute, or NULL. The names are looked up once per engine, and not interned for it.
static PyObject *get(PyObject *object, const char *name)
{
    PyObject *value = object && *name ? PyObject_GetAttrString(object, name) : NULL;
    if (!value)
        faa_err_discard();
    return value;
}

// The same, where it is a text that is not empty. (PyMySQL has its database's name as either.)
static PyObject *get_text(PyObject *object, const char *name)
{
    PyObject *value = get(object, name);
    struct faa_str text = faa_text(value);
    PyObject *found = text.n ? PyUnicode_DecodeUTF8(text.p, (Py_ssize_t)text.n, "replace") : NULL;
    PyErr_Clear();
    Py_DecRef(value);
    return found;
}

// An int of an int, or of a text (libpq's, and a URL's query's).
static PyObject *to_port(PyObject *value)
{
    struct faa_str text = faa_text(value);
    long long port = text.n ? 0 : faa_int(value, 0);
    for (size_t i = 0; i < text.n && port <= UINT16_MAX; i++)
        port = text.p[i] >= '0' && text.p[i] <= '9' ? port * 10 + (text.p[i] - '0') : UINT32_MAX;
    PyObject *number = port > 0 && port <= UINT16_MAX ? PyLong_FromLongLong(port) : NULL;
    PyErr_Clear();
    return number;
}

static PyObject *get_port(PyObject *object, const char *name)
{
    PyObject *value = get(object, name), *port = to_port(value);
    Py_DecRef(value);
    return port;
}

// A value of the URL's query, where it is a single text.
static PyObject *query_value(PyObject *query, const char *name)
{
    PyObject *value = query ? PyMapping_GetItemString(query, name) : NULL;
    if (!value)
        faa_err_discard();
    if (!faa_text(value).n)
        faa_clear(&value);
    return value;
}

// The server that the query names: a socket, or a host. Several hosts ("a:5432,b:5432", or the name
// more than once) are left to the connection, which knows the one it has.
static void read_query(struct faa_sqlalchemy_database *d, PyObject *url)
{
    PyObject *query = get(url, "query");
    d->host = query_value(query, "unix_socket");
    if (!d->host && (d->host = query_value(query, "host"))) {
        struct faa_str host = faa_text(d->host);
        PyObject *port = query_value(query, "port");
        d->port = to_port(port);
        Py_DecRef(port);
        if (host.p[0] != '/' && (memchr(host.p, ':', host.n) || memchr(host.p, ',', host.n))) {
            faa_clear(&d->host);
            faa_clear(&d->port);
        }
    }
    Py_DecRef(query);
}

static void read_url(struct faa_sqlalchemy_database *d, PyObject *dialect, PyObject *url)
{
    PyObject *name = get(dialect, "name"), *is_async = get(dialect, "is_async");
    d->namespace = get_text(url, "database");
    d->host = get_text(url, "host");
    d->port = d->host ? get_port(url, "port") : NULL;
    if (!d->host)
        read_query(d, url);
    for (size_t i = 0; i < FAA_COUNT(dialects); i++) {
        if (!faa_str_eq(faa_text(name), dialects[i].name))
            continue;
        d->system = dialects[i].system;
        if (!d->namespace && dialects[i].database)
            d->namespace = PyUnicode_FromString(dialects[i].database);
    }
    PyErr_Clear();
    d->is_async = is_async == Py_True;
    d->is_complete = d->host && d->namespace;
    Py_DecRef(name);
    Py_DecRef(is_async);
}

// Gives the dialect what is known, in place of what was. Takes over what `d` holds.
static void keep(PyObject *dialect, const struct faa_sqlalchemy_database *d)
{
    struct faa_sqlalchemy_database *copy = malloc(sizeof(*copy));
    PyObject *capsule = copy ? PyCapsule_New(copy, capsule_name, free_database) : NULL;
    if (!capsule) {
        PyErr_Clear();
        Py_DecRef(d->namespace);
        Py_DecRef(d->host);
        Py_DecRef(d->port);
        free(copy);
        return;
    }
    *copy = *d;
    if (PyObject_SetAttr(dialect, FAA_NAME(_faa_database), capsule))
        faa_err_discard();
    Py_DecRef(capsule);
}

void faa_sqlalchemy_note_engine(PyObject *engine)
{
    PyObject *dialect, *url;
    if (faa_getattr(engine, FAA_NAME(dialect), &dialect) == 1 &&
        faa_getattr(engine, FAA_NAME(url), &url) == 1) {
        struct faa_sqlalchemy_database d = unknown;
        read_url(&d, dialect, url);
        keep(dialect, &d);
        Py_DecRef(url);
    }
    Py_DecRef(dialect);
}

const struct faa_sqlalchemy_database *faa_sqlalchemy_database_of(PyObject *dialect,
                                                                 PyObject **holder)
{
    const struct faa_sqlalchemy_database *d = NULL;
    *holder = NULL;
    if (dialect && faa_getattr(dialect, FAA_NAME(_faa_database), holder) == 1) {
        d = PyCapsule_GetPointer(*holder, capsule_name);
        if (!d) {
            PyErr_Clear();
            faa_clear(holder);
        }
    }
    return d ? d : &unknown;
}

// asyncpg's connection has the address as (host, port) or as the path of a socket.
static void read_asyncpg(struct faa_sqlalchemy_database *d, PyObject *connection)
{
    PyObject *address = get(connection, "_addr"), *parameters = get(connection, "_params");
    PyObject *host = address ? faa_sequence_item(address, 0) : NULL;
    if (host && faa_text(host).n) {
        d->host = faa_newref(host);
        d->port = to_port(faa_sequence_item(address, 1));
    } else if (faa_text(address).n) {
        d->host = faa_newref(address);
    }
    d->namespace = get_text(parameters, "database");
    Py_DecRef(address);
    Py_DecRef(parameters);
}

static void read_driver(struct faa_sqlalchemy_database *d, const struct driver *driver,
                        PyObject *connection)
{
    PyObject *info = *driver->info ? get(connection, driver->info) : faa_newref(connection);
    d->host = get_text(info, driver->socket);
    if (!d->host) {
        d->host = get_text(info, driver->host);
        d->port = get_port(info, driver->port);
    }
    d->namespace = get_text(info, driver->database);
    Py_DecRef(info);
}

// What the connection of a record knows, for the drivers that we know.
static void read_connection(struct faa_sqlalchemy_database *d, PyObject *dialect, PyObject *record)
{
    PyObject *driver = get(dialect, "driver"), *connection = get(record, "driver_connection");
    struct faa_str name = faa_text(driver);
    if (faa_str_eq(name, FAA_STR("asyncpg")))
        read_asyncpg(d, connection);
    for (size_t i = 0; i < FAA_COUNT(drivers); i++)
        if (faa_str_eq(name, drivers[i].name))
            read_driver(d, &drivers[i], connection);
    Py_DecRef(driver);
    Py_DecRef(connection);
}

void faa_sqlalchemy_note_connection(PyObject *dialect, PyObject *record)
{
    PyObject *holder;
    const struct faa_sqlalchemy_database *old = faa_sqlalchemy_database_of(dialect, &holder);
    if (holder && !old->is_complete) {
        struct faa_sqlalchemy_database d = unknown;
        read_connection(&d, dialect, record);
        d.system = old->system;
        d.is_async = old->is_async;
        d.is_complete = 1;
        if (old->host) { // The URL's word goes first.
            Py_DecRef(d.host);
            Py_DecRef(d.port);
            d.host = faa_newref(old->host);
            d.port = faa_newref(old->port);
        }
        if (old->namespace) {
            Py_DecRef(d.namespace);
            d.namespace = faa_newref(old->namespace);
        }
        keep(dialect, &d);
    }
    Py_DecRef(holder);
}

void faa_sqlalchemy_set_database(PyObject *operation,
                                 const struct faa_sqlalchemy_database *database)
{
    if (database->namespace)
        faa_db_set_namespace(operation, faa_text(database->namespace));
    if (database->host)
        faa_db_set_server(operation, database->system, database->host, database->port);
}

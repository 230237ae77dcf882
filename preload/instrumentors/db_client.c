// SPDX-License-Identifier: MIT
// The span of a database operation.
#include "instrumentors/db_client.h"

#include "python/err.h"
#include "python/exception.h"
#include "span/sql.h"

enum { QUERY_MAX = 4096, TYPE_MAX = 256, MESSAGE_MAX = 512 };

const struct faa_db_system faa_db_mariadb = {FAA_STR("mariadb"), 3306};
const struct faa_db_system faa_db_mssql = {FAA_STR("microsoft.sql_server"), 1433};
const struct faa_db_system faa_db_mysql = {FAA_STR("mysql"), 3306};
const struct faa_db_system faa_db_oracle = {FAA_STR("oracle.db"), 1521};
const struct faa_db_system faa_db_other_sql = {FAA_STR("other_sql"), 0};
const struct faa_db_system faa_db_postgresql = {FAA_STR("postgresql"), 5432};
const struct faa_db_system faa_db_redis = {FAA_STR("redis"), 6379};
const struct faa_db_system faa_db_sqlite = {FAA_STR("sqlite"), 0};

static const char owner; // Its address marks the objects of operations that have not ended.

static struct faa_span *span_of(PyObject *operation)
{
    return &faa_pyspan(operation)->span;
}

PyObject *faa_db_begin(const struct faa_db_system *system, const char *scope)
{
    int saved = errno;
    PyObject *object = faa_pyspan_new();
    if (object) {
        struct faa_pyspan *s = faa_pyspan(object);
        s->owner = &owner;
        faa_context_start_child(&s->span, FAA_KIND_CLIENT, scope);
        faa_span_set_name(&s->span, system->name);
        faa_span_set_str(&s->span, FAA_KEY_DB_SYSTEM_NAME, system->name);
    }
    errno = saved;
    return object;
}

PyObject *faa_db_hide(void)
{
    int saved = errno;
    PyObject *object = faa_pyspan_new();
    if (object) {
        struct faa_pyspan *s = faa_pyspan(object);
        PyObject *current = faa_context_current();
        s->owner = &owner;
        faa_span_stand_for(&s->span, current ? &span_of(current)->context : NULL);
        Py_DecRef(current);
    }
    errno = saved;
    return object;
}

PyObject *faa_db_current(void)
{
    PyObject *current = faa_context_current();
    if (current && faa_pyspan(current)->owner != &owner)
        faa_clear(&current);
    return current;
}

int faa_db_is_inside(void)
{
    PyObject *current = faa_db_current();
    Py_DecRef(current);
    return current != NULL;
}

// A batch says so in front of its summary and operation.
void faa_db_set_statement(PyObject *operation, struct faa_str sql, Py_ssize_t batch)
{
    struct faa_span *span = span_of(operation);
    char text[QUERY_MAX], summary[FAA_SQL_SUMMARY_MAX] = "BATCH ";
    if (!span->recording)
        return;
    size_t prefix = batch > 1 ? strlen(summary) : 0;
    struct faa_str plain = {summary + prefix, 0};
    plain.n = faa_sql_summary(sql, summary + prefix, sizeof(summary) - prefix);
    if (plain.n) {
        struct faa_str name = {summary, prefix + plain.n};
        struct faa_str verb = {summary, prefix + faa_sql_operation(plain).n};
        faa_span_set_name(span, name);
        faa_span_set_str(span, FAA_KEY_DB_QUERY_SUMMARY, name);
        faa_span_set_str(span, FAA_KEY_DB_OPERATION_NAME, verb);
    }
    if (batch > 1)
        faa_span_set_int(span, FAA_KEY_DB_OPERATION_BATCH_SIZE, batch);
    size_t n = faa_sql_sanitize(sql, text, sizeof(text));
    faa_span_set_str(span, FAA_KEY_DB_QUERY_TEXT, (struct faa_str){text, n});
}

void faa_db_set_server(PyObject *operation, const struct faa_db_system *system, PyObject *host,
                       PyObject *port)
{
    struct faa_span *span = span_of(operation);
    long long number = faa_int(port, 0);
    faa_span_set_py(span, FAA_KEY_SERVER_ADDRESS, host);
    if (number > 0 && number != system->default_port && faa_text(host).n)
        faa_span_set_int(span, FAA_KEY_SERVER_PORT, number);
}

void faa_db_set_namespace(PyObject *operation, struct faa_str namespace)
{
    if (namespace.n)
        faa_span_set_str(span_of(operation), FAA_KEY_DB_NAMESPACE, namespace);
}

// SQLSTATE where the driver has it: psycopg 3 and asyncpg, then psycopg2.
static void set_status_code(struct faa_span *span, PyObject *error)
{
    PyObject *code;
    if (faa_getattr(error, FAA_NAME(sqlstate), &code) != 1)
        faa_getattr(error, FAA_NAME(pgcode), &code);
    faa_span_set_py(span, FAA_KEY_DB_RESPONSE_STATUS_CODE, code);
    Py_DecRef(code);
}

static void fail(struct faa_span *span, PyObject *error)
{
    char type[TYPE_MAX], message[MESSAGE_MAX];
    PyObject *text = PyObject_Str(error);
    faa_err_discard();
    struct faa_str line = faa_text(text);
    const char *newline = line.n ? memchr(line.p, '\n', line.n) : NULL;
    if (newline)
        line.n = (size_t)(newline - line.p);
    size_t n = faa_sql_sanitize(line, message, sizeof(message));
    faa_span_set_status(span, FAA_STATUS_ERROR, (struct faa_str){message, n});
    n = faa_exception_type(error, type, sizeof(type));
    faa_span_set_str(span, FAA_KEY_ERROR_TYPE, (struct faa_str){type, n});
    set_status_code(span, error);
    Py_DecRef(text);
}

void faa_db_end(PyObject *operation, PyObject *error)
{
    struct faa_pyspan *s = faa_pyspan(operation);
    int saved = errno;
    s->owner = NULL;
    if (s->span.recording && error && !faa_exception_is_cancellation(error))
        fail(&s->span, error);
    faa_span_end(&s->span, 0);
    errno = saved;
}

void faa_db_drop(PyObject *operation)
{
    faa_pyspan(operation)->owner = NULL;
}

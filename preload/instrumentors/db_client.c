// SPDX-License-Identifier: MIT
// The span of a database operation.
#include "instrumentors/db_client.h"

#include "python/err.h"
#include "python/exception.h"
#include "span/sql.h"
#include "span/sql_message.h"

enum { QUERY_MAX = 4096, TYPE_MAX = 256, MESSAGE_MAX = 512 };
enum { MYSQL_ERROR_MIN = 1000 }; // The server's and the client's numbers begin there.

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

void faa_db_set_operation(PyObject *operation, struct faa_str name)
{
    struct faa_span *span = span_of(operation);
    faa_span_set_name(span, name);
    faa_span_set_str(span, FAA_KEY_DB_OPERATION_NAME, name);
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

// libpq gives the port as text.
static long long port_number(PyObject *port)
{
    struct faa_str text = faa_text(port);
    long long number = text.n ? 0 : faa_int(port, 0);
    for (size_t i = 0; i < text.n && number <= UINT16_MAX; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return 0;
        number = number * 10 + (text.p[i] - '0');
    }
    return number <= UINT16_MAX ? number : 0;
}

void faa_db_set_server(PyObject *operation, const struct faa_db_system *system, PyObject *host,
                       PyObject *port)
{
    struct faa_span *span = span_of(operation);
    long long number = port_number(port);
    faa_span_set_py(span, FAA_KEY_SERVER_ADDRESS, host);
    if (number > 0 && number != system->default_port && faa_text(host).n)
        faa_span_set_int(span, FAA_KEY_SERVER_PORT, number);
}

void faa_db_set_namespace(PyObject *operation, struct faa_str namespace)
{
    if (namespace.n)
        faa_span_set_str(span_of(operation), FAA_KEY_DB_NAMESPACE, namespace);
}

// MySQL's drivers give number and text of the server's (or client's) error as the exception's
// arguments. Both are borrowed from `*args`, a new reference. 0, or -1 when it is no such
// exception: an OSError has a number too, which is none of the database's.
static int mysql_error(PyObject *error, PyObject **args, long long *number, PyObject **text)
{
    if (PyErr_GivenExceptionMatches(error, PyExc_OSError) ||
        faa_getattr(error, FAA_NAME(args), args) != 1)
        return -1;
    *number = faa_int(faa_sequence_item(*args, 0), 0);
    *text = faa_sequence_item(*args, 1);
    if (*number >= MYSQL_ERROR_MIN && *number <= UINT16_MAX && faa_text(*text).n)
        return 0;
    faa_clear(args);
    return -1;
}

// SQLSTATE where the driver has it: psycopg 3 and asyncpg, then psycopg2. `number`: MySQL's, or 0.
static void set_status_code(struct faa_span *span, PyObject *error, long long number)
{
    PyObject *code;
    char digits[24];
    if (number) {
        int n = snprintf(digits, sizeof(digits), "%lld", number);
        faa_span_set_str(span, FAA_KEY_DB_RESPONSE_STATUS_CODE,
                         (struct faa_str){digits, (size_t)n});
        return;
    }
    if (faa_getattr(error, FAA_NAME(sqlstate), &code) != 1 &&
        faa_getattr(error, FAA_NAME(pgcode), &code) != 1)
        faa_getattr(error, FAA_NAME(sqlite_errorname), &code);
    faa_span_set_py(span, FAA_KEY_DB_RESPONSE_STATUS_CODE, code);
    Py_DecRef(code);
}

static void fail(struct faa_span *span, PyObject *error)
{
    char type[TYPE_MAX], message[MESSAGE_MAX];
    long long number = 0;
    PyObject *args = NULL, *text = NULL;
    if (mysql_error(error, &args, &number, &text)) {
        number = 0;
        args = text = PyObject_Str(error);
        faa_err_discard();
    }
    size_t length = faa_sql_message(faa_text(text), message, sizeof(message));
    faa_span_set_status(span, FAA_STATUS_ERROR, (struct faa_str){message, length});
    size_t n = faa_exception_type(error, type, sizeof(type));
    faa_span_set_str(span, FAA_KEY_ERROR_TYPE, (struct faa_str){type, n});
    set_status_code(span, error, number);
    Py_DecRef(args);
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

// The span is abandoned when its object dies.
void faa_db_drop(PyObject *operation)
{
    faa_pyspan(operation)->owner = NULL;
}

// SPDX-License-Identifier: MIT
// The span of a database operation.
#include "instrumentors/db_client.h"

#include "instrumentors/settings.h"
#include "python/err.h"
#include "python/exception.h"
#include "span/message.h"
#include "span/sql_cache.h"

enum { TYPE_MAX = 256, MESSAGE_MAX = 512 };
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

PyObject *faa_db_begin(const struct faa_db_system *system, const char *scope, PyObject *outer)
{
    int saved = errno;
    PyObject *object = faa_pyspan_new();
    if (object) {
        struct faa_pyspan *s = faa_pyspan(object);
        s->owner = &owner;
        s->extra = (void *)(uintptr_t)system; // Read only, and not ours to free.
        faa_context_start_under(&s->span, FAA_KIND_CLIENT, scope, outer);
        faa_span_set_name(&s->span, system->name);
        faa_span_set_str(&s->span, FAA_KEY_DB_SYSTEM_NAME, system->name);
    }
    errno = saved;
    return object;
}

PyObject *faa_db_hide(PyObject *outer)
{
    int saved = errno;
    PyObject *object = faa_pyspan_new();
    if (object) {
        struct faa_pyspan *s = faa_pyspan(object);
        s->owner = &owner;
        faa_span_stand_for(&s->span, outer ? &span_of(outer)->context : NULL);
    }
    errno = saved;
    return object;
}

int faa_db_is_inside(PyObject *current)
{
    return current && faa_pyspan(current)->owner == &owner;
}

void faa_db_set_operation(PyObject *operation, struct faa_str name)
{
    struct faa_span *span = span_of(operation);
    faa_span_set_name(span, name);
    faa_span_set_str(span, FAA_KEY_DB_OPERATION_NAME, name);
}

// A batch says so in front of its summary and operation; what does not fit is left out whole.
static size_t put_name(char out[FAA_SQL_SUMMARY_MAX], const struct faa_sql_told *told, int batch)
{
    size_t prefix = batch ? strlen("BATCH ") : 0, n = told->summary_len;
    if (n > FAA_SQL_SUMMARY_MAX - 1 - prefix)
        for (n = FAA_SQL_SUMMARY_MAX - 1 - prefix; n > 0 && told->summary[n] != ' ';)
            n--;
    memcpy(out, "BATCH ", prefix);
    memcpy(out + prefix, told->summary, n);
    return prefix + n;
}

static void set_summary(struct faa_span *span, const struct faa_sql_told *told, int batch)
{
    char buffer[FAA_SQL_SUMMARY_MAX];
    if (told->summary_len == 0)
        return;
    struct faa_str name = {buffer, put_name(buffer, told, batch)};
    struct faa_str plain = {told->summary, told->summary_len};
    struct faa_str verb = {buffer, (batch ? strlen("BATCH ") : 0) + faa_sql_operation(plain).n};
    faa_span_set_name(span, name);
    faa_span_set_str(span, FAA_KEY_DB_QUERY_SUMMARY, name);
    faa_span_set_str(span, FAA_KEY_DB_OPERATION_NAME, verb);
    if (told->procedure_len)
        faa_span_set_str(span, FAA_KEY_DB_STORED_PROCEDURE_NAME,
                         (struct faa_str){told->summary + told->procedure, told->procedure_len});
}

// Where a text in double quotes can be nothing but a name.
static int has_quoted_names(const struct faa_db_system *system)
{
    return system == &faa_db_postgresql || system == &faa_db_oracle;
}

void faa_db_set_statement(PyObject *operation, struct faa_str sql, Py_ssize_t batch)
{
    struct faa_span *span = span_of(operation);
    struct faa_sql_told told;
    if (!span->recording)
        return;
    unsigned flags = faa_settings.query_text == FAA_QUERY_TEXT_SANITIZED ? FAA_SQL_TELL_TEXT : 0;
    if (has_quoted_names(faa_pyspan(operation)->extra))
        flags |= FAA_SQL_QUOTED_NAMES;
    faa_sql_tell_cached(sql, flags, &told);
    set_summary(span, &told, batch > 1);
    if (batch > 1)
        faa_span_set_int(span, FAA_KEY_DB_OPERATION_BATCH_SIZE, batch);
    if (faa_settings.query_text == FAA_QUERY_TEXT_SANITIZED)
        faa_span_set_str(span, FAA_KEY_DB_QUERY_TEXT, (struct faa_str){told.text, told.text_len});
    else if (faa_settings.query_text == FAA_QUERY_TEXT_RAW)
        faa_span_set_str(span, FAA_KEY_DB_QUERY_TEXT, sql);
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

// MySQL's drivers give the number of the server's (or client's) error and a text as the exception's
// arguments; 0 when it is no such exception. An OSError has a number too, none of the database's.
static long long mysql_number(PyObject *error)
{
    PyObject *args;
    if (PyErr_GivenExceptionMatches(error, PyExc_OSError) ||
        faa_getattr(error, FAA_NAME(args), &args) != 1)
        return 0;
    long long number = faa_int(faa_sequence_item(args, 0), 0);
    int has_text = faa_text(faa_sequence_item(args, 1)).n > 0;
    Py_DecRef(args);
    return has_text && number >= MYSQL_ERROR_MIN && number <= UINT16_MAX ? number : 0;
}

// SQLSTATE where the driver has it: psycopg 3 and asyncpg, then psycopg2.
static void set_status_code(struct faa_span *span, PyObject *error)
{
    PyObject *code;
    char digits[24];
    long long number = mysql_number(error);
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
    PyObject *text = PyObject_Str(error);
    faa_err_discard();
    size_t n = faa_message_redact_driver(faa_text(text), message, sizeof(message));
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

// The span is abandoned when its object dies.
void faa_db_drop(PyObject *operation)
{
    faa_pyspan(operation)->owner = NULL;
}

// SPDX-License-Identifier: MIT
// Type, message and stack trace, walked in C: the traceback module costs milliseconds.
#include "python/exception.h"

#include "python/err.h"
#include "python/stack.h"
#include "span/message.h"

#include <stdio.h>

enum {
    TYPE_MAX = 256,
    MESSAGE_MAX = 2048,
    STACK_MAX = FAA_SPAN_VALUE_MAX,
    FRAMES_MAX = FAA_STACK_FRAMES_MAX,
    FRAME_MAX = FAA_STACK_FRAME_MAX,
    SKIPPED_MAX = 64, // Bytes of the line that says how many are left out.
    MRO_MAX = 32,     // Classes of an exception's that are looked at.
    GROUP_MAX = 4,    // Exceptions of a group that get events of their own,
    GROUP_DEPTH = 3   // and how deep groups in groups are looked into.
};

static struct faa_str attribute(PyObject *object, PyObject *name, PyObject **holder)
{
    if (faa_getattr(object, name, holder) != 1)
        return (struct faa_str){"", 0};
    return faa_text(*holder);
}

size_t faa_exception_type_name(PyObject *type, char *out, size_t cap)
{
    PyObject *m = NULL, *q = NULL;
    struct faa_str module = attribute(type, FAA_NAME(__module__), &m);
    struct faa_str name = attribute(type, FAA_NAME(__qualname__), &q);
    int bare = module.n == 0 || faa_str_eq(module, FAA_STR("builtins"));
    int n = snprintf(out, cap, "%.*s%s%.*s", bare ? 0 : (int)module.n, module.p, bare ? "" : ".",
                     (int)name.n, name.p);
    Py_DecRef(m);
    Py_DecRef(q);
    return n < 0 ? 0 : (size_t)n < cap ? (size_t)n : cap - 1;
}

size_t faa_exception_type(PyObject *exception, char *out, size_t cap)
{
    return faa_exception_type_name((PyObject *)faa_type_of(exception), out, cap);
}

int faa_exception_is(PyObject *exception, const char *module, const char *name)
{
    PyObject *key = PyUnicode_FromString(module);
    PyObject *home = key ? PyImport_GetModule(key) : NULL;
    PyObject *class = home ? PyObject_GetAttrString(home, name) : NULL;
    int yes = class && PyErr_GivenExceptionMatches(exception, class);
    PyErr_Clear();
    Py_DecRef(key);
    Py_DecRef(home);
    Py_DecRef(class);
    return yes;
}

int faa_exception_is_cancellation(PyObject *exception)
{
    return !PyErr_GivenExceptionMatches(exception, PyExc_Exception) &&
           (PyErr_GivenExceptionMatches(exception, PyExc_GeneratorExit) ||
            PyErr_GivenExceptionMatches(exception, PyExc_KeyboardInterrupt) ||
            PyErr_GivenExceptionMatches(exception, PyExc_SystemExit) ||
            faa_exception_is(exception, "asyncio.exceptions", "CancelledError") ||
            faa_exception_is(exception, "greenlet", "GreenletExit") ||
            faa_exception_is(exception, "trio", "Cancelled"));
}

// One line of a stack trace: the frame of `tb`.
static size_t put_frame(PyObject *tb, char *out, size_t cap)
{
    PyObject *frame = NULL, *code = NULL, *line = NULL;
    if (faa_getattr(tb, FAA_NAME(tb_frame), &frame) == 1)
        faa_getattr(frame, FAA_NAME(f_code), &code);
    faa_getattr(tb, FAA_NAME(tb_lineno), &line);
    size_t n = faa_stack_put_frame(code, faa_int(line, 0), out, cap);
    Py_DecRef(frame);
    Py_DecRef(code);
    Py_DecRef(line);
    return n;
}

// The next traceback object, dropping this one; NULL at the end.
static PyObject *next_of(PyObject *tb)
{
    PyObject *next;
    if (faa_getattr(tb, FAA_NAME(tb_next), &next) == 1 && next == Py_None)
        faa_clear(&next);
    Py_DecRef(tb);
    return next;
}

// Writes the frames into `out`, and drops the outer ones until the rest fits: the innermost tell
// most.
static size_t put_stack(PyObject *exception, char *out, size_t cap)
{
    char line[FRAME_MAX];
    size_t lengths[FRAMES_MAX], total = 0;
    unsigned depth = 0, first = 0;
    for (PyObject *tb = PyException_GetTraceback(exception); tb; tb = next_of(tb), depth++) {
        size_t n = put_frame(tb, line, sizeof(line));
        if (depth >= FRAMES_MAX)
            total -= lengths[first++ % FRAMES_MAX];
        lengths[depth % FRAMES_MAX] = n;
        total += n;
    }
    size_t n = (size_t)snprintf(out, cap, "Traceback (most recent call last):\n");
    while (first < depth && total > cap - n - SKIPPED_MAX)
        total -= lengths[first++ % FRAMES_MAX];
    if (first)
        n += (size_t)snprintf(out + n, cap - n, "  [%u outer frames]\n", first);
    unsigned i = 0;
    for (PyObject *tb = PyException_GetTraceback(exception); tb; tb = next_of(tb), i++)
        if (i >= first)
            n += put_frame(tb, out + n, cap - n < FRAME_MAX ? cap - n : FRAME_MAX);
    return n;
}

// True for what database drivers raise, and SQLAlchemy around it: PEP 249 names the base classes,
// each driver has its own of that name; asyncpg and redis have others.
static int is_of_driver(PyObject *exception)
{
    static const struct faa_str bases[] = {
        FAA_STR("DatabaseError"), FAA_STR("InterfaceError"), FAA_STR("StatementError"),
        FAA_STR("MySQLError"),    FAA_STR("PostgresError"),  FAA_STR("RedisError"),
    };
    PyObject *mro, *class;
    int found = 0;
    faa_getattr((PyObject *)faa_type_of(exception), FAA_NAME(__mro__), &mro);
    for (Py_ssize_t i = 0; mro && !found && i < MRO_MAX && (class = faa_sequence_item(mro, i));
         i++) {
        PyObject *holder = NULL;
        struct faa_str name = attribute(class, FAA_NAME(__name__), &holder);
        for (size_t k = 0; k < FAA_COUNT(bases); k++)
            found |= faa_str_eq(name, bases[k]);
        Py_DecRef(holder);
    }
    Py_DecRef(mro);
    return found;
}

// Type and message, as the span tells them; the message is cut and redacted.
struct texts {
    char type[TYPE_MAX], message[MESSAGE_MAX];
    size_t type_len, message_len;
};

static void read_texts(struct texts *t, PyObject *exception)
{
    t->type_len = faa_exception_type(exception, t->type, sizeof(t->type));
    PyObject *str = PyObject_Str(exception);
    faa_err_discard();
    struct faa_str message = faa_text(str);
    t->message_len = is_of_driver(exception)
                         ? faa_message_redact_driver(message, t->message, sizeof(t->message))
                         : faa_message_redact(message, t->message, sizeof(t->message));
    Py_DecRef(str);
}

static void add_event(struct faa_span *span, PyObject *exception, const struct texts *t, int parts)
{
    char stack[STACK_MAX];
    struct faa_str type = {t->type, t->type_len}, message = {t->message, t->message_len};
    faa_span_add_event(span, FAA_STR("exception"));
    faa_span_event_set_str(span, FAA_KEY_EXCEPTION_TYPE, type);
    faa_span_event_set_str(span, FAA_KEY_EXCEPTION_MESSAGE, message);
    if (!(parts & FAA_WITH_STACK))
        return;
    // The last line has its room.
    size_t n = put_stack(exception, stack, sizeof(stack) - type.n - message.n - 4);
    n += (size_t)snprintf(stack + n, sizeof(stack) - n, "%s: %.*s", t->type, (int)message.n,
                          message.p);
    if (n >= sizeof(stack))
        n = sizeof(stack) - 1;
    faa_span_event_set_str(span, FAA_KEY_EXCEPTION_STACKTRACE, (struct faa_str){stack, n});
}

// A group tells only that something is in it. Its kind is known by its name: 3.11's, its backport,
// anyio 3's own.
static PyObject *group_of(PyObject *exception)
{
    char type[TYPE_MAX];
    static const struct faa_str end = FAA_STR("ExceptionGroup");
    size_t n = faa_exception_type(exception, type, sizeof(type));
    PyObject *members = NULL;
    if (n >= end.n && memcmp(type + n - end.n, end.p, end.n) == 0)
        faa_getattr(exception, FAA_NAME(exceptions), &members);
    return members;
}

// What a group holds, each exception with an event of its own. Returns how many more there may be.
static int add_members(struct faa_span *span, PyObject *exception, int room, int depth)
{
    struct texts t;
    PyObject *member, *members = depth < GROUP_DEPTH ? group_of(exception) : NULL;
    for (Py_ssize_t i = 0; members && room > 0 && (member = faa_sequence_item(members, i)); i++) {
        if (!faa_is_exception(member))
            continue;
        Py_IncRef(member);
        read_texts(&t, member);
        add_event(span, member, &t, FAA_WITH_STACK);
        room = add_members(span, member, room - 1, depth + 1);
        Py_DecRef(member);
    }
    Py_DecRef(members);
    return room;
}

static void fail(struct faa_span *span, const struct texts *t)
{
    faa_span_set_status(span, FAA_STATUS_ERROR, (struct faa_str){t->message, t->message_len});
    faa_span_set_str(span, FAA_KEY_ERROR_TYPE, (struct faa_str){t->type, t->type_len});
}

void faa_span_add_exception(struct faa_span *span, PyObject *exception, int parts)
{
    struct texts t;
    if (!span->recording)
        return;
    read_texts(&t, exception);
    add_event(span, exception, &t, parts);
    if (parts & FAA_WITH_STACK)
        add_members(span, exception, GROUP_MAX, 0);
}

void faa_span_fail(struct faa_span *span, PyObject *exception)
{
    struct texts t;
    if (!span->recording)
        return;
    read_texts(&t, exception);
    fail(span, &t);
}

void faa_span_record_exception(struct faa_span *span, PyObject *exception)
{
    struct texts t;
    if (!span->recording || !exception)
        return;
    read_texts(&t, exception);
    fail(span, &t);
    add_event(span, exception, &t, FAA_WITH_STACK);
    add_members(span, exception, GROUP_MAX, 0);
}

void faa_span_end_call(struct faa_span *span, PyObject *result)
{
    struct faa_err e = faa_err_save();
    if (!result && e.type) {
        faa_err_normalize(&e);
        if (!faa_exception_is_cancellation(e.value))
            faa_span_record_exception(span, e.value);
    }
    faa_span_end(span, 0);
    faa_span_fini(span);
    faa_err_restore(&e);
}

PyObject *faa_exception_handled(PyObject **function)
{
    PyObject *type, *value, *traceback, *frame = NULL, *code = NULL;
    *function = NULL;
    PyErr_GetExcInfo(&type, &value, &traceback);
    Py_DecRef(type);
    Py_DecRef(traceback);
    if (!value || value == Py_None) {
        Py_DecRef(value);
        return NULL;
    }
    traceback = PyException_GetTraceback(value);
    if (traceback && faa_getattr(traceback, FAA_NAME(tb_frame), &frame) == 1 &&
        faa_getattr(frame, FAA_NAME(f_code), &code) == 1)
        faa_getattr(code, FAA_NAME(co_name), function);
    Py_DecRef(traceback);
    Py_DecRef(frame);
    Py_DecRef(code);
    return value;
}

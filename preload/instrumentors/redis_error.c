// SPDX-License-Identifier: MIT
// Errors of redis-py. Since version 8 they carry the server's code; before, the ones that have a
// class of their own have lost it, and so have those with the code ERR.
#include "instrumentors/redis_error.h"

#include "python/err.h"
#include "python/exception.h"
#include "span/redis.h"

enum { TYPE_MAX = 256, MESSAGE_MAX = 256 };

static const char home[] = "redis.exceptions";

static const struct {
    const char *type;
    struct faa_str code;
} codes[] = {
    {"AskError", FAA_STR("ASK")},
    {"BusyLoadingError", FAA_STR("LOADING")},
    {"ClusterCrossSlotError", FAA_STR("CROSSSLOT")},
    {"ClusterDownError", FAA_STR("CLUSTERDOWN")},
    {"ExecAbortError", FAA_STR("EXECABORT")},
    {"MasterDownError", FAA_STR("MASTERDOWN")},
    {"MovedError", FAA_STR("MOVED")},
    {"NoPermissionError", FAA_STR("NOPERM")},
    {"NoScriptError", FAA_STR("NOSCRIPT")},
    {"OutOfMemoryError", FAA_STR("OOM")},
    {"ReadOnlyError", FAA_STR("READONLY")},
    {"TryAgainError", FAA_STR("TRYAGAIN")},
};

// `type` is the exception's full name. The result points into static memory, `words`, or the
// object that is given to *holder (a new reference, or NULL).
static struct faa_str code_of(PyObject *error, struct faa_str type, struct faa_str words,
                              PyObject **holder)
{
    int has_code = faa_getattr(error, FAA_NAME(status_code), holder);
    struct faa_str code = faa_text(*holder);
    if (code.n)
        return code;
    for (size_t i = 0; i < FAA_COUNT(codes); i++) {
        struct faa_str name = faa_str_of(codes[i].type);
        if (type.n > name.n && type.p[type.n - name.n - 1] == '.' &&
            memcmp(type.p + type.n - name.n, name.p, name.n) == 0)
            return codes[i].code;
    }
    if (!faa_exception_is(error, home, "ResponseError"))
        return code;
    code = faa_redis_error_code(words);
    return code.n || has_code == 1 ? code : FAA_STR("ERR");
}

// A watched key was changed: the application tries again, as it is meant to.
static int is_lost_race(PyObject *error, struct faa_str message)
{
    return faa_str_eq(message, FAA_STR("Watched variable changed.")) &&
           faa_exception_is(error, home, "WatchError");
}

static void tell(struct faa_span *span, PyObject *error, struct faa_str text, int only_code)
{
    char type[TYPE_MAX], message[MESSAGE_MAX];
    PyObject *holder = NULL;
    struct faa_str words = faa_redis_error_words(text);
    struct faa_str type_name = {type, faa_exception_type(error, type, sizeof(type))};
    struct faa_str code = code_of(error, type_name, words, &holder);
    if (only_code && faa_exception_is(error, home, "ResponseError"))
        words.n = 0;
    size_t n = faa_redis_error_message(code, words, message, sizeof(message));
    faa_span_set_status(span, FAA_STATUS_ERROR, (struct faa_str){message, n});
    faa_span_set_str(span, FAA_KEY_ERROR_TYPE, type_name);
    if (code.n)
        faa_span_set_str(span, FAA_KEY_DB_RESPONSE_STATUS_CODE, code);
    Py_DecRef(holder);
}

int faa_redis_error_tell(struct faa_span *span, PyObject *error, int only_code)
{
    if (!faa_exception_is(error, home, "RedisError") &&
        !faa_exception_is(error, home, "RedisClusterException"))
        return 0;
    PyObject *text = PyObject_Str(error);
    faa_err_discard();
    struct faa_str message = faa_text(text);
    if (!is_lost_race(error, message))
        tell(span, error, message, only_code);
    Py_DecRef(text);
    return 1;
}

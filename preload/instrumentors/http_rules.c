// SPDX-License-Identifier: MIT
// Rules are compiled when they are first asked for: the application has imported `re` by then.
#include "instrumentors/http_rules.h"

#include "base/log.h"
#include "instrumentors/settings.h"
#include "python/err.h"

#include <strings.h>

enum {
    LIST_MAX = 1000, // Headers looked at.
    VALUES_MAX = 32, // Of one header.
    DECISIONS_MAX = 512
};

static const struct rule {
    const char *variable;
    const char *const *text;
    int of_names; // Names of headers, in any case.
} rules[FAA_RULE_COUNT] = {
    [FAA_RULE_EXCLUDED_URLS] = {"OTEL_PYTHON_EXCLUDED_URLS", &faa_settings.excluded_urls, 0},
    [FAA_RULE_FASTAPI_EXCLUDED_URLS] = {"OTEL_PYTHON_FASTAPI_EXCLUDED_URLS",
                                        &faa_settings.fastapi_excluded_urls, 0},
    [FAA_RULE_STARLETTE_EXCLUDED_URLS] = {"OTEL_PYTHON_STARLETTE_EXCLUDED_URLS",
                                          &faa_settings.starlette_excluded_urls, 0},
    [FAA_RULE_REQUEST_HEADERS] = {"OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST",
                                  &faa_settings.capture_request_headers, 1},
    [FAA_RULE_RESPONSE_HEADERS] = {"OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE",
                                   &faa_settings.capture_response_headers, 1},
    [FAA_RULE_SANITIZE] = {"OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS",
                           &faa_settings.sanitize_fields, 1},
};

// What became of a rule: its bound `search` or `fullmatch`, or None where it cannot be compiled.
static PyObject *matchers[FAA_RULE_COUNT];

int faa_http_rules_has(enum faa_rule rule)
{
    return *rules[rule].text != NULL;
}

// The elements of the list as the alternatives of one expression.
static PyObject *expression_of(const char *list)
{
    PyObject *text = PyUnicode_FromString(list), *comma = PyUnicode_FromString(",");
    PyObject *parts = text && comma ? PyUnicode_Split(text, comma, -1) : NULL;
    PyObject *bar = parts ? PyUnicode_FromString("|") : NULL, *joined = NULL;
    for (Py_ssize_t i = 0; parts && i < PyList_Size(parts); i++) {
        PyObject *part = PyObject_CallMethod(PyList_GetItem(parts, i), "strip", NULL);
        if (!part || PyList_SetItem(parts, i, part))
            goto out;
    }
    // An empty element would match everything.
    for (Py_ssize_t i = parts ? PyList_Size(parts) : 0; i-- > 0;)
        if (!faa_text(PyList_GetItem(parts, i)).n && PyList_SetSlice(parts, i, i + 1, NULL))
            goto out;
    joined = bar && PyList_Size(parts) > 0 ? PyUnicode_Join(bar, parts) : NULL;
out:
    Py_DecRef(text);
    Py_DecRef(comma);
    Py_DecRef(parts);
    Py_DecRef(bar);
    return joined;
}

static PyObject *compile(enum faa_rule rule)
{
    const struct rule *r = &rules[rule];
    const char *method = r->of_names && rule != FAA_RULE_SANITIZE ? "fullmatch" : "search";
    PyObject *expression = expression_of(*r->text), *result = NULL, *flags = NULL;
    PyObject *re = expression ? PyImport_ImportModule("re") : NULL;
    if (re)
        flags = r->of_names ? PyObject_GetAttrString(re, "IGNORECASE") : PyLong_FromLong(0);
    PyObject *compiled = flags ? PyObject_CallMethod(re, "compile", "OO", expression, flags) : NULL;
    if (compiled)
        result = PyObject_GetAttrString(compiled, method);
    if (!result && expression)
        faa_warn("%s cannot be used: it is no list of regular expressions", r->variable);
    faa_err_discard();
    Py_DecRef(expression);
    Py_DecRef(re);
    Py_DecRef(flags);
    Py_DecRef(compiled);
    return result ? result : faa_newref(Py_None);
}

int faa_http_rules_find(enum faa_rule rule, struct faa_str text)
{
    if (!faa_http_rules_has(rule))
        return 0;
    if (!matchers[rule])
        matchers[rule] = compile(rule);
    if (matchers[rule] == Py_None)
        return 0;
    PyObject *subject = PyUnicode_DecodeUTF8(text.p, (Py_ssize_t)text.n, "replace");
    PyObject *match = subject ? PyObject_CallFunctionObjArgs(matchers[rule], subject, NULL) : NULL;
    int found = match && match != Py_None;
    faa_err_discard();
    Py_DecRef(subject);
    Py_DecRef(match);
    return found;
}

// ---- headers ----------------------------------------------------------------------------------

enum decision { IGNORED, CAPTURED, SANITIZED };

static int is_secret(struct faa_str name)
{
    static const struct faa_str secrets[] = {
        FAA_STR("authorization"),
        FAA_STR("proxy-authorization"),
        FAA_STR("cookie"),
        FAA_STR("set-cookie"),
    };
    for (size_t i = 0; i < FAA_COUNT(secrets); i++)
        if (name.n == secrets[i].n && strncasecmp(name.p, secrets[i].p, name.n) == 0)
            return 1;
    return 0;
}

static enum decision decide(enum faa_rule rule, struct faa_str name)
{
    if (!faa_http_rules_find(rule, name))
        return IGNORED;
    return is_secret(name) || faa_http_rules_find(FAA_RULE_SANITIZE, name) ? SANITIZED : CAPTURED;
}

// Names come again and again: what was decided about one is remembered, for as many as a table of
// this size holds. Names that a client makes up fill it once.
static enum decision decision_about(enum faa_rule rule, PyObject *name)
{
    static PyObject *decisions[FAA_RULE_COUNT];
    struct faa_str text = faa_text(name);
    if (!text.n || text.n > FAA_SPAN_HEADER_MAX)
        return IGNORED;
    if (!decisions[rule])
        decisions[rule] = PyDict_New();
    int is_plain = faa_type_of(name) == &PyBytes_Type; // Hashing it runs no code of anybody's.
    PyObject *known = decisions[rule] && is_plain ? faa_dict_peek(decisions[rule], name) : NULL;
    if (known)
        return (enum decision)faa_int(known, IGNORED);
    enum decision decision = decide(rule, text);
    if (decisions[rule] && is_plain && PyDict_Size(decisions[rule]) < DECISIONS_MAX) {
        PyObject *number = PyLong_FromLong((long)decision);
        if (!number || PyDict_SetItem(decisions[rule], name, number))
            PyErr_Clear();
        Py_DecRef(number);
    }
    return decision;
}

static int is_same_name(struct faa_str a, struct faa_str b)
{
    return a.n == b.n && strncasecmp(a.p, b.p, a.n) == 0;
}

static struct faa_str name_at(PyObject *headers, Py_ssize_t i)
{
    PyObject *pair = faa_sequence_item(headers, i);
    return faa_text(pair ? faa_sequence_item(pair, 0) : NULL);
}

// The values of the header at `first`, which is the first of its name, in their order.
static size_t collect(PyObject *headers, Py_ssize_t first, int sanitized,
                      struct faa_str values[VALUES_MAX])
{
    struct faa_str name = name_at(headers, first);
    PyObject *pair;
    size_t n = 0;
    for (Py_ssize_t i = first; i < LIST_MAX && n < VALUES_MAX; i++) {
        if (!(pair = faa_sequence_item(headers, i)))
            break;
        if (is_same_name(name_at(headers, i), name)) {
            PyObject *value = faa_sequence_item(pair, 1);
            values[n++] = sanitized ? FAA_STR("[REDACTED]") : faa_text(value);
        }
    }
    return n;
}

static int is_known(const struct faa_str *names, size_t count, struct faa_str name)
{
    for (size_t i = 0; i < count; i++)
        if (is_same_name(names[i], name))
            return 1;
    return 0;
}

void faa_http_rules_capture(enum faa_rule rule, PyObject *headers, struct faa_span *span,
                            enum faa_key key)
{
    struct faa_str names[FAA_HEADERS_CAPTURED_MAX], values[VALUES_MAX];
    size_t count = 0;
    PyObject *pair;
    if (!faa_http_rules_has(rule) || !span->recording)
        return;
    for (Py_ssize_t i = 0; i < LIST_MAX && count < FAA_COUNT(names); i++) {
        if (!(pair = faa_sequence_item(headers, i)))
            break;
        PyObject *name = faa_sequence_item(pair, 0);
        enum decision decision = name ? decision_about(rule, name) : IGNORED;
        if (decision == IGNORED || is_known(names, count, faa_text(name)))
            continue;
        names[count++] = faa_text(name);
        size_t n = collect(headers, i, decision == SANITIZED, values);
        faa_span_set_header(span, key, faa_text(name), values, n);
    }
}

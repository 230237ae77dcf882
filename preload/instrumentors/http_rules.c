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
#define URLS(NAME, field)                                                                          \
    [FAA_RULE_##NAME##                                                                             \
        _EXCLUDED_URLS] = {"OTEL_PYTHON_" #NAME "_EXCLUDED_URLS", &faa_settings.field, 0}
    URLS(FASTAPI, fastapi_excluded_urls),
    URLS(STARLETTE, starlette_excluded_urls),
    URLS(REQUESTS, requests_excluded_urls),
    URLS(HTTPX, httpx_excluded_urls),
    URLS(AIOHTTP_CLIENT, aiohttp_excluded_urls),
    URLS(URLLIB3, urllib3_excluded_urls),
    URLS(URLLIB, urllib_excluded_urls),
#undef URLS
#define HEADERS(NAME, field)                                                                       \
    [FAA_RULE_##NAME] = {"OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_" #NAME, &faa_settings.field, 1}
    HEADERS(SERVER_REQUEST, capture_request_headers),
    HEADERS(SERVER_RESPONSE, capture_response_headers),
    HEADERS(CLIENT_REQUEST, capture_client_request_headers),
    HEADERS(CLIENT_RESPONSE, capture_client_response_headers),
    HEADERS(SANITIZE_FIELDS, sanitize_fields),
#undef HEADERS
};

// What became of a rule: its bound `search` or `fullmatch`, None where it cannot be compiled, False
// where its list has no elements.
static PyObject *matchers[FAA_RULE_COUNT];

int faa_http_rules_has(enum faa_rule rule)
{
    return *rules[rule].text != NULL;
}

// The elements of the list as the alternatives of one expression, False when there are none. NULL
// for a list that is no UTF-8, and without memory.
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
    if (bar)
        joined = PyList_Size(parts) > 0 ? PyUnicode_Join(bar, parts) : faa_newref(Py_False);
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
    const char *method = r->of_names && rule != FAA_RULE_SANITIZE_FIELDS ? "fullmatch" : "search";
    PyObject *expression = expression_of(*r->text), *result = NULL, *flags = NULL;
    if (expression == Py_False)
        return expression;
    PyObject *re = expression ? PyImport_ImportModule("re") : NULL;
    if (re)
        flags = r->of_names ? PyObject_GetAttrString(re, "IGNORECASE") : PyLong_FromLong(0);
    PyObject *compiled = flags ? PyObject_CallMethod(re, "compile", "OO", expression, flags) : NULL;
    if (compiled)
        result = PyObject_GetAttrString(compiled, method);
    if (!result)
        faa_warn("%s cannot be used: it is no list of regular expressions%s", r->variable,
                 rule == FAA_RULE_SANITIZE_FIELDS ? "; every recorded header is redacted" : "");
    faa_err_discard();
    Py_DecRef(expression);
    Py_DecRef(re);
    Py_DecRef(flags);
    Py_DecRef(compiled);
    return result ? result : faa_newref(Py_None);
}

// Borrowed, for ever: it does not change once it is there. Compiling runs Python code, so that
// another thread may have been faster.
static PyObject *matcher_of(enum faa_rule rule)
{
    if (!matchers[rule]) {
        PyObject *made = compile(rule);
        if (matchers[rule])
            Py_DecRef(made);
        else
            matchers[rule] = made;
    }
    return matchers[rule];
}

int faa_http_rules_find(enum faa_rule rule, struct faa_str text)
{
    PyObject *matcher = faa_http_rules_has(rule) ? matcher_of(rule) : Py_False;
    if (matcher == Py_None || matcher == Py_False)
        return matcher == Py_None ? -1 : 0;
    PyObject *subject = PyUnicode_DecodeUTF8(text.p, (Py_ssize_t)text.n, "replace");
    PyObject *match = subject ? PyObject_CallFunctionObjArgs(matcher, subject, NULL) : NULL;
    int found = match ? match != Py_None : -1;
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

// -1 where an expression could not be run. In doubt a value stays home.
static int decide(enum faa_rule rule, struct faa_str name)
{
    int found = faa_http_rules_find(rule, name);
    if (found <= 0)
        return found < 0 ? -1 : IGNORED;
    return is_secret(name) || faa_http_rules_find(FAA_RULE_SANITIZE_FIELDS, name) ? SANITIZED
                                                                                  : CAPTURED;
}

// Servers refuse other names, and cleaned they might become equal.
static int is_name(struct faa_str text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] <= ' ' || (unsigned char)text.p[i] >= 0x7f)
            return 0;
    return text.n > 0 && text.n <= FAA_SPAN_HEADER_MAX;
}

// Names come again and again: what was decided about one is remembered. A table that is full
// (clients make names up) begins anew.
static int decision_about(enum faa_rule rule, PyObject *name)
{
    static PyObject *decisions[FAA_RULE_COUNT];
    struct faa_str text = faa_text(name);
    if (!is_name(text))
        return IGNORED;
    if (!decisions[rule])
        decisions[rule] = PyDict_New();
    PyObject *table = decisions[rule];
    // Hashing it runs no code of anybody's.
    int is_plain = faa_type_of(name) == &PyBytes_Type || faa_type_of(name) == &PyUnicode_Type;
    PyObject *known = table && is_plain ? faa_dict_peek(table, name) : NULL;
    if (known)
        return (int)faa_int(known, IGNORED);
    int decision = decide(rule, text);
    PyObject *number = table && is_plain && decision >= 0 ? PyLong_FromLong(decision) : NULL;
    if (number && PyDict_Size(table) >= DECISIONS_MAX)
        PyDict_Clear(table);
    if (number)
        (void)PyDict_SetItem(table, name, number);
    PyErr_Clear();
    Py_DecRef(number);
    return decision;
}

static int is_same_name(struct faa_str a, struct faa_str b)
{
    return a.n == b.n && strncasecmp(a.p, b.p, a.n) == 0;
}

// The values of a header from the first pair of its name on, in their order. No Python code runs
// before they are used.
static size_t collect(PyObject *headers, Py_ssize_t first, struct faa_str name, int sanitized,
                      struct faa_str values[VALUES_MAX])
{
    PyObject *pair;
    size_t n = 0;
    for (Py_ssize_t i = first; i < LIST_MAX && n < VALUES_MAX; i++) {
        if (!(pair = faa_sequence_item(headers, i)))
            break;
        PyObject *other = faa_sequence_item(pair, 0), *value = faa_sequence_item(pair, 1);
        if (other && value && is_same_name(faa_text(other), name))
            values[n++] = sanitized ? FAA_STR("[REDACTED]") : faa_text(value);
    }
    return n;
}

static int is_known(PyObject *const *names, size_t count, PyObject *name)
{
    for (size_t i = 0; i < count; i++)
        if (is_same_name(faa_text(names[i]), faa_text(name)))
            return 1;
    return 0;
}

// How far the span's items may have grown for another header to be recorded: what comes later, up
// to an exception with its stack, finds room.
static size_t room_of(enum faa_rule rule)
{
    return rule == FAA_RULE_SERVER_REQUEST || rule == FAA_RULE_CLIENT_REQUEST
               ? FAA_SPAN_ITEMS_MAX / 4
               : FAA_SPAN_ITEMS_MAX / 2;
}

// The expressions are Python's, and while they run other code may: on the list nothing but the
// caller's reference counts, and names are kept by references of our own.
void faa_http_rules_capture(enum faa_rule rule, PyObject *headers, struct faa_span *span,
                            enum faa_key key)
{
    PyObject *names[FAA_HEADERS_CAPTURED_MAX], *pair;
    struct faa_str values[VALUES_MAX];
    size_t count = 0;
    if (!headers || !faa_http_rules_has(rule) || !span->recording)
        return;
    for (Py_ssize_t i = 0; i < LIST_MAX; i++) {
        if (!(pair = faa_sequence_item(headers, i)))
            break;
        PyObject *name = faa_newref(faa_sequence_item(pair, 0));
        int decision = name ? decision_about(rule, name) : IGNORED;
        int is_new = decision > IGNORED && !is_known(names, count, name);
        if (is_new && (count == FAA_COUNT(names) || span->items_len > room_of(rule))) {
            span->dropped_attributes++; // And what else there is: looking on has its price.
            Py_DecRef(name);
            break;
        }
        if (!is_new) {
            Py_DecRef(name);
            continue;
        }
        names[count++] = name;
        size_t n = collect(headers, i, faa_text(name), decision == SANITIZED, values);
        if (n > 0)
            faa_span_set_header(span, key, faa_text(name), values, n);
    }
    while (count > 0)
        Py_DecRef(names[--count]);
}

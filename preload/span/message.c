// SPDX-License-Identifier: MIT
// Redaction of exception messages.
#include "span/message.h"

#include "span/url.h"

// The message up to where libraries begin to quote statements and rows.
static struct faa_str head(struct faa_str message)
{
    static const struct faa_str tails[] = {
        FAA_STR("\n[SQL: "),
        FAA_STR("\n[parameters: "),
        FAA_STR("\nDETAIL:"),
        FAA_STR("\n  {'"), // FastAPI's list of validation errors, with the inputs;
        FAA_STR("[{'"),    // in older versions it is all of the message.
        FAA_STR(" for Request\n"),
        FAA_STR(" for WebSocket\n"), // The same with pydantic 1.
    };
    for (size_t i = 0; i < FAA_COUNT(tails); i++) {
        const char *at = message.n ? memmem(message.p, message.n, tails[i].p, tails[i].n) : NULL;
        if (at)
            message.n = (size_t)(at - message.p);
    }
    return message;
}

// The length of the run at the front that holds none of these bytes and no blank.
static size_t run(struct faa_str text, const char *stops)
{
    size_t n = 0;
    while (n < text.n && (unsigned char)text.p[n] > ' ' && !strchr(stops, text.p[n]))
        n++;
    return n;
}

static size_t put(char *out, size_t cap, struct faa_str text)
{
    size_t n = text.n < cap - 1 ? text.n : cap - 1;
    memcpy(out, text.p, n);
    return n;
}

static int starts_with(struct faa_str text, struct faa_str prefix)
{
    return text.n >= prefix.n && memcmp(text.p, prefix.p, prefix.n) == 0;
}

// "user:password@" behind "://"; the last @ of the authority ends it.
static size_t user_info(struct faa_str text)
{
    size_t n = run(text, "/?#\"'()<>");
    while (n && text.p[n - 1] != '@')
        n--;
    return n;
}

// What pydantic quotes of the input lasts up to its type, on the same line; the last such mark
// counts, since the input may hold one.
static size_t input_value(struct faa_str text)
{
    static const struct faa_str mark = FAA_STR(", input_type=");
    const char *newline = memchr(text.p, '\n', text.n), *at, *last = NULL;
    const char *end = newline ? newline : text.p + text.n;
    for (const char *p = text.p; (at = memmem(p, (size_t)(end - p), mark.p, mark.n)); p = at + 1)
        last = at;
    return (size_t)((last ? last : end) - text.p);
}

size_t faa_message_redact(struct faa_str message, char *out, size_t cap)
{
    struct faa_str rest = head(message);
    size_t o = 0;
    while (rest.n && o + 1 < cap) {
        size_t used = 1;
        if (starts_with(rest, FAA_STR("://"))) {
            struct faa_str authority = {rest.p + 3, rest.n - 3};
            size_t secret = user_info(authority);
            o += put(out + o, cap - o, secret ? FAA_STR("://REDACTED@") : FAA_STR("://"));
            used = 3 + secret;
        } else if (rest.p[0] == '?') {
            struct faa_str query = {rest.p + 1, rest.n - 1};
            query.n = run(query, "\"'()<>");
            o += put(out + o, cap - o, FAA_STR("?"));
            if (query.n)
                o += faa_query_redact(query, out + o, cap - o);
            used = 1 + query.n;
        } else if (starts_with(rest, FAA_STR("input_value="))) {
            o += put(out + o, cap - o, FAA_STR("input_value=?"));
            used = input_value(rest);
        } else {
            out[o++] = rest.p[0];
        }
        rest.p += used;
        rest.n -= used;
    }
    out[o] = '\0';
    return o;
}

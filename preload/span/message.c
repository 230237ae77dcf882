// SPDX-License-Identifier: MIT
// Redaction of exception messages.
#include "span/message.h"

#include "span/sql.h"
#include "span/url.h"

#include <stdint.h>

enum {
    BEARER_MIN = 8,    // Bytes of what is a token behind "Bearer", and no prose.
    DRIVER_MAX = 2048, // Bytes that are read of a driver's message.
    NUMBER_MAX = 12    // Digits of an error number.
};

static struct faa_str cut(struct faa_str message)
{
    if (message.n > FAA_MESSAGE_READ_MAX)
        message.n = FAA_MESSAGE_READ_MAX;
    return message;
}

// The message up to where libraries begin to quote statements and rows.
static struct faa_str head(struct faa_str message)
{
    message = cut(message);
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

static int is_key_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

static size_t blanks(struct faa_str text, size_t from)
{
    size_t n = from;
    while (n < text.n && text.p[n] == ' ')
        n++;
    return n;
}

static size_t quoted_len(struct faa_str text)
{
    for (size_t i = 1; i < text.n; i++) {
        if (text.p[i] == '\\')
            i++;
        else if (text.p[i] == text.p[0])
            return i + 1;
    }
    return text.n;
}

// The length of the value at `from`: a run, and quoted texts that stand next to it.
static size_t value_len(struct faa_str text, size_t from)
{
    size_t n = from;
    while (n < text.n) {
        struct faa_str rest = {text.p + n, text.n - n};
        int quoted = *rest.p == '\'' || *rest.p == '"';
        size_t len = quoted ? quoted_len(rest) : run(rest, "\"'()<>,;&]}");
        if (len == 0)
            break;
        n += len;
    }
    return n - from;
}

// Where the value of a secret begins behind a name at the front of the text, as in password=…,
// 'token': … (`quote` stands before the name) and Bearer …, or 0. `*word` is the length of the
// name.
static size_t secret_value(struct faa_str text, char quote, size_t *word)
{
    size_t n = 0, at;
    while (n < text.n && is_key_byte(text.p[n]))
        n++;
    *word = n;
    if (n == 0 || n == text.n)
        return 0;
    int quoted = (quote == '\'' || quote == '"') && text.p[n] == quote;
    at = blanks(text, n + (size_t)quoted);
    int bearer = n == 6 && memcmp(text.p, "Bearer", n) == 0 && at > n;
    if (!bearer && (at >= text.n || (text.p[at] != '=' && !(quoted && text.p[at] == ':'))))
        return 0;
    struct faa_str name = {text.p, n};
    if (!bearer && !faa_url_is_secret(name, SIZE_MAX))
        return 0;
    // The value is looked at only now: it is left out with what is in it, and not read again.
    at = bearer ? at : blanks(text, at + 1);
    size_t len = value_len(text, at);
    return len && (bearer ? len >= BEARER_MIN : faa_url_is_secret(name, len)) ? at : 0;
}

// One piece of a message at the front of `rest`: written to `out`, and its length returned.
static size_t put_piece(struct faa_str rest, char before, char *out, size_t *o, size_t cap)
{
    if (starts_with(rest, FAA_STR("://"))) {
        struct faa_str authority = {rest.p + 3, rest.n - 3};
        size_t secret = user_info(authority);
        *o += put(out + *o, cap - *o, secret ? FAA_STR("://REDACTED@") : FAA_STR("://"));
        return 3 + secret;
    }
    if (rest.p[0] == '?' || rest.p[0] == '#') {
        struct faa_str query = {rest.p + 1, rest.n - 1};
        query.n = run(query, "\"'()<>#");
        *o += put(out + *o, cap - *o, (struct faa_str){rest.p, 1});
        if (query.n)
            *o += faa_query_redact(query, out + *o, cap - *o);
        return 1 + query.n;
    }
    if (starts_with(rest, FAA_STR("input_value="))) {
        *o += put(out + *o, cap - *o, FAA_STR("input_value=?"));
        return input_value(rest);
    }
    size_t word = 1, at = is_key_byte(before) ? 0 : secret_value(rest, before, &word);
    if (at == 0) {
        word = word ? word : 1;
        *o += put(out + *o, cap - *o, (struct faa_str){rest.p, word});
        return word;
    }
    *o += put(out + *o, cap - *o, (struct faa_str){rest.p, at});
    *o += put(out + *o, cap - *o, FAA_STR("REDACTED"));
    return at + value_len(rest, at);
}

size_t faa_message_redact(struct faa_str message, char *out, size_t cap)
{
    struct faa_str rest = head(message);
    size_t o = 0;
    char before = ' ';
    while (rest.n && o + 1 < cap) {
        size_t used = put_piece(rest, before, out, &o, cap);
        before = rest.p[used - 1];
        rest.p += used;
        rest.n -= used;
    }
    out[o] = '\0';
    return o;
}

// ---- drivers ------------------------------------------------------------------------------------

static int show_values;

void faa_message_show_values(int show)
{
    show_values = show;
}

// The message up to where drivers write values without quotes.
static struct faa_str before_values(struct faa_str message)
{
    static const struct faa_str marks[] = {
        FAA_STR("value is ("),           // SQL Server's duplicate key.
        FAA_STR(")=("),                  // PostgreSQL's, where the detail is on the same line.
        FAA_STR("row contains ("),       // The same.
        FAA_STR("query argument $"),     // asyncpg: the repr of what it cannot encode.
        FAA_STR("query parameter $"),    // The same.
        FAA_STR("with column values ("), // Oracle.
    };
    for (size_t i = 0; i < FAA_COUNT(marks); i++) {
        const char *at = message.n ? memmem(message.p, message.n, marks[i].p, marks[i].n) : NULL;
        if (at)
            message.n = (size_t)(at - message.p) + marks[i].n;
    }
    return message;
}

// The length of the stretch that the quote at the front begins: up to the last quote of its kind,
// or all when their number is odd, and one of them may be open.
static size_t stretch(struct faa_str text)
{
    size_t count = 0, last = 0;
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] == text.p[0]) {
            count++;
            last = i;
        }
    return count % 2 ? text.n : last + 1;
}

// Writes `text` with each stretch of quotes replaced by ?, and without numbers.
static size_t put_unquoted(struct faa_str text, char *out, size_t cap)
{
    char plain[DRIVER_MAX];
    size_t n = 0;
    while (text.n && n < sizeof(plain)) {
        char c = text.p[0];
        int quote = c == '\'' || c == '"' || c == '`';
        size_t used = quote ? stretch(text) : 1;
        plain[n++] = quote ? '?' : c;
        text.p += used;
        text.n -= used;
    }
    return faa_sql_sanitize((struct faa_str){plain, n}, out, cap);
}

// The text in what MySQL's drivers raise, whose message is the repr of a tuple: (1062, "…").
// Returns 0 when the message ends in no such tuple; `*from` is where it begins, `*digits` how long
// the number is.
static struct faa_str tuple_text(struct faa_str m, size_t *from, size_t *digits)
{
    static const struct faa_str none = {NULL, 0};
    const char *open = m.n ? memmem(m.p, m.n, ", ", 2) : NULL;
    const char *start = open;
    while (start && start > m.p && start[-1] >= '0' && start[-1] <= '9')
        start--;
    if (!open || start == open || start == m.p || start[-1] != '(' || m.p + m.n - open < 5)
        return none;
    char quote = open[2];
    if ((quote != '\'' && quote != '"') || m.p[m.n - 1] != ')' || m.p[m.n - 2] != quote)
        return none;
    *from = (size_t)(start - 1 - m.p);
    *digits = (size_t)(open - start);
    return (struct faa_str){open + 3, (size_t)(m.p + m.n - 2 - (open + 3))};
}

size_t faa_message_redact_driver(struct faa_str message, char *out, size_t cap)
{
    message = cut(message);
    const char *newline = message.n ? memchr(message.p, '\n', message.n) : NULL;
    if (newline)
        message.n = (size_t)(newline - message.p);
    if (show_values)
        return faa_message_redact(message, out, cap);
    size_t from = 0, digits = 0, o = 0;
    struct faa_str text = tuple_text(message, &from, &digits);
    if (digits && digits < NUMBER_MAX && cap > NUMBER_MAX + 4) {
        o = put_unquoted((struct faa_str){message.p, from}, out, cap - NUMBER_MAX - 3);
        o += put(out + o, cap - o, o ? FAA_STR(" (") : FAA_STR("("));
        o += put(out + o, cap - o, (struct faa_str){message.p + from + 1, digits});
        o += put(out + o, cap - o, FAA_STR(") "));
        message = text;
    }
    return o + put_unquoted(before_values(message), out + o, cap - o);
}

// SPDX-License-Identifier: MIT
// Error messages without values.
#include "span/sql_message.h"

#include "span/sql.h"

#include <string.h>

// Stands for an apostrophe while the rest is read as a statement, where it means nothing: the
// typographic one.
static const struct faa_str stand_in = {"\xe2\x80\x99", 3};

static int is_quote(char c)
{
    return c == '\'' || c == '"';
}

// In a word like "can't", which N'...' is not.
static int is_apostrophe(struct faa_str s, size_t at)
{
    return at > 1 && at + 2 < s.n && s.p[at - 2] >= 'a' && s.p[at - 2] <= 'z' &&
           s.p[at - 1] == 'n' && memcmp(s.p + at, "'t ", 3) == 0;
}

struct text {
    char p[FAA_SQL_MESSAGE_MAX];
    size_t n;
};

static void put(struct text *t, struct faa_str s)
{
    for (size_t i = 0; i < s.n && t->n + stand_in.n <= sizeof(t->p); i++) {
        struct faa_str c = s.p[i] == '\'' ? stand_in : (struct faa_str){s.p + i, 1};
        memcpy(t->p + t->n, c.p, c.n);
        t->n += c.n;
    }
}

static size_t restore_apostrophes(char *out, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; kept++) {
        int found = n - i >= stand_in.n && memcmp(out + i, stand_in.p, stand_in.n) == 0;
        out[kept] = found ? '\'' : out[i];
        i += found ? stand_in.n : 1;
    }
    out[kept] = '\0';
    return kept;
}

size_t faa_sql_message(struct faa_str message, char *out, size_t cap)
{
    struct faa_str ending = FAA_STR(" doesn't exist"), line = message;
    struct text t = {.n = 0};
    const char *newline = line.n ? memchr(line.p, '\n', line.n) : NULL;
    size_t first = 0, behind;
    if (cap == 0)
        return 0;
    if (newline)
        line.n = (size_t)(newline - line.p);
    if (line.n > ending.n && memcmp(line.p + line.n - ending.n, ending.p, ending.n) == 0)
        line.n -= ending.n;
    else
        ending.n = 0;
    while (first < line.n && (!is_quote(line.p[first]) || is_apostrophe(line, first)))
        first++;
    for (behind = line.n; behind > first && !is_quote(line.p[behind - 1]);)
        behind--;
    put(&t, (struct faa_str){line.p, first});
    if (first < line.n)
        put(&t, FAA_STR("?"));
    if (behind == first + 1)
        behind = line.n, ending.n = 0; // It is the only one.
    put(&t, (struct faa_str){line.p + behind, line.n - behind});
    put(&t, ending);
    return restore_apostrophes(out, faa_sql_sanitize((struct faa_str){t.p, t.n}, out, cap));
}

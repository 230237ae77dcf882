// SPDX-License-Identifier: MIT
// SQL sanitising and summaries: one pass writes both.
#include "span/sql.h"

#include "span/sql_walk.h"

struct writer {
    char *p;
    size_t n, cap; // Without the NUL.
    int full;
};

static void put(struct writer *w, const void *text, size_t n)
{
    const char *s = text;
    if (w->full)
        return;
    if (n > w->cap - w->n) {
        w->full = 1;
        n = w->cap - w->n;
        while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80)
            n--;
    }
    memcpy(w->p + w->n, s, n);
    w->n += n;
}

// A quoted name may hold any byte.
static void put_name(struct writer *w, const struct faa_sql_token *t)
{
    size_t from = w->n;
    put(w, t->p, t->n);
    for (; from < w->n; from++)
        if (faa_sql_class[(unsigned char)w->p[from]] == FAA_SQL_SPACE)
            w->p[from] = ' ';
}

// True where a double-quoted token can be nothing but a name.
static int is_identifier(const struct faa_sql_walk *s, enum faa_sql_role role)
{
    if (s->identified)
        return 0;
    int listed = faa_sql_is_punct(&s->lex.prev, ',');
    return role != FAA_SQL_ROLE_NONE || faa_sql_is_punct(&s->lex.prev, '.') ||
           faa_sql_peek(&s->lex, 0) == '.' || s->lex.prev.keyword == FAA_SQL_KW_AS ||
           (s->columns == s->depth && (listed || faa_sql_is_punct(&s->lex.prev, '('))) ||
           (s->set == s->depth && (listed || s->lex.prev.keyword == FAA_SQL_KW_SET));
}

// The end of the parenthesis or bracket that at->tok opens, when there is nothing in it but
// literals and placeholders, signed or cast, in lists and rows; else NULL.
static const unsigned char *values_end(const struct faa_sql_lexer *at)
{
    struct faa_sql_lexer s = {.p = at->p, .end = at->end};
    int depth = 1, items = 0, cast = 0;
    while (faa_sql_next(&s)) {
        unsigned char c = *s.tok.p;
        if (s.tok.kind == FAA_SQL_T_QUOTED)
            return NULL;
        if (s.tok.kind == FAA_SQL_T_WORD) {
            if (!cast && faa_sql_keyword_of(&s.tok) != FAA_SQL_KW_CONSTANT)
                return NULL;
            items = 1;
            continue;
        }
        cast = 0;
        if (s.tok.kind != FAA_SQL_T_PUNCT)
            items = 1;
        else if (c == '(' || c == '[')
            depth++;
        else if ((c == ')' || c == ']') && --depth == 0)
            return items ? s.p : NULL;
        else if (s.tok.n == 2 && c == ':')
            cast = 1;
        else if (!strchr(")],+-", c))
            return NULL;
    }
    return NULL;
}

static void put_token(struct writer *w, const struct faa_sql_walk *s, enum faa_sql_role role)
{
    const struct faa_sql_token *t = &s->lex.tok;
    switch (t->kind) {
    case FAA_SQL_T_LITERAL:
        put(w, "?", 1);
        break;
    case FAA_SQL_T_PLACEHOLDER:
        put(w, t->p, *t->p == '?' ? 1 : t->n);
        break;
    case FAA_SQL_T_DOUBLE_QUOTED:
        if (!is_identifier(s, role)) {
            put(w, "?", 1);
            break;
        }
        // Fall through.
    case FAA_SQL_T_QUOTED:
        put_name(w, t);
        break;
    default:
        put(w, t->p, t->n);
        break;
    }
}

// Skips a row of VALUES behind the first one, at its comma, when it holds nothing but values.
static int skip_row(struct faa_sql_walk *s)
{
    if (s->values != s->depth || !faa_sql_is_punct(&s->lex.tok, ',') ||
        !faa_sql_is_punct(&s->lex.prev, ')'))
        return 0;
    struct faa_sql_lexer ahead = s->lex;
    const unsigned char *end;
    if (!faa_sql_next(&ahead) || !faa_sql_is_punct(&ahead.tok, '(') || !(end = values_end(&ahead)))
        return 0;
    s->lex.p = end;
    s->lex.tok = s->lex.prev;
    return 1;
}

// Collapses what follows IN and ARRAY, at its opening, when it holds nothing but values. `w` may be
// NULL.
static int collapse(struct faa_sql_walk *s, struct writer *w)
{
    int list = faa_sql_is_punct(&s->lex.tok, '(') && s->lex.prev.keyword == FAA_SQL_KW_IN;
    int array = faa_sql_is_punct(&s->lex.tok, '[') && faa_sql_is_word(&s->lex.prev, "ARRAY");
    const unsigned char *end = list || array ? values_end(&s->lex) : NULL;
    if (!end)
        return 0;
    if (w)
        put(w, list ? "(?)" : "[?]", 3);
    s->lex.p = end;
    s->lex.tok = (struct faa_sql_token){.p = end - 1, .n = 1, .kind = FAA_SQL_T_PUNCT};
    faa_sql_walk_step(s);
    return 1;
}

// ---- summary ------------------------------------------------------------------------------------

struct summary {
    struct writer w;
    size_t mark;   // Where the last word starts: a word that does not fit is left out whole.
    int in_target; // The last word is a target that may go on behind a dot.
    int words;
    size_t procedure, procedure_len;
    int in_procedure;
};

// The token without its quotes, when it needs none.
static struct faa_sql_token unquoted(struct faa_sql_token t)
{
    if (t.kind != FAA_SQL_T_QUOTED && t.kind != FAA_SQL_T_DOUBLE_QUOTED)
        return t;
    struct faa_sql_token name = {.p = t.p + 1, .n = t.n - 2, .kind = FAA_SQL_T_WORD};
    if (name.n == 0 || faa_sql_class[*name.p] != FAA_SQL_LETTER)
        return t;
    for (size_t i = 0; i < name.n; i++)
        if (faa_sql_class[name.p[i]] < FAA_SQL_DOLLAR)
            return t;
    return name;
}

static void put_word(struct summary *m, const struct faa_sql_walk *s, enum faa_sql_role role)
{
    m->mark = m->w.n;
    if (m->w.n)
        put(&m->w, " ", 1);
    struct faa_sql_token word = unquoted(s->lex.tok);
    size_t from = m->w.n;
    put_name(&m->w, &word);
    // The first operation calls it: CALL p, EXEC p, or BEGIN p(); END. What EXECUTE runs is a
    // prepared statement in most dialects.
    m->in_procedure = role == FAA_SQL_ROLE_PROCEDURE && m->words == 1 && m->w.p[4] != 'U';
    if (m->in_procedure)
        m->procedure = from;
    m->words++;
    for (; role == FAA_SQL_ROLE_OPERATION && from < m->w.n; from++)
        if (m->w.p[from] != '_')
            m->w.p[from] &= (char)0xdf;
}

static void summarize(struct summary *m, const struct faa_sql_walk *s, enum faa_sql_role role)
{
    int is_name = role == FAA_SQL_ROLE_TARGET || role == FAA_SQL_ROLE_PROCEDURE;
    if (m->w.full)
        return;
    if (m->in_target && s->path == 2) {
        put(&m->w, ".", 1);
    } else if (m->in_target && is_name && faa_sql_is_punct(&s->lex.prev, '.')) {
        struct faa_sql_token part = unquoted(s->lex.tok);
        put_name(&m->w, &part);
    } else {
        m->in_target = is_name && !faa_sql_is_punct(&s->lex.prev, '.') && !faa_sql_walk_is_cte(s);
        m->in_procedure &= m->in_target;
        if (m->in_target || role == FAA_SQL_ROLE_OPERATION)
            put_word(m, s, role);
    }
    if (m->w.full)
        m->w.n = m->mark;
    if (m->in_procedure)
        m->procedure_len = m->w.n > m->procedure ? m->w.n - m->procedure : 0;
}

// ---- both ---------------------------------------------------------------------------------------

// `text` and `summary` may be NULL.
static void tell(struct faa_str sql, int quoted_names, struct writer *text, struct summary *summary)
{
    struct faa_sql_walk s;
    faa_sql_walk_start(&s, sql, FAA_SQL_TEXT_MAX);
    while (((text && !text->full) || (summary && !summary->w.full)) && faa_sql_next(&s.lex)) {
        enum faa_sql_role role = faa_sql_walk_step(&s);
        if (summary)
            summarize(summary, &s, role);
        if (skip_row(&s))
            continue;
        if (text && s.lex.tok.spaced && text->n)
            put(text, " ", 1);
        if (!collapse(&s, text) && text)
            put_token(text, &s, quoted_names ? FAA_SQL_ROLE_NAME : role);
    }
    if (text)
        text->p[text->n] = '\0';
    if (summary)
        summary->w.p[summary->w.n] = '\0';
}

size_t faa_sql_sanitize(struct faa_str sql, char *out, size_t cap)
{
    if (cap == 0)
        return 0;
    struct writer w = {.p = out, .cap = cap - 1};
    tell(sql, 0, &w, NULL);
    return w.n;
}

static size_t summary_cap(size_t cap)
{
    return (cap < FAA_SQL_SUMMARY_MAX ? cap : FAA_SQL_SUMMARY_MAX) - 1;
}

size_t faa_sql_summary(struct faa_str sql, char *out, size_t cap)
{
    if (cap == 0)
        return 0;
    struct summary m = {.w = {.p = out, .cap = summary_cap(cap)}};
    tell(sql, 0, NULL, &m);
    return m.w.n;
}

void faa_sql_tell(struct faa_str sql, unsigned flags, struct faa_sql_told *out)
{
    struct writer text = {.p = out->text, .cap = sizeof(out->text) - 1};
    struct summary m = {.w = {.p = out->summary, .cap = summary_cap(sizeof(out->summary))}};
    out->text[0] = '\0';
    tell(sql, flags & FAA_SQL_QUOTED_NAMES, flags & FAA_SQL_TELL_TEXT ? &text : NULL, &m);
    out->text_len = (uint16_t)text.n;
    out->summary_len = (uint16_t)m.w.n;
    out->procedure = (uint16_t)m.procedure;
    out->procedure_len = (uint16_t)m.procedure_len;
}

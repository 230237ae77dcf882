// SPDX-License-Identifier: MIT
// SQL sanitising and summaries: a small state machine that knows where names and operations stand.
#include "span/sql.h"

#include "span/sql_lex.h"

#include <stdint.h>
#include <strings.h>

// Up to KW_UPDATE, a word is a keyword in its place only and a name elsewhere.
enum keyword {
    KW_NONE,
    KW_CALL,   // Its target follows at once.
    KW_DDL,    // A kind of object and its name follow.
    KW_OBJECT, // A kind of object.
    KW_DML,    // Its target follows INTO or FROM.
    KW_UPDATE,
    KW_SKIP, // Stands between an operation and its target.
    KW_SELECT,
    KW_FROM,
    KW_JOIN,
    KW_INTO,
    KW_USING,
    KW_WITH,
    KW_AS,
    KW_SET,
    KW_IN,
    KW_VALUES,
    KW_CONSTANT,
    KW_CLAUSE,
    KW_DISTINCT,
    KW_IDENTIFIED
};

// What the next name is, and what may follow it.
enum { NAME_TARGET = 1, NAME_LIST = 2, NAME_COLUMNS = 4, NAME_NESTED = 8 };

enum { MAX_CTES = 8 };

struct sql {
    struct faa_sql_lexer lex;
    uint64_t from_names;      // Bit n: at depth n the next FROM is followed by tables.
    unsigned depth;           // Open parentheses and one, so that in the fields below 0 means none.
    unsigned with;            // Depth of a WITH whose main operation has not come.
    unsigned columns;         // Depth of the column list that we are in.
    unsigned set;             // Depth of the SET clause that we are in.
    unsigned values;          // Depth of the VALUES rows that we are in.
    unsigned list;            // Depth at which a comma leads to another target.
    unsigned char pending;    // NAME_… of a name that is to come.
    unsigned char named;      // NAME_… of the target just seen.
    unsigned char after;      // Words left, behind a target, that may still be its alias.
    unsigned char path;       // Inside a dotted name: 1 behind a part, 2 behind a dot.
    unsigned char statement;  // A statement may start here.
    unsigned char nested;     // An operation of a WITH may start here.
    unsigned char ddl;        // The kind of object is to come.
    unsigned char cte_next;   // The name of a common table expression is to come.
    unsigned char identified; // The word IDENTIFIED was seen.
    unsigned char ctes;       // How many are in `cte`; more than that count as tables.
    struct faa_str cte[MAX_CTES];
};

static int is_punct(const struct faa_sql_token *t, unsigned char c)
{
    return t->kind == FAA_SQL_T_PUNCT && *t->p == c;
}

static enum keyword find_keyword(const struct faa_sql_token *t)
{
    static const struct {
        char text[13];
        unsigned char keyword;
    } by_length[13][14] = {
        [2] = {{"AS", KW_AS}, {"IN", KW_IN}, {"ON", KW_CLAUSE}, {"OR", KW_SKIP}, {"IF", KW_SKIP}},
        [3] = {{"SET", KW_SET}, {"NOT", KW_SKIP}},
        [4] = {{"FROM", KW_FROM},
               {"JOIN", KW_JOIN},
               {"INTO", KW_INTO},
               {"WITH", KW_WITH},
               {"NULL", KW_CONSTANT},
               {"TRUE", KW_CONSTANT},
               {"CALL", KW_CALL},
               {"EXEC", KW_CALL},
               {"COPY", KW_CALL},
               {"DROP", KW_DDL},
               {"VIEW", KW_OBJECT},
               {"TYPE", KW_OBJECT},
               {"ONLY", KW_SKIP},
               {"TEMP", KW_SKIP}},
        [5] = {{"WHERE", KW_CLAUSE},
               {"ORDER", KW_CLAUSE},
               {"LIMIT", KW_CLAUSE},
               {"FALSE", KW_CONSTANT},
               {"USING", KW_USING},
               {"TABLE", KW_OBJECT},
               {"INDEX", KW_OBJECT},
               {"MERGE", KW_DML},
               {"ALTER", KW_DDL}},
        [6] = {{"SELECT", KW_SELECT},
               {"INSERT", KW_DML},
               {"UPDATE", KW_UPDATE},
               {"DELETE", KW_DML},
               {"VALUES", KW_VALUES},
               {"CREATE", KW_DDL},
               {"PRAGMA", KW_CALL},
               {"SCHEMA", KW_OBJECT},
               {"UNIQUE", KW_SKIP},
               {"EXISTS", KW_SKIP},
               {"IGNORE", KW_SKIP}},
        [7] = {{"REPLACE", KW_DML},
               {"EXECUTE", KW_CALL},
               {"TRIGGER", KW_OBJECT},
               {"DEFAULT", KW_CONSTANT},
               {"LATERAL", KW_SKIP}},
        [8] = {{"TRUNCATE", KW_DDL},
               {"DATABASE", KW_OBJECT},
               {"SEQUENCE", KW_OBJECT},
               {"FUNCTION", KW_OBJECT},
               {"DISTINCT", KW_DISTINCT},
               {"UNLOGGED", KW_SKIP}},
        [9] = {{"PROCEDURE", KW_OBJECT},
               {"EXTENSION", KW_OBJECT},
               {"RETURNING", KW_CLAUSE},
               {"TEMPORARY", KW_SKIP},
               {"RECURSIVE", KW_SKIP}},
        [10] = {{"IDENTIFIED", KW_IDENTIFIED}},
        [12] = {{"MATERIALIZED", KW_SKIP}, {"CONCURRENTLY", KW_SKIP}},
    };
    if (t->n >= FAA_COUNT(by_length))
        return KW_NONE;
    char first = (char)(t->p[0] & 0xdf);
    for (size_t i = 0; i < FAA_COUNT(by_length[0]) && by_length[t->n][i].keyword; i++) {
        const char *text = by_length[t->n][i].text;
        if (text[0] != first)
            continue;
        size_t k = 1;
        while (k < t->n && (t->p[k] & 0xdf) == text[k])
            k++;
        if (k == t->n)
            return by_length[t->n][i].keyword;
    }
    return KW_NONE;
}

// What a token is to the caller; anything but ROLE_NONE is no literal.
enum role { ROLE_NONE, ROLE_OPERATION, ROLE_NAME, ROLE_TARGET };

static uint64_t depth_bit(const struct sql *s)
{
    return s->depth < 64 ? UINT64_C(1) << s->depth : 0;
}

static void step_punct(struct sql *s, int statement)
{
    unsigned c = s->lex.tok.n == 1 ? *s->lex.tok.p : 0;
    unsigned pending = 0;
    switch (c) {
    case '(':
        s->depth++;
        s->from_names &= ~depth_bit(s);
        if (s->path == 1 && s->named & NAME_COLUMNS)
            s->columns = s->depth;
        if (s->pending & NAME_NESTED)
            pending = s->pending;
        s->nested = s->with != 0;
        s->statement = (unsigned char)statement;
        break;
    case ')':
        if (s->columns == s->depth)
            s->columns = 0;
        s->depth -= s->depth > 1;
        s->nested = s->with == s->depth;
        break;
    case ',':
        if (s->after && s->list == s->depth)
            pending = NAME_TARGET | NAME_LIST | NAME_NESTED;
        s->cte_next = s->with == s->depth;
        break;
    case ';':
        s->depth = 1;
        s->with = s->columns = s->set = s->values = 0;
        s->from_names = 0;
        s->statement = 1;
        break;
    default:
        break;
    }
    s->path = c == '.' && s->path ? 2 : 0;
    s->after = s->path ? s->after : 0;
    s->pending = (unsigned char)pending;
}

static enum role step_name(struct sql *s)
{
    if (s->path != 2) {
        s->named = s->pending;
        s->list = s->named & NAME_LIST ? s->depth : 0;
    }
    s->path = 1;
    s->pending = 0;
    s->after = 2;
    return ROLE_TARGET;
}

static enum role step_operation(struct sql *s, enum keyword keyword)
{
    if (s->with == s->depth)
        s->with = 0;
    if (keyword == KW_SELECT || keyword == KW_DML || keyword == KW_UPDATE)
        s->from_names |= depth_bit(s);
    s->ddl = keyword == KW_DDL;
    if (keyword == KW_CALL)
        s->pending = NAME_TARGET;
    else if (keyword == KW_UPDATE || (keyword == KW_DDL && s->lex.tok.n == strlen("TRUNCATE")))
        s->pending = NAME_TARGET | NAME_LIST;
    // An operation is a word of letters; what else a broken statement starts with is left out.
    for (size_t i = 0; i < s->lex.tok.n; i++)
        if (faa_sql_class[s->lex.tok.p[i]] != FAA_SQL_LETTER || s->lex.tok.p[i] >= 0x80)
            return ROLE_NONE;
    return s->lex.tok.n <= 20 ? ROLE_OPERATION : ROLE_NONE;
}

static enum role step_keyword(struct sql *s, enum keyword keyword, int statement, int nested)
{
    int may_be_alias = s->after;
    s->after -= s->after && keyword != KW_AS;
    s->pending = 0;
    if (s->depth <= s->values)
        s->values = 0;
    if ((keyword == KW_CLAUSE || keyword == KW_FROM) && s->set == s->depth)
        s->set = 0;
    if (keyword == KW_WITH && (statement || nested)) {
        s->with = s->depth;
        s->cte_next = 1;
        return ROLE_NONE;
    }
    if (keyword == KW_SET)
        s->set = s->depth;
    if (keyword == KW_VALUES)
        s->values = s->depth;
    if (keyword == KW_IDENTIFIED)
        s->identified = 1;
    if (statement || keyword == KW_SELECT ||
        (nested && (keyword == KW_DML || keyword == KW_UPDATE)))
        return step_operation(s, keyword);
    if (keyword == KW_FROM && s->from_names & depth_bit(s) && s->lex.prev.keyword != KW_DISTINCT) {
        s->from_names &= ~depth_bit(s);
        s->pending = NAME_TARGET | NAME_LIST | NAME_NESTED;
    } else if (keyword == KW_JOIN) {
        s->pending = NAME_TARGET | NAME_LIST | NAME_NESTED;
    } else if (keyword == KW_INTO) {
        s->pending = NAME_TARGET | NAME_COLUMNS;
    } else if (keyword == KW_USING && may_be_alias) {
        s->pending = NAME_TARGET;
    }
    return ROLE_NONE;
}

// Moves the state over the token just read and tells what the token is.
static enum role step(struct sql *s)
{
    int statement = s->statement, nested = s->nested, cte_next = s->cte_next;
    enum faa_sql_kind kind = s->lex.tok.kind;
    s->statement = s->nested = s->cte_next = 0;
    if (kind == FAA_SQL_T_PUNCT) {
        s->ddl = 0;
        step_punct(s, statement);
        return ROLE_NONE;
    }
    if (kind == FAA_SQL_T_LITERAL || kind == FAA_SQL_T_PLACEHOLDER) {
        s->ddl = s->pending = s->path = s->after = 0;
        return ROLE_NONE;
    }
    if (s->path == 2)
        return step_name(s);
    s->path = 0;
    enum keyword keyword = kind == FAA_SQL_T_WORD ? find_keyword(&s->lex.tok) : KW_NONE;
    s->lex.tok.keyword = keyword;
    if (s->ddl && keyword == KW_OBJECT) {
        s->ddl = 0;
        s->pending = NAME_TARGET | NAME_LIST | NAME_COLUMNS;
        return ROLE_OPERATION;
    }
    if (keyword == KW_SKIP || (s->ddl && keyword == KW_DML)) {
        s->cte_next = (unsigned char)cte_next;
        return ROLE_NONE;
    }
    s->ddl = 0;
    if (s->pending && keyword < KW_SKIP)
        return step_name(s);
    if (cte_next && keyword < KW_SKIP) {
        if (s->ctes < MAX_CTES)
            s->cte[s->ctes++] = (struct faa_str){(const char *)s->lex.tok.p, s->lex.tok.n};
        return ROLE_NAME;
    }
    return step_keyword(s, keyword, statement && kind == FAA_SQL_T_WORD, nested);
}

// ---- Output -------------------------------------------------------------------------------------

struct writer {
    char *p;
    size_t n, cap; // Without the NUL.
    int full;
};

static void put(struct writer *w, const void *text, size_t n)
{
    const char *s = text;
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

static struct sql sql_start(struct faa_str text)
{
    const unsigned char *p = (const unsigned char *)(text.n ? text.p : "");
    size_t n = text.n < FAA_SQL_TEXT_MAX ? text.n : FAA_SQL_TEXT_MAX;
    return (struct sql){.lex = {.p = p, .end = p + n}, .depth = 1, .statement = 1};
}

// True where a double-quoted token can be nothing but a name.
static int is_identifier(const struct sql *s, enum role role)
{
    if (s->identified)
        return 0;
    int listed = is_punct(&s->lex.prev, ',');
    return role != ROLE_NONE || is_punct(&s->lex.prev, '.') || faa_sql_peek(&s->lex, 0) == '.' ||
           s->lex.prev.keyword == KW_AS ||
           (s->columns == s->depth && (listed || is_punct(&s->lex.prev, '('))) ||
           (s->set == s->depth && (listed || s->lex.prev.keyword == KW_SET));
}

// The end of the parenthesis that at->tok opens, when there is nothing in it but literals and
// placeholders, signed or cast, in lists and rows; else NULL.
static const unsigned char *values_end(const struct faa_sql_lexer *at)
{
    struct faa_sql_lexer s = {.p = at->p, .end = at->end};
    int depth = 1, items = 0, cast = 0;
    while (faa_sql_next(&s)) {
        unsigned char c = *s.tok.p;
        if (s.tok.kind == FAA_SQL_T_WORD) {
            if (!cast && find_keyword(&s.tok) != KW_CONSTANT)
                return NULL;
            items = 1;
            continue;
        }
        cast = 0;
        if (s.tok.kind != FAA_SQL_T_PUNCT)
            items = 1;
        else if (c == '(')
            depth++;
        else if (c == ')' && --depth == 0)
            return items ? s.p : NULL;
        else if (s.tok.n == 2 && c == ':')
            cast = 1;
        else if (!strchr("),+-", c))
            return NULL;
    }
    return NULL;
}

static void put_sanitized(struct writer *w, const struct sql *s, enum role role)
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

size_t faa_sql_sanitize(struct faa_str sql, char *out, size_t cap)
{
    if (cap == 0)
        return 0;
    struct sql s = sql_start(sql);
    struct writer w = {.p = out, .cap = cap - 1};
    while (!w.full && faa_sql_next(&s.lex)) {
        enum role role = step(&s);
        const unsigned char *end;
        if (s.values == s.depth && is_punct(&s.lex.tok, ',') && is_punct(&s.lex.prev, ')')) {
            struct faa_sql_lexer ahead = s.lex;
            if (faa_sql_next(&ahead) && is_punct(&ahead.tok, '(') && (end = values_end(&ahead))) {
                s.lex.p = end;
                s.lex.tok = s.lex.prev;
                continue;
            }
        }
        if (s.lex.tok.spaced && w.n)
            put(&w, " ", 1);
        if (s.lex.prev.keyword == KW_IN && is_punct(&s.lex.tok, '(') &&
            (end = values_end(&s.lex))) {
            put(&w, "(?)", 3);
            s.lex.p = end;
            s.lex.tok = (struct faa_sql_token){.p = end - 1, .n = 1, .kind = FAA_SQL_T_PUNCT};
            step(&s);
            continue;
        }
        put_sanitized(&w, &s, role);
    }
    out[w.n] = '\0';
    return w.n;
}

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

static int is_cte(const struct sql *s)
{
    for (size_t i = 0; faa_sql_peek(&s->lex, 0) != '.' && i < s->ctes; i++)
        if (s->cte[i].n == s->lex.tok.n &&
            strncasecmp(s->cte[i].p, (const char *)s->lex.tok.p, s->lex.tok.n) == 0)
            return 1;
    return 0;
}

size_t faa_sql_summary(struct faa_str sql, char *out, size_t cap)
{
    if (cap == 0)
        return 0;
    struct sql s = sql_start(sql);
    if (cap > FAA_SQL_SUMMARY_MAX)
        cap = FAA_SQL_SUMMARY_MAX;
    struct writer w = {.p = out, .cap = cap - 1};
    size_t mark = 0;   // Where the last word starts: a word that does not fit is left out whole.
    int in_target = 0; // The last word is a target that may go on behind a dot.
    while (!w.full && faa_sql_next(&s.lex)) {
        enum role role = step(&s);
        if (in_target && s.path == 2) {
            put(&w, ".", 1);
        } else if (in_target && role == ROLE_TARGET && is_punct(&s.lex.prev, '.')) {
            struct faa_sql_token part = unquoted(s.lex.tok);
            put_name(&w, &part);
        } else {
            in_target = role == ROLE_TARGET && !is_punct(&s.lex.prev, '.') && !is_cte(&s);
            if (!in_target && role != ROLE_OPERATION)
                continue;
            mark = w.n;
            if (w.n)
                put(&w, " ", 1);
            struct faa_sql_token word = unquoted(s.lex.tok);
            size_t from = w.n;
            put_name(&w, &word);
            for (; role == ROLE_OPERATION && from < w.n; from++)
                if (w.p[from] != '_')
                    w.p[from] &= (char)0xdf;
        }
    }
    if (w.full)
        w.n = mark;
    out[w.n] = '\0';
    return w.n;
}

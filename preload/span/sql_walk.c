// SPDX-License-Identifier: MIT
// The state machine that knows where names, operations and secrets stand.
#include "span/sql_walk.h"

#include <strings.h>

// What the next name is, and what may follow it.
enum {
    NAME_TARGET = 1,
    NAME_LIST = 2,
    NAME_COLUMNS = 4,
    NAME_NESTED = 8,
    NAME_PROCEDURE = 16,
    NAME_DIRECT = 32 // It is none where INTO, FROM or a comma follows.
};

enum { STATEMENT = 1, KNOWN_STATEMENT = 2 };

void faa_sql_walk_start(struct faa_sql_walk *s, struct faa_str text, size_t max)
{
    const unsigned char *p = (const unsigned char *)(text.n ? text.p : "");
    memset(s, 0, offsetof(struct faa_sql_walk, cte));
    s->lex.p = p;
    s->lex.end = p + (text.n < max ? text.n : max);
    s->depth = 1;
    s->statement = STATEMENT;
}

int faa_sql_walk_is_cte(const struct faa_sql_walk *s)
{
    for (size_t i = 0; faa_sql_peek(&s->lex, 0) != '.' && i < s->ctes; i++)
        if (s->cte[i].n == s->lex.tok.n &&
            strncasecmp(s->cte[i].p, (const char *)s->lex.tok.p, s->lex.tok.n) == 0)
            return 1;
    return 0;
}

static uint64_t depth_bit(const struct faa_sql_walk *s)
{
    return s->depth < 64 ? UINT64_C(1) << s->depth : 0;
}

// ---- punctuation --------------------------------------------------------------------------------

static void end_statement(struct faa_sql_walk *s)
{
    s->depth = 1;
    s->with = s->columns = s->set = s->values = 0;
    s->from_names = 0;
    s->main = s->flow = s->escape = s->account = s->value = s->held = 0;
    s->lex.hide = s->from_stdin ? FAA_SQL_HIDE_REST : FAA_SQL_HIDE_NOTHING;
    s->statement = s->block ? KNOWN_STATEMENT : STATEMENT;
}

static unsigned open_parenthesis(struct faa_sql_walk *s, int statement)
{
    s->depth++;
    s->from_names &= ~depth_bit(s);
    if (s->path == 1 && s->named & NAME_COLUMNS)
        s->columns = s->depth;
    s->nested = s->with != 0;
    s->statement = (unsigned char)statement;
    return s->pending & NAME_NESTED ? s->pending : 0;
}

static unsigned close_parenthesis(struct faa_sql_walk *s)
{
    if (s->columns == s->depth)
        s->columns = 0;
    s->depth -= s->depth > 1;
    s->nested = s->with == s->depth;
    unsigned held = s->held && s->held_depth == s->depth ? s->held : 0;
    s->held = 0;
    return held;
}

static unsigned equals(struct faa_sql_walk *s, int statement)
{
    if (s->main == FAA_SQL_KW_SET && !s->value && s->depth == 1)
        s->value = 1;
    // {? = CALL f}, BEGIN :r := f(); and EXEC @r = p.
    if (statement && (s->escape || s->main == FAA_SQL_KW_BEGIN))
        s->statement = (unsigned char)statement;
    return s->lex.prev.kind == FAA_SQL_T_PLACEHOLDER ? s->pending & NAME_PROCEDURE : 0;
}

static void step_punct(struct faa_sql_walk *s, int statement)
{
    unsigned c = s->lex.tok.n == 1 ? *s->lex.tok.p : 0;
    unsigned pending = 0;
    switch (c) {
    case '(':
        pending = open_parenthesis(s, statement);
        break;
    case ')':
        pending = close_parenthesis(s);
        break;
    case ',':
        if (s->after && s->list == s->depth)
            pending = NAME_TARGET | NAME_LIST | NAME_NESTED;
        s->cte_next = s->with == s->depth;
        s->value = s->value == 2 ? 2 : 0;
        break;
    case ';':
        end_statement(s);
        break;
    case '{':
        s->escape = statement != 0;
        s->statement = (unsigned char)statement;
        break;
    case ':':
        s->statement = s->main == FAA_SQL_KW_BEGIN ? (unsigned char)statement : 0;
        break;
    case '=':
        pending = equals(s, statement);
        break;
    default:
        break;
    }
    s->path = c == '.' && s->path ? 2 : 0;
    s->after = s->path ? s->after : 0;
    s->pending = (unsigned char)pending;
}

// ---- secrets ------------------------------------------------------------------------------------

// PRAGMAs of the encrypted kinds of SQLite.
static int names_key(const struct faa_sql_token *t)
{
    return faa_sql_is_word(t, "KEY") || faa_sql_is_word(t, "REKEY") ||
           faa_sql_is_word(t, "HEXKEY") || faa_sql_is_word(t, "HEXREKEY") ||
           faa_sql_is_word(t, "TEXTKEY");
}

// True when the word after this one holds a secret.
static int leads_to_secret(const struct faa_sql_walk *s)
{
    const struct faa_sql_token *t = &s->lex.tok;
    if (s->identified && (faa_sql_is_word(t, "BY") || faa_sql_is_word(t, "AS") ||
                          faa_sql_is_word(t, "REPLACE") || faa_sql_is_word(t, "USING") ||
                          faa_sql_is_word(t, "VALUES") || faa_sql_is_word(t, "PASSWORD")))
        return 1;
    if (s->account)
        return faa_sql_is_word(t, "PASSWORD");
    if (s->main == FAA_SQL_KW_PRAGMA)
        return names_key(t);
    return s->main == FAA_SQL_KW_ATTACH && faa_sql_is_word(t, "KEY");
}

static int is_operation(enum faa_sql_keyword keyword)
{
    return (keyword >= FAA_SQL_KW_CALL && keyword <= FAA_SQL_KW_TRUNCATE) ||
           keyword == FAA_SQL_KW_DML || keyword == FAA_SQL_KW_UPDATE ||
           keyword == FAA_SQL_KW_SELECT || keyword == FAA_SQL_KW_SET || keyword == FAA_SQL_KW_WITH;
}

// In a SET statement a value may be a bare word.
static int is_value(struct faa_sql_walk *s, enum faa_sql_keyword keyword)
{
    if (s->main != FAA_SQL_KW_SET || s->depth != 1)
        return 0;
    if (!s->value) {
        if (faa_sql_is_word(&s->lex.tok, "TO"))
            s->value = 2;
        return 0;
    }
    if (is_operation(keyword)) // SQL Server needs no semicolon.
        s->value = 0;
    return s->value && keyword != FAA_SQL_KW_CONSTANT && !faa_sql_is_word(&s->lex.tok, "ON") &&
           !faa_sql_is_word(&s->lex.tok, "OFF");
}

// ---- words --------------------------------------------------------------------------------------

// True for what stands between DELETE and FROM, or INSERT and INTO, and is told behind those.
static int is_told_later(const struct faa_sql_walk *s)
{
    struct faa_sql_lexer ahead = s->lex;
    if (!faa_sql_next(&ahead))
        return 0;
    return faa_sql_is_punct(&ahead.tok, ',') || faa_sql_is_word(&ahead.tok, "INTO") ||
           faa_sql_is_word(&ahead.tok, "FROM") || faa_sql_is_word(&ahead.tok, "TABLE");
}

static enum faa_sql_role step_name(struct faa_sql_walk *s)
{
    if (s->path != 2) {
        if (s->pending & NAME_DIRECT && is_told_later(s)) {
            s->pending = 0;
            return FAA_SQL_ROLE_NAME;
        }
        s->named = s->pending;
        s->list = s->named & NAME_LIST ? s->depth : 0;
    }
    s->path = 1;
    s->pending = 0;
    s->after = 2;
    return s->named & NAME_PROCEDURE ? FAA_SQL_ROLE_PROCEDURE : FAA_SQL_ROLE_TARGET;
}

// An operation is a word of letters; what else a broken statement starts with is left out.
static enum faa_sql_role operation_role(const struct faa_sql_token *t)
{
    for (size_t i = 0; i < t->n; i++)
        if (faa_sql_class[t->p[i]] != FAA_SQL_LETTER || t->p[i] >= 0x80)
            return FAA_SQL_ROLE_NONE;
    return t->n <= 20 ? FAA_SQL_ROLE_OPERATION : FAA_SQL_ROLE_NONE;
}

static enum faa_sql_role step_operation(struct faa_sql_walk *s, enum faa_sql_keyword keyword)
{
    if (s->with == s->depth)
        s->with = 0;
    if (s->depth == 1)
        s->main = (unsigned char)keyword;
    s->value = 0;
    s->ddl = keyword == FAA_SQL_KW_DDL || keyword == FAA_SQL_KW_TRUNCATE;
    switch (keyword) {
    case FAA_SQL_KW_SELECT:
        s->from_names |= depth_bit(s);
        break;
    case FAA_SQL_KW_DML:
        s->from_names |= depth_bit(s);
        s->pending = NAME_TARGET | NAME_COLUMNS | NAME_DIRECT;
        break;
    case FAA_SQL_KW_UPDATE:
        s->from_names |= depth_bit(s);
        s->pending = NAME_TARGET | NAME_LIST;
        break;
    case FAA_SQL_KW_TRUNCATE:
        s->pending = NAME_TARGET | NAME_LIST;
        break;
    case FAA_SQL_KW_CALL:
        s->pending = NAME_TARGET | NAME_PROCEDURE;
        break;
    case FAA_SQL_KW_COPY:
    case FAA_SQL_KW_PRAGMA:
        s->pending = NAME_TARGET;
        break;
    case FAA_SQL_KW_BEGIN:
        s->statement = KNOWN_STATEMENT;
        break;
    default:
        break;
    }
    return operation_role(&s->lex.tok);
}

// True where an operation stands that is not the first word of its statement.
static int is_inner_operation(const struct faa_sql_walk *s, enum faa_sql_keyword keyword,
                              int nested)
{
    const struct faa_sql_token *prev = &s->lex.prev;
    if (keyword ==
        FAA_SQL_KW_SELECT) // As a privilege, or what a policy is for, it selects nothing.
        return s->main != FAA_SQL_KW_GRANT &&
               !(s->main == FAA_SQL_KW_DDL && faa_sql_is_word(prev, "FOR"));
    if (keyword != FAA_SQL_KW_DML && keyword != FAA_SQL_KW_UPDATE)
        return 0;
    return nested || (s->flow && s->depth == 1 && faa_sql_next_byte(&s->lex) != '(' &&
                      !faa_sql_is_word(prev, "FOR") && !faa_sql_is_word(prev, "ON") &&
                      !faa_sql_is_word(prev, "THEN"));
}

// True for the call of a procedure that stands for a statement in a block.
static int is_call(const struct faa_sql_walk *s, enum faa_sql_keyword keyword)
{
    unsigned next = faa_sql_next_byte(&s->lex);
    return keyword == FAA_SQL_KW_NONE && (next == '(' || next == '.');
}

static enum faa_sql_role step_keyword(struct faa_sql_walk *s, enum faa_sql_keyword keyword,
                                      int statement, int nested)
{
    int may_be_alias = s->after;
    s->after -= s->after && keyword != FAA_SQL_KW_AS;
    s->pending = 0;
    if (s->depth <= s->values)
        s->values = 0;
    if ((keyword == FAA_SQL_KW_CLAUSE || keyword == FAA_SQL_KW_FROM) && s->set == s->depth)
        s->set = 0;
    if (keyword == FAA_SQL_KW_WITH && (statement || nested)) {
        s->with = s->depth;
        s->cte_next = 1;
        return FAA_SQL_ROLE_NONE;
    }
    if (keyword == FAA_SQL_KW_SET)
        s->set = s->depth;
    if (keyword == FAA_SQL_KW_VALUES)
        s->values = s->depth;
    if (keyword == FAA_SQL_KW_IDENTIFIED)
        s->identified = 1;
    if (keyword == FAA_SQL_KW_BEGIN && s->main == FAA_SQL_KW_DDL) {
        s->block = 1;
        s->statement = KNOWN_STATEMENT;
    }
    if (statement || is_inner_operation(s, keyword, nested))
        return step_operation(s, keyword);
    if (keyword == FAA_SQL_KW_FROM && s->from_names & depth_bit(s) &&
        s->lex.prev.keyword != FAA_SQL_KW_DISTINCT) {
        s->from_names &= ~depth_bit(s);
        s->pending = NAME_TARGET | NAME_LIST | NAME_NESTED;
    } else if (keyword == FAA_SQL_KW_JOIN) {
        s->pending = NAME_TARGET | NAME_LIST | NAME_NESTED;
    } else if (keyword == FAA_SQL_KW_INTO) {
        s->pending = NAME_TARGET | NAME_COLUMNS;
    } else if (keyword == FAA_SQL_KW_USING && may_be_alias && s->main != FAA_SQL_KW_DDL &&
               s->main != FAA_SQL_KW_CALL) {
        s->pending = NAME_TARGET;
    }
    return FAA_SQL_ROLE_NONE;
}

// What a word means that may start a statement only if it is one that is known. Returns whether
// it does.
static int starts_known_statement(struct faa_sql_walk *s, enum faa_sql_keyword keyword)
{
    if (is_call(s, keyword)) {
        s->block = 1;
        s->pending = NAME_TARGET | NAME_PROCEDURE;
        return 0;
    }
    int known = is_operation(keyword);
    s->block |= (unsigned char)known;
    return known;
}

// True for words that change nothing of what is to come.
static int is_skipped(struct faa_sql_walk *s, enum faa_sql_keyword keyword)
{
    if (keyword == FAA_SQL_KW_SKIP || keyword == FAA_SQL_KW_OR ||
        (s->lex.prev.keyword == FAA_SQL_KW_OR && (s->ddl || s->pending)))
        return 1;
    if (s->ddl && (keyword == FAA_SQL_KW_DML || keyword == FAA_SQL_KW_MODIFIER))
        return 1;
    if (!s->pending)
        return 0;
    // EXECUTE IMMEDIATE '…', LOAD DATA … INTO TABLE t, UPDATE TOP (5) t.
    if (keyword == FAA_SQL_KW_IMMEDIATE ||
        (s->pending & NAME_COLUMNS && faa_sql_is_word(&s->lex.tok, "TABLE")))
        return 1;
    if (faa_sql_is_word(&s->lex.tok, "TOP") && faa_sql_next_byte(&s->lex) == '(') {
        s->held = s->pending;
        s->held_depth = s->depth;
        return 1;
    }
    return 0;
}

static enum faa_sql_role step_object(struct faa_sql_walk *s, enum faa_sql_keyword keyword)
{
    s->ddl = 0;
    s->pending = NAME_TARGET | NAME_LIST | NAME_COLUMNS;
    if (keyword == FAA_SQL_KW_ACCOUNT) {
        s->pending = 0;
        s->account = 1;
    }
    return FAA_SQL_ROLE_OPERATION;
}

static enum faa_sql_role step_word(struct faa_sql_walk *s, int statement, int nested, int cte_next)
{
    int is_word = s->lex.tok.kind == FAA_SQL_T_WORD;
    enum faa_sql_keyword keyword = is_word ? faa_sql_keyword_of(&s->lex.tok) : FAA_SQL_KW_NONE;
    s->lex.tok.keyword = keyword;
    if (is_value(s, keyword)) {
        s->lex.tok.kind = FAA_SQL_T_LITERAL;
        return FAA_SQL_ROLE_NONE;
    }
    if (s->ddl && (keyword == FAA_SQL_KW_OBJECT || keyword == FAA_SQL_KW_ACCOUNT))
        return step_object(s, keyword);
    if (is_skipped(s, keyword)) {
        s->cte_next = (unsigned char)cte_next;
        s->flow |= statement && faa_sql_is_word(&s->lex.tok, "IF");
        return FAA_SQL_ROLE_NONE;
    }
    if (statement == KNOWN_STATEMENT && is_word)
        statement = starts_known_statement(s, keyword);
    s->ddl = 0;
    if (s->pending && keyword < FAA_SQL_KW_SKIP)
        return step_name(s);
    if (cte_next && keyword < FAA_SQL_KW_SKIP) {
        if (s->ctes < FAA_SQL_CTES_MAX)
            s->cte[s->ctes++] = (struct faa_str){(const char *)s->lex.tok.p, s->lex.tok.n};
        return FAA_SQL_ROLE_NAME;
    }
    return step_keyword(s, keyword, statement && is_word, nested);
}

enum faa_sql_role faa_sql_walk_step(struct faa_sql_walk *s)
{
    int statement = s->statement, nested = s->nested, cte_next = s->cte_next;
    enum faa_sql_kind kind = s->lex.tok.kind;
    s->statement = s->nested = s->cte_next = 0;
    if (kind == FAA_SQL_T_PUNCT) {
        s->ddl = 0;
        step_punct(s, statement);
        return FAA_SQL_ROLE_NONE;
    }
    if (kind == FAA_SQL_T_LITERAL || kind == FAA_SQL_T_PLACEHOLDER) {
        int result = kind == FAA_SQL_T_PLACEHOLDER && faa_sql_next_byte(&s->lex) == '=';
        s->pending = result ? s->pending & NAME_PROCEDURE : 0;
        if ((result && s->escape) || s->main == FAA_SQL_KW_BEGIN)
            s->statement = (unsigned char)statement;
        s->ddl = s->path = s->after = 0;
        return FAA_SQL_ROLE_NONE;
    }
    enum faa_sql_role role;
    if (s->path == 2) {
        role = step_name(s);
    } else {
        s->path = 0;
        role = step_word(s, statement, nested, cte_next);
    }
    if (leads_to_secret(s))
        s->lex.hide = FAA_SQL_HIDE_WORD;
    if (s->main == FAA_SQL_KW_COPY && s->lex.prev.keyword == FAA_SQL_KW_FROM &&
        faa_sql_is_word(&s->lex.tok, "STDIN"))
        s->from_stdin = 1;
    return role;
}

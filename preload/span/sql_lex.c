// SPDX-License-Identifier: MIT
// The SQL lexer: one pass, and where dialects part ways the reading that hides more.
#include "span/sql_lex.h"

#include <strings.h>

const unsigned char faa_sql_class[256] = {
    [0 ... ' '] = FAA_SQL_SPACE,   [0x7f] = FAA_SQL_SPACE,           ['$'] = FAA_SQL_DOLLAR,
    ['0' ... '9'] = FAA_SQL_DIGIT, ['A' ... 'Z'] = FAA_SQL_LETTER,   ['a' ... 'z'] = FAA_SQL_LETTER,
    ['_'] = FAA_SQL_LETTER,        [0x80 ... 0xff] = FAA_SQL_LETTER,
};

static size_t left(const struct faa_sql_lexer *s)
{
    return (size_t)(s->end - s->p);
}

// True when another dialect could see a literal, name or comment begin in these bytes.
static int has_opening(const unsigned char *p, const unsigned char *end)
{
    for (; p < end; p++)
        if (*p == '\'' || *p == '"' || *p == '`' || *p == '$' || *p == '/' || *p == '[')
            return 1;
    return 0;
}

static int skip_block_comment(struct faa_sql_lexer *s)
{
    const unsigned char *start = s->p + 2, *p = start;
    for (; p + 1 < s->end; p++) {
        if (p[0] == '/' && p[1] == '*')
            return -1;
        if (p[0] == '*' && p[1] == '/')
            break;
    }
    if (p + 1 >= s->end) {
        s->p = s->end;
        return 1;
    }
    // MySQL runs what is in such a comment, and a literal there may hold the closing mark.
    if ((*start == '!' || *start == 'M') && has_opening(start, p))
        return -1;
    s->p = p + 2;
    return 1;
}

static int skip_line_comment(struct faa_sql_lexer *s, int sure)
{
    const unsigned char *eol = memchr(s->p, '\n', left(s));
    if (!eol)
        eol = s->end;
    // A carriage return alone ends the comment in some dialects only.
    const unsigned char *cr = memchr(s->p, '\r', (size_t)(eol - s->p));
    if ((!sure || (cr && cr + 1 != eol)) && has_opening(s->p, eol))
        return -1;
    s->p = eol;
    return 1;
}

// True for PostgreSQL's path operators at '#', which every other reading takes for a comment.
static int is_path_operator(const struct faa_sql_lexer *s)
{
    size_t i = 1;
    while (i < 3 && faa_sql_peek(s, i) == '>')
        i++;
    if (i == 1)
        return 0;
    while (faa_sql_peek(s, i) == ' ')
        i++;
    unsigned c = faa_sql_peek(s, i);
    return c && strchr("'%$:?@", (int)c) != NULL;
}

// Skips one comment: 1 done, 0 there is none, -1 the rest of the statement must be hidden.
static int skip_comment(struct faa_sql_lexer *s)
{
    if (*s->p == '-' && faa_sql_peek(s, 1) == '-')
        return skip_line_comment(s, left(s) == 2 || faa_sql_class[s->p[2]] == FAA_SQL_SPACE);
    if (*s->p == '/' && faa_sql_peek(s, 1) == '*')
        return skip_block_comment(s);
    if (*s->p == '#' && !is_path_operator(s))
        return skip_line_comment(s, 0);
    return 0;
}

enum escapes { ESCAPES_NONE, ESCAPES_BACKSLASH, ESCAPES_UNKNOWN };

// Reads the quoted run whose opening quote is at s->p. Where its end is missing or in doubt, all
// that is left becomes a literal.
static enum faa_sql_kind lex_quoted(struct faa_sql_lexer *s, enum escapes escapes,
                                    enum faa_sql_kind kind)
{
    const unsigned char *p = s->p, *end = s->end;
    unsigned char quote = *p++;
    s->p = end;
    while (p < end) {
        if (*p == '\\' && escapes != ESCAPES_NONE) {
            if (end - p < 2 || (p[1] == quote && escapes == ESCAPES_UNKNOWN))
                return FAA_SQL_T_LITERAL;
            p += 2;
        } else if (*p != quote) {
            p++;
        } else if (end - p > 1 && p[1] == quote) {
            p += 2;
        } else {
            s->p = p + 1;
            return kind;
        }
    }
    return FAA_SQL_T_LITERAL;
}

// The end of Oracle's q'[…]' whose quote is at p.
static const unsigned char *q_quoted_end(const unsigned char *p, const unsigned char *end)
{
    if (end - p < 2)
        return end;
    unsigned char c = p[1];
    const unsigned char close[2] = {c == '['   ? ']'
                                    : c == '(' ? ')'
                                    : c == '{' ? '}'
                                    : c == '<' ? '>'
                                               : c,
                                    '\''};
    const unsigned char *found = memmem(p + 2, (size_t)(end - p - 2), close, 2);
    return found ? found + 2 : end;
}

static enum faa_sql_kind lex_word(struct faa_sql_lexer *s)
{
    const unsigned char *p = s->p, *q = p + 1, *end = s->end;
    while (q < end && faa_sql_class[*q] >= FAA_SQL_DOLLAR)
        q++;
    s->p = q;
    unsigned char first = *p | 0x20, last = q[-1] | 0x20;
    size_t n = (size_t)(q - p);
    size_t quote = n == 1 && first == 'u' && faa_sql_peek(s, 0) == '&';
    if (n > 2 || faa_sql_peek(s, quote) != '\'')
        return FAA_SQL_T_WORD;
    if (last == 'q' && (n == 1 || first == 'n')) {
        s->p = q_quoted_end(s->p, s->end);
        return FAA_SQL_T_LITERAL;
    }
    if (n != 1 || !strchr("enxbu", first))
        return FAA_SQL_T_WORD;
    s->p += quote;
    return lex_quoted(s, first == 'e' ? ESCAPES_BACKSLASH : ESCAPES_UNKNOWN, FAA_SQL_T_LITERAL);
}

// Takes letters with the digits, so that 0xff, 1e5 and 1_000 are one literal.
static enum faa_sql_kind lex_number(struct faa_sql_lexer *s)
{
    for (; s->p < s->end; s->p++) {
        if (faa_sql_class[*s->p] >= FAA_SQL_DIGIT || *s->p == '.')
            continue;
        if ((*s->p != '+' && *s->p != '-') || (s->p[-1] | 0x20) != 'e' ||
            faa_sql_class[faa_sql_peek(s, 1)] != FAA_SQL_DIGIT)
            break;
    }
    return FAA_SQL_T_LITERAL;
}

static enum faa_sql_kind lex_dollar(struct faa_sql_lexer *s)
{
    const unsigned char *start = s->p++;
    if (faa_sql_class[faa_sql_peek(s, 0)] == FAA_SQL_DIGIT) {
        unsigned number = 0;
        for (; faa_sql_class[faa_sql_peek(s, 0)] == FAA_SQL_DIGIT; s->p++)
            number = number > 65535 ? number : number * 10 + (*s->p - '0');
        if (number <= 65535 && start[1] != '0' && faa_sql_peek(s, 0) != '.')
            return FAA_SQL_T_PLACEHOLDER;
        return lex_number(s); // A SQL Server amount of money.
    }
    while (faa_sql_class[faa_sql_peek(s, 0)] >= FAA_SQL_DIGIT)
        s->p++;
    if (faa_sql_peek(s, 0) != '$')
        return s->p == start + 1 ? FAA_SQL_T_PUNCT : FAA_SQL_T_PLACEHOLDER;
    s->p++;
    size_t tag = (size_t)(s->p - start);
    const unsigned char *close = memmem(s->p, left(s), start, tag);
    s->p = close ? close + tag : s->end;
    return FAA_SQL_T_LITERAL;
}

static enum faa_sql_kind lex_percent(struct faa_sql_lexer *s)
{
    size_t i = 1;
    if (faa_sql_peek(s, 1) == '(' && faa_sql_class[faa_sql_peek(s, 2)] == FAA_SQL_LETTER) {
        i = 2;
        while (faa_sql_class[faa_sql_peek(s, i)] >= FAA_SQL_DOLLAR || faa_sql_peek(s, i) == '.')
            i++;
        if (faa_sql_peek(s, i++) != ')')
            i = left(s);
    }
    unsigned type = faa_sql_peek(s, i), next = faa_sql_peek(s, i + 1);
    int is_placeholder =
        (type == 's' || type == 'b' || type == 't') && faa_sql_class[next] < FAA_SQL_DOLLAR;
    s->p += is_placeholder ? i + 1 : 1;
    return is_placeholder ? FAA_SQL_T_PLACEHOLDER : FAA_SQL_T_PUNCT;
}

// SQL Server's and SQLite's quoted name, or the start of a subscript.
static enum faa_sql_kind lex_bracket(struct faa_sql_lexer *s)
{
    const unsigned char *p = s->p + 1;
    int words = p < s->end && faa_sql_class[*p] == FAA_SQL_LETTER, agreed = 1;
    for (; agreed && p < s->end && *p != ']'; p++) {
        unsigned char c = *p, next = p + 1 < s->end ? p[1] : 0;
        if (c == '\'' || c == '"' || c == '`' || c == '[' || c == '#' ||
            (c == '$' && faa_sql_class[next] != FAA_SQL_DIGIT) || (c == '-' && next == '-') ||
            (c == '/' && next == '*'))
            agreed = 0;
        if (faa_sql_class[c] == FAA_SQL_DIGIT ? faa_sql_class[p[-1]] < FAA_SQL_DOLLAR
                                              : c != ' ' && faa_sql_class[c] != FAA_SQL_LETTER)
            words = 0;
    }
    agreed = agreed && p < s->end;
    if (agreed && words) {
        s->p = p + 1;
        return FAA_SQL_T_QUOTED;
    }
    int is_array = faa_sql_is_word(&s->prev, "ARRAY");
    s->p = agreed || is_array || faa_sql_peek(s, 1) == '\'' ? s->p + 1 : s->end;
    return s->p == s->end ? FAA_SQL_T_LITERAL : FAA_SQL_T_PUNCT;
}

static enum faa_sql_kind lex_symbol(struct faa_sql_lexer *s)
{
    unsigned char c = *s->p;
    unsigned next = faa_sql_peek(s, 1);
    switch (c) {
    case '\'':
        return lex_quoted(s, ESCAPES_UNKNOWN, FAA_SQL_T_LITERAL);
    case '"':
        return lex_quoted(s, ESCAPES_UNKNOWN, FAA_SQL_T_DOUBLE_QUOTED);
    case '`':
        return lex_quoted(s, ESCAPES_NONE, FAA_SQL_T_QUOTED);
    case '[':
        return lex_bracket(s);
    case '%':
        return lex_percent(s);
    case '?':
        for (s->p++; faa_sql_class[faa_sql_peek(s, 0)] == FAA_SQL_DIGIT; s->p++)
            ;
        return FAA_SQL_T_PLACEHOLDER;
    case ':':
    case '@':
        s->p += 1 + (next == c);
        if (faa_sql_class[faa_sql_peek(s, 0)] != FAA_SQL_LETTER || (c == ':' && next == c))
            return FAA_SQL_T_PUNCT;
        while (faa_sql_class[faa_sql_peek(s, 0)] >= FAA_SQL_DOLLAR)
            s->p++;
        return FAA_SQL_T_PLACEHOLDER;
    case '.':
        if (faa_sql_class[next] == FAA_SQL_DIGIT)
            return lex_number(s);
        break;
    default:
        break;
    }
    s->p++;
    return FAA_SQL_T_PUNCT;
}

unsigned faa_sql_next_byte(const struct faa_sql_lexer *s)
{
    const unsigned char *p = s->p;
    while (p < s->end && faa_sql_class[*p] == FAA_SQL_SPACE)
        p++;
    return p < s->end ? *p : 0;
}

int faa_sql_is_word(const struct faa_sql_token *t, const char *word)
{
    return t->kind == FAA_SQL_T_WORD && t->n == strlen(word) &&
           strncasecmp((const char *)t->p, word, t->n) == 0;
}

// What a driver or SQLAlchemy puts in the place of a parameter; $name and @name may be passwords.
static int is_parameter(const struct faa_sql_token *t)
{
    return t->kind == FAA_SQL_T_PLACEHOLDER &&
           (*t->p == '?' || *t->p == '%' || *t->p == ':' ||
            (*t->p == '$' && faa_sql_class[t->p[1]] == FAA_SQL_DIGIT));
}

// A password without quotes may hold any byte up to where a word must end.
static void hide_word(struct faa_sql_lexer *s)
{
    struct faa_sql_token *t = &s->tok;
    if (t->kind == FAA_SQL_T_PUNCT && (*t->p == '=' || *t->p == '('))
        return;
    if (faa_sql_is_word(t, "TO") || faa_sql_is_word(t, "IS"))
        return;
    s->hide = FAA_SQL_HIDE_NOTHING;
    if (is_parameter(t) || (t->kind == FAA_SQL_T_PUNCT && strchr(";,)", *t->p)))
        return;
    while (s->p < s->end && faa_sql_class[*s->p] != FAA_SQL_SPACE && *s->p != ';' && *s->p != ',' &&
           *s->p != ')')
        s->p++;
    t->kind = FAA_SQL_T_LITERAL;
}

int faa_sql_next(struct faa_sql_lexer *s)
{
    s->prev = s->tok;
    int spaced = 0, comment = 0;
    while (s->p < s->end) {
        if (faa_sql_class[*s->p] == FAA_SQL_SPACE)
            s->p++;
        else if ((comment = skip_comment(s)) <= 0)
            break;
        spaced = 1;
    }
    s->tok = (struct faa_sql_token){.p = s->p, .spaced = spaced};
    if (s->p == s->end)
        return 0;
    unsigned class = faa_sql_class[*s->p];
    if (comment < 0 || s->hide == FAA_SQL_HIDE_REST) {
        s->p = s->end;
        s->tok.kind = FAA_SQL_T_LITERAL;
    } else if (class == FAA_SQL_LETTER) {
        s->tok.kind = lex_word(s);
    } else if (class == FAA_SQL_DIGIT) {
        s->tok.kind = lex_number(s);
    } else if (class == FAA_SQL_DOLLAR) {
        s->tok.kind = lex_dollar(s);
    } else {
        s->tok.kind = lex_symbol(s);
    }
    if (s->hide == FAA_SQL_HIDE_WORD)
        hide_word(s);
    s->tok.n = (size_t)(s->p - s->tok.p);
    return 1;
}

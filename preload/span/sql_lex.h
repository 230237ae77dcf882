// SPDX-License-Identifier: MIT
// SQL in tokens, of any dialect: the tokens that hold values are told from all others (see sql.h).
#ifndef FAA_SPAN_SQL_LEX_H
#define FAA_SPAN_SQL_LEX_H

#include "base/str.h"

/// Classes of bytes: those of DOLLAR and above continue a word, of DIGIT and above a number.
enum { FAA_SQL_PUNCT, FAA_SQL_SPACE, FAA_SQL_DOLLAR, FAA_SQL_DIGIT, FAA_SQL_LETTER };

extern const unsigned char faa_sql_class[256];

enum faa_sql_kind {
    FAA_SQL_T_END,
    FAA_SQL_T_PUNCT, ///< One byte, or `::`, `@@`.
    FAA_SQL_T_WORD,
    FAA_SQL_T_LITERAL, ///< Also the rest of the text, when dialects disagree about it.
    FAA_SQL_T_PLACEHOLDER,
    FAA_SQL_T_QUOTED,       ///< `..` or [..]: a name.
    FAA_SQL_T_DOUBLE_QUOTED ///< "..": a name or a literal.
};

struct faa_sql_token {
    const unsigned char *p;
    size_t n;
    enum faa_sql_kind kind;
    int spaced;       ///< White space or a comment stands before it.
    unsigned keyword; ///< For the caller, who may set it on the current token; 0 at first.
};

/// What the caller knows of the tokens to come.
enum faa_sql_hiding {
    FAA_SQL_HIDE_NOTHING,
    FAA_SQL_HIDE_WORD, ///< The next word is a secret, behind `=`, `(`, TO or IS if they are there.
    FAA_SQL_HIDE_REST  ///< What follows is no SQL.
};

/// Set `p` and `end`, the rest zero. Tokens point into the text.
struct faa_sql_lexer {
    const unsigned char *p, *end;
    struct faa_sql_token tok, prev; ///< The current token and the one before it.
    enum faa_sql_hiding hide;       ///< Set by the caller, and taken back here.
};

/// Reads the next token into `tok`; 0 at the end.
int faa_sql_next(struct faa_sql_lexer *s);

/// True when the token is this word, in any case. `word` is in upper case.
int faa_sql_is_word(const struct faa_sql_token *t, const char *word);

/// The first byte behind the current token that is no white space, 0 behind the end.
unsigned faa_sql_next_byte(const struct faa_sql_lexer *s);

/// The byte i places behind the current token, 0 behind the end.
static inline unsigned faa_sql_peek(const struct faa_sql_lexer *s, size_t i)
{
    return i < (size_t)(s->end - s->p) ? s->p[i] : 0;
}

#endif

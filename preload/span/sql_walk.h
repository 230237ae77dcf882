// SPDX-License-Identifier: MIT
// A walk over a statement's tokens that knows which are operations and names, and which words hold
// secrets.
#ifndef FAA_SPAN_SQL_WALK_H
#define FAA_SPAN_SQL_WALK_H

#include "span/sql_words.h"

#include <stdint.h>

enum { FAA_SQL_CTES_MAX = 8 };

/// What a token is; anything but FAA_SQL_ROLE_NONE is no literal.
enum faa_sql_role {
    FAA_SQL_ROLE_NONE,
    FAA_SQL_ROLE_OPERATION,
    FAA_SQL_ROLE_NAME,
    FAA_SQL_ROLE_TARGET,
    FAA_SQL_ROLE_PROCEDURE ///< A target that is called.
};

/// Initialised by faa_sql_walk_start. The fields up to `named` may be read.
struct faa_sql_walk {
    struct faa_sql_lexer lex; ///< tok and prev have their keywords set.
    unsigned depth;           ///< Open parentheses and one, so that below 0 means none.
    unsigned columns;         ///< Depth of the column list that we are in.
    unsigned set;             ///< Depth of the SET clause that we are in.
    unsigned values;          ///< Depth of the VALUES rows that we are in.
    unsigned char path;       ///< Inside a dotted name: 1 behind a part, 2 behind a dot.
    unsigned char identified; ///< The word IDENTIFIED was seen.
    unsigned char named;      // What the target just seen is.
    unsigned char pending;    // What the name that is to come is.
    unsigned char held;       // What will be pending behind the parenthesis of TOP (…),
    unsigned held_depth;      // which is at this depth.
    uint64_t from_names;      // Bit n: at depth n the next FROM is followed by tables.
    unsigned with;            // Depth of a WITH whose main operation has not come.
    unsigned list;            // Depth at which a comma leads to another target.
    unsigned char main;       // The keyword of the statement's operation.
    unsigned char after;      // Words left, behind a target, that may still be its alias.
    unsigned char statement;  // A statement may start here; 2: if it is one that is known.
    unsigned char block;      // In a BEGIN … END of statements.
    unsigned char flow;       // The statement begins with IF.
    unsigned char escape;     // In an ODBC escape, {call …}.
    unsigned char account;    // The statement is about a user.
    unsigned char value;      // In the value of a SET statement: 1 up to a comma, 2 up to the end.
    unsigned char from_stdin; // Rows follow the statement.
    unsigned char nested;     // An operation of a WITH may start here.
    unsigned char ddl;        // The kind of object is to come.
    unsigned char cte_next;   // The name of a common table expression is to come.
    unsigned char ctes;       // How many are in `cte`; more than that count as tables.
    struct faa_str cte[FAA_SQL_CTES_MAX];
};

/// Begins a walk over at most `max` bytes of `text`, which is kept.
void faa_sql_walk_start(struct faa_sql_walk *s, struct faa_str text, size_t max);

/// Moves the state over the token that was just read into `lex`, and tells what the token is.
/// A word that holds a secret becomes a literal.
enum faa_sql_role faa_sql_walk_step(struct faa_sql_walk *s);

/// True when the current token is the name of a common table expression seen before.
int faa_sql_walk_is_cte(const struct faa_sql_walk *s);

/// True when the token is this one byte.
static inline int faa_sql_is_punct(const struct faa_sql_token *t, unsigned char c)
{
    return t->kind == FAA_SQL_T_PUNCT && *t->p == c;
}

#endif

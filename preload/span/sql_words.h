// SPDX-License-Identifier: MIT
// The words of SQL that tell where names, operations and secrets stand.
#ifndef FAA_SPAN_SQL_WORDS_H
#define FAA_SPAN_SQL_WORDS_H

#include "span/sql_lex.h"

/// What a word does. Up to FAA_SQL_KW_IMMEDIATE, it is a keyword in its place only and a name
/// elsewhere.
enum faa_sql_keyword {
    FAA_SQL_KW_NONE,
    FAA_SQL_KW_CALL,     ///< Its target, a procedure, follows at once.
    FAA_SQL_KW_COPY,     ///< Its target follows at once, and rows may follow the statement.
    FAA_SQL_KW_PRAGMA,   ///< Its target follows at once, and may be the name of a secret.
    FAA_SQL_KW_ATTACH,   ///< A secret may follow KEY.
    FAA_SQL_KW_GRANT,    ///< Names of operations follow that are none.
    FAA_SQL_KW_BEGIN,    ///< The first of several statements, or of a transaction, may follow.
    FAA_SQL_KW_DDL,      ///< A kind of object and its name follow.
    FAA_SQL_KW_TRUNCATE, ///< The same, or the name at once.
    FAA_SQL_KW_MODIFIER, ///< Stands between KW_DDL and the kind of object.
    FAA_SQL_KW_OBJECT,   ///< A kind of object.
    FAA_SQL_KW_ACCOUNT,  ///< A kind of object whose name is not told, and which has a password.
    FAA_SQL_KW_DML,      ///< Its target follows, behind INTO or FROM in most dialects.
    FAA_SQL_KW_UPDATE,
    FAA_SQL_KW_IMMEDIATE, ///< Stands for a target that is a text.
    FAA_SQL_KW_SKIP,      ///< Stands between an operation and its target.
    FAA_SQL_KW_OR,        ///< The same, with the next word.
    FAA_SQL_KW_SELECT,
    FAA_SQL_KW_FROM,
    FAA_SQL_KW_JOIN,
    FAA_SQL_KW_INTO,
    FAA_SQL_KW_USING,
    FAA_SQL_KW_WITH,
    FAA_SQL_KW_AS,
    FAA_SQL_KW_SET,
    FAA_SQL_KW_IN,
    FAA_SQL_KW_VALUES,
    FAA_SQL_KW_CONSTANT,
    FAA_SQL_KW_CLAUSE,
    FAA_SQL_KW_DISTINCT,
    FAA_SQL_KW_IDENTIFIED
};

/// The keyword that a word is, in any case.
enum faa_sql_keyword faa_sql_keyword_of(const struct faa_sql_token *t);

#endif

// SPDX-License-Identifier: MIT
// What a span may tell about an SQL statement: its text without values, and a short summary.
//
// The dialect is not known here, and dialects disagree about where a literal ends. The rule is:
// what is a literal, or a comment, in any common reading (PostgreSQL, MySQL and MariaDB, SQLite,
// SQL Server, Oracle) is hidden, and where readings would part ways for the rest of the statement,
// the rest is hidden too. In doubt more is hidden, never less:
//
//   '..' and ".."  A backslash right before the closing quote ends the literal in standard SQL and
//                  not in MySQL: everything from the opening quote on becomes one `?`. E'..' always
//                  has backslash escapes, Oracle's q'[..]' its own delimiters.
//   ".."           An identifier by the standard, a string in MySQL: kept only where no string can
//                  stand (next to a dot, as a table's name, after AS, in the column list of INSERT
//                  INTO and CREATE TABLE, as the target of SET), or where the caller says that the
//                  dialect has no such strings, else `?`. Nothing is kept after the word
//                  IDENTIFIED.
//   [..]           A name when it reads as words; else a subscript or array whose inside is
//                  sanitised. With quotes inside, and neither ARRAY[ nor [' : hides the rest.
//   #, --x         Comments in one dialect and operators in another: removed to the line's end, or
//                  with all that follows when the line has a quote in it. PostgreSQL's #> and #>>
//                  are kept before a literal or placeholder.
//   /* */          Removed; one inside another hides the rest, as does a quote in MySQL's /*! */.
//                  No comment is kept, neither hints to the optimizer nor what frameworks append
//                  for tracing: it is free text, and nothing tells the one kind from the other.
//   $1, :name      Placeholders: ?, :name, @name, $name, %s, %(name)s and $1 to $65535 are kept,
//                  ?12 becomes ?, and :12 becomes :? because it may be the end of a slice.
//   words          Are values where a statement takes them without quotes: what is set by SET x =
//                  and SET x TO, a password after IDENTIFIED BY and, where a user is made or
//                  altered, after PASSWORD, and the key of PRAGMA key and ATTACH.
//   COPY           The rows that follow COPY .. FROM STDIN; are hidden, and all behind them.
#ifndef FAA_SPAN_SQL_H
#define FAA_SPAN_SQL_H

#include "base/str.h"

#include <stdint.h>

enum {
    FAA_SQL_SUMMARY_MAX = 256, ///< Bytes of the longest summary, with the NUL.
    FAA_SQL_TOLD_MAX = 4096,   ///< Bytes of the text that a span tells, with the NUL.
    FAA_SQL_TEXT_MAX = 16384   ///< Bytes of a statement that are read; the time is bounded by it.
};

/// Writes `sql` with each literal replaced by `?`, comments removed and white space collapsed.
/// NULL, booleans and DEFAULT stay. A list of literals and placeholders after IN becomes `(?)`, one
/// after ARRAY `[?]`; of the rows of VALUES, those after the first that hold nothing else are left
/// out. Any bytes are accepted. Writes at most cap - 1 bytes, cut on a UTF-8 character boundary,
/// and a NUL (nothing at all when cap is 0). Returns the length without the NUL. The output has no
/// control bytes, but is only as valid UTF-8 as the input. Linear time, no allocation. Any thread.
size_t faa_sql_sanitize(struct faa_str sql, char *out, size_t cap);

/// Writes the statement's summary (db.query.summary): operations and their targets in the order of
/// the text, such as `INSERT orders SELECT carts`. Operations are upper-cased, so that `select` and
/// `SELECT` make one group; targets are as written, without quotes when they need none. Common
/// table expressions count as what is in them: their names are no targets. Never longer than
/// FAA_SQL_SUMMARY_MAX - 1 bytes; what does not fit is left out whole. Empty when the statement
/// does not start with a word. Bytes, cap and result as for faa_sql_sanitize.
size_t faa_sql_summary(struct faa_str sql, char *out, size_t cap);

enum {
    FAA_SQL_TELL_TEXT = 1,   ///< The text is wanted, too.
    FAA_SQL_QUOTED_NAMES = 2 ///< The dialect has no strings in double quotes: PostgreSQL, Oracle.
};

/// What is told of one statement.
struct faa_sql_told {
    uint16_t text_len, summary_len;
    uint16_t procedure, procedure_len; ///< The procedure that it calls, in the summary; or 0, 0.
    char summary[FAA_SQL_SUMMARY_MAX];
    char text[FAA_SQL_TOLD_MAX];
};

/// Text (empty unless wanted) and summary in one pass. `flags`: FAA_SQL_TELL_TEXT and
/// FAA_SQL_QUOTED_NAMES. A procedure is one that CALL, EXEC, an ODBC escape or a block that begins
/// with it calls.
void faa_sql_tell(struct faa_str sql, unsigned flags, struct faa_sql_told *out);

/// The first operation of a summary: its first word. Points into `summary`.
static inline struct faa_str faa_sql_operation(struct faa_str summary)
{
    const char *space = summary.n ? memchr(summary.p, ' ', summary.n) : NULL;
    return (struct faa_str){summary.p, space ? (size_t)(space - summary.p) : summary.n};
}

#endif

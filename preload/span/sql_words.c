// SPDX-License-Identifier: MIT
// SQL's words, by their lengths.
#include "span/sql_words.h"

static int same(const unsigned char *p, const char *upper, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((p[i] & 0xdf) != upper[i])
            return 0;
    return 1;
}

enum faa_sql_keyword faa_sql_keyword_of(const struct faa_sql_token *t)
{
    static const struct {
        char text[14];
        unsigned char keyword;
    } by_length[14][18] = {
        [2] = {{"AS", FAA_SQL_KW_AS},
               {"IN", FAA_SQL_KW_IN},
               {"ON", FAA_SQL_KW_CLAUSE},
               {"OR", FAA_SQL_KW_OR},
               {"IF", FAA_SQL_KW_SKIP}},
        [3] = {{"SET", FAA_SQL_KW_SET}, {"NOT", FAA_SQL_KW_SKIP}},
        [4] = {{"FROM", FAA_SQL_KW_FROM},
               {"JOIN", FAA_SQL_KW_JOIN},
               {"INTO", FAA_SQL_KW_INTO},
               {"WITH", FAA_SQL_KW_WITH},
               {"NULL", FAA_SQL_KW_CONSTANT},
               {"TRUE", FAA_SQL_KW_CONSTANT},
               {"CALL", FAA_SQL_KW_CALL},
               {"EXEC", FAA_SQL_KW_CALL},
               {"COPY", FAA_SQL_KW_COPY},
               {"DROP", FAA_SQL_KW_DDL},
               {"LOCK", FAA_SQL_KW_TRUNCATE},
               {"VIEW", FAA_SQL_KW_OBJECT},
               {"TYPE", FAA_SQL_KW_OBJECT},
               {"PROC", FAA_SQL_KW_OBJECT},
               {"USER", FAA_SQL_KW_ACCOUNT},
               {"ROLE", FAA_SQL_KW_ACCOUNT},
               {"ONLY", FAA_SQL_KW_SKIP},
               {"TEMP", FAA_SQL_KW_MODIFIER}},
        [5] = {{"WHERE", FAA_SQL_KW_CLAUSE},
               {"ORDER", FAA_SQL_KW_CLAUSE},
               {"LIMIT", FAA_SQL_KW_CLAUSE},
               {"FALSE", FAA_SQL_KW_CONSTANT},
               {"USING", FAA_SQL_KW_USING},
               {"BEGIN", FAA_SQL_KW_BEGIN},
               {"GRANT", FAA_SQL_KW_GRANT},
               {"TABLE", FAA_SQL_KW_OBJECT},
               {"INDEX", FAA_SQL_KW_OBJECT},
               {"EVENT", FAA_SQL_KW_OBJECT},
               {"LOGIN", FAA_SQL_KW_ACCOUNT},
               {"LOCAL", FAA_SQL_KW_MODIFIER},
               {"QUICK", FAA_SQL_KW_SKIP},
               {"MERGE", FAA_SQL_KW_DML},
               {"ALTER", FAA_SQL_KW_DDL}},
        [6] = {{"SELECT", FAA_SQL_KW_SELECT},
               {"INSERT", FAA_SQL_KW_DML},
               {"UPDATE", FAA_SQL_KW_UPDATE},
               {"DELETE", FAA_SQL_KW_DML},
               {"VALUES", FAA_SQL_KW_VALUES},
               {"CREATE", FAA_SQL_KW_DDL},
               {"PRAGMA", FAA_SQL_KW_PRAGMA},
               {"ATTACH", FAA_SQL_KW_ATTACH},
               {"REVOKE", FAA_SQL_KW_GRANT},
               {"TABLES", FAA_SQL_KW_OBJECT},
               {"SCHEMA", FAA_SQL_KW_OBJECT},
               {"POLICY", FAA_SQL_KW_OBJECT},
               {"DOMAIN", FAA_SQL_KW_OBJECT},
               {"GLOBAL", FAA_SQL_KW_MODIFIER},
               {"BITMAP", FAA_SQL_KW_MODIFIER},
               {"UNIQUE", FAA_SQL_KW_SKIP},
               {"EXISTS", FAA_SQL_KW_SKIP},
               {"IGNORE", FAA_SQL_KW_SKIP}},
        [7] = {{"REPLACE", FAA_SQL_KW_DML},
               {"EXECUTE", FAA_SQL_KW_CALL},
               {"REFRESH", FAA_SQL_KW_DDL},
               {"REINDEX", FAA_SQL_KW_DDL},
               {"ANALYZE", FAA_SQL_KW_TRUNCATE},
               {"TRIGGER", FAA_SQL_KW_OBJECT},
               {"PACKAGE", FAA_SQL_KW_OBJECT},
               {"SYNONYM", FAA_SQL_KW_OBJECT},
               {"VIRTUAL", FAA_SQL_KW_MODIFIER},
               {"FOREIGN", FAA_SQL_KW_MODIFIER},
               {"SPATIAL", FAA_SQL_KW_MODIFIER},
               {"DEFAULT", FAA_SQL_KW_CONSTANT},
               {"DELAYED", FAA_SQL_KW_SKIP},
               {"LATERAL", FAA_SQL_KW_SKIP}},
        [8] = {{"TRUNCATE", FAA_SQL_KW_TRUNCATE},
               {"DATABASE", FAA_SQL_KW_OBJECT},
               {"SEQUENCE", FAA_SQL_KW_OBJECT},
               {"FUNCTION", FAA_SQL_KW_OBJECT},
               {"EXTERNAL", FAA_SQL_KW_MODIFIER},
               {"FULLTEXT", FAA_SQL_KW_MODIFIER},
               {"DISTINCT", FAA_SQL_KW_DISTINCT},
               {"UNLOGGED", FAA_SQL_KW_SKIP}},
        [9] = {{"PROCEDURE", FAA_SQL_KW_OBJECT},
               {"EXTENSION", FAA_SQL_KW_OBJECT},
               {"AGGREGATE", FAA_SQL_KW_OBJECT},
               {"CLUSTERED", FAA_SQL_KW_MODIFIER},
               {"IMMEDIATE", FAA_SQL_KW_IMMEDIATE},
               {"RETURNING", FAA_SQL_KW_CLAUSE},
               {"TEMPORARY", FAA_SQL_KW_SKIP},
               {"RECURSIVE", FAA_SQL_KW_SKIP}},
        [10] = {{"IDENTIFIED", FAA_SQL_KW_IDENTIFIED}},
        [12] = {{"NONCLUSTERED", FAA_SQL_KW_MODIFIER},
                {"MATERIALIZED", FAA_SQL_KW_SKIP},
                {"CONCURRENTLY", FAA_SQL_KW_SKIP},
                {"LOW_PRIORITY", FAA_SQL_KW_SKIP}},
        [13] = {{"HIGH_PRIORITY", FAA_SQL_KW_SKIP}},
    };
    if (t->n >= FAA_COUNT(by_length))
        return FAA_SQL_KW_NONE;
    char first = (char)(t->p[0] & 0xdf);
    for (size_t i = 0; i < FAA_COUNT(by_length[0]) && by_length[t->n][i].keyword; i++) {
        const char *text = by_length[t->n][i].text;
        if (text[0] == first && same(t->p + 1, text + 1, t->n - 1))
            return by_length[t->n][i].keyword;
    }
    return FAA_SQL_KW_NONE;
}

// SPDX-License-Identifier: MIT
// Tests of statements that are not SELECT, INSERT, UPDATE or DELETE: procedures, definitions,
// accounts, settings, rows behind COPY, in the dialects that have them.
#include "span/sql.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

struct statement {
    const char *in, *text, *summary;
};

static void expect(const struct statement *cases, size_t count)
{
    static struct faa_sql_told told;
    for (size_t i = 0; i < count; i++) {
        faa_sql_tell(faa_str_of(cases[i].in), FAA_SQL_TELL_TEXT, &told);
        ck_assert_str_eq(told.text, cases[i].text);
        ck_assert_str_eq(told.summary, cases[i].summary);
        ck_assert_uint_eq(told.text_len, strlen(told.text));
        ck_assert_uint_eq(told.summary_len, strlen(told.summary));
    }
}

#define EXPECT(...)                                                                                \
    do {                                                                                           \
        static const struct statement cases[] = {__VA_ARGS__};                                     \
        expect(cases, FAA_COUNT(cases));                                                           \
    } while (0)

START_TEST(a_call_names_its_procedure)
{
    static const struct {
        const char *in, *summary, *procedure;
    } cases[] = {
        {"CALL my_proc(1, 'x')", "CALL my_proc", "my_proc"},
        {"call \"My\".\"Proc\"(?)", "CALL My.Proc", "My.Proc"},
        {"EXEC dbo.usp_get @a = 'x'", "EXEC dbo.usp_get", "dbo.usp_get"},
        {"EXEC @rc = [dbo].[usp get] @a = 'x'", "EXEC dbo.[usp get]", "dbo.[usp get]"},
        {"EXEC sp_executesql N'SELECT 1', N'@a int', @a=5", "EXEC sp_executesql", "sp_executesql"},
        {"{call my_proc(?, ?)}", "CALL my_proc", "my_proc"},
        {"{? = CALL dbo.f(?)}", "CALL dbo.f", "dbo.f"},
        {"BEGIN my_pkg.my_proc(:1, 'x'); END;", "BEGIN my_pkg.my_proc", "my_pkg.my_proc"},
        {"begin :1 := my_func(:2); end;", "BEGIN my_func", "my_func"},
        {"SELECT 1; CALL p()", "SELECT CALL p", ""}, // The first operation is another one.
        {"EXECUTE my_plan(1)", "EXECUTE my_plan", ""},
        {"EXECUTE stmt USING @a", "EXECUTE stmt", ""},
        {"EXECUTE IMMEDIATE 'DROP TABLE t'", "EXECUTE", ""},
        {"EXEC('SELECT 1')", "EXEC", ""},
        {"EXEC @name @a = b", "EXEC", ""},
        {"CALL ?(1)", "CALL", ""},
        {"COPY t FROM 'x'", "COPY t", ""},
        {"SELECT p(1) FROM t", "SELECT t", ""},
        {"", "", ""},
    };
    static struct faa_sql_told told;
    for (size_t i = 0; i < FAA_COUNT(cases); i++) {
        faa_sql_tell(faa_str_of(cases[i].in), 0, &told);
        ck_assert_str_eq(told.summary, cases[i].summary);
        ck_assert_str_eq(told.text, "");
        struct faa_str procedure = {told.summary + told.procedure, told.procedure_len};
        ck_assert_msg(faa_str_eq(procedure, faa_str_of(cases[i].procedure)), "%s", cases[i].in);
    }
}
END_TEST

START_TEST(blocks_name_the_statements_in_them)
{
    EXPECT({"BEGIN UPDATE t SET a = 'x' WHERE b = 1; p(5); END;",
            "BEGIN UPDATE t SET a = ? WHERE b = ?; p(?); END;", "BEGIN UPDATE t p"},
           {"DECLARE x NUMBER := 5; BEGIN DELETE FROM t WHERE a = x; END;",
            "DECLARE x NUMBER := ?; BEGIN DELETE FROM t WHERE a = x; END;",
            "DECLARE BEGIN DELETE t"},
           {"DO $$ BEGIN EXECUTE 's3cr3t'; END $$ LANGUAGE plpgsql", "DO ? LANGUAGE plpgsql", "DO"},
           {"IF EXISTS (SELECT 1 FROM t) UPDATE t SET a = 1 ELSE INSERT INTO u VALUES ('x')",
            "IF EXISTS (SELECT ? FROM t) UPDATE t SET a = ? ELSE INSERT INTO u VALUES (?)",
            "SELECT t UPDATE t INSERT u"},
           {"BEGIN TRANSACTION; UPDATE t SET a = 1; COMMIT",
            "BEGIN TRANSACTION; UPDATE t SET a = ?; COMMIT", "BEGIN UPDATE t COMMIT"},
           {"BEGIN IMMEDIATE", "BEGIN IMMEDIATE", "BEGIN"},
           {"BEGIN; SELECT f(1); END", "BEGIN; SELECT f(?); END", "BEGIN SELECT END"},
           {"CREATE TRIGGER r AFTER UPDATE ON t BEGIN INSERT INTO l VALUES (1); DELETE FROM z; END",
            "CREATE TRIGGER r AFTER UPDATE ON t BEGIN INSERT INTO l VALUES (?); DELETE FROM z; END",
            "CREATE TRIGGER r INSERT l DELETE z"});
}
END_TEST

START_TEST(operations_without_into_and_from_have_their_target)
{
    EXPECT({"INSERT t (a) VALUES (1)", "INSERT t (a) VALUES (?)", "INSERT t"},
           {"INSERT LOW_PRIORITY IGNORE \"t\" (\"a\") VALUES (\"b\")",
            "INSERT LOW_PRIORITY IGNORE \"t\" (\"a\") VALUES (?)", "INSERT t"},
           {"INSERT OR ABORT INTO t VALUES (1)", "INSERT OR ABORT INTO t VALUES (?)", "INSERT t"},
           {"INSERT ALL INTO a VALUES (1) INTO b VALUES (2) SELECT x FROM c",
            "INSERT ALL INTO a VALUES (?) INTO b VALUES (?) SELECT x FROM c",
            "INSERT a b SELECT c"},
           {"DELETE t WHERE a = 1", "DELETE t WHERE a = ?", "DELETE t"},
           {"DELETE a, b FROM a JOIN b", "DELETE a, b FROM a JOIN b", "DELETE a b"},
           {"UPDATE TOP (5) t SET a = 1", "UPDATE TOP (?) t SET a = ?", "UPDATE t"},
           {"UPDATE OR ROLLBACK t SET a = 1", "UPDATE OR ROLLBACK t SET a = ?", "UPDATE t"},
           {"MERGE t USING s ON t.a = s.a WHEN MATCHED THEN UPDATE SET b = 1",
            "MERGE t USING s ON t.a = s.a WHEN MATCHED THEN UPDATE SET b = ?", "MERGE t s"},
           {"LOAD DATA INFILE '/x' INTO TABLE t", "LOAD DATA INFILE ? INTO TABLE t", "LOAD t"},
           {"SELECT a FROM temp, local l", "SELECT a FROM temp, local l", "SELECT temp local"});
}
END_TEST

START_TEST(definitions_of_every_kind_name_it)
{
    EXPECT({"CREATE GLOBAL TEMPORARY TABLE x (a INT DEFAULT 5)",
            "CREATE GLOBAL TEMPORARY TABLE x (a INT DEFAULT ?)", "CREATE TABLE x"},
           {"CREATE VIRTUAL TABLE f USING fts5(a)", "CREATE VIRTUAL TABLE f USING fts5(a)",
            "CREATE TABLE f"},
           {"CREATE UNIQUE NONCLUSTERED INDEX i ON dbo.t (a)",
            "CREATE UNIQUE NONCLUSTERED INDEX i ON dbo.t (a)", "CREATE INDEX i"},
           {"CREATE OR REPLACE FUNCTION s.f(a int DEFAULT 1) RETURNS int AS $$ SELECT 1 $$",
            "CREATE OR REPLACE FUNCTION s.f(a int DEFAULT ?) RETURNS int AS ?",
            "CREATE FUNCTION s.f"},
           {"CREATE OR ALTER PROC p AS SELECT 1", "CREATE OR ALTER PROC p AS SELECT ?",
            "CREATE PROC p SELECT"},
           {"REFRESH MATERIALIZED VIEW v", "REFRESH MATERIALIZED VIEW v", "REFRESH VIEW v"},
           {"REINDEX TABLE t", "REINDEX TABLE t", "REINDEX TABLE t"},
           {"LOCK TABLES t WRITE, u READ", "LOCK TABLES t WRITE, u READ", "LOCK TABLES t u"},
           {"ANALYZE t", "ANALYZE t", "ANALYZE t"},
           {"CREATE POLICY p ON t FOR SELECT USING (a = 1)",
            "CREATE POLICY p ON t FOR SELECT USING (a = ?)", "CREATE POLICY p"},
           {"GRANT SELECT, UPDATE ON t TO bob", "GRANT SELECT, UPDATE ON t TO bob", "GRANT"},
           {"CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM t",
            "CREATE EVENT e ON SCHEDULE EVERY ? DAY DO DELETE FROM t", "CREATE EVENT e"});
}
END_TEST

START_TEST(passwords_without_quotes_are_hidden)
{
    EXPECT(
        {"CREATE USER bob IDENTIFIED BY s3cr3t", "CREATE USER bob IDENTIFIED BY ?", "CREATE USER"},
        {"ALTER USER bob IDENTIFIED BY s3!cr@t#x REPLACE $s3cr3t; SELECT 1 FROM t",
         "ALTER USER bob IDENTIFIED BY ? REPLACE ?; SELECT ? FROM t", "ALTER USER SELECT t"},
        {"GRANT CONNECT TO bob IDENTIFIED BY s3cr3t", "GRANT CONNECT TO bob IDENTIFIED BY ?",
         "GRANT"},
        {"CREATE DATABASE LINK l CONNECT TO scott IDENTIFIED BY s3cr3t USING 'o'",
         "CREATE DATABASE LINK l CONNECT TO scott IDENTIFIED BY ? USING ?", "CREATE DATABASE LINK"},
        {"ALTER USER bob IDENTIFIED BY VALUES 's3cr3t'", "ALTER USER bob IDENTIFIED BY ? ?",
         "ALTER USER"},
        {"ALTER ROLE bob WITH PASSWORD s3cr3t", "ALTER ROLE bob WITH PASSWORD ?", "ALTER ROLE"},
        {"CREATE LOGIN bob WITH PASSWORD = s3cr3t!x", "CREATE LOGIN bob WITH PASSWORD = ?",
         "CREATE LOGIN"},
        {"ALTER USER bob PASSWORD :pw", "ALTER USER bob PASSWORD :pw", "ALTER USER"},
        {"CREATE USER bob IDENTIFIED BY @s3cr3t", "CREATE USER bob IDENTIFIED BY ?", "CREATE USER"},
        {"SET PASSWORD TO s3cr3t", "SET PASSWORD TO ?", "SET"},
        {"SET PASSWORD FOR bob = s3cr3t", "SET PASSWORD FOR bob = ?", "SET"},
        {"PRAGMA key = s3cr3t", "PRAGMA key = ?", "PRAGMA key"},
        {"PRAGMA rekey(s3cr3t)", "PRAGMA rekey(?)", "PRAGMA rekey"},
        {"ATTACH DATABASE 'f' AS x KEY s3cr3t", "ATTACH DATABASE ? AS x KEY ?", "ATTACH"},
        {"PRAGMA foreign_keys=ON", "PRAGMA foreign_keys=ON", "PRAGMA foreign_keys"},
        {"CREATE TABLE user (password text, key int)", "CREATE TABLE user (password text, key int)",
         "CREATE TABLE user"},
        {"UPDATE users SET password = :p WHERE key = k",
         "UPDATE users SET password = :p WHERE key = k", "UPDATE users"});
}
END_TEST

START_TEST(what_is_set_is_hidden)
{
    EXPECT({"SET search_path TO tenant_1, public", "SET search_path TO ?, ?", "SET"},
           {"SET app.user = s3cr3t", "SET app.user = ?", "SET"},
           {"SET LOCAL app.user TO a.s3cr3t", "SET LOCAL app.user TO ?.?", "SET"},
           {"SET a = s3cr3t, b = 'x', c = ON, d = DEFAULT, @e := \"x\"",
            "SET a = ?, b = ?, c = ON, d = DEFAULT, @e := ?", "SET"},
           {"SET NOCOUNT ON; SELECT a FROM t", "SET NOCOUNT ON; SELECT a FROM t", "SET SELECT t"},
           {"SET @x = (SELECT a FROM t WHERE b = c)", "SET @x = (SELECT a FROM t WHERE b = c)",
            "SET SELECT t"},
           {"SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "SET"});
}
END_TEST

START_TEST(rows_behind_copy_are_hidden)
{
    EXPECT(
        {"COPY t (a) FROM stdin WITH (FORMAT csv);\n1\ts3cr3t\n\\.\nSELECT 1",
         "COPY t (a) FROM stdin WITH (FORMAT csv); ?", "COPY t"},
        {"copy t from STDIN; s3cr3t; UPDATE s3cr3t", "copy t from STDIN; ?", "COPY t"},
        {"COPY t FROM STDIN", "COPY t FROM STDIN", "COPY t"},
        {"COPY t FROM STDIN;\n", "COPY t FROM STDIN;", "COPY t"},
        {"COPY (SELECT a FROM t WHERE b = 1) TO STDOUT; SELECT 2",
         "COPY (SELECT a FROM t WHERE b = ?) TO STDOUT; SELECT ?", "COPY SELECT t SELECT"},
        {"SELECT a FROM stdin; SELECT b", "SELECT a FROM stdin; SELECT b", "SELECT stdin SELECT"});
}
END_TEST

START_TEST(double_quotes_are_names_where_the_dialect_says_so)
{
    static const char in[] = "SELECT \"a\" FROM t WHERE \"b\" = 'x' AND c IN (\"d\", 1)";
    static struct faa_sql_told told;
    faa_sql_tell(FAA_STR(in), FAA_SQL_TELL_TEXT | FAA_SQL_QUOTED_NAMES, &told);
    ck_assert_str_eq(told.text, "SELECT \"a\" FROM t WHERE \"b\" = ? AND c IN (?)");
    faa_sql_tell(FAA_STR("ALTER USER u IDENTIFIED BY \"s3cr3t\" x \"s3cr3t\""),
                 FAA_SQL_TELL_TEXT | FAA_SQL_QUOTED_NAMES, &told);
    ck_assert_str_eq(told.text, "ALTER USER u IDENTIFIED BY ? x ?");
    faa_sql_tell(FAA_STR("SET a = \"s3cr3t\""), FAA_SQL_TELL_TEXT | FAA_SQL_QUOTED_NAMES, &told);
    ck_assert_str_eq(told.text, "SET a = ?");
}
END_TEST

START_TEST(one_pass_tells_what_two_passes_do)
{
    static const char *const statements[] = {
        "WITH x AS (SELECT a FROM b WHERE c IN ('1'::timestamp with time zone, '2')) "
        "SELECT * FROM x JOIN d ON x.a = d.a",
        "INSERT INTO t (a, \"b\") VALUES (1, 'x'), (2, 'y'), (3, f('z')) RETURNING id",
        "BEGIN p(1); UPDATE t SET a = ARRAY[1, 2] WHERE b NOT IN (1, 2); END",
        "SELECT 's3cr3t",
    };
    static struct faa_sql_told told;
    for (size_t i = 0; i < FAA_COUNT(statements); i++) {
        char out[512];
        faa_sql_tell(faa_str_of(statements[i]), FAA_SQL_TELL_TEXT, &told);
        faa_sql_sanitize(faa_str_of(statements[i]), out, sizeof(out));
        ck_assert_str_eq(told.text, out);
        faa_sql_summary(faa_str_of(statements[i]), out, sizeof(out));
        ck_assert_str_eq(told.summary, out);
    }
}
END_TEST

START_TEST(a_long_text_is_cut_and_the_summary_goes_on)
{
    static char in[20000];
    static struct faa_sql_told told;
    int n = snprintf(in, sizeof(in), "SELECT a FROM t WHERE x = 1");
    while (n < 15000)
        n += snprintf(in + n, sizeof(in) - (size_t)n, " AND column_%d = 1", n);
    snprintf(in + n, sizeof(in) - (size_t)n, " UNION SELECT b FROM u");
    faa_sql_tell(faa_str_of(in), FAA_SQL_TELL_TEXT, &told);
    ck_assert_uint_eq(told.text_len, FAA_SQL_TOLD_MAX - 1);
    ck_assert_uint_eq(strlen(told.text), told.text_len);
    ck_assert_str_eq(told.summary, "SELECT t SELECT u");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sql statements");
    TCase *tc = tcase_create("statements");
    tcase_add_test(tc, a_call_names_its_procedure);
    tcase_add_test(tc, blocks_name_the_statements_in_them);
    tcase_add_test(tc, operations_without_into_and_from_have_their_target);
    tcase_add_test(tc, definitions_of_every_kind_name_it);
    tcase_add_test(tc, passwords_without_quotes_are_hidden);
    tcase_add_test(tc, what_is_set_is_hidden);
    tcase_add_test(tc, rows_behind_copy_are_hidden);
    tcase_add_test(tc, double_quotes_are_names_where_the_dialect_says_so);
    tcase_add_test(tc, one_pass_tells_what_two_passes_do);
    tcase_add_test(tc, a_long_text_is_cut_and_the_summary_goes_on);
    suite_add_tcase(suite, tc);
    SRunner *sr = srunner_create(suite);
    srunner_run_all(sr, CK_ENV);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? 1 : 0;
}

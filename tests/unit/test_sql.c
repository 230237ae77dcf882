// SPDX-License-Identifier: MIT
// Tests of SQL sanitising and summaries.
#include "span/sql.h"

#include <check.h>
#include <stdlib.h>

enum { GUARD = 0x5a };

struct sanitising {
    const char *in, *out;
};

static void expect(const struct sanitising *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char out[512];
        size_t n = faa_sql_sanitize(faa_str_of(cases[i].in), out, sizeof(out));
        ck_assert_str_eq(out, cases[i].out);
        ck_assert_uint_eq(n, strlen(out));
    }
}

#define EXPECT(...)                                                                                \
    do {                                                                                           \
        static const struct sanitising cases[] = {__VA_ARGS__};                                    \
        expect(cases, FAA_COUNT(cases));                                                           \
    } while (0)

static void expect_summaries(const struct sanitising *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char out[FAA_SQL_SUMMARY_MAX];
        size_t n = faa_sql_summary(faa_str_of(cases[i].in), out, sizeof(out));
        ck_assert_str_eq(out, cases[i].out);
        ck_assert_uint_eq(n, strlen(out));
    }
}

#define EXPECT_SUMMARIES(...)                                                                      \
    do {                                                                                           \
        static const struct sanitising cases[] = {__VA_ARGS__};                                    \
        expect_summaries(cases, FAA_COUNT(cases));                                                 \
    } while (0)

START_TEST(strings_of_every_dialect_become_question_marks)
{
    EXPECT({"SELECT 'a', 'it''s', '', '\\\\'", "SELECT ?, ?, ?, ?"},
           {"SELECT E'a\\'b', e'c\\\\'", "SELECT ?, ?"},
           {"SELECT N'x', X'00ff', b'01', U&'\\0041', u'x'", "SELECT ?, ?, ?, ?, ?"},
           {"SELECT q'[it's]', Q'{x'}', nq'<a>', q'!it's!' + 1", "SELECT ?, ?, ?, ? + ?"},
           {"SELECT _utf8'x', DATE '2020-01-01'", "SELECT _utf8?, DATE ?"},
           {"SELECT $$it's$$, $tag$ x $$ y $tag$ + 1", "SELECT ?, ? + ?"},
           {"IDENTIFIED BY 'pw' PASSWORD 'pw'", "IDENTIFIED BY ? PASSWORD ?"});
}
END_TEST

START_TEST(numbers_become_question_marks_and_digits_in_names_stay)
{
    EXPECT({"SELECT 1, -2, +3.5, .5, 1e-5, 2E+3, 7e, 0xFF, 0b11, 1_000, 10L, 5.",
            "SELECT ?, -?, +?, ?, ?, ?, ?, ?, ?, ?, ?, ?"},
           {"SELECT t1.c2, a_3, x$4, \xc3\xa9"
            "5 FROM t1",
            "SELECT t1.c2, a_3, x$4, \xc3\xa9"
            "5 FROM t1"},
           {"a=1-2", "a=?-?"}, {"VARCHAR(20)", "VARCHAR(?)"}, {"1e+x", "?+x"},
           {"SELECT 12:30, $12.34, $99999, $0", "SELECT ?:?, ?, ?, ?"});
}
END_TEST

START_TEST(placeholders_and_constants_stay)
{
    EXPECT({"?, :name, @p1, @@v, $1, $65535, $name, %s, %(a_1)s, %b",
            "?, :name, @p1, @@v, $1, $65535, $name, %s, %(a_1)s, %b"},
           {"NULL, TRUE, false, DEFAULT", "NULL, TRUE, false, DEFAULT"},
           {"a ?| b, x::text, y := :z", "a ?| b, x::text, y := :z"},
           {"?12, :12, a[1:2], a %% 2, a %5, b %s3", "?, :?, a[?:?], a %% ?, a %?, b %s3"});
}
END_TEST

START_TEST(names_in_backticks_and_brackets_stay)
{
    EXPECT({"SELECT `a 1`.`b``c` FROM `d`", "SELECT `a 1`.`b``c` FROM `d`"},
           {"SELECT [a].[Order Details], [x1] FROM [dbo].[t]",
            "SELECT [a].[Order Details], [x1] FROM [dbo].[t]"},
           {"SELECT `never closed", "SELECT ?"}, {"SELECT [never closed", "SELECT ?"});
}
END_TEST

START_TEST(arrays_and_subscripts_are_sanitised_inside)
{
    EXPECT({"ARRAY[1,2], array['a', 'b]'], ARRAY[[1],['2']]::int[]",
            "ARRAY[?], array[?], ARRAY[?]::int[]"},
           {"ARRAY[a, 1], ARRAY[[b],[2]], ARRAY[]", "ARRAY[a, ?], ARRAY[[b],[?]], ARRAY[]"},
           {"x[1], y['k'], z[$1], w[i]", "x[?], y[?], z[$1], w[i]"}, {"[2020 sales]", "[? sales]"});
}
END_TEST

START_TEST(double_quotes_stay_only_where_no_string_can_stand)
{
    EXPECT(
        {"SELECT t.\"a\", \"t\".b, x AS \"Total\" FROM \"s\".\"t\", \"u\" JOIN \"v\"",
         "SELECT t.\"a\", \"t\".b, x AS \"Total\" FROM \"s\".\"t\", \"u\" JOIN \"v\""},
        {"INSERT INTO \"t\" (\"a\", b, \"c\") VALUES (\"d\", ?)",
         "INSERT INTO \"t\" (\"a\", b, \"c\") VALUES (?, ?)"},
        {"UPDATE \"t\" SET \"a\"=\"x\", \"b\"=f(\"y\") WHERE \"c\" = 1 ORDER BY a, \"d\"",
         "UPDATE \"t\" SET \"a\"=?, \"b\"=f(?) WHERE ? = ? ORDER BY a, ?"},
        {"CREATE TABLE \"t\" (\"a\" ENUM(\"x\", \"y\") DEFAULT \"z\", \"b\" int)",
         "CREATE TABLE \"t\" (\"a\" ENUM(?, ?) DEFAULT ?, \"b\" int)"},
        {"SELECT \"a\" FROM t WHERE b = \"c\" AND d LIKE \"e\"",
         "SELECT ? FROM t WHERE b = ? AND d LIKE ?"},
        {"SELECT TRIM(BOTH FROM \"a\"), x IS DISTINCT FROM \"b\" FROM t",
         "SELECT TRIM(BOTH FROM ?), x IS DISTINCT FROM ? FROM t"},
        {"ALTER USER \"u\" IDENTIFIED WITH p AS \"hash\"", "ALTER USER ? IDENTIFIED WITH p AS ?"},
        {"SELECT t.\"a\"\"b\" FROM \"x", "SELECT t.\"a\"\"b\" FROM ?"});
}
END_TEST

START_TEST(where_dialects_disagree_the_rest_is_hidden)
{
    EXPECT({"SELECT 'a\\' OR x = 's3cr3t'", "SELECT ?"},
           {"SELECT b, \"a\\\" OR x = 's3cr3t'", "SELECT b, ?"},
           {"SELECT 'a\\\\' OR x = y", "SELECT ? OR x = y"},
           {"SELECT [it's] = 's3cr3t'", "SELECT ?"}, {"SELECT [a--b] = 's3\ncr3t'", "SELECT ?"},
           {"SELECT a --x's\n = 's3cr3t'", "SELECT a ?"},
           {"SELECT a # it's\n = 's3cr3t'", "SELECT a ?"},
           {"SELECT a /* /* */ 's3cr3t */'", "SELECT a ?"},
           {"SELECT /*! 'x*/s3cr3t' */ 1", "SELECT ?"}, {"SELECT -- a\r's3\ncr3t'", "SELECT ?"});
}
END_TEST

START_TEST(unterminated_literals_are_hidden_to_the_end)
{
    EXPECT({"a = 's3cr3t", "a = ?"}, {"a = \"s3cr3t", "a = ?"}, {"a = $$s3cr3t$", "a = ?"},
           {"a = q'[s3cr3t'", "a = ?"}, {"a = E's3cr3t\\'", "a = ?"}, {"a = 's3cr3t\\", "a = ?"},
           {"a IN ('s3cr3t', 'x", "a IN (?, ?"});
}
END_TEST

START_TEST(comments_are_removed)
{
    EXPECT({"SELECT a -- s3cr3t it's\n, b /* s3cr3t */ FROM/**/t -- x", "SELECT a , b FROM t"},
           {"/* s3cr3t it's */ SELECT a # s3cr3t\nFROM t --s3cr3t", "SELECT a FROM t"},
           {"SELECT a /*+ hint */ /*!40001 SQL_NO_CACHE */ FROM t /* open", "SELECT a FROM t"},
           {"/*traceparent='00-s3cr3t'*/", ""}, {"data #>> '{a}' #> %(p)s", "data #>> ? #> %(p)s"},
           {"a - -1 / 2 * 3", "a - -? / ? * ?"});
}
END_TEST

START_TEST(white_space_is_collapsed)
{
    EXPECT({" \n\tSELECT\r\n  a ,\v b\f\n", "SELECT a , b"}, {"", ""}, {" \n", ""});
}
END_TEST

START_TEST(in_lists_of_values_are_collapsed)
{
    EXPECT({"a IN (?, ?, ?)", "a IN (?)"}, {"a IN (:p_1, :p_2)", "a IN (?)"},
           {"a in(%(a_1)s, %(a_2)s) OR b", "a in(?) OR b"},
           {"a IN ($1::VARCHAR, $2::TIMESTAMP WITHOUT TIME ZONE)", "a IN (?)"},
           {"a NOT IN (1, -2, 'x', NULL, \"y\")", "a NOT IN (?)"},
           {"(a, b) IN ((?, ?), (1, 2)) AND c", "(a, b) IN (?) AND c"},
           {"a IN (SELECT 1)", "a IN (SELECT ?)"}, {"a IN (b, 1)", "a IN (b, ?)"},
           {"a IN ()", "a IN ()"}, {"a IN (\"t\".b)", "a IN (\"t\".b)"},
           {"f(a IN (1, 2), 3, IN_(1, 2))", "f(a IN (?), ?, IN_(?, ?))"});
}
END_TEST

START_TEST(rows_of_values_after_the_first_are_left_out)
{
    EXPECT({"INSERT INTO t (a) VALUES (?, ?), (?, ?), (1, NULL) RETURNING id",
            "INSERT INTO t (a) VALUES (?, ?) RETURNING id"},
           {"VALUES (%(a__0)s, 0), (%(a__1)s, 1)", "VALUES (%(a__0)s, ?)"},
           {"VALUES ($1::INT, now()), ($2::INT, now()), ($3, $4)",
            "VALUES ($1::INT, now()), ($2::INT, now())"},
           {"SELECT * FROM (VALUES (1), (2)) AS x, (SELECT 3)",
            "SELECT * FROM (VALUES (?)) AS x, (SELECT ?)"},
           {"f(a), (1, 2)", "f(a), (?, ?)"});
}
END_TEST

START_TEST(any_bytes_are_accepted_and_no_control_byte_comes_out)
{
    char in[256], out[1024];
    for (unsigned first = 0; first < 256; first++) {
        for (unsigned i = 0; i < 256; i++)
            in[i] = (char)(first + i);
        size_t n = faa_sql_sanitize((struct faa_str){in, sizeof(in)}, out, sizeof(out));
        for (size_t i = 0; i < n; i++)
            ck_assert((unsigned char)out[i] >= 0x20 && out[i] != 0x7f);
        ck_assert_uint_eq(strlen(out), n);
    }
    static const char name[] = "SELECT\0a FROM `x\0y\n`";
    faa_sql_sanitize((struct faa_str){name, sizeof(name) - 1}, out, sizeof(out));
    ck_assert_str_eq(out, "SELECT a FROM `x y `");
}
END_TEST

static const char *const planted[] = {
    "SELECT 's3cr3t', E'\\'s3cr3t', N's3cr3t', X's3cr3t', $$s3cr3t$$, $t$s3cr3t$t$, 424242",
    "SELECT a FROM t WHERE b = \"s3cr3t\" AND c IN ('s3cr3t', 424242, \"s3cr3t\") -- s3cr3t",
    "INSERT INTO t (a, \"b\") VALUES ('s3cr3t', \"s3cr3t\"), (424242, f('s3cr3t')), (:a, 's3cr3t')",
    "UPDATE \"t\" SET \"a\"='s3cr3t', b=\"s3cr3t\", c=-424242.424242e5 WHERE d=0x424242",
    "CREATE USER u IDENTIFIED BY 's3cr3t' /* s3cr3t */; SET PASSWORD = \"s3cr3t\"",
    "ALTER USER u IDENTIFIED WITH p AS \"s3cr3t\"; CALL p('s3cr3t', \"s3cr3t\")",
    "SELECT q'[s3cr3t]', q'!it's s3cr3t!', ARRAY['s3cr3t', 424242], x['s3cr3t'], y[424242:424242]",
    "SELECT 'a\\'s3cr3t', 'it''s s3cr3t', '\\\\', 's3cr3t' # s3cr3t",
    "SELECT a --s3cr3t's\n, 's3cr3t' FROM t /* s3cr3t /* s3cr3t */ s3cr3t */",
    "PRAGMA key = 's3cr3t'; PRAGMA key(\"s3cr3t\"); EXEC p @a = 's3cr3t', @b = $424242",
    "WITH x AS (SELECT 's3cr3t' FROM y) SELECT TRIM(\"s3cr3t\" FROM \"s3cr3t\"), ?424242 FROM x",
    "COPY t FROM 's3cr3t'; SELECT 1 INTO OUTFILE \"s3cr3t\"; "
    "SELECT `a` FROM [b] WHERE c = 's3cr3t'",
};

static int leaks(const char *text)
{
    return strstr(text, "s3cr3t") || strstr(text, "424242");
}

START_TEST(no_literal_comes_out_of_any_beginning_of_a_statement)
{
    for (size_t i = 0; i < FAA_COUNT(planted); i++)
        for (size_t n = 0; n <= strlen(planted[i]); n++) {
            // A copy of the exact size, for the sanitizers.
            char out[512], *in = malloc(n + 1);
            ck_assert_ptr_nonnull(in);
            memcpy(in, planted[i], n);
            faa_sql_sanitize((struct faa_str){in, n}, out, sizeof(out));
            ck_assert_msg(!leaks(out), "%.*s gave %s", (int)n, in, out);
            faa_sql_summary((struct faa_str){in, n}, out, sizeof(out));
            ck_assert_msg(!leaks(out), "%.*s gave %s", (int)n, in, out);
            free(in);
        }
}
END_TEST

static void check_bounds(size_t (*function)(struct faa_str, char *, size_t), const char *in)
{
    char full[512], out[sizeof(full)];
    size_t n = function(faa_str_of(in), full, sizeof(full));
    for (size_t cap = 0; cap <= n + 1; cap++) {
        memset(out, GUARD, sizeof(out));
        size_t m = function(faa_str_of(in), out, cap);
        ck_assert_int_eq(out[cap], GUARD);
        if (cap == 0) {
            ck_assert_uint_eq(m, 0);
            continue;
        }
        ck_assert_uint_lt(m, cap);
        ck_assert_uint_eq(out[m], '\0');
        ck_assert_int_eq(memcmp(out, full, m), 0);
        ck_assert(!leaks(out));
        ck_assert_uint_ne((unsigned char)full[m] & 0xc0, 0x80);
    }
}

START_TEST(output_is_cut_on_characters_and_stays_in_its_bounds)
{
    for (size_t i = 0; i < FAA_COUNT(planted); i++) {
        check_bounds(faa_sql_sanitize, planted[i]);
        check_bounds(faa_sql_summary, planted[i]);
    }
    static const char *const wide =
        "SELECT gr\xc3\xb6\xc3\x9f\x65 FROM \"\xe5\x90\x8d\xe5\x89\x8d\", "
        "`\xf0\x9f\x98\x80` x WHERE a IN (1, 2)";
    check_bounds(faa_sql_sanitize, wide);
    check_bounds(faa_sql_summary, wide);
}
END_TEST

START_TEST(very_long_statements_are_read_up_to_the_limit)
{
    size_t n = 4 * FAA_SQL_TEXT_MAX;
    char *in = malloc(n), *out = malloc(n);
    memset(in, ',', n);
    ck_assert_uint_eq(faa_sql_sanitize((struct faa_str){in, n}, out, n), FAA_SQL_TEXT_MAX);
    // Deep nesting needs no stack.
    memset(in, '(', n);
    ck_assert_uint_eq(faa_sql_sanitize((struct faa_str){in, n}, out, n), FAA_SQL_TEXT_MAX);
    ck_assert_uint_eq(faa_sql_summary((struct faa_str){in, n}, out, n), 0);
    free(in);
    free(out);
}
END_TEST

START_TEST(summaries_name_operation_and_target)
{
    EXPECT_SUMMARIES(
        {"SELECT * FROM orders WHERE id = 1", "SELECT orders"}, {"select 1", "SELECT"},
        {"insert into orders (a, b) values (1, 2)", "INSERT orders"},
        {"INSERT OR REPLACE INTO t VALUES (1)", "INSERT t"}, {"REPLACE INTO t (a)", "REPLACE t"},
        {"UPDATE ONLY orders SET a = 1", "UPDATE orders"}, {"UPDATE OR IGNORE t SET a", "UPDATE t"},
        {"DELETE FROM orders WHERE a", "DELETE orders"}, {"DELETE FROM a USING b", "DELETE a b"},
        {"MERGE INTO t AS x USING s ON (1=1) WHEN MATCHED THEN UPDATE SET a", "MERGE t s"},
        {"INSERT INTO a SELECT x FROM b ON CONFLICT DO UPDATE SET y = 1", "INSERT a SELECT b"},
        {"CALL proc(1)", "CALL proc"}, {"EXEC dbo.proc @a = 1", "EXEC dbo.proc"},
        {"PRAGMA main.table_info(\"t\")", "PRAGMA main.table_info"},
        {"COPY t FROM STDIN", "COPY t"}, {"begin", "BEGIN"}, {"COMMIT", "COMMIT"},
        {"ROLLBACK TO SAVEPOINT x1", "ROLLBACK"}, {"SAVEPOINT sa_savepoint_1", "SAVEPOINT"},
        {"SET x = 's'", "SET"}, {"EXPLAIN SELECT * FROM t", "EXPLAIN SELECT t"},
        {"/* c */ ; SELECT a FROM b; DELETE FROM c", "SELECT b DELETE c"});
}
END_TEST

START_TEST(summaries_of_definitions_name_the_kind_of_object)
{
    EXPECT_SUMMARIES(
        {"CREATE TABLE x (id INT, FOREIGN KEY (a) REFERENCES y (b) ON DELETE CASCADE)",
         "CREATE TABLE x"},
        {"create temp table if not exists x as select * from y", "CREATE TABLE x SELECT y"},
        {"CREATE OR REPLACE VIEW v AS SELECT 1 FROM t", "CREATE VIEW v SELECT t"},
        {"CREATE UNIQUE INDEX CONCURRENTLY i ON t USING gin (a)", "CREATE INDEX i"},
        {"DROP TABLE IF EXISTS a, b CASCADE", "DROP TABLE a b"},
        {"ALTER TABLE s.x DROP COLUMN y", "ALTER TABLE s.x"},
        {"TRUNCATE TABLE t", "TRUNCATE TABLE t"}, {"TRUNCATE t", "TRUNCATE t"},
        {"CREATE USER bob IDENTIFIED BY 'x'", "CREATE USER"});
}
END_TEST

START_TEST(summaries_follow_joins_subqueries_and_lists_in_order)
{
    EXPECT_SUMMARIES(
        {"SELECT a FROM b AS x LEFT OUTER JOIN c ON x.a = c.a, d JOIN e USING (f)", "SELECT b c e"},
        {"SELECT a FROM b, c AS x, d y, (SELECT z FROM e) f, g", "SELECT b c d SELECT e"},
        {"SELECT * FROM (SELECT * FROM o JOIN p ON 1=1) AS q", "SELECT SELECT o p"},
        {"SELECT a FROM b WHERE EXISTS (SELECT 1 FROM c) UNION ALL SELECT d FROM e",
         "SELECT b SELECT c SELECT e"},
        {"(SELECT 1 FROM a) UNION (SELECT 2 FROM b)", "SELECT a SELECT b"},
        {"SELECT a FROM b JOIN (c JOIN d ON 1=1) ON 2=2", "SELECT b c d"},
        {"SELECT EXTRACT(YEAR FROM d), a IS DISTINCT FROM b FROM t", "SELECT t"},
        {"SELECT a FROM t FOR UPDATE", "SELECT t"}, {"SELECT a INTO x FROM t", "SELECT x t"});
}
END_TEST

START_TEST(common_table_expressions_are_no_targets)
{
    EXPECT_SUMMARIES(
        {"WITH x AS (SELECT * FROM a) SELECT * FROM X JOIN b ON 1=1", "SELECT a SELECT b"},
        {"WITH RECURSIVE x(n, m) AS NOT MATERIALIZED (SELECT 1 UNION SELECT n FROM x), y AS "
         "(DELETE FROM z RETURNING *) INSERT INTO w SELECT * FROM x, y",
         "SELECT SELECT DELETE z INSERT w SELECT"},
        {"WITH x AS (SELECT 1) UPDATE t SET a = 1 FROM x", "SELECT UPDATE t"},
        {"WITH x AS (SELECT 1) SELECT * FROM s.x", "SELECT SELECT s.x"});
}
END_TEST

START_TEST(targets_lose_only_the_quotes_they_do_not_need)
{
    EXPECT_SUMMARIES({"SELECT a FROM public.orders", "SELECT public.orders"},
                     {"SELECT a FROM \"public\".\"Orders\"", "SELECT public.Orders"},
                     {"SELECT a FROM `shop`.`my orders`", "SELECT shop.`my orders`"},
                     {"SELECT a FROM [dbo].[Order Details] AS d", "SELECT dbo.[Order Details]"},
                     {"SELECT a FROM db..t", "SELECT db..t"},
                     {"SELECT a FROM \"1\"\"\n\"", "SELECT \"1\"\" \""},
                     {"SELECT a FROM \"select\", \"from\"", "SELECT select from"});
}
END_TEST

START_TEST(what_is_no_statement_has_no_summary)
{
    EXPECT_SUMMARIES({"", ""}, {"'s3cr3t'", ""}, {"424242", ""}, {"\"s3cr3t\" FROM x", ""},
                     {"s3cr3t FROM x", ""}, {"\xef\xbb\xbfx", ""}, {"))(;", ""},
                     {"SELECT a FROM 's3cr3t'", "SELECT"}, {"SELECT a FROM ?", "SELECT"},
                     {"SELECT a FROM \"s3cr3t", "SELECT"}, {"EXEC @r", "EXEC"});
}
END_TEST

START_TEST(a_summary_ends_with_a_whole_name)
{
    char in[2048] = "SELECT * FROM t", out[512];
    for (int i = 0; i < 100; i++)
        strcat(in, ", a_table");
    size_t n = faa_sql_summary(faa_str_of(in), out, sizeof(out));
    ck_assert_uint_lt(n, FAA_SQL_SUMMARY_MAX);
    ck_assert_uint_gt(n, FAA_SQL_SUMMARY_MAX - 12);
    ck_assert_str_eq(out + n - 8, " a_table");
    ck_assert_uint_eq(faa_sql_summary(FAA_STR("SELECT a FROM schema.orders"), out, 16), 6);
    ck_assert_str_eq(out, "SELECT");
}
END_TEST

START_TEST(the_operation_is_the_first_word_of_the_summary)
{
    ck_assert(faa_str_eq(faa_sql_operation(FAA_STR("SELECT a b")), FAA_STR("SELECT")));
    ck_assert(faa_str_eq(faa_sql_operation(FAA_STR("COMMIT")), FAA_STR("COMMIT")));
    ck_assert_uint_eq(faa_sql_operation((struct faa_str){NULL, 0}).n, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sql");
    TCase *tc = tcase_create("sanitize");
    tcase_add_test(tc, strings_of_every_dialect_become_question_marks);
    tcase_add_test(tc, numbers_become_question_marks_and_digits_in_names_stay);
    tcase_add_test(tc, placeholders_and_constants_stay);
    tcase_add_test(tc, names_in_backticks_and_brackets_stay);
    tcase_add_test(tc, arrays_and_subscripts_are_sanitised_inside);
    tcase_add_test(tc, double_quotes_stay_only_where_no_string_can_stand);
    tcase_add_test(tc, where_dialects_disagree_the_rest_is_hidden);
    tcase_add_test(tc, unterminated_literals_are_hidden_to_the_end);
    tcase_add_test(tc, comments_are_removed);
    tcase_add_test(tc, white_space_is_collapsed);
    tcase_add_test(tc, in_lists_of_values_are_collapsed);
    tcase_add_test(tc, rows_of_values_after_the_first_are_left_out);
    tcase_add_test(tc, any_bytes_are_accepted_and_no_control_byte_comes_out);
    tcase_add_test(tc, no_literal_comes_out_of_any_beginning_of_a_statement);
    tcase_add_test(tc, output_is_cut_on_characters_and_stays_in_its_bounds);
    tcase_add_test(tc, very_long_statements_are_read_up_to_the_limit);
    suite_add_tcase(suite, tc);
    tc = tcase_create("summary");
    tcase_add_test(tc, summaries_name_operation_and_target);
    tcase_add_test(tc, summaries_of_definitions_name_the_kind_of_object);
    tcase_add_test(tc, summaries_follow_joins_subqueries_and_lists_in_order);
    tcase_add_test(tc, common_table_expressions_are_no_targets);
    tcase_add_test(tc, targets_lose_only_the_quotes_they_do_not_need);
    tcase_add_test(tc, what_is_no_statement_has_no_summary);
    tcase_add_test(tc, a_summary_ends_with_a_whole_name);
    tcase_add_test(tc, the_operation_is_the_first_word_of_the_summary);
    suite_add_tcase(suite, tc);
    SRunner *sr = srunner_create(suite);
    srunner_run_all(sr, CK_ENV);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? 1 : 0;
}

// SPDX-License-Identifier: MIT
// Error messages: what databases put in quotes is hidden, whatever is in it.
#include "span/sql_message.h"

#include <check.h>
#include <stdlib.h>

static const struct sample {
    const char *message, *told;
} samples[] = {
    // PostgreSQL.
    {"relation \"nowhere\" does not exist\nLINE 1: SELECT 'hush'", "relation ? does not exist"},
    {"null value in column \"a\" of relation \"b\" violates not-null constraint",
     "null value in column ? violates not-null constraint"},
    {"invalid input syntax for type integer: \"a\"b hush \"c\"",
     "invalid input syntax for type integer: ?"},
    {"connection to server at \"127.0.0.1\", port 5432 failed: Connection refused",
     "connection to server at ?, port ? failed: Connection refused"},
    // MySQL and MariaDB.
    {"Table 'orders.nowhere' doesn't exist", "Table ? doesn't exist"},
    {"Duplicate entry 'hush-1' for key 'name'", "Duplicate entry ?"},
    {"Duplicate entry 'O'Brien hush' for key 'name'", "Duplicate entry ?"},
    {"Duplicate entry 'he didn't hush' for key 'name'", "Duplicate entry ?"},
    {"Duplicate entry 'it doesn't exist", "Duplicate entry ?"},
    {"Can't connect to MySQL server on 'db' ([Errno 111] Connection refused)",
     "Can't connect to MySQL server on ? ([Errno ?] Connection refused)"},
    {"Access denied for user 'a'@'b' (using password: YES)",
     "Access denied for user ? (using password: YES)"},
    // SQLite, and what drivers say themselves.
    {"no such table: nowhere", "no such table: nowhere"},
    {"near \"FROM\": syntax error", "near ?: syntax error"},
    {"can't execute an empty query", "can't execute an empty query"},
    {"can't: N'hush'", "can?"},
    {"near n't hush' and", "near n? and"},
    {"unclosed 'hush and more", "unclosed ?"},
    {"one ' hush", "one ?"},
    {"don't 'hush' don't say", "don't ?t say"},
    {"'", "?"},
    {"''", "?"},
    {"", ""},
    {"\nhush", ""},
    {" doesn't exist", "doesn't exist"},
    {"x doesn't exist", "x doesn't exist"},
};

START_TEST(quoted_parts_are_hidden)
{
    char out[256];
    size_t n = faa_sql_message(faa_str_of(samples[_i].message), out, sizeof(out));
    ck_assert_str_eq(out, samples[_i].told);
    ck_assert_uint_eq(n, strlen(out));
}
END_TEST

START_TEST(a_message_of_any_length_fits)
{
    char message[4096], out[2048];
    memset(message, 'x', sizeof(message));
    for (size_t i = 0; i + 6 < sizeof(message); i += 6)
        memcpy(message + i, "can't ", 6);
    for (size_t cap = 0; cap <= sizeof(out); cap += 61) {
        memset(out, '#', sizeof(out));
        size_t n = faa_sql_message((struct faa_str){message, sizeof(message)}, out, cap);
        ck_assert_uint_lt(n, cap ? cap : 1);
        if (cap)
            ck_assert_int_eq(out[n], '\0');
        if (cap < sizeof(out))
            ck_assert_int_eq(out[cap], '#');
    }
    ck_assert_uint_gt(faa_sql_message((struct faa_str){message, sizeof(message)}, out, 2048), 500);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sql_message");
    TCase *tcase = tcase_create("message");
    tcase_add_loop_test(tcase, quoted_parts_are_hidden, 0, FAA_COUNT(samples));
    tcase_add_test(tcase, a_message_of_any_length_fits);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

// SPDX-License-Identifier: MIT
// Tests of the cache of statements: it tells what there is to tell without it, on all threads.
#include "span/sql_cache.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { ALL = FAA_SQL_TELL_TEXT | FAA_SQL_QUOTED_NAMES };

// Asks for a statement, and returns whether the answer is the right one.
static int is_right(const char *sql, unsigned flags)
{
    struct faa_sql_told cached, plain;
    memset(&cached, 0x5a, sizeof(cached));
    // A copy in another place: it is the text that counts.
    char *copy = strdup(sql);
    faa_sql_tell_cached(faa_str_of(copy), flags, &cached);
    free(copy);
    faa_sql_tell(faa_str_of(sql), flags, &plain);
    return strcmp(cached.text, plain.text) == 0 && strcmp(cached.summary, plain.summary) == 0 &&
           cached.text_len == plain.text_len && cached.summary_len == plain.summary_len &&
           cached.procedure == plain.procedure && cached.procedure_len == plain.procedure_len;
}

START_TEST(a_statement_is_told_alike_each_time)
{
    static const char *const statements[] = {
        "",
        "SELECT 1",
        "SELECT 2",
        "CALL dbo.p(1)",
        "SELECT a, b FROM t WHERE c = 'x' AND \"d\" = 1",
        "SELECT a, b FROM t WHERE c = 'y' AND \"d\" = 1",
        "INSERT INTO t (a, b, c) VALUES (%s, %s, %s)",
    };
    for (int round = 0; round < 5; round++)
        for (size_t i = 0; i < FAA_COUNT(statements); i++)
            for (unsigned flags = 0; flags <= ALL; flags++)
                ck_assert_msg(is_right(statements[i], flags), "%s, %u", statements[i], flags);
}
END_TEST

START_TEST(more_statements_than_there_is_room_for)
{
    char sql[128];
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 8 * FAA_SQL_CACHE_ENTRIES; i++) {
            snprintf(sql, sizeof(sql), "SELECT a FROM table_%d WHERE b = %d", i, i);
            ck_assert(is_right(sql, ALL) && is_right(sql, ALL) && is_right(sql, ALL));
        }
}
END_TEST

START_TEST(statements_of_every_length)
{
    static char sql[2 * FAA_SQL_CACHED_MAX];
    size_t n = (size_t)snprintf(sql, sizeof(sql), "SELECT x FROM t WHERE y IN ('1', z");
    for (; n < FAA_SQL_CACHED_MAX + 40; n++) {
        sql[n] = n % 7 ? 'z' : ' ';
        sql[n + 1] = '\0';
        ck_assert(is_right(sql, FAA_SQL_TELL_TEXT) && is_right(sql, FAA_SQL_TELL_TEXT));
        ck_assert(is_right(sql, FAA_SQL_TELL_TEXT));
    }
}
END_TEST

static int is_kept(const char *sql, unsigned flags)
{
    static struct faa_sql_told told;
    return faa_sql_tell_cached(faa_str_of(sql), flags, &told);
}

START_TEST(a_statement_is_kept_when_it_comes_again)
{
    static const char sql[] = "SELECT a FROM t WHERE b = 1";
    ck_assert_int_eq(is_kept(sql, ALL), 0);
    ck_assert_int_eq(is_kept(sql, ALL), 0);
    ck_assert_int_eq(is_kept(sql, ALL), 1);
    ck_assert_int_eq(is_kept(sql, 0), 0); // Another question.
    ck_assert_int_eq(is_kept("SELECT a FROM t WHERE b = 2", ALL), 0);
    ck_assert_int_eq(is_kept(sql, ALL), 1);
    ck_assert_int_eq(is_kept("", ALL) + is_kept("", ALL) + is_kept("", ALL), 0);
}
END_TEST

START_TEST(statements_that_come_once_push_nothing_out)
{
    char sql[128];
    for (int i = 0; i < 3; i++)
        is_kept("SELECT a FROM t", ALL);
    for (int i = 0; i < 50 * FAA_SQL_CACHE_ENTRIES; i++) {
        snprintf(sql, sizeof(sql), "SELECT a FROM t WHERE b = %d", i);
        ck_assert_int_eq(is_kept(sql, ALL), 0);
    }
    ck_assert_int_eq(is_kept("SELECT a FROM t", ALL), 1);
}
END_TEST

START_TEST(what_is_in_use_stays_when_the_cache_is_full)
{
    char sql[128];
    for (int i = 0; i < 20 * FAA_SQL_CACHE_ENTRIES; i++) {
        is_kept("SELECT a FROM t", ALL);
        snprintf(sql, sizeof(sql), "SELECT a FROM t WHERE b = %d", i);
        for (int k = 0; k < 2; k++)
            ck_assert_int_eq(is_kept(sql, ALL), 0);
        ck_assert_int_eq(is_kept(sql, ALL), 1);
        ck_assert(i < 3 || is_kept("SELECT a FROM t", ALL));
    }
    ck_assert_int_eq(is_kept("SELECT a FROM t WHERE b = 0", ALL), 0);
}
END_TEST

static void *ask(void *seed)
{
    char sql[128];
    unsigned number = *(unsigned *)seed;
    for (int i = 0; i < 20000; i++) {
        number = number * 1103515245u + 12345u;
        unsigned which = (number >> 16) % (2 * FAA_SQL_CACHE_ENTRIES);
        snprintf(sql, sizeof(sql), "CALL p_%u('x'); SELECT a FROM t_%u", which, which);
        if (!is_right(sql, ALL))
            return sql[0] ? seed : NULL;
    }
    return NULL;
}

START_TEST(threads_get_the_right_answers)
{
    pthread_t threads[4];
    unsigned seeds[FAA_COUNT(threads)] = {1, 2, 3, 3};
    for (size_t i = 0; i < FAA_COUNT(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, ask, &seeds[i]), 0);
    for (size_t i = 0; i < FAA_COUNT(threads); i++) {
        void *wrong;
        ck_assert_int_eq(pthread_join(threads[i], &wrong), 0);
        ck_assert_ptr_null(wrong);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sql cache");
    TCase *tc = tcase_create("cache");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, a_statement_is_told_alike_each_time);
    tcase_add_test(tc, more_statements_than_there_is_room_for);
    tcase_add_test(tc, statements_of_every_length);
    tcase_add_test(tc, a_statement_is_kept_when_it_comes_again);
    tcase_add_test(tc, statements_that_come_once_push_nothing_out);
    tcase_add_test(tc, what_is_in_use_stays_when_the_cache_is_full);
    tcase_add_test(tc, threads_get_the_right_answers);
    suite_add_tcase(suite, tc);
    SRunner *sr = srunner_create(suite);
    srunner_run_all(sr, CK_ENV);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? 1 : 0;
}

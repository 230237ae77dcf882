// SPDX-License-Identifier: MIT
// Tests of what is told about Redis commands and their errors.
#include "span/redis.h"

#include <check.h>
#include <stdlib.h>

struct reading {
    const char *first, *second; // NULL: none.
    size_t count;
    const char *name, *text;
};

static void expect(const struct reading *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct reading *c = &cases[i];
        struct faa_redis_command command;
        char text[FAA_REDIS_TEXT_MAX];
        if (faa_redis_parse(faa_str_of(c->first), c->count, &command))
            faa_redis_add_subcommand(&command, faa_str_of(c->second));
        ck_assert_str_eq(command.name, c->name);
        ck_assert_uint_eq(command.name_len, strlen(c->name));
        size_t n = faa_redis_text(&command, text, sizeof(text));
        ck_assert_str_eq(text, c->text);
        ck_assert_uint_eq(n, strlen(text));
    }
}

#define EXPECT(...)                                                                                \
    do {                                                                                           \
        static const struct reading cases[] = {__VA_ARGS__};                                       \
        expect(cases, FAA_COUNT(cases));                                                           \
    } while (0)

START_TEST(a_command_is_its_first_word_and_a_mark_for_each_value)
{
    EXPECT({"GET", "key", 2, "GET", "GET ?"}, {"PING", NULL, 1, "PING", "PING"},
           {"SET", "key", 5, "SET", "SET ? ? ? ?"}, {"get", "key", 2, "get", "get ?"},
           {"BITFIELD_RO", "k", 2, "BITFIELD_RO", "BITFIELD_RO ?"},
           {"JSON.GET", "k", 2, "JSON.GET", "JSON.GET ?"},
           {"RESTORE-ASKING", "k", 2, "RESTORE-ASKING", "RESTORE-ASKING ?"},
           {"AUTH", "hush", 2, "AUTH", "AUTH ?"}, {"HELLO", "3", 5, "HELLO", "HELLO ? ? ? ?"});
}
END_TEST

START_TEST(a_subcommand_belongs_to_the_name)
{
    EXPECT({"CONFIG GET", "maxmemory", 2, "CONFIG GET", "CONFIG GET ?"},
           {"CONFIG", "GET", 3, "CONFIG GET", "CONFIG GET ?"},
           {"OBJECT", "encoding", 3, "OBJECT encoding", "OBJECT encoding ?"},
           {"CLIENT NO-EVICT", "ON", 2, "CLIENT NO-EVICT", "CLIENT NO-EVICT ?"},
           {"cluster info", NULL, 1, "cluster info", "cluster info"},
           {"COMMAND", NULL, 1, "COMMAND", "COMMAND"},
           {"CONFIG", "hush:1", 2, "CONFIG", "CONFIG ?"}, {"CONFIG", "", 2, "CONFIG", "CONFIG ?"},
           {"CONFIG hush:1", "x", 2, "CONFIG", "CONFIG ? ?"},
           {"CONFIG", "aWordThatIsLongerThanAnySubcommand", 2, "CONFIG", "CONFIG ?"});
}
END_TEST

START_TEST(several_words_in_the_first_argument_are_values)
{
    EXPECT({"SET hush hush", NULL, 1, "SET", "SET ? ?"}, {" SET\thush", "x", 2, "SET", "SET ? ?"},
           {"CONFIG SET hush hush", NULL, 1, "CONFIG SET", "CONFIG SET ? ?"});
}
END_TEST

START_TEST(what_is_like_no_command_has_no_name)
{
    EXPECT({"", NULL, 1, "", ""}, {"user:hush", "x", 2, "", ""}, {"1234", "x", 2, "", ""},
           {"\xff\xfe", "x", 2, "", ""}, {"SET=1", "x", 2, "", ""}, {"   ", "x", 2, "", ""},
           {"ALONGCOMMANDALONGCOMMANDALONGCOMMAND", "x", 2, "", ""});
    struct faa_redis_command command;
    ck_assert_int_eq(faa_redis_parse((struct faa_str){NULL, 0}, 0, &command), 0);
    ck_assert_uint_eq(command.name_len, 0);
}
END_TEST

START_TEST(a_text_shows_a_limited_number_of_values)
{
    EXPECT({"MGET", "k", 17, "MGET", "MGET ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ?"},
           {"MGET", "k", 18, "MGET", "MGET ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ..."},
           {"MGET", "k", 100000, "MGET", "MGET ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ..."},
           {"MGET 1 2 3 4 5 6 7 8 9 a b c d e f g h i j k l m n", NULL, 1, "MGET",
            "MGET ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ..."});
}
END_TEST

// The longest name and all values fit; smaller buffers are never overrun.
START_TEST(a_text_fits_into_any_buffer)
{
    struct faa_redis_command command;
    char out[FAA_REDIS_TEXT_MAX];
    ck_assert_int_eq(faa_redis_parse(FAA_STR("CONFIG"), 100, &command), 1);
    faa_redis_add_subcommand(&command, FAA_STR("aaaaaaaaaaaaaaaaaaaaaaaa"));
    size_t all = faa_redis_text(&command, out, sizeof(out));
    ck_assert_str_eq(out + all - 4, " ...");
    for (size_t cap = 0; cap < sizeof(out); cap++) {
        memset(out, 0x5a, sizeof(out));
        size_t n = faa_redis_text(&command, out, cap);
        ck_assert(cap == 0 ? n == 0 : n < cap && out[n] == '\0');
        for (size_t i = cap; i < sizeof(out); i++)
            ck_assert_int_eq(out[i], 0x5a);
    }
}
END_TEST

START_TEST(scripts_and_modules_are_wordy)
{
    static const char *const yes[] = {"EVAL", "evalsha", "FCALL_RO", "SCRIPT LOAD", "FT.SEARCH"};
    static const char *const no[] = {"GET", "CONFIG GET", "EVALUATE", ""};
    for (size_t i = 0; i < FAA_COUNT(yes); i++)
        ck_assert_msg(faa_redis_is_wordy(faa_str_of(yes[i])), "%s", yes[i]);
    for (size_t i = 0; i < FAA_COUNT(no); i++)
        ck_assert_msg(!faa_redis_is_wordy(faa_str_of(no[i])), "%s", no[i]);
}
END_TEST

START_TEST(procedures_are_called_by_name_or_digest)
{
    ck_assert(faa_redis_calls_procedure(FAA_STR("EVALSHA")));
    ck_assert(faa_redis_calls_procedure(FAA_STR("fcall_ro")));
    ck_assert(!faa_redis_calls_procedure(FAA_STR("EVAL")));
    ck_assert(faa_redis_is_procedure(FAA_STR("e0e1f9fabfc9d4800c877a703b823ac0578ff8db")));
    ck_assert(faa_redis_is_procedure(FAA_STR("my_Function2")));
    ck_assert(!faa_redis_is_procedure(FAA_STR("")));
    ck_assert(!faa_redis_is_procedure(FAA_STR("return redis.call('hush')")));
    char name[FAA_REDIS_PROCEDURE_MAX + 1];
    memset(name, 'a', sizeof(name));
    ck_assert(faa_redis_is_procedure((struct faa_str){name, sizeof(name) - 1}));
    ck_assert(!faa_redis_is_procedure((struct faa_str){name, sizeof(name)}));
}
END_TEST

struct failure {
    const char *text;           // Of the exception.
    const char *known;          // The code that redis-py has taken off, or "".
    const char *code, *message; // What is told.
};

START_TEST(an_error_is_told_without_the_words_of_the_application)
{
    static const struct failure cases[] = {
        {"WRONGTYPE Operation against a key", "", "WRONGTYPE", "WRONGTYPE Operation against a key"},
        {"No matching script.", "NOSCRIPT", "", "NOSCRIPT No matching script."},
        {"unknown command 'hush', with args", "ERR", "", "ERR unknown command ?"},
        {"unknown command `hush`, with args", "ERR", "", "ERR unknown command ?"},
        {"Keys in request don't hash to the same slot", "CROSSSLOT", "",
         "CROSSSLOT Keys in request don't hash to the same slot"},
        {"Protocol Error: b'hush'", "", "", "Protocol Error: b?"},
        {"Command # 1 (LPUSH a hush) of pipeline caused error: WRONGTYPE Operation", "",
         "WRONGTYPE", "WRONGTYPE Operation"},
        {"Command # 2 (LPUSH caused error: HUSH) of pipeline caused error: ('WRONGTYPE Op',)", "",
         "WRONGTYPE", "WRONGTYPE Op?"},
        {"Command # 2 (GET) of pipeline caused error: ('OOM',)", "", "OOM", "OOM?"},
        {"Command # 1 (hush hush", "", "", ""},
        {"first line\nhush", "", "", "first line"},
        {"lower case", "", "", "lower case"},
        {"Lower", "", "", "Lower"},
        {"A short one", "", "", "A short one"},
        {"", "", "", ""},
        {"", "MOVED", "", "MOVED"},
    };
    for (size_t i = 0; i < FAA_COUNT(cases); i++) {
        char out[256], code[64] = "";
        struct faa_str words = faa_redis_error_words(faa_str_of(cases[i].text));
        struct faa_str found = faa_redis_error_code(words);
        memcpy(code, found.p, found.n);
        ck_assert_str_eq(code, cases[i].code);
        struct faa_str known = cases[i].known[0] ? faa_str_of(cases[i].known) : found;
        size_t n = faa_redis_error_message(known, words, out, sizeof(out));
        ck_assert_str_eq(out, cases[i].message);
        ck_assert_uint_eq(n, strlen(out));
    }
}
END_TEST

START_TEST(a_message_fits_into_any_buffer)
{
    char out[64];
    for (size_t cap = 0; cap < sizeof(out); cap++) {
        memset(out, 0x5a, sizeof(out));
        size_t n =
            faa_redis_error_message(FAA_STR("ERR"), FAA_STR("not a number 'hush'"), out, cap);
        ck_assert(cap == 0 ? n == 0 : n < cap && out[n] == '\0');
        ck_assert_ptr_null(cap ? strstr(out, "hush") : NULL);
        for (size_t i = cap; i < sizeof(out); i++)
            ck_assert_int_eq(out[i], 0x5a);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("redis");
    TCase *tc = tcase_create("redis");
    tcase_add_test(tc, a_command_is_its_first_word_and_a_mark_for_each_value);
    tcase_add_test(tc, a_subcommand_belongs_to_the_name);
    tcase_add_test(tc, several_words_in_the_first_argument_are_values);
    tcase_add_test(tc, what_is_like_no_command_has_no_name);
    tcase_add_test(tc, a_text_shows_a_limited_number_of_values);
    tcase_add_test(tc, a_text_fits_into_any_buffer);
    tcase_add_test(tc, scripts_and_modules_are_wordy);
    tcase_add_test(tc, procedures_are_called_by_name_or_digest);
    tcase_add_test(tc, an_error_is_told_without_the_words_of_the_application);
    tcase_add_test(tc, a_message_fits_into_any_buffer);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

// SPDX-License-Identifier: MIT
// Tests of the redaction of exception messages.
#include "span/message.h"

#include <check.h>
#include <stdlib.h>

struct redaction {
    const char *in, *out;
};

typedef size_t (*redact_fn)(struct faa_str, char *, size_t);

static void expect_of(redact_fn redact, const struct redaction *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char out[512];
        size_t n = redact(faa_str_of(cases[i].in), out, sizeof(out));
        ck_assert_str_eq(out, cases[i].out);
        ck_assert_uint_eq(n, strlen(out));
    }
}

static void expect(const struct redaction *cases, size_t count)
{
    expect_of(faa_message_redact, cases, count);
}

START_TEST(an_ordinary_message_is_unchanged)
{
    static const char *const texts[] = {
        "",
        "division by zero",
        "what? nothing",
        "is it 5 ? 6",
        "no: such // thing",
        "a://b",
        "line one\nline two",
        "caf\xc3\xa9 <1 & 2>",
        "unexpected token: expected ','",
        "password is too short",
        "issue #5, key=5, x == y",
        "KeyError: 'token'",
        "Bearer of bad news",
        "password=",
        "'password':",
        "tokens=5",
    };
    for (size_t i = 0; i < FAA_COUNT(texts); i++)
        expect(&(struct redaction){texts[i], texts[i]}, 1);
}
END_TEST

START_TEST(statements_parameters_and_rows_are_left_out)
{
    static const struct redaction cases[] = {
        {"(sqlite3.OperationalError) no such table: t\n[SQL: SELECT 's3cr3t']\n[parameters: (1,)]",
         "(sqlite3.OperationalError) no such table: t"},
        {"failed\n[parameters: {'password': 's3cr3t'}]", "failed"},
        {"duplicate key value\nDETAIL:  Key (email)=(s3cr3t) already exists.",
         "duplicate key value"},
    };
    expect(cases, FAA_COUNT(cases));
}
END_TEST

START_TEST(secrets_of_urls_are_redacted)
{
    static const struct redaction cases[] = {
        {"Max retries exceeded with url: /pay?token=s3cr3t&page=2 (Caused by X)",
         "Max retries exceeded with url: /pay?token=REDACTED&page=2 (Caused by X)"},
        {"cannot reach 'https://bob:s3cr3t@shop.example/x'",
         "cannot reach 'https://REDACTED@shop.example/x'"},
        {"two: http://h/?sig=s3cr3t http://h/?sig=s3cr3t",
         "two: http://h/?sig=REDACTED http://h/?sig=REDACTED"},
        {"Invalid URL 'h/cb?a=1#access_token=s3cr3t&x=2': No scheme supplied",
         "Invalid URL 'h/cb?a=1#access_token=REDACTED&x=2': No scheme supplied"},
        {"https://h/#id_token=s3cr3t", "https://h/#id_token=REDACTED"},
    };
    expect(cases, FAA_COUNT(cases));
}
END_TEST

START_TEST(values_behind_the_names_of_secrets_are_redacted)
{
    static const struct redaction cases[] = {
        {"cannot connect: host=h password=s3cr3t user=bob",
         "cannot connect: host=h password=REDACTED user=bob"},
        {"password = 's3cr3t and \\'more', x", "password = REDACTED, x"},
        {"got {'user': 'bob', 'password': 's3cr3t', \"api-key\": \"s3cr3t\", 'n': 1}",
         "got {'user': 'bob', 'password': REDACTED, \"api-key\": REDACTED, 'n': 1}"},
        {"config.client_secret=s3cr3t;", "config.client_secret=REDACTED;"},
        {"{'Authorization': 'Bearer s3cr3ts3cr3t'}", "{'Authorization': REDACTED}"},
        {"sent Bearer s3cr3t-s3cr3t to h", "sent Bearer REDACTED to h"},
        {"token='s3cr3t", "token=REDACTED"},
        {"token=s3cr3t", "token=REDACTED"},
    };
    expect(cases, FAA_COUNT(cases));
}
END_TEST

START_TEST(values_in_the_messages_of_drivers_are_left_out)
{
    static const struct redaction cases[] = {
        {"", ""},
        {"UNIQUE constraint failed: users.email", "UNIQUE constraint failed: users.email"},
        {"(sqlite3.OperationalError) no such table: t1\n[SQL: SELECT 's3cr3t']",
         "(sqlite3.OperationalError) no such table: t1"},
        {"relation \"x\" does not exist\nLINE 1: s3cr3t", "relation ? does not exist"},
        {"invalid input syntax for type integer: \"a\"s3cr3t\"",
         "invalid input syntax for type integer: ?"},
        {"1064 (42000): error near 'SELCT pw='s3cr3t'' at line 1", "? (?): error near ? at line ?"},
        {"(1062, \"Duplicate entry 's3cr3t' for key 'users.email'\")", "(1062) Duplicate entry ?"},
        {"(pymysql.err.DataError) (1264, 'Out of range value for column at row 1')",
         "(pymysql.err.DataError) (1264) Out of range value for column at row ?"},
        {"(pymysql.err.ProgrammingError) (1064, 'near \\'pw=\\'s3cr3t\\'\\' at line 1')",
         "(pymysql.err.ProgrammingError) (1064) near \\? at line ?"},
        {"('42000', \"[42000] The duplicate key value is (s3cr3t, 1). (2627)\")", "(?, ?"},
        {"Cannot insert. The duplicate key value is (s3cr3t, 1). (2627)",
         "Cannot insert. The duplicate key value is ("},
        {"Key (email)=(s3cr3t) already exists.", "Key (email)=("},
        {"invalid input for query argument $1: <S3cr3t s3cr3t> (expected str)",
         "invalid input for query argument $"},
        {"it's s3cr3t", "it?"},
    };
    expect_of(faa_message_redact_driver, cases, FAA_COUNT(cases));
}
END_TEST

START_TEST(values_are_shown_where_the_user_wants_it)
{
    static const struct redaction shown = {
        "Duplicate entry 'bob' at http://h/?token=s3cr3t\nDETAIL: row",
        "Duplicate entry 'bob' at http://h/?token=REDACTED"};
    faa_message_show_values(1);
    expect_of(faa_message_redact_driver, &shown, 1);
    faa_message_show_values(0);
}
END_TEST

START_TEST(no_value_comes_out_of_any_beginning_of_a_message)
{
    static const char *const planted[] = {
        "(1062, \"Duplicate entry 's3cr3t' for key 'k'\")",
        "it \"s3cr3t\" is 's3cr3t' and 's3cr3t': 's3cr3t",
        "x (MySQLdb.E) (1064, 'near \\'a=\\'s3cr3t\\'\\' at')",
    };
    for (size_t i = 0; i < FAA_COUNT(planted); i++)
        for (size_t n = 0; n <= strlen(planted[i]); n++)
            for (size_t cap = 1; cap < 80; cap++) {
                char out[128], *in = malloc(n + 1);
                ck_assert_ptr_nonnull(in);
                memcpy(in, planted[i], n);
                memset(out, 0x5a, sizeof(out));
                size_t m = faa_message_redact_driver((struct faa_str){in, n}, out, cap);
                free(in);
                ck_assert_uint_lt(m, cap);
                ck_assert_int_eq(out[m], 0);
                ck_assert_int_eq(out[cap], 0x5a);
                ck_assert_msg(!strstr(out, "s3"), "%zu bytes of %s gave %s", n, planted[i], out);
            }
}
END_TEST

START_TEST(inputs_of_validation_errors_are_left_out)
{
    static const struct redaction cases[] = {
        {"1 validation error:\n  {'type': 'int_parsing', 'loc': ('query', 'n'), 'input': 's3cr3t'}",
         "1 validation error:"},
        {"1 validation error:\n  {'loc': ('query', 'n'), 'msg': 's3cr3t'}", "1 validation error:"},
        {"2 validation errors for Request\nbody -> stock -> s3cr3t\n  value is not a valid integer",
         "2 validation errors"},
        {"[{'type': 'missing', 'loc': ('body', 's3cr3t'), 'input': {}}]", ""},
        {"1 validation error for WebSocket\nquery -> n\n  s3cr3t", "1 validation error"},
        {"1 validation error for Item\nprice\n  Input should be a valid number [type=float_type, "
         "input_value='s3cr3t', input_type=str]\n    For further information",
         "1 validation error for Item\nprice\n  Input should be a valid number [type=float_type, "
         "input_value=?, input_type=str]\n    For further information"},
        {"[input_value='s3cr3t, input_type=s3cr3t', input_type=str]\n[input_value=s3cr3t\nnext",
         "[input_value=?, input_type=str]\n[input_value=?\nnext"},
        {"input_value=s3cr3t", "input_value=?"},
    };
    expect(cases, FAA_COUNT(cases));
}
END_TEST

START_TEST(output_stays_in_its_bounds)
{
    static const char text[] = "see http://bob:s3cr3t@h/?token=s3cr3t&a=b and so on";
    for (size_t cap = 1; cap < sizeof(text) + 32; cap++) {
        char out[sizeof(text) + 64];
        memset(out, 0x5a, sizeof(out));
        size_t n = faa_message_redact(FAA_STR(text), out, cap);
        ck_assert_uint_lt(n, cap);
        ck_assert_int_eq(out[n], 0);
        ck_assert_ptr_null(strstr(out, "s3cr"));
        for (size_t i = cap; i < sizeof(out); i++)
            ck_assert_int_eq(out[i], 0x5a);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("message");
    TCase *tc = tcase_create("message");
    tcase_add_test(tc, an_ordinary_message_is_unchanged);
    tcase_add_test(tc, statements_parameters_and_rows_are_left_out);
    tcase_add_test(tc, secrets_of_urls_are_redacted);
    tcase_add_test(tc, values_behind_the_names_of_secrets_are_redacted);
    tcase_add_test(tc, values_in_the_messages_of_drivers_are_left_out);
    tcase_add_test(tc, values_are_shown_where_the_user_wants_it);
    tcase_add_test(tc, no_value_comes_out_of_any_beginning_of_a_message);
    tcase_add_test(tc, inputs_of_validation_errors_are_left_out);
    tcase_add_test(tc, output_stays_in_its_bounds);
    suite_add_tcase(suite, tc);
    SRunner *sr = srunner_create(suite);
    srunner_run_all(sr, CK_ENV);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? 1 : 0;
}

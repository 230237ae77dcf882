// SPDX-License-Identifier: MIT
// Tests of the redaction of exception messages.
#include "span/message.h"

#include <check.h>
#include <stdlib.h>

struct redaction {
    const char *in, *out;
};

static void expect(const struct redaction *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char out[512];
        size_t n = faa_message_redact(faa_str_of(cases[i].in), out, sizeof(out));
        ck_assert_str_eq(out, cases[i].out);
        ck_assert_uint_eq(n, strlen(out));
    }
}

START_TEST(an_ordinary_message_is_unchanged)
{
    static const char *const texts[] = {
        "",      "division by zero",   "what? nothing",       "is it 5 ? 6", "no: such // thing",
        "a://b", "line one\nline two", "caf\xc3\xa9 <1 & 2>",
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
    };
    expect(cases, FAA_COUNT(cases));
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
    tcase_add_test(tc, inputs_of_validation_errors_are_left_out);
    tcase_add_test(tc, output_stays_in_its_bounds);
    suite_add_tcase(suite, tc);
    SRunner *sr = srunner_create(suite);
    srunner_run_all(sr, CK_ENV);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? 1 : 0;
}

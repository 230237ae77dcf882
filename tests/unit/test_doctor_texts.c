// SPDX-License-Identifier: MIT
// Tests of what the doctor writes: JSON that is valid whatever it quotes, values without secrets,
// sentences with an end.
#include "doctor/json.h"
#include "doctor/known.h"
#include "doctor/mask.h"
#include "doctor/report.h"
#include "doctor/variables.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

// What the writer makes of one string.
static char *json_of(const char *value)
{
    char *text = NULL;
    size_t n;
    struct faa_json json = {.file = open_memstream(&text, &n)};
    faa_json_string(&json, NULL, value);
    fclose(json.file);
    return text;
}

static const struct {
    const char *value, *json;
} strings[] = {
    {"", "\"\""},
    {"plain text", "\"plain text\""},
    {"\"\\/", "\"\\\"\\\\/\""},
    {"a\nb\tc\rd", "\"a\\nb\\tc\\u000dd\""},
    {"\x01\x1f\x7f", "\"\\u0001\\u001f\\u007f\""},
    {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
    // C1 and the line separators of JavaScript.
    {"\xc2\x80\xc2\x9b\xc2\xa0", "\"\\u0080\\u009b\xc2\xa0\""},
    {"\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xa7", "\"\\u2028\\u2029\xe2\x80\xa7\""},
    // What is no UTF-8: a lone byte, a cut character, too long a form, a surrogate, beyond the end.
    {"\xff", "\"\xef\xbf\xbd\""},
    {"a\xe2\x82", "\"a\xef\xbf\xbd\xef\xbf\xbd\""},
    {"\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
    {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    {"\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    {"\x80"
     "a\xc3",
     "\"\xef\xbf\xbd"
     "a\xef\xbf\xbd\""},
};

START_TEST(a_string_is_escaped_and_valid)
{
    char *text = json_of(strings[_i].value);
    ck_assert_str_eq(text, strings[_i].json);
    free(text);
}
END_TEST

START_TEST(members_are_separated_and_indented)
{
    char *text = NULL;
    size_t n;
    struct faa_json json = {.file = open_memstream(&text, &n)};
    faa_json_open(&json, NULL, '{');
    faa_json_number(&json, "a", -1);
    faa_json_open(&json, "b", '[');
    faa_json_close(&json, ']');
    faa_json_open(&json, "c", '[');
    faa_json_bool(&json, NULL, 1);
    faa_json_null(&json, NULL);
    faa_json_close(&json, ']');
    faa_json_string(&json, "d\"", "e");
    faa_json_close(&json, '}');
    fclose(json.file);
    ck_assert_str_eq(text, "{\n  \"a\": -1,\n  \"b\": [],\n  \"c\": [\n    true,\n    null\n  ],\n"
                           "  \"d\\\"\": \"e\"\n}\n");
    free(text);
}
END_TEST

static const struct {
    enum faa_mask mask;
    const char *value, *shown;
    int masked;
} masks[] = {
    {FAA_MASK_NOTHING, "a=b,c://d:e@f", "a=b,c://d:e@f", 0},
    {FAA_MASK_URL, "http://h:4317/a", "http://h:4317/a", 0},
    {FAA_MASK_URL, "https://user:pass@h/a", "https://***@h/a", 1},
    {FAA_MASK_URL, "https://user:p/a@s?s@h/a", "https://***@h/a", 1},
    {FAA_MASK_URL, "https://tok@h", "https://***@h", 1},
    {FAA_MASK_URL, "https://h/a?key=s3", "https://h/a?***", 1},
    {FAA_MASK_URL, "https://h/a#s3", "https://h/a#***", 1},
    {FAA_MASK_URL, "unix:///run/x.sock", "unix:///run/x.sock", 0},
    {FAA_MASK_URL, "collector:4317", "collector:4317", 0},
    {FAA_MASK_URL, "[::1]:4317", "[::1]:4317", 0},
    {FAA_MASK_URL, "s3cret", "***", 1},
    {FAA_MASK_URL, "user:s3cret", "***", 1},
    {FAA_MASK_URL, "user:s3@host:80", "***", 1},
    {FAA_MASK_URL, ":80", "***", 1},
    {FAA_MASK_VALUES, "authorization=Bearer%20x, x-tenant = a", "authorization=***, x-tenant =***",
     1},
    {FAA_MASK_VALUES, "c2VjcmV0=,c2VjcmV0==", "***,***", 1},
    {FAA_MASK_VALUES, "authorization: Bearer c2VjcmV0=x", "***", 1},
    {FAA_MASK_VALUES, "s3cret", "***", 1},
    {FAA_MASK_VALUES, "a=b=c,,d=e", "a=***,,d=***", 1},
    {FAA_MASK_PAIRS, "deployment.environment=prod,a=b", "deployment.environment=prod,a=b", 0},
    {FAA_MASK_PAIRS, "a=b,API_KEY=s3,c=d", "a=b,API_KEY=***,c=d", 1},
    {FAA_MASK_PAIRS, "endpoint=http://u:p@h:1,x=1", "endpoint=http://***@h:1,x=1", 1},
    {FAA_MASK_PAIRS, "0.5", "0.5", 0},
    {FAA_MASK_PAIRS, "a=b,s3cret", "a=b,***", 1},
    {FAA_MASK_PAIRS, "", "", 0},
};

START_TEST(secrets_are_masked)
{
    char out[FAA_FACT_MAX];
    int masked = faa_mask(masks[_i].mask, masks[_i].value, out, sizeof(out));
    ck_assert_str_eq(out, masks[_i].shown);
    ck_assert_int_eq(masked, masks[_i].masked);
}
END_TEST

START_TEST(a_masked_value_stays_within_its_room)
{
    char value[1000], out[16];
    memset(value, 'a', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (int mask = FAA_MASK_NOTHING; mask <= FAA_MASK_VALUES; mask++) {
        memset(out, 'x', sizeof(out));
        faa_mask((enum faa_mask)mask, value, out, sizeof(out) - 1);
        ck_assert_uint_lt(strlen(out), sizeof(out) - 1);
        ck_assert_int_eq(out[sizeof(out) - 1], 'x');
    }
}
END_TEST

START_TEST(a_long_sentence_ends_in_dots_behind_a_whole_character)
{
    char out[12];
    faa_report_format(out, sizeof(out), "%s", "12345678901");
    ck_assert_str_eq(out, "12345678901");
    faa_report_format(out, sizeof(out), "%s", "123456789012");
    ck_assert_str_eq(out, "12345678...");
    faa_report_format(out, sizeof(out), "%s", "1234567\xc3\xa4 and so on");
    ck_assert_str_eq(out, "1234567...");
}
END_TEST

START_TEST(a_finding_too_many_makes_the_report_a_bad_one)
{
    static struct faa_report report;
    for (int i = 0; i < FAA_FINDINGS_MAX; i++)
        faa_report_add(&report, FAA_OK, "a.b", "%d", i);
    ck_assert(faa_report_is_good(&report));
    faa_report_add(&report, FAA_OK, "a.b", "last");
    ck_assert_uint_eq(report.finding_count, FAA_FINDINGS_MAX);
    ck_assert_str_eq(report.findings[FAA_FINDINGS_MAX - 1].summary, "last");
    ck_assert(!faa_report_is_good(&report));
}
END_TEST

static const struct {
    const char *version, *tested;
    int untested;
} versions[] = {
    {"2.1.9", "1.4 to 2.1", 0},  {"2.2.0", "1.4 to 2.1", 1},
    {"1.4.0", "1.4 to 2.1", 0},  {"1.3.24", "1.4 to 2.1", 1},
    {"2.10.0", "1.4 to 2.9", 1}, {"3.0b1", "1.4 to 2.1", 1},
    {"2", "1.4 to 2.1", 0},      {"2.9.10", "2.9", 0},
    {"2.10", "2.9", 1},          {"", "1.4 to 2.1", 0},
    {"dev", "1.4 to 2.1", 0},    {"3.12.1", "of CPython 3.9 to 3.14", 0},
};

START_TEST(versions_are_compared_as_numbers_as_far_as_they_are_claimed)
{
    ck_assert_int_eq(faa_known_is_untested(versions[_i].version, versions[_i].tested),
                     versions[_i].untested);
}
END_TEST

START_TEST(misspelt_variables_are_recognised)
{
    ck_assert(faa_variable_is_known("OTEL_EXPORTER_OTLP_TRACES_HEADERS"));
    ck_assert(faa_variable_is_known("OTEL_LOG_LEVEL"));
    ck_assert(!faa_variable_is_known("OTEL_EXPORTER_OTLP_ENDPONT"));
    ck_assert_str_eq(faa_variable_like("OTEL_EXPORTER_OTLP_ENDPONT"),
                     "OTEL_EXPORTER_OTLP_ENDPOINT");
    ck_assert_str_eq(faa_variable_like("FAA_LOGLEVEL"), "FAA_LOG_LEVEL");
    ck_assert_ptr_null(faa_variable_like("OTEL_METRICS_EXPORTER"));
    ck_assert_ptr_null(faa_variable_like("FAA_SOMETHING"));
    char name[400];
    memset(name, 'A', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    ck_assert_ptr_null(faa_variable_like(name));
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("texts");
    tcase_add_loop_test(cases, a_string_is_escaped_and_valid, 0, FAA_COUNT(strings));
    tcase_add_test(cases, members_are_separated_and_indented);
    tcase_add_loop_test(cases, secrets_are_masked, 0, FAA_COUNT(masks));
    tcase_add_test(cases, a_masked_value_stays_within_its_room);
    tcase_add_test(cases, a_long_sentence_ends_in_dots_behind_a_whole_character);
    tcase_add_test(cases, a_finding_too_many_makes_the_report_a_bad_one);
    tcase_add_loop_test(cases, versions_are_compared_as_numbers_as_far_as_they_are_claimed, 0,
                        FAA_COUNT(versions));
    tcase_add_test(cases, misspelt_variables_are_recognised);
    Suite *suite = suite_create("doctor_texts");
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

// SPDX-License-Identifier: MIT
// Tests of what proxies say: Forwarded and X-Forwarded-For.
#include "span/forwarded.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

struct forwarded_case {
    const char *header, *client, *host, *proto;
};

static void expect_str(struct faa_str have, const char *want, const char *header)
{
    ck_assert_msg(faa_str_eq(have, faa_str_of(want)), "%s: \"%.*s\", not \"%s\"", header,
                  (int)have.n, have.p, want);
}

static void expect(const struct forwarded_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *header = cases[i].header;
        struct faa_forwarded f = faa_forwarded_parse(faa_str_of(header));
        expect_str(f.client, cases[i].client, header);
        expect_str(f.host, cases[i].host, header);
        expect_str(f.proto, cases[i].proto, header);
    }
}

START_TEST(forwarded_has_the_first_hop)
{
    static const struct forwarded_case cases[] = {
        {"for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60", "", "http"},
        {"for=192.0.2.43, for=198.51.100.17;host=h", "192.0.2.43", "", ""},
        {"FOR=192.0.2.1;HOST=Shop.Example;PROTO=HTTPS", "192.0.2.1", "Shop.Example", "HTTPS"},
        {" \tfor = 192.0.2.1 ;\thost = h ", "192.0.2.1", "h", ""},
        {"for=192.0.2.1;for=192.0.2.2", "192.0.2.2", "", ""},
        {"host=h;secret=token;proto=https", "", "h", "https"},
        {"host=\"h:8443\"", "", "h:8443", ""},
        {"host=\"[2001:db8::1]:81\"", "", "[2001:db8::1]:81", ""},
    };
    expect(cases, FAA_COUNT(cases));
}
END_TEST

START_TEST(separators_within_quotes_are_text)
{
    static const struct forwarded_case cases[] = {
        {"host=\"a;for=1.2.3.4,b\";proto=https", "", "a;for=1.2.3.4,b", "https"},
        {"host=\"a\\\";for=1.2.3.4\";proto=https", "", "", "https"},
        {"by=\",\";for=192.0.2.1", "192.0.2.1", "", ""},
        {"x=\"y=z\";for=192.0.2.1", "192.0.2.1", "", ""},
    };
    expect(cases, FAA_COUNT(cases));
}
END_TEST

START_TEST(what_is_no_value_is_none)
{
    static const struct forwarded_case cases[] = {
        {"", "", "", ""},
        {",", "", "", ""},
        {", for=192.0.2.1", "", "", ""},
        {";;=;", "", "", ""},
        {"for", "", "", ""},
        {"for=", "", "", ""},
        {"for=\"", "", "", ""},
        {"for=\"\"", "", "", ""},
        {"for=\"192.0.2.1", "", "", ""},
        {"for=\"192.0.2.1\"x", "", "", ""},
        {"host=\"a\\", "", "", ""},
        {"=192.0.2.1;fo=192.0.2.1;forr=192.0.2.1", "", "", ""},
    };
    expect(cases, FAA_COUNT(cases));
}
END_TEST

struct address_case {
    const char *header, *address;
};

START_TEST(addresses_have_neither_port_nor_brackets)
{
    static const struct address_case cases[] = {
        {"192.0.2.1", "192.0.2.1"},
        {"192.0.2.1:80", "192.0.2.1"},
        {"192.0.2.1:", "192.0.2.1"},
        {" 192.0.2.1\t, 192.0.2.2", "192.0.2.1"},
        {"2001:db8::1", "2001:db8::1"},
        {"::", "::"},
        {"[2001:db8::1]", "2001:db8::1"},
        {"[2001:db8::1]:80", "2001:db8::1"},
        {"[]:80", ""},
        {"[2001:db8::1", ""},
        {":80", ""},
        {":", ""},
    };
    for (size_t i = 0; i < FAA_COUNT(cases); i++)
        expect_str(faa_forwarded_for(faa_str_of(cases[i].header)), cases[i].address,
                   cases[i].header);
}
END_TEST

START_TEST(names_that_proxies_hide_behind_are_no_addresses)
{
    static const struct address_case cases[] = {
        {"unknown", ""},    {"Unknown", ""}, {"UNKNOWN:80", ""},       {"_hidden", ""},
        {"_secret:80", ""}, {"_", ""},       {"unknowns", "unknowns"}, {"[_x]:1", ""},
        {"", ""},           {",", ""},       {" , 1.2.3.4", ""},       {"unknown, 1.2.3.4", ""},
    };
    for (size_t i = 0; i < FAA_COUNT(cases); i++)
        expect_str(faa_forwarded_for(faa_str_of(cases[i].header)), cases[i].address,
                   cases[i].header);
}
END_TEST

START_TEST(first_element_has_no_blanks_around_it)
{
    static const struct address_case cases[] = {
        {"https", "https"}, {" https ,http", "https"}, {"a b , c", "a b"}, {",x", ""}, {" \t ", ""},
        {"", ""},
    };
    for (size_t i = 0; i < FAA_COUNT(cases); i++)
        expect_str(faa_forwarded_first(faa_str_of(cases[i].header)), cases[i].address,
                   cases[i].header);
}
END_TEST

START_TEST(an_empty_header_may_have_no_bytes)
{
    struct faa_str none = {NULL, 0};
    ck_assert_uint_eq(faa_forwarded_parse(none).client.n, 0);
    ck_assert_uint_eq(faa_forwarded_for(none).n, 0);
    ck_assert_uint_eq(faa_forwarded_first(none).n, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("forwarded");
    TCase *tests = tcase_create("forwarded");
    tcase_add_test(tests, forwarded_has_the_first_hop);
    tcase_add_test(tests, separators_within_quotes_are_text);
    tcase_add_test(tests, what_is_no_value_is_none);
    tcase_add_test(tests, addresses_have_neither_port_nor_brackets);
    tcase_add_test(tests, names_that_proxies_hide_behind_are_no_addresses);
    tcase_add_test(tests, first_element_has_no_blanks_around_it);
    tcase_add_test(tests, an_empty_header_may_have_no_bytes);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

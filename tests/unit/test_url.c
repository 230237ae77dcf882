// SPDX-License-Identifier: MIT
// Tests of URL splitting and redaction.
#include "span/url.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

enum { GUARD = 0x5a };

struct redaction {
    const char *in, *out;
};

typedef size_t (*redact_fn)(struct faa_str, char *, size_t);

static size_t describe(struct faa_str url, char *out, size_t cap)
{
    struct faa_url parts;
    return faa_url_describe(url, out, cap, &parts);
}

static void expect(redact_fn redact, const struct redaction *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char out[512];
        size_t n = redact(faa_str_of(cases[i].in), out, sizeof(out));
        ck_assert_str_eq(out, cases[i].out);
        ck_assert_uint_eq(n, strlen(out));
    }
    if (redact == faa_url_redact)
        expect(describe, cases, count);
}

START_TEST(a_url_without_secrets_is_unchanged)
{
    static const char *const urls[] = {
        "",
        "https://example.com",
        "http://h:80/a/b?x=1&y=2#top",
        "/p@th?e=f@g",
        "http://[::1]:8/x?y",
        "http://h/?token",
        "http://h/?tokens=1&monkey=2&sort_key=name&page_token=3&author=x",
        "http://h/?key=name&Sig=a&signature=b&x-amz-algorithm=c",
        "http://h/@user/pass:word@x",
        "http://h/?&&==&;;?#",
        "http://b\xc3\xbc.example/\xe5\x90\x8d?q=\xf0\x9f\x98\x80",
        "*",
        "http://h/?%zz=1&%",
        "not a url",
    };
    for (size_t i = 0; i < FAA_COUNT(urls); i++)
        expect(faa_url_redact, &(struct redaction){urls[i], urls[i]}, 1);
}
END_TEST

START_TEST(user_information_is_redacted)
{
    static const struct redaction cases[] = {
        {"https://bob:s3cr3t@example.com/", "https://REDACTED:REDACTED@example.com/"},
        {"https://bob@example.com/", "https://REDACTED@example.com/"},
        {"https://:s3cr3t@h", "https://REDACTED:REDACTED@h"},
        {"https://bob:@h", "https://REDACTED:REDACTED@h"},
        {"http://a@b:c@d@host/p@th?e=f@g", "http://REDACTED:REDACTED@host/p@th?e=f@g"},
        {"http://u:p%40q@[::1]:80/", "http://REDACTED:REDACTED@[::1]:80/"},
        {"//u:p@h/x", "//REDACTED:REDACTED@h/x"},
        {"u:p@h/x?sig=1", "REDACTED:REDACTED@h/x?sig=REDACTED"},
        {"http:///u:p@h/", "http:///REDACTED:REDACTED@h/"},
        {"u:p@h://x", "REDACTED:REDACTED@h://x"},
        {"http:\\\\u:p@h/", "http:\\\\REDACTED:REDACTED@h/"},
    };
    expect(faa_url_redact, cases, FAA_COUNT(cases));
}
END_TEST

START_TEST(a_password_with_a_delimiter_in_it_is_redacted_whole)
{
    static const struct redaction cases[] = {
        {"http://user:pa/ss@host/x", "http://REDACTED:REDACTED@host/x"},
        {"http://user:pa?s#s@host/x", "http://REDACTED:REDACTED@host/x"},
        {"http://user:s3cr3t", "http://REDACTED:REDACTED"},
    };
    for (size_t i = 0; i < FAA_COUNT(cases); i++) {
        char out[128];
        faa_url_redact(faa_str_of(cases[i].in), out, sizeof(out));
        ck_assert_int_eq(strncmp(out, cases[i].out, strlen(cases[i].out)), 0);
        ck_assert_ptr_null(strstr(out, "s3cr3t"));
    }
}
END_TEST

START_TEST(the_keys_of_the_conventions_are_redacted_in_their_own_case)
{
    static const struct redaction cases[] = {
        {"X-Amz-Signature=a&X-Amz-Credential=b&X-Amz-Security-Token=c&X-Amz-Date=d",
         "X-Amz-Signature=REDACTED&X-Amz-Credential=REDACTED&X-Amz-Security-Token=REDACTED"
         "&X-Amz-Date=d"},
        {"AWSAccessKeyId=a&Signature=b&Expires=1",
         "AWSAccessKeyId=REDACTED&Signature=REDACTED&Expires=1"},
        {"sv=1&sig=abc%3D", "sv=1&sig=REDACTED"},
        {"X-Goog-Signature=f", "X-Goog-Signature=REDACTED"},
        {"SIG=a&signature=b&x-goog-signature=c", "SIG=a&signature=b&x-goog-signature=c"},
        {"sig=", "sig=REDACTED"},
        {"sig=a=b=c", "sig=REDACTED"},
    };
    expect(faa_query_redact, cases, FAA_COUNT(cases));
}
END_TEST

START_TEST(our_own_keys_are_redacted_in_any_case)
{
    static const char *const keys[] = {
        "password",     "passwd",        "pwd",       "passphrase", "secret",        "token",
        "access_token", "refresh_token", "id_token",  "api_key",    "apikey",        "api-key",
        "apiKey",       "client_secret", "auth",      "jwt",        "authorization", "PASSWORD",
        "Access-Token", "x-api-key",     "accessKey", "secret_key", "private_key",   "credentials",
        "auth_token",   "session_token",
    };
    for (size_t i = 0; i < FAA_COUNT(keys); i++) {
        char in[64], want[64];
        snprintf(in, sizeof(in), "a=1&%s=s3cr3t&b=2", keys[i]);
        snprintf(want, sizeof(want), "a=1&%s=REDACTED&b=2", keys[i]);
        expect(faa_query_redact, &(struct redaction){in, want}, 1);
    }
}
END_TEST

START_TEST(key_is_redacted_when_its_value_is_long)
{
    static const struct redaction cases[] = {
        {"key=0123456789012345678", "key=0123456789012345678"},
        {"key=01234567890123456789", "key=REDACTED"},
        {"key=short&x=01234567890123456789", "key=short&x=01234567890123456789"},
    };
    expect(faa_query_redact, cases, FAA_COUNT(cases));
}
END_TEST

START_TEST(encoded_keys_are_recognised)
{
    static const struct redaction cases[] = {
        {"%73ig=a", "%73ig=REDACTED"},
        {"p%61ss%77ord=a&%50assword=b", "p%61ss%77ord=REDACTED&%50assword=REDACTED"},
        {"access%5Ftoken=a", "access%5Ftoken=REDACTED"},
        {"%2573ig=a", "%2573ig=a"},
    };
    expect(faa_query_redact, cases, FAA_COUNT(cases));
}
END_TEST

START_TEST(keys_in_form_notation_are_recognised)
{
    static const struct redaction cases[] = {
        {"user[password]=a&token[]=b&user%5Btoken%5D=c",
         "user[password]=REDACTED&token[]=REDACTED&user%5Btoken%5D=REDACTED"},
        {"user[name]=a&[]=b&]=c&x[=d", "user[name]=a&[]=b&]=c&x[=d"},
    };
    expect(faa_query_redact, cases, FAA_COUNT(cases));
}
END_TEST

START_TEST(names_can_be_added_to_the_list)
{
    static const struct redaction cases[] = {
        {"ssn=1&S-S_N=2&ssn2=3&xssn=4&user[ssn]=5&ssn[]=6&ssn[0]=7&%73sn=8",
         "ssn=REDACTED&S-S_N=REDACTED&ssn2=3&xssn=4&user[ssn]=REDACTED&ssn[]=REDACTED&"
         "ssn[0]=REDACTED&%73sn=REDACTED"},
        {"Card_Number=1&cardnumber=2&card=3&\xc3\xa9t\xc3\xa9=4&token=5",
         "Card_Number=REDACTED&cardnumber=REDACTED&card=3&\xc3\xa9t\xc3\xa9=REDACTED&"
         "token=REDACTED"},
    };
    static const struct redaction before = {"ssn=1&cardNumber=2", "ssn=1&cardNumber=2"};
    expect(faa_query_redact, &before, 1);
    ck_assert_int_eq(faa_url_add_secret(FAA_STR("ssn")), 0);
    ck_assert_int_eq(faa_url_add_secret(FAA_STR("cardNumber")), 0);
    ck_assert_int_eq(faa_url_add_secret(FAA_STR("\xc3\xa9t\xc3\xa9")), 0);
    expect(faa_query_redact, cases, FAA_COUNT(cases));
}
END_TEST

START_TEST(what_can_be_no_name_is_not_added)
{
    static const char *const names[] = {"",    "-",    "_-_", "a=b",  "a&b", "a;b", "a?b",
                                        "a#b", "a%20", "a b", "a[b]", "a\n", "]"};
    char longest[65 + 1] = "";
    memset(longest, 'x', 65);
    for (size_t i = 0; i < FAA_COUNT(names); i++)
        ck_assert_msg(faa_url_add_secret(faa_str_of(names[i])) == -1, "%s", names[i]);
    ck_assert_int_eq(faa_url_add_secret(FAA_STR(longest)), -1);
    longest[64] = '\0';
    ck_assert_int_eq(faa_url_add_secret(faa_str_of(longest)), 0);
    for (int i = 1; i < FAA_URL_SECRETS_MAX; i++)
        ck_assert_int_eq(faa_url_add_secret(FAA_STR("again")), 0);
    ck_assert_int_eq(faa_url_add_secret(FAA_STR("again")), -1);
}
END_TEST

START_TEST(parameters_are_separated_by_ampersand_semicolon_and_question_mark)
{
    static const struct redaction cases[] = {
        {"a=1;token=b", "a=1;token=REDACTED"},
        {"a=1&token=b&c=2", "a=1&token=REDACTED&c=2"},
        {"token=a;b?c&d=2", "token=REDACTED&d=2"},
        {"next=https://x/?token=a", "next=https://x/?token=REDACTED"},
    };
    expect(faa_query_redact, cases, FAA_COUNT(cases));
}
END_TEST

START_TEST(secrets_in_the_fragment_are_redacted)
{
    static const struct redaction cases[] = {
        {"https://h/cb#access_token=a&state=1", "https://h/cb#access_token=REDACTED&state=1"},
        {"https://h/cb#access_token=a#b", "https://h/cb#access_token=REDACTED"},
        {"https://h/?sig=a#/route?id_token=b.c",
         "https://h/?sig=REDACTED#/route?id_token=REDACTED"},
    };
    expect(faa_url_redact, cases, FAA_COUNT(cases));
}
END_TEST

START_TEST(control_bytes_are_percent_encoded)
{
    static const char in[] = "http://h/\0a\x7f?b\r\n=\x1f";
    char out[64];
    size_t n = faa_url_redact((struct faa_str){in, sizeof(in) - 1}, out, sizeof(out));
    ck_assert_str_eq(out, "http://h/%00a%7F?b%0D%0A=%1F");
    ck_assert_uint_eq(n, strlen(out));
}
END_TEST

START_TEST(output_is_cut_on_characters_and_stays_in_its_bounds)
{
    static const char in[] = "http://u:s3cr3t@b\xc3\xbc/\xf0\x9f\x98\x80\x01"
                             "?password=s3cr3t&x=\xe5\x90\x8d#t";
    char full[256], out[256];
    size_t n = faa_url_redact(faa_str_of(in), full, sizeof(full));
    for (size_t cap = 0; cap <= n + 1; cap++) {
        memset(out, GUARD, sizeof(out));
        size_t m = faa_url_redact(faa_str_of(in), out, cap);
        ck_assert_int_eq(out[cap], GUARD);
        if (cap == 0) {
            ck_assert_uint_eq(m, 0);
            continue;
        }
        ck_assert_uint_lt(m, cap);
        ck_assert_uint_eq(out[m], '\0');
        ck_assert_int_eq(memcmp(out, full, m), 0);
        ck_assert_uint_ne((unsigned char)full[m] & 0xc0, 0x80);
        ck_assert_ptr_null(strstr(out, "s3cr3t"));
        ck_assert(m + 4 >= cap);
    }
    static const char plain[] = "http://h/x?password=s3cr3t&x=\xe5\x90\x8d#t";
    n = faa_url_redact(faa_str_of(plain), full, sizeof(full));
    for (size_t cap = 0; cap <= n + 1; cap++) {
        memset(out, GUARD, sizeof(out));
        size_t m = describe(faa_str_of(plain), out, cap);
        ck_assert_int_eq(out[cap], GUARD);
        ck_assert(m == 0 || (m < cap && out[m] == '\0' && memcmp(out, full, m) == 0));
        ck_assert(m + 4 >= cap);
    }
    ck_assert_uint_eq(faa_query_redact(FAA_STR("a=1"), out, 0), 0);
}
END_TEST

START_TEST(a_secret_is_hidden_in_every_beginning_of_a_url)
{
    static const char in[] = "https://bob:s3cr3t@h:1/x?token=s3cr3t;a&%73ig=s3cr3t#id_token=s3cr3t";
    for (size_t n = 0; n < sizeof(in); n++) {
        char out[256];
        faa_url_redact((struct faa_str){in, n}, out, sizeof(out));
        ck_assert_msg(!strstr(out, "s3"), "%.*s gave %s", (int)n, in, out);
        describe((struct faa_str){in, n}, out, sizeof(out));
        ck_assert_msg(!strstr(out, "s3"), "%.*s gave %s", (int)n, in, out);
    }
}
END_TEST

START_TEST(very_long_input_is_read_up_to_the_limit)
{
    size_t n = 4 * FAA_URL_READ_MAX;
    char *in = malloc(n), *out = malloc(n);
    memset(in, ';', n);
    ck_assert_uint_eq(faa_query_redact((struct faa_str){in, n}, out, n), FAA_URL_READ_MAX);
    ck_assert_uint_eq(faa_url_redact((struct faa_str){in, n}, out, n), FAA_URL_READ_MAX);
    memcpy(in, "http://h/", 9);
    ck_assert_uint_eq(describe((struct faa_str){in, n}, out, 2 * n), FAA_URL_READ_MAX);
    free(in);
    free(out);
}
END_TEST

static int same(struct faa_str a, const char *b)
{
    return faa_str_eq(a, faa_str_of(b));
}

START_TEST(urls_are_split)
{
    static const struct {
        const char *url, *scheme, *host, *path, *query;
        unsigned port;
    } cases[] = {
        {"http://h", "http", "h", "", "", 80},
        {"HTTPS://Example.com/a/b?x=1&y#z", "https", "Example.com", "/a/b", "x=1&y", 443},
        {"https://u:p@h:8443?q", "https", "h", "", "q", 8443},
        {"http://a@b@h:/?", "http", "h", "/", "", 80},
        {"http://[::1]:8080/x#?q", "http", "::1", "/x", "", 8080},
        {"http://[fe80::1%25eth0]/", "http", "fe80::1%25eth0", "/", "", 80},
        {"https://api-1.example.com:8443/v1/@x?a=1&token=2#f?", "https", "api-1.example.com",
         "/v1/@x", "a=1&token=2", 8443},
        {"http://h:80#f", "http", "h", "", "", 80},
        {"http://h/\x01x?y", "http", "h", "/\x01x", "y", 80},
        {"http://h:65535/p?a?b", "http", "h", "/p", "a?b", 65535},
        {"http://h:00080/", "http", "h", "/", "", 80},
        {"WS://h/chat", "ws", "h", "/chat", "", 80},
        {"wss://h?x", "wss", "h", "", "x", 443},
        {"wss://h:8443", "wss", "h", "", "", 8443},
    };
    for (size_t i = 0; i < FAA_COUNT(cases); i++) {
        struct faa_url both[2];
        char out[256];
        ck_assert_int_eq(faa_url_split(faa_str_of(cases[i].url), &both[0]), 0);
        faa_url_describe(faa_str_of(cases[i].url), out, sizeof(out), &both[1]);
        for (struct faa_url *u = both; u < both + 2; u++) {
            ck_assert(same(u->scheme, cases[i].scheme) && same(u->host, cases[i].host));
            ck_assert(same(u->path, cases[i].path) && same(u->query, cases[i].query));
            ck_assert_uint_eq(u->port, cases[i].port);
        }
    }
}
END_TEST

START_TEST(what_is_no_http_url_is_refused)
{
    static const char *const urls[] = {
        "",
        "http",
        "http://",
        "https://",
        "ws://",
        "wss://",
        "wsx://h",
        "ws:h",
        "http:///x",
        "ftp://h/",
        "//h/",
        "h/x",
        "http://:80/",
        "http://h:0/",
        "http://h:x",
        "http://h:65536",
        "http://h:-1",
        "http://h:99999999999999999999",
        "http://[::1",
        "http://[]/",
        "http://[::1]x",
        "http://::1/",
        "http://a b/",
        "http://a\\b/",
        "http://a\tb/",
        "http://u@/",
        "http:/h/",
        " http://h/",
    };
    for (size_t i = 0; i < FAA_COUNT(urls); i++) {
        struct faa_url u = {.port = 7};
        ck_assert_msg(faa_url_split(faa_str_of(urls[i]), &u) == -1, "%s", urls[i]);
        ck_assert_uint_eq(u.port, 7);
        char out[256];
        faa_url_describe(faa_str_of(urls[i]), out, sizeof(out), &u);
        ck_assert_uint_eq(u.host.n, 0);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("url");
    TCase *tc = tcase_create("url");
    tcase_add_test(tc, a_url_without_secrets_is_unchanged);
    tcase_add_test(tc, user_information_is_redacted);
    tcase_add_test(tc, a_password_with_a_delimiter_in_it_is_redacted_whole);
    tcase_add_test(tc, the_keys_of_the_conventions_are_redacted_in_their_own_case);
    tcase_add_test(tc, our_own_keys_are_redacted_in_any_case);
    tcase_add_test(tc, key_is_redacted_when_its_value_is_long);
    tcase_add_test(tc, encoded_keys_are_recognised);
    tcase_add_test(tc, keys_in_form_notation_are_recognised);
    tcase_add_test(tc, names_can_be_added_to_the_list);
    tcase_add_test(tc, what_can_be_no_name_is_not_added);
    tcase_add_test(tc, parameters_are_separated_by_ampersand_semicolon_and_question_mark);
    tcase_add_test(tc, secrets_in_the_fragment_are_redacted);
    tcase_add_test(tc, control_bytes_are_percent_encoded);
    tcase_add_test(tc, output_is_cut_on_characters_and_stays_in_its_bounds);
    tcase_add_test(tc, a_secret_is_hidden_in_every_beginning_of_a_url);
    tcase_add_test(tc, very_long_input_is_read_up_to_the_limit);
    tcase_add_test(tc, urls_are_split);
    tcase_add_test(tc, what_is_no_http_url_is_refused);
    suite_add_tcase(suite, tc);
    SRunner *sr = srunner_create(suite);
    srunner_run_all(sr, CK_ENV);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? 1 : 0;
}

// SPDX-License-Identifier: MIT
// Checks which URLs the launcher takes for a collector, and why it refuses the others.
#include "launcher/endpoint.h"

#include <check.h>
#include <stdlib.h>

static const char *const good[] = {
    "http://localhost:4317",
    "https://collector.example.com",
    "HTTP://LOCALHOST:4318/",
    "hTTpS://a",
    "http://127.0.0.1:1",
    "http://127.0.0.1:65535",
    "http://localhost:04317",
    "http://jaeger_1:4318",
    "http://host.docker.internal:4317",
    "http://example.com.:4318",
    "http://xn--bcher-kva.example:4318/otlp",
    "http://[::1]:4317",
    "http://[::1]",
    "http://[2001:db8::1]/prefix/",
    "http://[::ffff:127.0.0.1]:4317",
    "https://h/a-b._~!$&'()*+,;=:@c/%41%fF",
    "http://h//",
    "unix:///run/otlp",
    "unix:/run/otlp",
};

// As long as sockaddr_un has room, and one byte more with a slash in front.
#define LONG_PATH                                                                                  \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
    "aaaaaaaaaaaaaaa"

static const struct {
    const char *url, *why;
} bad[] = {
    {"", "does not start with"},
    {"localhost", "does not start with"},
    {"localhost:4317", "does not start with"},
    {"//localhost:4317", "does not start with"},
    {"http:/localhost", "does not start with"},
    {"http:localhost", "does not start with"},
    {"ftp://localhost", "does not start with"},
    {"grpc://localhost:4317", "does not start with"},
    {"unix:", "does not begin with a slash"},
    {"unix:///", "does not begin with a slash"},
    {"unix://run/otlp", "does not begin with a slash"},
    {"unix:///" LONG_PATH, "longer than 107 bytes"},
    {"httpss://localhost", "does not start with"},
    {"-http://localhost", "does not start with"},
    {"http://", "no host"},
    {"https://", "no host"},
    {"http:///v1/traces", "no host"},
    {"http://:4317", "no host"},
    {"http://:", "no host"},
    {" http://localhost", "space or a control"},
    {"http://localhost ", "space or a control"},
    {"http://local host", "space or a control"},
    {"http://localhost\n", "space or a control"},
    {"http://localhost/\r\nX-Header: 1", "space or a control"},
    {"http://localhost\t:4317", "space or a control"},
    {"http://localhost/\x1b[2J", "space or a control"},
    {"http://localhost/\x7f", "space or a control"},
    {"http://localhost:0", "port"},
    {"http://localhost:00000", "port"},
    {"http://localhost:65536", "port"},
    {"http://localhost:99999", "port"},
    {"http://localhost:000080", "port"},
    {"http://localhost:4294971613", "port"},
    {"http://localhost:", "port"},
    {"http://localhost:/", "port"},
    {"http://localhost:-1", "port"},
    {"http://localhost:+80", "port"},
    {"http://localhost:0x50", "port"},
    {"http://localhost:4317:4318", "port"},
    {"http://localhost:http", "port"},
    {"http://::1:4317", "no host"},
    {"http://fe80::1", "port"},
    {"http://[::1]:0", "port"},
    {"http://[::1]:", "port"},
    {"http://[::1]4317", "port"},
    {"http://[::1]]", "port"},
    {"http://[", "IPv6"},
    {"http://[]", "IPv6"},
    {"http://[]:4317", "IPv6"},
    {"http://[::1", "IPv6"},
    {"http://[::1:4317", "IPv6"},
    {"http://[::1/]", "IPv6"},
    {"http://[:::1]", "IPv6"},
    {"http://[127.0.0.1]", "IPv6"},
    {"http://[localhost]:4317", "IPv6"},
    {"http://[fe80::1%25eth0]", "IPv6"},
    {"http://[1:2:3:4:5:6:7:8:9]", "IPv6"},
    {"http://[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]", "IPv6"},
    {"http://.", "host name"},
    {"http://.example.com", "host name"},
    {"http://a..b", "host name"},
    {"http://a%41", "host name"},
    {"http://a,b:80", "host name"},
    {"http://ex\xc3\xa4mple", "host name"},
    {"http://\xff", "host name"},
    {"http://a\\b", "host name"},
    {"http://$(id)/", "host name"},
    {"http://user@localhost", "user name or password"},
    {"http://user:secret@localhost:4317", "user name or password"},
    {"http://@localhost", "user name or password"},
    {"http://localhost:4317@evil.example", "user name or password"},
    {"http://[::1]@localhost", "user name or password"},
    {"http://localhost?", "query or a fragment"},
    {"http://localhost/?a=b", "query or a fragment"},
    {"http://localhost#", "query or a fragment"},
    {"http://localhost/#user@host", "query or a fragment"},
    {"http://localhost/\xc3\xa4", "path"},
    {"http://localhost/[a]", "path"},
    {"http://localhost/a\\b", "path"},
    {"http://localhost/<a>", "path"},
    {"http://localhost/%", "percent"},
    {"http://localhost/%4", "percent"},
    {"http://localhost/%zz", "percent"},
    {"http://localhost/%41%", "percent"},
};

START_TEST(base_urls_of_collectors_are_accepted)
{
    const char *why = faa_endpoint_check(good[_i]);
    ck_assert_msg(!why, "%s: %s", good[_i], why);
}
END_TEST

START_TEST(everything_else_is_refused_with_its_reason)
{
    const char *why = faa_endpoint_check(bad[_i].url);
    ck_assert_msg(why && strstr(why, bad[_i].why), "%s: %s", bad[_i].url, why ? why : "accepted");
}
END_TEST

// In memory of exactly its size, so that a sanitizer sees a read behind the end.
static const char *check_exactly(const char *text, size_t n)
{
    char *copy = strndup(text, n);
    const char *why = faa_endpoint_check(copy);
    free(copy);
    return why;
}

START_TEST(every_prefix_of_a_url_can_be_checked)
{
    const char *url = "https://[2001:db8::ffff:127.0.0.1]:4317/a%41%42/c";
    for (size_t n = 0; n <= strlen(url); n++)
        (void)!check_exactly(url, n);
    ck_assert_ptr_null(check_exactly(url, strlen(url)));
}
END_TEST

START_TEST(only_printable_ascii_is_accepted_anywhere)
{
    for (int c = 1; c < 256; c++) {
        char host[] = "http://h?h", path[] = "http://h/?";
        host[8] = path[9] = (char)c;
        if (c <= 0x20 || c >= 0x7f) {
            ck_assert_msg(faa_endpoint_check(host) != NULL, "byte %d in the host", c);
            ck_assert_msg(faa_endpoint_check(path) != NULL, "byte %d in the path", c);
        }
    }
}
END_TEST

START_TEST(length_has_a_ceiling)
{
    char url[FAA_ENDPOINT_MAX + 2];
    memset(url, 'a', sizeof(url));
    memcpy(url, "http://h/", 9);
    url[FAA_ENDPOINT_MAX + 1] = '\0';
    ck_assert_ptr_nonnull(strstr(faa_endpoint_check(url), "2048"));
    url[FAA_ENDPOINT_MAX] = '\0';
    ck_assert_ptr_null(faa_endpoint_check(url));
}
END_TEST

START_TEST(host_names_have_the_ceiling_of_dns)
{
    char url[7 + 255] = "http://";
    memset(url + 7, 'a', 254);
    ck_assert_ptr_nonnull(strstr(faa_endpoint_check(url), "host name"));
    url[7 + 253] = '\0';
    ck_assert_ptr_null(faa_endpoint_check(url));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("launcher/endpoint");
    TCase *tc = tcase_create("check");
    tcase_add_loop_test(tc, base_urls_of_collectors_are_accepted, 0, (int)FAA_COUNT(good));
    tcase_add_loop_test(tc, everything_else_is_refused_with_its_reason, 0, (int)FAA_COUNT(bad));
    tcase_add_test(tc, every_prefix_of_a_url_can_be_checked);
    tcase_add_test(tc, only_printable_ascii_is_accepted_anywhere);
    tcase_add_test(tc, length_has_a_ceiling);
    tcase_add_test(tc, host_names_have_the_ceiling_of_dns);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

// SPDX-License-Identifier: MIT
// Which URLs an endpoint leads to.
#include "export/endpoint.h"

#include <check.h>
#include <stdlib.h>

#define GRPC "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

static struct faa_endpoint endpoint;

static void expect(const char *base, const char *traces, const char *http, const char *grpc,
                   const char *shown)
{
    ck_assert_int_eq(faa_endpoint_init(&endpoint, base, traces), 0);
    ck_assert_str_eq(endpoint.http_url, http);
    ck_assert_str_eq(endpoint.grpc_url, grpc);
    ck_assert_str_eq(endpoint.shown, shown);
}

START_TEST(base_endpoint_gets_the_signal_path)
{
    expect("http://localhost:4318", NULL, "http://localhost:4318/v1/traces",
           "http://localhost:4318" GRPC, "http://localhost:4318");
    expect("http://localhost:4318/", NULL, "http://localhost:4318/v1/traces",
           "http://localhost:4318" GRPC, "http://localhost:4318");
    expect("HTTP://localhost:4318", NULL, "http://localhost:4318/v1/traces",
           "http://localhost:4318" GRPC, "http://localhost:4318");
    expect("https://otel.example/in", NULL, "https://otel.example/in/v1/traces",
           "https://otel.example" GRPC, "https://otel.example/in");
    expect("https://otel.example/in/?key=s3cret#part", NULL,
           "https://otel.example/in/v1/traces?key=s3cret", "https://otel.example" GRPC,
           "https://otel.example/in");
}
END_TEST

START_TEST(traces_endpoint_is_taken_as_it_is)
{
    expect("http://other:1", "http://localhost:9/my/traces", "http://localhost:9/my/traces",
           "http://localhost:9" GRPC, "http://localhost:9/my/traces");
    expect(NULL, "http://localhost:9", "http://localhost:9/", "http://localhost:9" GRPC,
           "http://localhost:9");
}
END_TEST

START_TEST(credentials_are_sent_and_not_shown)
{
    expect("http://user:pa%20ss@host:4318", NULL, "http://user:pa%20ss@host:4318/v1/traces",
           "http://user:pa%20ss@host:4318" GRPC, "http://host:4318");
    ck_assert_str_eq(endpoint.http_shown, "http://host:4318/v1/traces");
}
END_TEST

START_TEST(port_and_scheme_are_read)
{
    ck_assert_int_eq(faa_endpoint_init(&endpoint, "http://localhost:4317", NULL), 0);
    ck_assert_uint_eq(endpoint.port, 4317);
    ck_assert_int_eq(endpoint.tls, 0);
    ck_assert_int_eq(faa_endpoint_init(&endpoint, "https://[::1]", NULL), 0);
    ck_assert_uint_eq(endpoint.port, 443);
    ck_assert_int_eq(endpoint.tls, 1);
    ck_assert_str_eq(endpoint.http_url, "https://[::1]/v1/traces");
}
END_TEST

START_TEST(unix_sockets)
{
    expect("unix:///run/otel.sock", NULL, "http://localhost/v1/traces", "http://localhost" GRPC,
           "unix:///run/otel.sock");
    ck_assert_str_eq(endpoint.socket_path, "/run/otel.sock");
    ck_assert_uint_eq(endpoint.port, 0);
    expect(NULL, "unix:/run/x", "http://localhost/v1/traces", "http://localhost" GRPC,
           "unix:///run/x");
    char longest[FAA_SOCKET_PATH_MAX + 8] = "unix:/";
    memset(longest + 6, 'a', FAA_SOCKET_PATH_MAX - 2);
    ck_assert_int_eq(faa_endpoint_init(&endpoint, longest, NULL), 0);
    longest[strlen(longest)] = 'a';
    ck_assert_int_eq(faa_endpoint_init(&endpoint, longest, NULL), -1);
    expect("http://host", NULL, "http://host/v1/traces", "http://host" GRPC, "http://host");
    ck_assert_str_eq(endpoint.socket_path, "");
}
END_TEST

START_TEST(this_machine_is_known)
{
    static const struct {
        const char *url;
        int is_local;
    } rows[] = {
        {"http://localhost:4318", 1},
        {"http://LocalHost.", 1},
        {"http://a.localhost", 1},
        {"http://127.0.0.1", 1},
        {"http://127.9.9.9:1", 1},
        {"http://[::1]:4318", 1},
        {"unix:///run/x", 1},
        {"http://notlocalhost", 0},
        {"http://localhost.example", 0},
        {"http://128.0.0.1", 0},
        {"http://[::2]", 0},
        {"http://0.0.0.0", 0},
        {"http://localhost@other", 0},
        {"http://jaeger:4318/localhost", 0},
    };
    for (size_t i = 0; i < FAA_COUNT(rows); i++) {
        ck_assert_int_eq(faa_endpoint_init(&endpoint, rows[i].url, NULL), 0);
        ck_assert_msg(endpoint.is_local == rows[i].is_local, "%s", rows[i].url);
    }
}
END_TEST

START_TEST(unusable_endpoints_are_refused)
{
    static const char *const bad[] = {
        "",        "localhost:4318",    "ftp://host/",          "file:///etc/passwd",
        "http://", "http://host:99999", "http://ho st/",        "://",
        "unix:",   "unix:///",          "unix://relative/path", "unix:relative"};
    for (size_t i = 0; i < FAA_COUNT(bad); i++)
        ck_assert_msg(faa_endpoint_init(&endpoint, bad[i], NULL) == -1, "%s", bad[i]);
    ck_assert_int_eq(faa_endpoint_init(&endpoint, NULL, NULL), -1);
    char longest[FAA_URL_MAX + 64] = "http://host/";
    memset(longest + strlen(longest), 'a', FAA_URL_MAX);
    ck_assert_int_eq(faa_endpoint_init(&endpoint, longest, NULL), -1);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("endpoint");
    tcase_add_test(tests, base_endpoint_gets_the_signal_path);
    tcase_add_test(tests, traces_endpoint_is_taken_as_it_is);
    tcase_add_test(tests, credentials_are_sent_and_not_shown);
    tcase_add_test(tests, port_and_scheme_are_read);
    tcase_add_test(tests, unix_sockets);
    tcase_add_test(tests, this_machine_is_known);
    tcase_add_test(tests, unusable_endpoints_are_refused);
    Suite *suite = suite_create("endpoint");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

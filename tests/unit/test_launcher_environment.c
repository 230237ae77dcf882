// SPDX-License-Identifier: MIT
// Checks what the launcher makes of LD_PRELOAD and of the OTEL_* variables.
#include "launcher/environment.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>

#define LIBRARY "/opt/faa/lib/libfaa.so"

extern char **environ;

static const struct {
    const char *current, *expected;
} preloads[] = {
    {NULL, LIBRARY},
    {"", LIBRARY},
    {"libjemalloc.so.2", LIBRARY ":libjemalloc.so.2"},
    {"/a/x.so /b/y.so:/c/z.so", LIBRARY ":/a/x.so /b/y.so:/c/z.so"},
    {" ", LIBRARY ": "},
    {"::", LIBRARY ":::"},
    {"\xff$LIB/x.so", LIBRARY ":\xff$LIB/x.so"},
    {LIBRARY, LIBRARY},
    {LIBRARY ":x.so", LIBRARY ":x.so"},
    {LIBRARY " x.so", LIBRARY " x.so"},
    {"x.so:" LIBRARY, "x.so:" LIBRARY},
    {"x.so " LIBRARY, "x.so " LIBRARY},
    {": " LIBRARY " :", ": " LIBRARY " :"},
    // These only look like it.
    {"libfaa.so", LIBRARY ":libfaa.so"},
    {LIBRARY ".1", LIBRARY ":" LIBRARY ".1"},
    {"/x" LIBRARY, LIBRARY ":/x" LIBRARY},
    {"/opt/faa/lib/libfaa.s", LIBRARY ":/opt/faa/lib/libfaa.s"},
};

START_TEST(library_goes_first_and_once_and_the_others_stay)
{
    char *out = NULL;
    ck_assert_int_eq(faa_environment_preload(preloads[_i].current, LIBRARY, &out), 0);
    ck_assert_str_eq(out, preloads[_i].expected);
    free(out);
}
END_TEST

START_TEST(paths_that_the_linker_would_read_otherwise_are_refused)
{
    static const char *const bad[] = {"/a b/libfaa.so",  "/a:b/libfaa.so",  "/a\tb/libfaa.so",
                                      "/a\nb/libfaa.so", "/$LIB/libfaa.so", "/${ORIGIN}/libfaa.so"};
    for (size_t i = 0; i < FAA_COUNT(bad); i++) {
        char *out = NULL;
        ck_assert_int_eq(faa_environment_preload("x.so", bad[i], &out), -EINVAL);
        ck_assert_ptr_null(out);
    }
}
END_TEST

// The variables of a case are given and expected in this order; NULL is unset.
static const char *const names[] = {"OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES",
                                    "OTEL_EXPORTER_OTLP_ENDPOINT",
                                    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "FAA_LOG_LEVEL"};
enum { NAMES = FAA_COUNT(names) };

#define NAME FAA_DEFAULT_SERVICE_NAME
#define URL FAA_DEFAULT_ENDPOINT

static const struct {
    struct faa_options options;
    const char *given[NAMES], *expected[NAMES];
} cases[] = {
    // Nothing given: the defaults; what is empty counts as nothing.
    {{0}, {0}, {NAME, NULL, URL, NULL, NULL}},
    {{0}, {"", "", "", "", ""}, {NAME, "", URL, "", ""}},
    // The environment goes before the defaults.
    {{0}, {"a", NULL, "b", NULL, "warn"}, {"a", NULL, "b", NULL, "warn"}},
    {{0}, {NULL, NULL, NULL, "t", NULL}, {NAME, NULL, NULL, "t", NULL}},
    {{0}, {NULL, NULL, "", "t", NULL}, {NAME, NULL, "", "t", NULL}},
    {{0}, {"\xff\n", NULL, "ftp:?", NULL, NULL}, {"\xff\n", NULL, "ftp:?", NULL, NULL}},
    // So does a service.name among the resource attributes, if it says something.
    {{0}, {NULL, "service.name=x", "b"}, {NULL, "service.name=x", "b"}},
    {{0}, {NULL, "a=b, service.name = x ,c=d", "b"}, {NULL, "a=b, service.name = x ,c=d", "b"}},
    {{0}, {"", "a=b,service.name=x", "b"}, {"", "a=b,service.name=x", "b"}},
    {{0}, {NULL, "service.name=", "b"}, {NAME, "service.name=", "b"}},
    {{0}, {NULL, "service.name= ,", "b"}, {NAME, "service.name= ,", "b"}},
    {{0}, {NULL, "service.name", "b"}, {NAME, "service.name", "b"}},
    {{0}, {NULL, "service.names=x", "b"}, {NAME, "service.names=x", "b"}},
    {{0}, {NULL, "a=service.name=x", "b"}, {NAME, "a=service.name=x", "b"}},
    {{0}, {NULL, "service.namespace=x,,=", "b"}, {NAME, "service.namespace=x,,=", "b"}},
    // An option goes before everything, and touches only what is its own.
    {{.service_name = "o"}, {"a", "service.name=x", "b"}, {"o", "service.name=x", "b"}},
    {{.jaeger_endpoint = "o"}, {"a", NULL, "b", "t"}, {"a", NULL, "o", NULL}},
    {{.jaeger_endpoint = "o"}, {"a", NULL, NULL, "t"}, {"a", NULL, "o", NULL}},
    {{.jaeger_endpoint = "o"}, {"a"}, {"a", NULL, "o"}},
    {{.debug = true}, {"a", NULL, "b", NULL, "warn"}, {"a", NULL, "b", NULL, "debug"}},
    {{.debug = true}, {"a", NULL, "b"}, {"a", NULL, "b", NULL, "debug"}},
};

static void unset_all(void)
{
    ck_assert_int_eq(unsetenv("LD_PRELOAD"), 0);
    for (int i = 0; i < NAMES; i++)
        ck_assert_int_eq(unsetenv(names[i]), 0);
}

START_TEST(options_go_before_the_environment_and_that_before_the_defaults)
{
    for (int i = 0; i < NAMES; i++)
        if (cases[_i].given[i])
            ck_assert_int_eq(setenv(names[i], cases[_i].given[i], 1), 0);
    ck_assert_int_eq(faa_environment_prepare(&cases[_i].options, LIBRARY), 0);
    ck_assert_str_eq(getenv("LD_PRELOAD"), LIBRARY);
    for (int i = 0; i < NAMES; i++)
        ck_assert_pstr_eq(getenv(names[i]), cases[_i].expected[i]);
}
END_TEST

START_TEST(a_variable_that_is_there_twice_is_there_once_afterwards)
{
    static char second[] = "LD_PRELOAD=b.so";
    struct faa_options options = {0};
    int count = 0;
    ck_assert_int_eq(setenv("LD_PRELOAD", "a.so", 1), 0);
    ck_assert_int_eq(setenv("FAA_TEST_SLOT", "", 1), 0);
    for (char **e = environ; *e; e++)
        if (strcmp(*e, "FAA_TEST_SLOT=") == 0)
            *e = second;
    ck_assert_int_eq(faa_environment_prepare(&options, LIBRARY), 0);
    for (char **e = environ; *e; e++)
        count += strncmp(*e, "LD_PRELOAD=", 11) == 0;
    ck_assert_int_eq(count, 1);
    ck_assert_str_eq(getenv("LD_PRELOAD"), LIBRARY ":a.so");
}
END_TEST

START_TEST(nothing_changes_when_the_library_cannot_be_preloaded)
{
    struct faa_options options = {.service_name = "shop", .debug = true};
    ck_assert_int_eq(faa_environment_prepare(&options, "/a b/libfaa.so"), -1);
    ck_assert_ptr_null(getenv("LD_PRELOAD"));
    for (int i = 0; i < NAMES; i++)
        ck_assert_ptr_null(getenv(names[i]));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("launcher/environment");
    TCase *tc = tcase_create("environment");
    tcase_add_checked_fixture(tc, unset_all, unset_all);
    tcase_add_loop_test(tc, library_goes_first_and_once_and_the_others_stay, 0,
                        (int)FAA_COUNT(preloads));
    tcase_add_test(tc, paths_that_the_linker_would_read_otherwise_are_refused);
    tcase_add_loop_test(tc, options_go_before_the_environment_and_that_before_the_defaults, 0,
                        (int)FAA_COUNT(cases));
    tcase_add_test(tc, a_variable_that_is_there_twice_is_there_once_afterwards);
    tcase_add_test(tc, nothing_changes_when_the_library_cannot_be_preloaded);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

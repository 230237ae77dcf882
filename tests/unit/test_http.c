// SPDX-License-Identifier: MIT
// Methods: the standard's, and the list that takes their place.
#include "span/http.h"

#include <check.h>
#include <stdlib.h>

static void check_known(struct faa_str method)
{
    struct faa_str known = faa_http_method(method);
    ck_assert(faa_str_eq(known, method));
    ck_assert_ptr_ne(known.p, method.p); // A text that stays, and not the caller's.
}

static void check_unknown(struct faa_str method)
{
    ck_assert(faa_str_eq(faa_http_method(method), FAA_STR("HTTP")));
}

START_TEST(the_methods_of_the_standard_are_known_as_they_are_spelled)
{
    static const char *const methods[] = {"GET",     "HEAD",    "POST",  "PUT",   "DELETE",
                                          "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"};
    for (size_t i = 0; i < FAA_COUNT(methods); i++) {
        char copy[16];
        size_t n = strlen(methods[i]);
        memcpy(copy, methods[i], n);
        check_known((struct faa_str){copy, n});
        check_unknown((struct faa_str){copy, n - 1});
        copy[0] = (char)(copy[0] | 0x20);
        check_unknown((struct faa_str){copy, n});
    }
    check_unknown(FAA_STR(""));
    check_unknown(FAA_STR("PURGE"));
    check_unknown((struct faa_str){NULL, 0});
}
END_TEST

START_TEST(a_list_takes_the_place_of_the_standards)
{
    const struct faa_str methods[] = {FAA_STR("PURGE"), FAA_STR("get"), FAA_STR("HTTP")};
    char copy[] = "PURGE", http[] = "HTTP";
    faa_http_set_known_methods(methods, FAA_COUNT(methods));
    struct faa_str known = faa_http_method((struct faa_str){copy, 5});
    ck_assert_ptr_eq(known.p, methods[0].p);
    ck_assert_ptr_eq(faa_http_method((struct faa_str){http, 4}).p, methods[2].p);
    ck_assert_ptr_eq(faa_http_method(FAA_STR("get")).p, methods[1].p);
    check_unknown(FAA_STR("GET"));
    check_unknown(FAA_STR("POST"));
    check_unknown(FAA_STR("purge"));
    check_unknown(FAA_STR("PURG"));
}
END_TEST

START_TEST(a_list_that_cannot_be_leaves_what_was_known)
{
    static struct faa_str many[FAA_HTTP_METHODS_MAX + 1];
    for (size_t i = 0; i < FAA_COUNT(many); i++)
        many[i] = FAA_STR("MANY");
    faa_http_set_known_methods(NULL, 0);
    faa_http_set_known_methods(many, FAA_COUNT(many));
    char get[] = "GET";
    check_known((struct faa_str){get, 3});
    check_unknown(FAA_STR("MANY"));
    many[FAA_HTTP_METHODS_MAX - 1] = FAA_STR("LAST");
    faa_http_set_known_methods(many, FAA_HTTP_METHODS_MAX);
    check_unknown(FAA_STR("GET"));
    char last[] = "LAST";
    check_known((struct faa_str){last, 4});
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("http");
    TCase *cases = tcase_create("http");
    tcase_add_test(cases, the_methods_of_the_standard_are_known_as_they_are_spelled);
    tcase_add_test(cases, a_list_takes_the_place_of_the_standards);
    tcase_add_test(cases, a_list_that_cannot_be_leaves_what_was_known);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

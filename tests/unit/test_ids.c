// SPDX-License-Identifier: MIT
// Ids: never zero, never twice, not those of the parent after a fork.
#include "span/ids.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MANY = 1000000, THREADS = 4 };

static int compare(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void check_distinct(uint64_t *values, size_t n)
{
    qsort(values, n, sizeof(*values), compare);
    ck_assert_uint_ne(values[0], 0);
    for (size_t i = 1; i < n; i++)
        if (values[i - 1] == values[i])
            ck_abort_msg("an id came twice");
}

START_TEST(a_million_ids_are_distinct_and_not_zero)
{
    faa_ids_seed();
    uint64_t *values = malloc(3 * MANY * sizeof(*values));
    ck_assert_ptr_nonnull(values);
    for (size_t i = 0; i < MANY; i++) {
        uint64_t trace[2];
        faa_ids_new_span_id((uint8_t *)&values[i]);
        faa_ids_new_trace_id((uint8_t *)trace);
        // Each half of a trace id is a stream of its own: samplers look at the low one alone.
        values[MANY + i] = trace[0];
        values[2 * MANY + i] = trace[1];
    }
    check_distinct(values, 3 * MANY);
    free(values);
}
END_TEST

static void *make_ids(void *arg)
{
    uint64_t *values = arg;
    for (size_t i = 0; i < MANY / THREADS; i++)
        faa_ids_new_span_id((uint8_t *)&values[i]);
    return NULL;
}

START_TEST(threads_do_not_make_the_same_ids)
{
    faa_ids_seed();
    uint64_t *values = malloc(MANY * sizeof(*values));
    pthread_t threads[THREADS];
    ck_assert_ptr_nonnull(values);
    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, make_ids, values + i * (MANY / THREADS)),
                         0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    check_distinct(values, MANY);
    free(values);
}
END_TEST

START_TEST(every_bit_is_set_in_about_half_of_the_ids)
{
    enum { SAMPLE = 100000 };
    unsigned set[128] = {0};
    faa_ids_seed();
    for (int n = 0; n < SAMPLE; n++) {
        uint8_t id[16];
        faa_ids_new_trace_id(id);
        for (unsigned bit = 0; bit < 128; bit++)
            set[bit] += id[bit / 8] >> bit % 8 & 1;
    }
    // Eight standard deviations.
    for (unsigned bit = 0; bit < 128; bit++)
        ck_assert_msg(set[bit] > SAMPLE / 2 - 1265 && set[bit] < SAMPLE / 2 + 1265,
                      "bit %u: %u of %d", bit, set[bit], SAMPLE);
}
END_TEST

START_TEST(a_forked_child_with_a_new_seed_makes_other_ids)
{
    enum { IDS = 1000 };
    int pipes[2];
    uint64_t values[2 * IDS];
    faa_ids_seed();
    ck_assert_int_eq(pipe(pipes), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        faa_ids_seed();
    for (size_t i = 0; i < IDS; i++)
        faa_ids_new_span_id((uint8_t *)&values[i]);
    if (child == 0)
        _exit(write(pipes[1], values, IDS * 8) == IDS * 8 ? 0 : 1);
    int status;
    ck_assert_int_eq(read(pipes[0], values + IDS, IDS * 8), IDS * 8);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    check_distinct(values, 2 * IDS);
    close(pipes[0]);
    close(pipes[1]);
}
END_TEST

START_TEST(hex_is_lower_case_and_has_no_nul)
{
    char out[17] = "................";
    faa_ids_hex(out, (const uint8_t[]){0x00, 0x0f, 0xa5, 0xff}, 4);
    ck_assert_str_eq(out, "000fa5ff........");
}
END_TEST

START_TEST(hex_is_the_digits_of_every_byte_at_any_length)
{
    uint8_t id[16];
    for (unsigned first = 0; first < 256; first++)
        for (unsigned n = 0; n <= sizeof(id); n++) {
            char out[40], expected[40] = "";
            for (unsigned i = 0; i < sizeof(id); i++)
                id[i] = (uint8_t)(first + 17 * i);
            for (unsigned i = 0; i < n; i++)
                snprintf(expected + 2 * i, 3, "%02x", id[i]);
            faa_ids_hex(out, id, n);
            out[2 * n] = '\0';
            ck_assert_str_eq(out, expected);
        }
}
END_TEST

START_TEST(an_id_is_zero_when_all_of_its_bytes_are)
{
    for (unsigned n = 1; n <= 16; n++) {
        uint8_t id[17] = {0};
        id[n] = 1; // Behind it.
        ck_assert(faa_ids_is_zero(id, n));
        for (unsigned i = 0; i < n; i++) {
            id[i] = 0x80;
            ck_assert(!faa_ids_is_zero(id, n));
            id[i] = 0;
        }
    }
}
END_TEST

START_TEST(hex_of_either_case_is_read_from_its_end)
{
    uint8_t id[4];
    ck_assert_int_eq(faa_ids_parse(FAA_STR("00aFb9f0"), id, 4), 0);
    ck_assert_mem_eq(id, ((const uint8_t[]){0x00, 0xaf, 0xb9, 0xf0}), 4);
    ck_assert_int_eq(faa_ids_parse(FAA_STR("abc"), id, 4), 0);
    ck_assert_mem_eq(id, ((const uint8_t[]){0x00, 0x00, 0x0a, 0xbc}), 4);
    ck_assert(!faa_ids_is_zero(id, 4));
    ck_assert_int_eq(faa_ids_parse(FAA_STR("0"), id, 4), 0);
    ck_assert(faa_ids_is_zero(id, 4));
    ck_assert_int_eq(faa_ids_parse(FAA_STR(""), id, 4), -1);
    ck_assert_int_eq(faa_ids_parse(FAA_STR("000000000"), id, 4), -1);
    for (int c = 0; c < 256; c++) {
        char digits[] = {'1', (char)c, '2'};
        int good = c != 0 && strchr("0123456789abcdefABCDEF", c) != NULL;
        ck_assert_int_eq(faa_ids_parse((struct faa_str){digits, 3}, id, 4), good ? 0 : -1);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ids");
    TCase *cases = tcase_create("ids");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, a_million_ids_are_distinct_and_not_zero);
    tcase_add_test(cases, threads_do_not_make_the_same_ids);
    tcase_add_test(cases, every_bit_is_set_in_about_half_of_the_ids);
    tcase_add_test(cases, a_forked_child_with_a_new_seed_makes_other_ids);
    tcase_add_test(cases, hex_is_lower_case_and_has_no_nul);
    tcase_add_test(cases, hex_is_the_digits_of_every_byte_at_any_length);
    tcase_add_test(cases, an_id_is_zero_when_all_of_its_bytes_are);
    tcase_add_test(cases, hex_of_either_case_is_read_from_its_end);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

// SPDX-License-Identifier: MIT
// Baggage: what is valid passes unchanged, nothing else passes, and references are counted.
//
// The source is included with an allocator that counts, and fails when a test wants it to.
#include <stdlib.h>

static int blocks, no_memory;

static void *test_malloc(size_t n)
{
    blocks += !no_memory;
    return no_memory ? NULL : malloc(n);
}

static void test_free(void *p)
{
    blocks -= p != NULL;
    free(p);
}

#define malloc test_malloc
#define free test_free
#include "span/baggage.c"
#undef malloc
#undef free

#include <check.h>
#include <pthread.h>

enum { THREADS = 4, TURNS = 20000 };

static void setup(void)
{
    blocks = no_memory = 0;
    faa_baggage_forget_count();
}

// Asserts what comes of these headers (from heap blocks of the exact size, so that a sanitizer sees
// a byte too far), and how many members are left out.
static void check(const struct faa_str *headers, size_t count, const char *wanted, uint64_t lost)
{
    struct faa_str copies[8];
    for (size_t i = 0; i < count; i++) {
        char *copy = malloc(headers[i].n ? headers[i].n : 1);
        memcpy(copy, headers[i].p, headers[i].n);
        copies[i] = (struct faa_str){copy, headers[i].n};
    }
    faa_baggage_forget_count();
    struct faa_baggage *b = faa_baggage_new(copies, count);
    for (size_t i = 0; i < count; i++)
        free((char *)(uintptr_t)copies[i].p);
    struct faa_str text = faa_baggage_text(b);
    ck_assert_msg(text.n == strlen(wanted) && (!text.n || memcmp(text.p, wanted, text.n) == 0),
                  "%s: got \"%.*s\"", headers[0].p, (int)text.n, text.p ? text.p : "");
    ck_assert_msg((b == NULL) == (wanted[0] == '\0'), "%s", headers[0].p);
    ck_assert_msg(faa_baggage_dropped() == lost, "%s: %d dropped", headers[0].p,
                  (int)faa_baggage_dropped());
    faa_baggage_unref(b);
    ck_assert_int_eq(blocks, 0);
}

START_TEST(valid_lists_pass_unchanged)
{
    static const struct faa_str lists[] = {
        FAA_STR("a=1"),
        FAA_STR("a="),
        FAA_STR("userId=alice,serverNode=DF%2028,isProduction=false"),
        FAA_STR("a=1 , b = 2;p;q=3 ;r\t=\t4,\tc=%C3%A9"),
        FAA_STR("!#$%&'*+-.^_`|~09azAZ=!#$%&'()*+-./:<=>?@[]^_`{|}~"),
        FAA_STR("a=1,a=2"),
        FAA_STR("a==="),
        FAA_STR("a=1;p="),
        FAA_STR("a=%zz"),
    };
    for (size_t i = 0; i < FAA_COUNT(lists); i++)
        check(&lists[i], 1, lists[i].p, 0);
}
END_TEST

START_TEST(members_that_are_not_valid_are_left_out_and_counted)
{
    static const struct faa_str members[] = {
        FAA_STR("a"),       FAA_STR("=1"),      FAA_STR("a b=1"),       FAA_STR("a=1 2"),
        FAA_STR("a=\"1\""), FAA_STR("a=1\\2"),  FAA_STR("a=1;"),        FAA_STR("a=1;;p"),
        FAA_STR("a=1;=p"),  FAA_STR("a=1;p q"), FAA_STR("a=1;p=\"q\""), FAA_STR("a=\xc3\xa9"),
        FAA_STR("\xff=1"),  FAA_STR("a=1\n2"),  FAA_STR("a=1\r"),       FAA_STR("a=\0"),
        FAA_STR("a\0=1"),   FAA_STR("a=\x7f"),  FAA_STR("(a)=1"),       FAA_STR("a:=1"),
        FAA_STR("a=1\0"),   FAA_STR(";"),       FAA_STR("a;p=1"),       FAA_STR("a[0]=1"),
    };
    for (size_t i = 0; i < FAA_COUNT(members); i++) {
        char list[64];
        memcpy(list, "x=1,", 4);
        memcpy(list + 4, members[i].p, members[i].n);
        memcpy(list + 4 + members[i].n, ", y=2", 5);
        struct faa_str between = {list, 4 + members[i].n + 5};
        check(&members[i], 1, "", 1);
        check(&between, 1, "x=1, y=2", 1);
        memcpy(list, "    ", 4);
        list[0] = 'b';
        list[1] = ',';
        struct faa_str first = {list, 4 + members[i].n + 5};
        check(&first, 1, "y=2", 2);
    }
}
END_TEST

START_TEST(empty_elements_say_nothing)
{
    check((struct faa_str[]){FAA_STR("")}, 1, "", 0);
    check((struct faa_str[]){FAA_STR(" ,\t,, ")}, 1, "", 0);
    check((struct faa_str[]){FAA_STR(",a=1, ,b=2,")}, 1, "a=1,b=2", 0);
    check((struct faa_str[]){FAA_STR(" a=1 ")}, 1, "a=1", 0);
}
END_TEST

START_TEST(several_headers_are_one_list)
{
    static const struct faa_str three[] = {FAA_STR("a=1, b=2"), FAA_STR(" c=3 "), FAA_STR("d=4;p")};
    static const struct faa_str mixed[] = {FAA_STR(""), FAA_STR("bad"), FAA_STR("a=1"),
                                           FAA_STR("")};
    check(three, 3, "a=1, b=2,c=3,d=4;p", 0);
    check(mixed, 4, "a=1", 1);
}
END_TEST

START_TEST(a_member_passes_whole_or_not_at_all)
{
    static char text[FAA_BAGGAGE_MAX + 2];
    memset(text, 'v', sizeof(text));
    text[0] = 'k';
    text[1] = '=';
    struct faa_str longest = {text, FAA_BAGGAGE_MAX}, longer = {text, FAA_BAGGAGE_MAX + 1};
    struct faa_baggage *b = faa_baggage_new(&longest, 1);
    ck_assert_uint_eq(faa_baggage_text(b).n, FAA_BAGGAGE_MAX);
    faa_baggage_unref(b);
    ck_assert_ptr_null(faa_baggage_new(&longer, 1));
    ck_assert_uint_eq(faa_baggage_dropped(), 1);
    // One that does not fit leaves its place to those that do.
    struct faa_str three[] = {{text, FAA_BAGGAGE_MAX - 4}, FAA_STR("l=ong"), FAA_STR("s=1")};
    b = faa_baggage_new(three, 3);
    ck_assert_uint_eq(faa_baggage_text(b).n, FAA_BAGGAGE_MAX);
    ck_assert_mem_eq(faa_baggage_text(b).p + FAA_BAGGAGE_MAX - 4, ",s=1", 4);
    ck_assert_uint_eq(faa_baggage_dropped(), 2);
    faa_baggage_unref(b);
}
END_TEST

START_TEST(there_is_a_ceiling_on_members)
{
    static char text[4 * (FAA_BAGGAGE_MEMBERS_MAX + 20)];
    for (size_t i = 0; i < sizeof(text); i += 4)
        memcpy(text + i, "k=v,", 4);
    struct faa_str list = {text, sizeof(text)};
    struct faa_baggage *b = faa_baggage_new(&list, 1);
    ck_assert_uint_eq(faa_baggage_text(b).n, 4 * FAA_BAGGAGE_MEMBERS_MAX - 1);
    ck_assert_uint_eq(faa_baggage_dropped(), 20);
    faa_baggage_unref(b);
}
END_TEST

START_TEST(without_memory_there_is_none_and_it_is_counted)
{
    struct faa_str two[] = {FAA_STR("a=1"), FAA_STR("b=2")};
    no_memory = 1;
    ck_assert_ptr_null(faa_baggage_new(two, 2));
    ck_assert_uint_eq(faa_baggage_dropped(), 2);
}
END_TEST

static void *take_and_drop(void *arg)
{
    for (int i = 0; i < TURNS; i++) {
        struct faa_baggage *mine = faa_baggage_ref(arg);
        ck_assert(faa_str_eq(faa_baggage_text(mine), FAA_STR("a=1")));
        faa_baggage_unref(mine);
    }
    faa_baggage_unref(arg);
    return NULL;
}

START_TEST(the_last_reference_frees_it)
{
    struct faa_str list = FAA_STR("a=1");
    struct faa_baggage *b = faa_baggage_new(&list, 1);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, take_and_drop, faa_baggage_ref(b)), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(blocks, 1);
    faa_baggage_unref(b);
    ck_assert_int_eq(blocks, 0);
    ck_assert_ptr_null(faa_baggage_ref(NULL));
    faa_baggage_unref(NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("baggage");
    TCase *cases = tcase_create("baggage");
    tcase_add_checked_fixture(cases, setup, NULL);
    tcase_add_test(cases, valid_lists_pass_unchanged);
    tcase_add_test(cases, members_that_are_not_valid_are_left_out_and_counted);
    tcase_add_test(cases, empty_elements_say_nothing);
    tcase_add_test(cases, several_headers_are_one_list);
    tcase_add_test(cases, a_member_passes_whole_or_not_at_all);
    tcase_add_test(cases, there_is_a_ceiling_on_members);
    tcase_add_test(cases, without_memory_there_is_none_and_it_is_counted);
    tcase_add_test(cases, the_last_reference_frees_it);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

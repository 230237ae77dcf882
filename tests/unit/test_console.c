// SPDX-License-Identifier: MIT
// The trees that the console exporter prints, to the letter.
#include "export/console.h"
#include "export/line.h"
#include "tests/unit/record_builder.h"

#include <check.h>
#include <fcntl.h>
#include <unistd.h>

#define TRACE_1 "01000000000000000000000000000001"
#define TRACE_2 "02000000000000000000000000000002"

static struct faa_console *console;
static struct record_builder b;
static int output;
static char text[8 << 20];

static void set_up(void)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
    output = ends[0];
    console = faa_console_new("shop", ends[1]);
    ck_assert_ptr_nonnull(console);
}

static void tear_down(void)
{
    faa_console_free(console);
}

static void add(void)
{
    ck_assert_int_eq(faa_console_add(console, &b, b.u.head.size), 0);
}

static void server(uint8_t trace, uint8_t span, unsigned start, unsigned end)
{
    builder_begin(&b, FAA_KIND_SERVER, trace, span, 0, start, end, "GET /items/{id}", "f");
    builder_str(&b, 0, FAA_KEY_URL_PATH, "/items/7");
    builder_int(&b, 0, FAA_KEY_HTTP_RESPONSE_STATUS_CODE, 200);
    add();
}

static void child(uint8_t trace, uint8_t span, uint8_t parent, unsigned start, unsigned end,
                  const char *name)
{
    builder_begin(&b, FAA_KIND_CLIENT, trace, span, parent, start, end, name, "s");
    add();
}

static const char *printed(void)
{
    ssize_t n = read(output, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void expect(const char *wanted)
{
    faa_console_print(console);
    ck_assert_str_eq(printed(), wanted);
}

START_TEST(a_trace_is_a_tree)
{
    builder_begin(&b, FAA_KIND_CLIENT, 1, 2, 1, 1, 4, "SELECT items", "s");
    builder_str(&b, 0, FAA_KEY_DB_QUERY_TEXT,
                "SELECT items.id\n\t FROM items\r\n  WHERE items.id = ?");
    add();
    builder_begin(&b, FAA_KIND_CLIENT, 1, 3, 1, 4, 12, "GET", "r");
    builder_int(&b, 0, FAA_KEY_HTTP_RESPONSE_STATUS_CODE, 404);
    builder_str(&b, 0, FAA_KEY_URL_FULL, "http://localhost:8001/prices/7");
    add();
    expect("");
    server(1, 1, 0, 1012);
    expect("shop  GET /items/{id}  200  1.01 s  /items/7   trace " TRACE_1 "\n"
           "├─ SELECT items  3.0 ms  SELECT items.id FROM items WHERE items.id = ?\n"
           "└─ GET  404  8.0 ms  http://localhost:8001/prices/7\n");
}
END_TEST

START_TEST(branches_nest_in_the_order_of_their_start)
{
    child(1, 4, 3, 5, 6, "grandchild");
    child(1, 3, 1, 4, 7, "second");
    child(1, 5, 2, 2, 3, "first's");
    child(1, 2, 1, 1, 3, "first");
    child(1, 6, 3, 6, 7, "last");
    server(1, 1, 0, 9);
    expect("shop  GET /items/{id}  200  9.0 ms  /items/7   trace " TRACE_1 "\n"
           "├─ first  2.0 ms\n"
           "│  └─ first's  1.0 ms\n"
           "└─ second  3.0 ms\n"
           "   ├─ grandchild  1.0 ms\n"
           "   └─ last  1.0 ms\n");
}
END_TEST

START_TEST(errors_say_what_happened)
{
    builder_begin(&b, FAA_KIND_SERVER, 1, 1, 0, 0, 2, "GET /", "f");
    b.u.head.status = FAA_STATUS_ERROR;
    builder_int(&b, 0, FAA_KEY_HTTP_RESPONSE_STATUS_CODE, 500);
    builder_str(&b, 0, FAA_KEY_ERROR_TYPE, "500");
    add();
    expect("shop  GET /  500  2.0 ms  ERROR   trace " TRACE_1 "\n");
    builder_begin(&b, FAA_KIND_SERVER, 1, 1, 0, 0, 2, "GET /", "f");
    b.u.head.status = FAA_STATUS_ERROR;
    builder_str(&b, 0, FAA_KEY_ERROR_TYPE, "ValueError");
    builder_event(&b, 5, "exception");
    builder_str(&b, 1, FAA_KEY_EXCEPTION_TYPE, "ValueError");
    builder_str(&b, 1, FAA_KEY_EXCEPTION_MESSAGE, "no such\nitem");
    add();
    expect("shop  GET /  2.0 ms  ERROR ValueError: no such item   trace " TRACE_1 "\n");
    builder_begin(&b, FAA_KIND_SERVER, 1, 1, 0, 0, 2, "GET /", "f");
    builder_texts(&b, "", "said so");
    b.u.head.status = FAA_STATUS_ERROR;
    add();
    expect("shop  GET /  2.0 ms  ERROR: said so   trace " TRACE_1 "\n");
}
END_TEST

START_TEST(what_blocks_the_event_loop_says_so)
{
    builder_begin(&b, FAA_KIND_CLIENT, 1, 2, 1, 1, 4, "SELECT items", "s");
    builder_bool(&b, FAA_KEY_FAA_EVENT_LOOP_BLOCKING, 1);
    builder_str(&b, 0, FAA_KEY_CODE_FILE_PATH, "/srv/shop/views.py");
    builder_int(&b, 0, FAA_KEY_CODE_LINE_NUMBER, 42);
    add();
    builder_begin(&b, FAA_KIND_CLIENT, 1, 3, 1, 4, 5, "GET", "r");
    builder_bool(&b, FAA_KEY_FAA_EVENT_LOOP_BLOCKING, 1);
    builder_str(&b, 0, FAA_KEY_URL_FULL, "http://localhost/");
    add();
    builder_begin(&b, FAA_KIND_INTERNAL, 1, 4, 1, 5, 6, "endpoint", "f");
    builder_str(&b, 0, FAA_KEY_CODE_FILE_PATH, "/srv/shop/views.py");
    builder_int(&b, 0, FAA_KEY_CODE_LINE_NUMBER, 40);
    add();
    builder_begin(&b, FAA_KIND_SERVER, 1, 1, 0, 0, 300, "GET /", "f");
    builder_event(&b, 5, "event loop blocked");
    builder_int(&b, 1, FAA_KEY_FAA_EVENT_LOOP_BLOCKED_US, 150000);
    builder_event(&b, 6, "event loop blocked");
    builder_int(&b, 1, FAA_KEY_FAA_EVENT_LOOP_BLOCKED_US, 120300);
    add();
    expect("shop  GET /  300.0 ms  blocked the loop 270.3 ms   trace " TRACE_1 "\n"
           "├─ SELECT items  3.0 ms  blocks the loop at views.py:42\n"
           "├─ GET  1.0 ms  blocks the loop  http://localhost/\n"
           "└─ endpoint  1.0 ms\n");
}
END_TEST

START_TEST(no_command_reaches_the_terminal)
{
    builder_begin(&b, FAA_KIND_SERVER, 1, 1, 0, 0, 0,
                  "\x1b[31mred\x07 \xc2\x9b"
                  "31m \xe2\x80\xae"
                  "drawkcab \x7f \xe2\x81\xa7",
                  "f");
    builder_str(&b, 0, FAA_KEY_URL_PATH,
                "/caf\xc3\xa9/\xe2\x82\xac/\xf0\x9f\x98\x80\x1b]0;title\x07");
    add();
    expect("shop  ?[31mred? ?31m ?drawkcab ? ?  0.00 ms  "
           "/caf\xc3\xa9/\xe2\x82\xac/\xf0\x9f\x98\x80?]0;title?   trace " TRACE_1 "\n");
}
END_TEST

static unsigned columns(const char *line)
{
    unsigned n = 0;
    for (; *line && *line != '\n'; line++)
        n += ((unsigned char)*line & 0xc0) != 0x80;
    return n;
}

START_TEST(long_lines_are_cut_and_keep_the_trace_id)
{
    char name[250] = "", path[3000] = "";
    memset(name, 'n', sizeof(name) - 1);
    while (strlen(path) + 3 < sizeof(path))
        strcat(path, "\xc3\xa9");
    builder_begin(&b, FAA_KIND_SERVER, 1, 1, 0, 0, 9, name, "f");
    builder_str(&b, 0, FAA_KEY_URL_PATH, path);
    add();
    faa_console_print(console);
    ck_assert_uint_le(columns(printed()), FAA_CONSOLE_WIDTH);
    ck_assert_ptr_nonnull(strstr(text, "…  9.0 ms  "));
    ck_assert_ptr_nonnull(strstr(text, "…   trace " TRACE_1 "\n"));
    builder_begin(&b, FAA_KIND_SERVER, 1, 1, 0, 0, 9, "GET /", "f");
    builder_str(&b, 0, FAA_KEY_URL_PATH, path);
    add();
    faa_console_print(console);
    ck_assert_uint_eq(columns(printed()), FAA_CONSOLE_WIDTH);
}
END_TEST

START_TEST(a_line_fits_its_buffer_in_the_worst_case)
{
    static char widest[4096], out[FAA_LINE_BYTES];
    struct faa_line_style style = {.width = FAA_LINE_WIDTH_MAX, .colours = 1};
    struct faa_record_view view;
    while (strlen(widest) + 5 < sizeof(widest))
        strcat(widest, "\xf0\x9f\x98\x80");
    builder_begin(&b, FAA_KIND_SERVER, 1, 1, 0, 0, 9, widest, "f");
    b.u.head.status = FAA_STATUS_ERROR;
    builder_int(&b, 0, FAA_KEY_HTTP_RESPONSE_STATUS_CODE, INT64_MIN);
    builder_str(&b, 0, FAA_KEY_URL_PATH, widest);
    builder_str(&b, 0, FAA_KEY_ERROR_TYPE, widest);
    ck_assert_int_eq(faa_record_open(&b, b.u.head.size, &view), 0);
    size_t n = faa_line_format(out, &style, &view, widest, "");
    ck_assert_uint_le(n, FAA_LINE_BYTES);
    ck_assert_int_eq(out[n - 1], '\n');
    n = faa_line_format(out, &style, &view, NULL, "│  │  └─ ");
    ck_assert_int_eq(out[n - 1], '\n');
}
END_TEST

START_TEST(colours_are_there_when_asked_for)
{
    char out[FAA_LINE_BYTES];
    struct faa_line_style style = {.width = 120, .colours = 1};
    struct faa_record_view view;
    builder_begin(&b, FAA_KIND_SERVER, 1, 1, 0, 0, 9, "GET /", "f");
    builder_int(&b, 0, FAA_KEY_HTTP_RESPONSE_STATUS_CODE, 503);
    ck_assert_int_eq(faa_record_open(&b, b.u.head.size, &view), 0);
    out[faa_line_format(out, &style, &view, "shop", "")] = '\0';
    ck_assert_str_eq(out, "shop  \033[1mGET /\033[0m  \033[31m503\033[0m  \033[36m9.0 ms\033[0m"
                          "   \033[2mtrace\033[0m " TRACE_1 "\n");
}
END_TEST

START_TEST(traces_do_not_mix)
{
    child(2, 3, 1, 1, 2, "of the second");
    child(1, 3, 1, 1, 2, "of the first");
    server(1, 1, 0, 9);
    expect("shop  GET /items/{id}  200  9.0 ms  /items/7   trace " TRACE_1 "\n"
           "└─ of the first  1.0 ms\n");
    server(2, 1, 0, 9);
    expect("shop  GET /items/{id}  200  9.0 ms  /items/7   trace " TRACE_2 "\n"
           "└─ of the second  1.0 ms\n");
}
END_TEST

START_TEST(a_call_to_oneself_is_a_tree_of_its_own)
{
    child(1, 9, 1, 0, 1, "of the outer");
    child(1, 3, 2, 1, 2, "of the inner");
    builder_begin(&b, FAA_KIND_SERVER, 1, 2, 8, 1, 3, "inner", "f");
    b.u.head.flags |= FAA_FLAG_IS_REMOTE;
    add();
    expect("shop  inner  2.0 ms   trace " TRACE_1 "\n"
           "└─ of the inner  1.0 ms\n");
    server(1, 1, 0, 9);
    expect("shop  GET /items/{id}  200  9.0 ms  /items/7   trace " TRACE_1 "\n"
           "└─ of the outer  1.0 ms\n");
}
END_TEST

START_TEST(what_outlives_its_request_follows_it)
{
    server(1, 1, 0, 9);
    expect("shop  GET /items/{id}  200  9.0 ms  /items/7   trace " TRACE_1 "\n");
    child(1, 3, 2, 10, 11, "in the task");
    expect("");
    child(1, 2, 1, 5, 12, "task");
    expect("shop  task  7.0 ms   trace " TRACE_1 "\n"
           "└─ in the task  1.0 ms\n");
}
END_TEST

START_TEST(flush_prints_what_is_not_finished)
{
    child(1, 3, 2, 10, 11, "lower");
    child(1, 2, 1, 9, 12, "upper");
    child(2, 2, 1, 9, 10, "other");
    expect("");
    faa_console_flush(console);
    ck_assert_str_eq(printed(), "shop  upper  3.0 ms   trace " TRACE_1 "\n"
                                "└─ lower  1.0 ms\n"
                                "shop  other  1.0 ms   trace " TRACE_2 "\n");
    faa_console_flush(console);
    ck_assert_str_eq(printed(), "");
}
END_TEST

START_TEST(circles_and_twins_end)
{
    child(1, 1, 2, 0, 1, "a");
    child(1, 2, 1, 0, 1, "b");
    child(1, 3, 3, 0, 1, "itself");
    child(1, 4, 9, 0, 1, "twin");
    child(1, 4, 9, 0, 1, "twin");
    faa_console_flush(console);
    unsigned lines = 0;
    for (const char *p = printed(); *p; p++)
        lines += *p == '\n';
    ck_assert_uint_eq(lines, 5);
}
END_TEST

START_TEST(deep_trees_are_printed_whole)
{
    for (unsigned i = 200; i > 1; i--)
        child(1, (uint8_t)i, (uint8_t)(i - 1), i, 300, "level");
    server(1, 1, 0, 9);
    faa_console_print(console);
    unsigned lines = 0;
    for (const char *p = printed(); *p; p++)
        lines += *p == '\n';
    ck_assert_uint_eq(lines, 200);
}
END_TEST

START_TEST(memory_is_bounded)
{
    unsigned lines = 0;
    for (unsigned i = 0; i < 3 * FAA_CONSOLE_SPANS_MAX; i++) {
        builder_begin(&b, FAA_KIND_CLIENT, (uint8_t)(1 + i % 200), 2, 1, 0, 1, "orphan", "s");
        memcpy(b.u.head.span_id, &i, sizeof(i));
        add();
        for (const char *p = printed(); *p; p++)
            lines += *p == '\n';
    }
    ck_assert_uint_ge(lines, 2 * FAA_CONSOLE_SPANS_MAX);
    faa_console_flush(console);
    for (const char *p = printed(); *p; p++)
        lines += *p == '\n';
    ck_assert_uint_eq(lines, 3 * FAA_CONSOLE_SPANS_MAX);
}
END_TEST

START_TEST(damaged_records_are_refused)
{
    server(1, 1, 0, 9);
    b.u.head.item_count++;
    ck_assert_int_eq(faa_console_add(console, &b, b.u.head.size), -1);
    ck_assert_int_eq(faa_console_add(console, &b, 8), -1);
    expect("shop  GET /items/{id}  200  9.0 ms  /items/7   trace " TRACE_1 "\n");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("console");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_trace_is_a_tree);
    tcase_add_test(tests, branches_nest_in_the_order_of_their_start);
    tcase_add_test(tests, errors_say_what_happened);
    tcase_add_test(tests, what_blocks_the_event_loop_says_so);
    tcase_add_test(tests, no_command_reaches_the_terminal);
    tcase_add_test(tests, long_lines_are_cut_and_keep_the_trace_id);
    tcase_add_test(tests, a_line_fits_its_buffer_in_the_worst_case);
    tcase_add_test(tests, colours_are_there_when_asked_for);
    tcase_add_test(tests, traces_do_not_mix);
    tcase_add_test(tests, a_call_to_oneself_is_a_tree_of_its_own);
    tcase_add_test(tests, what_outlives_its_request_follows_it);
    tcase_add_test(tests, flush_prints_what_is_not_finished);
    tcase_add_test(tests, circles_and_twins_end);
    tcase_add_test(tests, deep_trees_are_printed_whole);
    tcase_add_test(tests, memory_is_bounded);
    tcase_add_test(tests, damaged_records_are_refused);
    Suite *suite = suite_create("console");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

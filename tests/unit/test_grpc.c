// SPDX-License-Identifier: MIT
// What the collector's answers mean, in both protocols, and when a batch is sent again.
#include "export/answer.h"
#include "export/retry.h"

#include <check.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

static struct faa_answer answer;
static struct faa_outcome outcome;

static void begin(long status)
{
    faa_answer_clear(&answer);
    memset(&outcome, 0, sizeof(outcome));
    answer.status = status;
}

static void header(const char *line)
{
    faa_answer_header(&answer, faa_str_of(line));
}

static enum faa_verdict grpc(void)
{
    faa_grpc_judge(&answer, &outcome);
    return outcome.verdict;
}

static enum faa_verdict http(void)
{
    faa_http_judge(&answer, 0, &outcome);
    return outcome.verdict;
}

static void grpc_answer(const char *status)
{
    begin(200);
    header("HTTP/2 200 \r\n");
    header("content-type: application/grpc\r\n");
    header("\r\n");
    header(status);
}

START_TEST(frame_is_a_flag_and_a_big_endian_length)
{
    uint8_t h[5];
    faa_grpc_frame(h, 0x01020304, 0);
    ck_assert_mem_eq(h, "\0\1\2\3\4", 5);
    faa_grpc_frame(h, 7, 1);
    ck_assert_mem_eq(h, "\1\0\0\0\7", 5);
}
END_TEST

START_TEST(headers_are_read_in_any_case)
{
    begin(200);
    header("HTTP/2 200 \r\n");
    header("Content-Type:  application/grpc+proto \r\n");
    header("GRPC-STATUS: 14\r\n");
    header("grpc-message: down%20for%3A%0a tea\r\n");
    header("grpc-message-extra: no\r\n");
    header("grpc-status");
    header("");
    ck_assert_str_eq(answer.content_type, "application/grpc+proto");
    ck_assert_int_eq(answer.grpc_status, 14);
    ck_assert_int_eq(grpc(), FAA_VERDICT_RETRY);
    ck_assert_str_eq(outcome.reason, "gRPC status 14: down for:\n tea");
}
END_TEST

START_TEST(a_status_that_is_no_number_is_unknown)
{
    static const char *const bad[] = {"grpc-status: -1",
                                      "grpc-status:",
                                      "grpc-status: 1x",
                                      "grpc-status: 17",
                                      "grpc-status: 00000000000000000000",
                                      "grpc-status: 99999999999999"};
    for (size_t i = 0; i < FAA_COUNT(bad); i++) {
        grpc_answer(bad[i]);
        ck_assert_int_eq(answer.grpc_status, 2);
        ck_assert_int_eq(grpc(), FAA_VERDICT_REFUSED);
    }
}
END_TEST

START_TEST(broken_percent_signs_are_kept)
{
    grpc_answer("grpc-status: 3");
    header("grpc-message: 100%, %4, %00, %zz%");
    ck_assert_int_eq(grpc(), FAA_VERDICT_REFUSED);
    ck_assert_str_eq(outcome.reason, "gRPC status 3: 100%, %4, ?, %zz%");
}
END_TEST

START_TEST(grpc_statuses_are_retried_as_otlp_says)
{
    static const int retried[17] = {[1] = 1, [4] = 1, [10] = 1, [11] = 1, [14] = 1, [15] = 1};
    for (int i = 1; i <= 16; i++) {
        begin(200);
        answer.grpc_status = i;
        ck_assert_int_eq(grpc(), retried[i] ? FAA_VERDICT_RETRY : FAA_VERDICT_REFUSED);
    }
}
END_TEST

START_TEST(http_statuses_are_retried_as_otlp_says)
{
    for (long i = 200; i < 600; i++) {
        int retry = i == 429 || i == 502 || i == 503 || i == 504;
        begin(i);
        ck_assert_int_eq(http(), i < 300    ? FAA_VERDICT_SENT
                                 : retry    ? FAA_VERDICT_RETRY
                                 : i == 415 ? FAA_VERDICT_WRONG_PROTOCOL
                                 : i == 413 ? FAA_VERDICT_TOO_LARGE
                                            : FAA_VERDICT_REFUSED);
    }
}
END_TEST

START_TEST(the_trailers_decide_and_not_what_came_before)
{
    begin(200);
    header("HTTP/1.1 200 Connection established\r\n");
    header("grpc-status: 3\r\n");
    header("content-type: text/html\r\n");
    header("HTTP/2 200\r\n");
    header("content-type: application/grpc\r\n");
    header("grpc-status: 0\r\n");
    ck_assert_int_eq(grpc(), FAA_VERDICT_SENT);
}
END_TEST

// ExportTraceServiceResponse{partial_success{rejected_spans: 2, error_message: "no"}}
static const uint8_t partial[] = {0x0a, 0x06, 0x08, 0x02, 0x12, 0x02, 'n', 'o'};

START_TEST(partial_success_is_read)
{
    static const uint8_t header_bytes[] = {0, 0, 0, 0, sizeof(partial)};
    grpc_answer("grpc-status: 0");
    ck_assert_int_eq(faa_answer_body(&answer, header_bytes, 3), 0);
    ck_assert_int_eq(faa_answer_body(&answer, header_bytes + 3, 2), 0);
    ck_assert_int_eq(faa_answer_body(&answer, partial, sizeof(partial)), 0);
    ck_assert_int_eq(grpc(), FAA_VERDICT_SENT);
    ck_assert_uint_eq(outcome.rejected, 2);
    ck_assert_str_eq(outcome.reason, "gRPC status 0: no");

    begin(200);
    ck_assert_int_eq(faa_answer_body(&answer, partial, sizeof(partial)), 0);
    ck_assert_int_eq(http(), FAA_VERDICT_SENT);
    ck_assert_uint_eq(outcome.rejected, 2);
    ck_assert_str_eq(outcome.reason, "HTTP 200: no");
}
END_TEST

START_TEST(damaged_messages_mean_nothing)
{
    static const uint8_t compressed[] = {1, 0, 0, 0, 2, 0x0a, 0}, cut[] = {0, 0, 0, 1},
                         longer[] = {0, 255, 255, 255, 255, 0x0a, 6, 8, 2},
                         negative[] = {0,    0,    0,    0,    13,   0x0a, 11,   0x08, 0xff,
                                       0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
    static const struct faa_str bodies[] = {{(const char *)compressed, sizeof(compressed)},
                                            {(const char *)cut, sizeof(cut)},
                                            {(const char *)longer, sizeof(longer)},
                                            {(const char *)negative, sizeof(negative)}};
    for (size_t i = 0; i < FAA_COUNT(bodies); i++) {
        grpc_answer("grpc-status: 0");
        ck_assert_int_eq(faa_answer_body(&answer, bodies[i].p, bodies[i].n), 0);
        ck_assert_int_eq(grpc(), FAA_VERDICT_SENT);
        ck_assert_uint_eq(outcome.rejected, 0);
    }
}
END_TEST

START_TEST(a_whole_message_without_a_status_is_success)
{
    static const uint8_t header_bytes[] = {0, 0, 0, 0, sizeof(partial)};
    begin(200);
    header("content-type: application/grpc");
    ck_assert_int_eq(grpc(), FAA_VERDICT_REFUSED);
    ck_assert_int_eq(faa_answer_body(&answer, header_bytes, sizeof(header_bytes)), 0);
    ck_assert_int_eq(faa_answer_body(&answer, partial, sizeof(partial) - 1), 0);
    ck_assert_int_eq(grpc(), FAA_VERDICT_REFUSED);
    ck_assert_int_eq(faa_answer_body(&answer, partial + sizeof(partial) - 1, 1), 0);
    ck_assert_int_eq(grpc(), FAA_VERDICT_SENT);
    ck_assert_uint_eq(outcome.rejected, 2);
    answer.status = 500;
    ck_assert_int_eq(grpc(), FAA_VERDICT_REFUSED);
}
END_TEST

START_TEST(a_body_over_the_limit_is_broken_off)
{
    static const char block[65536];
    begin(200);
    for (int i = 0; i < FAA_ANSWER_LIMIT / (int)sizeof(block); i++)
        ck_assert_int_eq(faa_answer_body(&answer, block, sizeof(block)), 0);
    ck_assert_uint_eq(answer.body_len, FAA_ANSWER_BODY_MAX);
    ck_assert_int_eq(faa_answer_body(&answer, block, 1), -1);
    answer.curl_code = CURLE_WRITE_ERROR;
    ck_assert_int_eq(http(), FAA_VERDICT_REFUSED);
    ck_assert_int_eq(grpc(), FAA_VERDICT_REFUSED);
}
END_TEST

START_TEST(the_other_protocol_is_recognised)
{
    static const int both[] = {CURLE_UNSUPPORTED_PROTOCOL, CURLE_GOT_NOTHING, CURLE_SEND_ERROR,
                               CURLE_RECV_ERROR, CURLE_WEIRD_SERVER_REPLY};
    static const int neither[] = {CURLE_COULDNT_CONNECT, CURLE_OPERATION_TIMEDOUT,
                                  CURLE_COULDNT_RESOLVE_HOST, CURLE_ABORTED_BY_CALLBACK};
    begin(0);
    for (size_t i = 0; i < FAA_COUNT(both); i++) {
        answer.curl_code = both[i];
        ck_assert_int_eq(http(), FAA_VERDICT_WRONG_PROTOCOL);
        ck_assert_int_eq(grpc(), FAA_VERDICT_WRONG_PROTOCOL);
    }
    for (size_t i = 0; i < FAA_COUNT(neither); i++) {
        answer.curl_code = neither[i];
        ck_assert_int_eq(http(), FAA_VERDICT_RETRY);
        ck_assert_int_eq(grpc(), FAA_VERDICT_RETRY);
    }
    answer.curl_code = CURLE_HTTP2;
    ck_assert_int_eq(grpc(), FAA_VERDICT_WRONG_PROTOCOL);
    ck_assert_int_eq(http(), FAA_VERDICT_RETRY);
    begin(404);
    header("content-type: text/plain\r\n");
    ck_assert_int_eq(grpc(), FAA_VERDICT_WRONG_PROTOCOL);
    begin(503);
    ck_assert_int_eq(grpc(), FAA_VERDICT_RETRY);
    begin(200);
    header("content-type: application/grpc\r\n");
    ck_assert_int_eq(http(), FAA_VERDICT_WRONG_PROTOCOL);
}
END_TEST

START_TEST(a_web_page_is_no_collector)
{
    begin(200);
    header("Content-Type: text/html; charset=utf-8\r\n");
    ck_assert_int_eq(http(), FAA_VERDICT_REFUSED);
}
END_TEST

START_TEST(waits_double_and_are_spread_and_bounded)
{
    static const uint32_t nominal[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000};
    for (unsigned i = 0; i < FAA_COUNT(nominal); i++)
        for (uint32_t random = 0; random < 100000; random += 997) {
            uint32_t wait = faa_retry_wait_ms(i + 1, random);
            ck_assert_uint_ge(wait, nominal[i] / 10 * 8);
            ck_assert_uint_le(wait, nominal[i] / 10 * 12);
        }
    ck_assert_uint_le(faa_retry_wait_ms(4000000000u, 7), FAA_RETRY_LAST_MS / 10 * 12);
    ck_assert_uint_ne(faa_retry_wait_ms(1, 1), faa_retry_wait_ms(1, 200));
}
END_TEST

// A google.rpc.Status with code 8 and the detail google.rpc.RetryInfo of 1.5 s, in base64.
#define DETAILS                                                                                    \
    "grpc-status-details-bin: "                                                                    \
    "CAgaNgoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIKCggIARCAyrXuAQ"

START_TEST(exhausted_is_retried_when_it_says_when)
{
    static const char *const none[] = {"", "grpc-status-details-bin: CAgSBGZ1bGw\r\n",
                                       "grpc-status-details-bin: \r\n",
                                       "grpc-status-details-bin: !!!!\r\n",
                                       "grpc-status-details-bin: CAgaLgoodHlwZS5nb29nbGVhcGlz\r\n"};
    for (size_t i = 0; i < FAA_COUNT(none); i++) {
        grpc_answer("grpc-status: 8\r\n");
        header(none[i]);
        ck_assert_int_eq(grpc(), FAA_VERDICT_REFUSED);
    }
    grpc_answer("grpc-status: 8\r\n");
    header(DETAILS "\r\n");
    ck_assert_int_eq(grpc(), FAA_VERDICT_RETRY);
    ck_assert_uint_eq(outcome.retry_after_ms, 1500);
    grpc_answer("grpc-status: 14\r\n");
    header(DETAILS "==\r\n");
    ck_assert_int_eq(grpc(), FAA_VERDICT_RETRY);
    ck_assert_uint_eq(outcome.retry_after_ms, 1500);
}
END_TEST

START_TEST(too_large_is_known)
{
    static const char *const words[] = {
        "grpc: received message larger than max (9 vs. 4)",
        "gRPC message exceeds maximum size 4194304: 5242880",
        "SERVER: Received message larger than max (9 vs. 4)",
    };
    for (size_t i = 0; i < FAA_COUNT(words); i++) {
        char line[128];
        grpc_answer("grpc-status: 8\r\n");
        snprintf(line, sizeof(line), "grpc-message: %s\r\n", words[i]);
        header(line);
        ck_assert_int_eq(grpc(), FAA_VERDICT_TOO_LARGE);
    }
    begin(413);
    ck_assert_int_eq(http(), FAA_VERDICT_TOO_LARGE);
}
END_TEST

START_TEST(retry_after_is_honoured_within_bounds)
{
    ck_assert_uint_eq(faa_retry_after_ms(-5), 0);
    ck_assert_uint_eq(faa_retry_after_ms(0), 0);
    ck_assert_uint_eq(faa_retry_after_ms(7), 7000);
    ck_assert_uint_eq(faa_retry_after_ms(INT64_MAX), FAA_RETRY_AFTER_MAX_MS);
    begin(503);
    answer.retry_after_s = 3;
    ck_assert_int_eq(http(), FAA_VERDICT_RETRY);
    ck_assert_uint_eq(outcome.retry_after_ms, 3000);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("answers");
    tcase_add_test(tests, frame_is_a_flag_and_a_big_endian_length);
    tcase_add_test(tests, headers_are_read_in_any_case);
    tcase_add_test(tests, a_status_that_is_no_number_is_unknown);
    tcase_add_test(tests, broken_percent_signs_are_kept);
    tcase_add_test(tests, grpc_statuses_are_retried_as_otlp_says);
    tcase_add_test(tests, http_statuses_are_retried_as_otlp_says);
    tcase_add_test(tests, the_trailers_decide_and_not_what_came_before);
    tcase_add_test(tests, partial_success_is_read);
    tcase_add_test(tests, damaged_messages_mean_nothing);
    tcase_add_test(tests, a_whole_message_without_a_status_is_success);
    tcase_add_test(tests, a_body_over_the_limit_is_broken_off);
    tcase_add_test(tests, the_other_protocol_is_recognised);
    tcase_add_test(tests, a_web_page_is_no_collector);
    tcase_add_test(tests, waits_double_and_are_spread_and_bounded);
    tcase_add_test(tests, exhausted_is_retried_when_it_says_when);
    tcase_add_test(tests, too_large_is_known);
    tcase_add_test(tests, retry_after_is_honoured_within_bounds);
    Suite *suite = suite_create("grpc");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

// SPDX-License-Identifier: MIT
// Fuzz target: names, texts and messages of Redis stay in their bounds, and tell no quoted word.
#include "span/redis.h"
#include "require.h"

enum { MAX_INPUT = 2048 };

// A name has no byte that no command has; of a text only the marks follow.
static void check_command(struct faa_str first, struct faa_str second, size_t count)
{
    struct faa_redis_command command;
    char text[FAA_REDIS_TEXT_MAX];
    if (faa_redis_parse(first, count, &command)) {
        REQUIRE(count > 1 && command.values > 0);
        faa_redis_add_subcommand(&command, second);
    }
    REQUIRE(command.name_len < sizeof(command.name) && command.name[command.name_len] == '\0');
    REQUIRE(strspn(command.name,
                   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._- ") ==
            command.name_len);
    size_t n = faa_redis_text(&command, text, sizeof(text));
    REQUIRE(n < sizeof(text) && text[n] == '\0');
    REQUIRE(memcmp(text, command.name, command.name_len) == 0);
    REQUIRE(strspn(text + command.name_len, " ?.") == n - command.name_len);
    (void)faa_redis_is_wordy(first);
    (void)(faa_redis_calls_procedure(first) && faa_redis_is_procedure(second));
}

static void check_message(struct faa_str text, int is_planted)
{
    char out[96];
    struct faa_str words = faa_redis_error_words(text), code = faa_redis_error_code(words);
    REQUIRE(words.n == 0 || (words.p >= text.p && words.p + words.n <= text.p + text.n));
    REQUIRE(code.n == 0 || (code.p >= words.p && code.p + code.n <= words.p + words.n));
    size_t n = faa_redis_error_message(code, words, out, sizeof(out));
    REQUIRE(n < sizeof(out) && out[n] == '\0');
    REQUIRE(!is_planted || !memmem(out, n, "s3cr3t", 6));
    n = faa_redis_error_message(FAA_STR("ERR"), words, out, 8);
    REQUIRE(n < 8 && out[n] == '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char planted[MAX_INPUT + 32];
    static const char secret[] = " 's3cr3t s3cr3t";
    if (size == 0 || size > MAX_INPUT)
        return 0;
    struct faa_str all = {(const char *)data + 1, size - 1};
    const char *space = all.n ? memchr(all.p, '|', all.n) : NULL;
    size_t n = space ? (size_t)(space - all.p) : all.n;
    struct faa_str first = {all.p, n}, second = {all.p + n, all.n - n};
    check_command(first, second, data[0]);
    check_message(all, 0);
    if (all.n && memmem(all.p, all.n, "s3cr3t", 6))
        return 0;
    memcpy(planted, all.p, all.n);
    memcpy(planted + all.n, secret, sizeof(secret) - 1);
    check_message((struct faa_str){planted, all.n + sizeof(secret) - 1}, 1);
    return 0;
}

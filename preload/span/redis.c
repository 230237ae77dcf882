// SPDX-License-Identifier: MIT
// Names, texts and errors of Redis commands.
#include "span/redis.h"

#include <strings.h>

enum { WORD_MAX = 32, SUBCOMMAND_MAX = 24 };

// Commands whose second word says what they do.
static const struct faa_str containers[] = {
    FAA_STR("ACL"),     FAA_STR("CLIENT"), FAA_STR("CLUSTER"),  FAA_STR("COMMAND"),
    FAA_STR("CONFIG"),  FAA_STR("DEBUG"),  FAA_STR("FUNCTION"), FAA_STR("HIMPORT"),
    FAA_STR("LATENCY"), FAA_STR("MEMORY"), FAA_STR("MODULE"),   FAA_STR("OBJECT"),
    FAA_STR("PUBSUB"),  FAA_STR("SCRIPT"), FAA_STR("SENTINEL"), FAA_STR("SLOWLOG"),
    FAA_STR("XGROUP"),  FAA_STR("XINFO"),
};

static int is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static int is_letter(char c)
{
    return is_upper(c) || (c >= 'a' && c <= 'z');
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int is_same(struct faa_str a, struct faa_str b)
{
    return a.n == b.n && strncasecmp(a.p, b.p, a.n) == 0;
}

static int is_one_of(struct faa_str word, const struct faa_str *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_same(word, words[i]))
            return 1;
    return 0;
}

// Takes the next word off the text; empty at the end.
static struct faa_str next_word(struct faa_str *text)
{
    while (text->n && is_space(*text->p)) {
        text->p++;
        text->n--;
    }
    struct faa_str word = {text->p, 0};
    while (word.n < text->n && !is_space(word.p[word.n]))
        word.n++;
    text->p += word.n;
    text->n -= word.n;
    return word;
}

static int is_command(struct faa_str word)
{
    if (word.n == 0 || word.n > WORD_MAX || !is_letter(word.p[0]))
        return 0;
    for (size_t i = 1; i < word.n; i++) {
        char c = word.p[i];
        if (!is_letter(c) && !is_digit(c) && c != '.' && c != '_' && c != '-')
            return 0;
    }
    return 1;
}

static int is_subcommand(struct faa_str word)
{
    if (word.n == 0 || word.n > SUBCOMMAND_MAX)
        return 0;
    for (size_t i = 0; i < word.n; i++)
        if (!is_letter(word.p[i]) && word.p[i] != '-')
            return 0;
    return 1;
}

static void add_word(struct faa_redis_command *command, struct faa_str word)
{
    if (command->name_len)
        command->name[command->name_len++] = ' ';
    memcpy(command->name + command->name_len, word.p, word.n);
    command->name_len += word.n;
    command->name[command->name_len] = '\0';
}

int faa_redis_parse(struct faa_str first, size_t count, struct faa_redis_command *command)
{
    _Static_assert(WORD_MAX + 1 + SUBCOMMAND_MAX < FAA_REDIS_NAME_MAX, "a name fits");
    command->name[0] = '\0';
    command->name_len = 0;
    command->values = 0;
    struct faa_str word = next_word(&first);
    if (!is_command(word))
        return 0;
    add_word(command, word);
    command->values = count > 1 ? count - 1 : 0;
    int takes_word = is_one_of(word, containers, FAA_COUNT(containers));
    struct faa_str inner = next_word(&first);
    if (takes_word && !inner.n)
        return count > 1;
    if (takes_word && is_subcommand(inner)) {
        add_word(command, inner);
        inner = next_word(&first);
    }
    for (; inner.n && command->values <= FAA_REDIS_VALUES_MAX; inner = next_word(&first))
        command->values++;
    return 0;
}

void faa_redis_add_subcommand(struct faa_redis_command *command, struct faa_str second)
{
    if (!is_subcommand(second))
        return;
    add_word(command, second);
    command->values--;
}

int faa_redis_calls_procedure(struct faa_str name)
{
    static const struct faa_str callers[] = {FAA_STR("EVALSHA"), FAA_STR("EVALSHA_RO"),
                                             FAA_STR("FCALL"), FAA_STR("FCALL_RO")};
    return is_one_of(name, callers, FAA_COUNT(callers));
}

int faa_redis_is_procedure(struct faa_str text)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (!is_letter(c) && !is_digit(c) && c != '_')
            return 0;
    }
    return text.n > 0 && text.n <= FAA_REDIS_PROCEDURE_MAX;
}

int faa_redis_is_wordy(struct faa_str name)
{
    static const struct faa_str scripts[] = {
        FAA_STR("EVAL"),  FAA_STR("EVAL_RO"),  FAA_STR("EVALSHA"),  FAA_STR("EVALSHA_RO"),
        FAA_STR("FCALL"), FAA_STR("FCALL_RO"), FAA_STR("FUNCTION"), FAA_STR("SCRIPT"),
    };
    struct faa_str word = next_word(&name);
    return is_one_of(word, scripts, FAA_COUNT(scripts)) || (word.n && memchr(word.p, '.', word.n));
}

// Appends what fits, all or nothing; 0, or -1 when it did not.
static int append(char *out, size_t cap, size_t *n, struct faa_str piece)
{
    if (piece.n >= cap - *n)
        return -1;
    memcpy(out + *n, piece.p, piece.n);
    *n += piece.n;
    out[*n] = '\0';
    return 0;
}

size_t faa_redis_text(const struct faa_redis_command *command, char *out, size_t cap)
{
    size_t n = 0;
    if (cap == 0)
        return 0;
    out[0] = '\0';
    if (append(out, cap, &n, (struct faa_str){command->name, command->name_len}) || n == 0)
        return n;
    for (size_t i = 0; i < command->values; i++) {
        int is_full = i == FAA_REDIS_VALUES_MAX;
        if (append(out, cap, &n, is_full ? FAA_STR(" ...") : FAA_STR(" ?")) || is_full)
            break;
    }
    return n;
}

// The rest behind the last place where `mark` stands; empty when it stands nowhere.
static struct faa_str behind_last(struct faa_str text, struct faa_str mark)
{
    for (size_t i = text.n; i >= mark.n; i--)
        if (memcmp(text.p + i - mark.n, mark.p, mark.n) == 0)
            return (struct faa_str){text.p + i, text.n - i};
    return (struct faa_str){text.p, 0};
}

// "Command # 1 (SET key value) of pipeline caused error: WRONGTYPE …", in asyncio's client with the
// tuple of the exception's arguments: "… caused error: ('WRONGTYPE …',)".
struct faa_str faa_redis_error_words(struct faa_str message)
{
    static const struct faa_str begin = FAA_STR("Command # "), mark = FAA_STR("caused error: ");
    if (message.n < begin.n || memcmp(message.p, begin.p, begin.n) != 0)
        return message;
    struct faa_str words = behind_last(message, mark);
    if (words.n > 2 && words.p[0] == '(' && (words.p[1] == '\'' || words.p[1] == '"')) {
        words.p += 2;
        words.n -= 2;
    }
    return words;
}

struct faa_str faa_redis_error_code(struct faa_str words)
{
    size_t n = 0;
    while (n < words.n && is_upper(words.p[n]))
        n++;
    int is_whole = n == words.n || is_space(words.p[n]) || words.p[n] == '\'';
    return (struct faa_str){words.p, n >= 2 && n <= WORD_MAX && is_whole ? n : 0};
}

// A quote begins what the application has sent, and an apostrophe ("don't") does not.
static int is_quote(struct faa_str words, size_t i)
{
    char c = words.p[i];
    if (c == '\'')
        return i < 2 || i + 1 >= words.n || !is_letter(words.p[i - 2]) ||
               !is_letter(words.p[i - 1]) || !is_letter(words.p[i + 1]);
    return c == '"' || c == '`';
}

size_t faa_redis_error_message(struct faa_str code, struct faa_str words, char *out, size_t cap)
{
    size_t n = 0, end = 0;
    if (cap == 0)
        return 0;
    out[0] = '\0';
    if (faa_str_eq(faa_redis_error_code(words), code))
        code.n = 0; // The words begin with it.
    while (end < words.n && words.p[end] != '\n' && words.p[end] != '\r' && !is_quote(words, end))
        end++;
    int is_cut = end < words.n && words.p[end] != '\n' && words.p[end] != '\r';
    if (code.n) {
        if (append(out, cap, &n, code))
            return 0;
        if (end || is_cut)
            (void)append(out, cap, &n, FAA_STR(" "));
    }
    size_t room = cap - n - 1;
    (void)append(out, cap, &n, (struct faa_str){words.p, end < room ? end : room});
    if (is_cut)
        (void)append(out, cap, &n, FAA_STR("?"));
    return n;
}

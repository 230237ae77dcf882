// SPDX-License-Identifier: MIT
// An indented writer without memory of its own.
#include "doctor/json.h"

#include "base/utf8.h"

// A character of valid UTF-8: its bytes.
static size_t char_length(unsigned char first)
{
    return first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

static void put_ascii(FILE *file, unsigned char c)
{
    if (c == '"' || c == '\\')
        fprintf(file, "\\%c", c);
    else if (c == '\n')
        fputs("\\n", file);
    else if (c == '\t')
        fputs("\\t", file);
    else if (c < 0x20 || c == 0x7f)
        fprintf(file, "\\u%04x", c);
    else
        fputc(c, file);
}

// C1, which some terminals obey, and the two separators that end a line in JavaScript.
static int is_unwelcome(const char *p, size_t n)
{
    const unsigned char *c = (const unsigned char *)p;
    return (n == 2 && c[0] == 0xc2 && c[1] < 0xa0) ||
           (n == 3 && c[0] == 0xe2 && c[1] == 0x80 && (c[2] == 0xa8 || c[2] == 0xa9));
}

static void put_string(FILE *file, const char *text)
{
    fputc('"', file);
    for (const char *p = text; *p;) {
        // At most four bytes belong together; what is no character comes back as U+FFFD.
        char clean[FAA_UTF8_CLEAN_MAX(4)];
        size_t n = char_length((unsigned char)*p), left = strnlen(p, 4);
        if (n > left || !faa_utf8_valid((struct faa_str){p, n})) {
            faa_utf8_clean((struct faa_str){p, 1}, clean, sizeof(clean));
            fputs(clean, file);
            p++;
            continue;
        }
        if (n == 1)
            put_ascii(file, (unsigned char)*p);
        else if (n == 2 && is_unwelcome(p, n))
            fprintf(file, "\\u%04x", (unsigned)(unsigned char)p[1]);
        else if (is_unwelcome(p, n))
            fprintf(file, "\\u20%02x", (unsigned)(unsigned char)p[2] - 0x80);
        else
            fwrite(p, 1, n, file);
        p += n;
    }
    fputc('"', file);
}

static void begin_value(struct faa_json *json, const char *key)
{
    if (json->depth > 0) {
        int *has_member = &json->has_member[json->depth - 1];
        fprintf(json->file, "%s\n%*s", *has_member ? "," : "", (int)(2 * json->depth), "");
        *has_member = 1;
    }
    if (key) {
        put_string(json->file, key);
        fputs(": ", json->file);
    }
}

void faa_json_open(struct faa_json *json, const char *key, char bracket)
{
    begin_value(json, key);
    fputc(bracket, json->file);
    if (json->depth < FAA_JSON_DEPTH_MAX)
        json->has_member[json->depth++] = 0;
}

void faa_json_close(struct faa_json *json, char bracket)
{
    if (json->has_member[--json->depth])
        fprintf(json->file, "\n%*s", (int)(2 * json->depth), "");
    fputc(bracket, json->file);
    if (json->depth == 0)
        fputc('\n', json->file);
}

void faa_json_string(struct faa_json *json, const char *key, const char *value)
{
    begin_value(json, key);
    put_string(json->file, value);
}

void faa_json_number(struct faa_json *json, const char *key, long value)
{
    begin_value(json, key);
    fprintf(json->file, "%ld", value);
}

void faa_json_bool(struct faa_json *json, const char *key, int value)
{
    begin_value(json, key);
    fputs(value ? "true" : "false", json->file);
}

void faa_json_null(struct faa_json *json, const char *key)
{
    begin_value(json, key);
    fputs("null", json->file);
}

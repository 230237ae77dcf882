// SPDX-License-Identifier: MIT
// Formatting a span: name, status, duration, error, and the attribute that tells most.
#include "export/line.h"

#include "span/ids.h"
#include "span/semconv.h"

#include <stdio.h>

#define BOLD "\033[1m"
#define DIM "\033[2m"
#define RED "\033[31m"
#define GREEN "\033[32m"
#define YELLOW "\033[33m"
#define CYAN "\033[36m"
#define RESET "\033[0m"

enum {
    ROOM_FOR_NUMBERS = 24, // Columns that a long name leaves to status and duration.
    ROOM_FOR_TRACE = 41    // "   trace " and 32 digits.
};

struct line {
    char *out;
    size_t n;
    unsigned columns, limit; // The limit is where text is cut at present.
    const struct faa_line_style *style;
};

// What the line shows of a span's items.
struct facts {
    struct faa_str detail, path, error, exception, message, file;
    int64_t status, line;
    uint64_t blocked_us;
    int is_blocking;
};

static void put_raw(struct line *line, const char *p, size_t n)
{
    if (n < FAA_LINE_BYTES - line->n) {
        memcpy(line->out + line->n, p, n);
        line->n += n;
    }
}

// The length of the UTF-8 character at p, whose string is valid.
static size_t character(const char *p, size_t left)
{
    unsigned char c = (unsigned char)*p;
    size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    return n < left ? n : left;
}

// Controls, and the marks that reorder what follows them.
static int is_unsafe(const char *p, size_t n)
{
    const unsigned char *u = (const unsigned char *)p;
    if (n == 1)
        return u[0] < 0x20 || u[0] == 0x7f;
    if (n == 2)
        return u[0] == 0xc2 && u[1] < 0xa0;
    if (n != 3 || u[0] != 0xe2)
        return 0;
    return (u[1] == 0x80 && (u[2] == 0x8e || u[2] == 0x8f || (u[2] >= 0xa8 && u[2] <= 0xae))) ||
           (u[1] == 0x81 && u[2] >= 0xa6 && u[2] <= 0xa9);
}

static int is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

// Text with one blank for each run of them, cut at the limit.
static void put_text(struct line *line, struct faa_str text)
{
    size_t len;
    for (size_t i = 0; i < text.n; i += len) {
        const char *p = text.p + i;
        len = character(p, text.n - i);
        if (is_blank(*p) && i > 0 && is_blank(p[-1]))
            continue;
        if (line->columns + 1 >= line->limit && i + len < text.n) {
            if (line->columns < line->limit) {
                put_raw(line, "\xe2\x80\xa6", 3);
                line->columns++;
            }
            return;
        }
        if (is_blank(*p))
            put_raw(line, " ", 1);
        else if (is_unsafe(p, len))
            put_raw(line, "?", 1);
        else
            put_raw(line, p, len);
        line->columns++;
    }
}

static void put_blanks(struct line *line, unsigned n)
{
    put_raw(line, "    ", n);
    line->columns += n;
}

// A field: its colour, then its text, two blanks from what is before it.
static void put_field(struct line *line, const char *colour, struct faa_str text)
{
    if (text.n == 0 || line->columns + 3 > line->limit)
        return;
    put_blanks(line, 2);
    if (line->style->colours)
        put_raw(line, colour, strlen(colour));
    put_text(line, text);
    if (line->style->colours)
        put_raw(line, RESET, strlen(RESET));
}

// The branches of the tree, whose blanks count.
static void put_prefix(struct line *line, const char *prefix)
{
    put_raw(line, prefix, strlen(prefix));
    for (const char *p = prefix; *p; p++)
        line->columns += ((unsigned char)*p & 0xc0) != 0x80;
}

static void put_duration(struct line *line, uint64_t ns)
{
    char text[32];
    double ms = (double)ns / 1e6;
    int n = ms < 1      ? snprintf(text, sizeof(text), "%.2f ms", ms)
            : ms < 1000 ? snprintf(text, sizeof(text), "%.1f ms", ms)
                        : snprintf(text, sizeof(text), "%.2f s", ms / 1000);
    put_field(line, CYAN, (struct faa_str){text, (size_t)n});
}

static void put_status(struct line *line, int64_t status)
{
    char text[24];
    if (status == 0)
        return;
    int n = snprintf(text, sizeof(text), "%lld", (long long)status);
    put_field(line,
              status >= 500   ? RED
              : status >= 400 ? YELLOW
                              : GREEN,
              (struct faa_str){text, (size_t)n});
}

// "ERROR ValueError: text"; the type is left out when it is the status that is shown anyway.
static void put_error(struct line *line, const struct facts *facts)
{
    char text[512];
    struct faa_str type = facts->exception.n ? facts->exception : facts->error;
    if (type.n && type.p[0] >= '0' && type.p[0] <= '9')
        type.n = 0;
    int n = snprintf(text, sizeof(text), "ERROR%s%.*s%s%.*s", type.n ? " " : "",
                     (int)(type.n < 128 ? type.n : 128), type.n ? type.p : "",
                     facts->message.n ? ": " : "",
                     (int)(facts->message.n < 256 ? facts->message.n : 256),
                     facts->message.n ? facts->message.p : "");
    put_field(line, RED, (struct faa_str){text, (size_t)n});
}

// What it did to the event loop. Of the file the last part is enough in a terminal.
static void put_blocking(struct line *line, const struct facts *facts)
{
    char text[256];
    struct faa_str file = facts->file;
    int n;
    for (size_t i = file.n; i > 0; i--) {
        if (file.p[i - 1] != '/')
            continue;
        file.p += i;
        file.n -= i;
        break;
    }
    if (facts->blocked_us > 0)
        n = snprintf(text, sizeof(text), "blocked the loop %.1f ms",
                     (double)facts->blocked_us / 1000);
    else if (!facts->is_blocking)
        return;
    else if (!file.n || file.n > 128)
        n = snprintf(text, sizeof(text), "blocks the loop");
    else
        n = snprintf(text, sizeof(text), "blocks the loop at %.*s:%lld", (int)file.n, file.p,
                     (long long)facts->line);
    put_field(line, YELLOW, (struct faa_str){text, (size_t)n});
}

static struct facts collect(struct faa_record_view view)
{
    struct facts facts = {.message = view.message};
    struct faa_item_view item;
    while (faa_record_next(&view, &item) == 1) {
        switch (item.key) {
        case FAA_KEY_DB_QUERY_TEXT:
        case FAA_KEY_URL_FULL:
            facts.detail = item.str;
            break;
        case FAA_KEY_URL_PATH:
            facts.path = item.str;
            break;
        case FAA_KEY_ERROR_TYPE:
            facts.error = item.str;
            break;
        case FAA_KEY_EXCEPTION_TYPE:
            facts.exception = item.str;
            break;
        case FAA_KEY_EXCEPTION_MESSAGE:
            if (!view.message.n)
                facts.message = item.str;
            break;
        case FAA_KEY_FAA_EVENT_LOOP_BLOCKING:
            facts.is_blocking = item.number != 0;
            break;
        case FAA_KEY_FAA_EVENT_LOOP_BLOCKED_US:
            facts.blocked_us += item.number > 0 ? (uint64_t)item.number : 0;
            break;
        case FAA_KEY_CODE_FILE_PATH:
            facts.file = item.str;
            break;
        case FAA_KEY_CODE_LINE_NUMBER:
            facts.line = item.number;
            break;
        case FAA_KEY_HTTP_RESPONSE_STATUS_CODE:
            facts.status = item.number;
            break;
        default:
            break;
        }
    }
    // "GET /items" has said "/items" already.
    if (!facts.detail.n && facts.path.n &&
        !memmem(view.name.p, view.name.n, facts.path.p, facts.path.n))
        facts.detail = facts.path;
    return facts;
}

static void put_trace(struct line *line, const uint8_t id[16])
{
    char hex[32];
    faa_ids_hex(hex, id, 16);
    put_blanks(line, 1);
    put_field(line, DIM, FAA_STR("trace"));
    put_blanks(line, 1);
    put_text(line, (struct faa_str){hex, sizeof(hex)});
}

size_t faa_line_format(char out[FAA_LINE_BYTES], const struct faa_line_style *style,
                       const struct faa_record_view *view, const char *service, const char *prefix)
{
    const struct faa_record *r = view->record;
    struct facts facts = collect(*view);
    unsigned end = style->width - (service ? ROOM_FOR_TRACE : 0);
    struct line line = {.out = out, .style = style, .limit = end - ROOM_FOR_NUMBERS};
    put_prefix(&line, prefix);
    if (service) {
        put_text(&line, faa_str_of(service));
        put_field(&line, BOLD, view->name);
    } else {
        put_text(&line, view->name);
    }
    line.limit = end;
    put_status(&line, facts.status);
    put_duration(&line, r->end_ns - r->start_ns);
    put_blocking(&line, &facts); // Before the error, whose message may fill the line.
    if (r->status == FAA_STATUS_ERROR)
        put_error(&line, &facts);
    put_field(&line, DIM, facts.detail);
    if (service) {
        line.limit = style->width;
        put_trace(&line, r->trace_id);
    }
    // Room for this one byte is kept by the width: at most four bytes for a column.
    put_raw(&line, "\n", 1);
    return line.n;
}

// SPDX-License-Identifier: MIT
// Spans wait here until the tree that they belong to is finished.
#include "export/console.h"

#include "export/line.h"
#include "span/record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/poll.h>
#include <unistd.h>

enum {
    BUCKETS = 256,
    PRINTED = 1024, // Ids of printed spans that are remembered, to know their late children.
    DEPTH_MAX = 32,
    TEXT_KEEP = 64 << 10, // Of the buffer, between trees.
    WIDTH_MIN = 80,
    WRITE_PATIENCE_MS = 1000
};

struct waiting {
    struct waiting *next;            // In its bucket.
    struct waiting *older, *younger; // In the order they came.
    unsigned depth, first_child, child_count;
    int selected;
    struct faa_record record; // And its strings and items.
};

struct faa_console {
    const char *service;
    int fd, colours;
    size_t count, bytes;
    struct waiting *buckets[BUCKETS];
    struct waiting *oldest, *youngest;
    struct waiting *fresh; // The oldest one that faa_console_print has not looked at.
    struct waiting *tree[FAA_CONSOLE_SPANS_MAX];
    uint8_t printed[PRINTED][8];
    unsigned printed_at;
    char *text;
    size_t text_len, text_cap;
    struct faa_line_style style;
};

struct faa_console *faa_console_new(const char *service_name, int fd)
{
    struct faa_console *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    c->service = service_name;
    c->fd = fd;
    c->colours = isatty(fd) && !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
    return c;
}

static void take_out(struct faa_console *c, struct waiting *w)
{
    struct waiting **link = &c->buckets[w->record.trace_id[15]];
    while (*link != w)
        link = &(*link)->next;
    *link = w->next;
    if (c->fresh == w)
        c->fresh = w->younger;
    *(w->older ? &w->older->younger : &c->oldest) = w->younger;
    *(w->younger ? &w->younger->older : &c->youngest) = w->older;
    c->count--;
    c->bytes -= w->record.size;
    free(w);
}

void faa_console_free(struct faa_console *c)
{
    if (!c)
        return;
    while (c->oldest)
        take_out(c, c->oldest);
    free(c->text);
    free(c);
}

// ---- writing ----------------------------------------------------------------------------------

// One tree's text has a ceiling in the number of its spans and the bytes of a line.
static void append(struct faa_console *c, const char *p, size_t n)
{
    if (c->text_len + n > c->text_cap) {
        size_t cap = c->text_cap ? 2 * c->text_cap : 2 * FAA_LINE_BYTES;
        char *larger = realloc(c->text, cap);
        if (!larger)
            return;
        c->text = larger;
        c->text_cap = cap;
    }
    memcpy(c->text + c->text_len, p, n);
    c->text_len += n;
}

// A terminal that the application made non-blocking is waited for, but not for ever.
static void write_text(struct faa_console *c)
{
    for (size_t at = 0; at < c->text_len;) {
        ssize_t n = write(c->fd, c->text + at, c->text_len - at);
        if (n > 0)
            at += (size_t)n;
        else if (n < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = c->fd, .events = POLLOUT};
            if (poll(&p, 1, WRITE_PATIENCE_MS) <= 0)
                return;
        } else if (n == 0 || errno != EINTR) {
            return;
        }
    }
}

static void choose_style(struct faa_console *c)
{
    struct winsize size;
    unsigned width = FAA_CONSOLE_WIDTH;
    if (isatty(c->fd) && ioctl(c->fd, TIOCGWINSZ, &size) == 0 && size.ws_col)
        width = size.ws_col;
    if (width < WIDTH_MIN)
        width = WIDTH_MIN;
    c->style.width = width < FAA_LINE_WIDTH_MAX ? width : FAA_LINE_WIDTH_MAX;
    c->style.colours = c->colours;
}

// Prints a span and what hangs on it; `prefix` leads its children's lines.
static void print_span(struct faa_console *c, const struct waiting *w, const char *branch,
                       const char *prefix)
{
    char line[FAA_LINE_BYTES], here[4 * DEPTH_MAX * 3], below[4 * DEPTH_MAX * 3];
    struct faa_record_view view;
    if (faa_record_open(&w->record, w->record.size, &view) != 0)
        return; // It was checked when it came.
    append(c, line, faa_line_format(line, &c->style, &view, w->depth ? NULL : c->service, branch));
    for (unsigned i = 0; i < w->child_count; i++) {
        int last = i + 1 == w->child_count;
        snprintf(here, sizeof(here), "%s%s", prefix, last ? "└─ " : "├─ ");
        snprintf(below, sizeof(below), "%s%s", prefix, last ? "   " : "│  ");
        print_span(c, c->tree[w->first_child + i], here, below);
    }
}

// ---- trees ------------------------------------------------------------------------------------

static int is_same(const uint8_t a[8], const uint8_t b[8])
{
    return memcmp(a, b, 8) == 0;
}

static int is_child(const struct waiting *w, const struct waiting *parent)
{
    return !w->selected && is_same(w->record.parent_span_id, parent->record.span_id) &&
           memcmp(w->record.trace_id, parent->record.trace_id, 16) == 0;
}

static int by_start(const void *a, const void *b)
{
    const struct faa_record *x = &(*(struct waiting *const *)a)->record;
    const struct faa_record *y = &(*(struct waiting *const *)b)->record;
    return x->start_ns < y->start_ns ? -1 : x->start_ns > y->start_ns;
}

// Fills c->tree with `top` and its descendants, each one's children side by side and in the order
// of their start. Returns their number.
static size_t select_tree(struct faa_console *c, struct waiting *top)
{
    size_t n = 0;
    top->selected = 1;
    top->depth = 0;
    c->tree[n++] = top;
    for (size_t i = 0; i < n; i++) {
        struct waiting *parent = c->tree[i];
        parent->first_child = (unsigned)n;
        struct waiting *w = c->buckets[top->record.trace_id[15]];
        for (; w && parent->depth + 1 < DEPTH_MAX; w = w->next) {
            if (!is_child(w, parent))
                continue;
            w->selected = 1;
            w->depth = parent->depth + 1;
            c->tree[n++] = w;
        }
        parent->child_count = (unsigned)n - parent->first_child;
        qsort(c->tree + parent->first_child, parent->child_count, sizeof(c->tree[0]), by_start);
    }
    return n;
}

static void print_tree(struct faa_console *c, struct waiting *top)
{
    size_t n = select_tree(c, top);
    choose_style(c);
    c->text_len = 0;
    print_span(c, top, "", "");
    write_text(c);
    if (c->text_cap > TEXT_KEEP) {
        free(c->text);
        c->text = NULL;
        c->text_cap = 0;
    }
    for (size_t i = 0; i < n; i++) {
        memcpy(c->printed[c->printed_at++ % PRINTED], c->tree[i]->record.span_id, 8);
        // What hangs deeper than a tree may be gets one of its own.
        if (c->tree[i]->depth + 1 == DEPTH_MAX)
            c->fresh = c->oldest;
    }
    for (size_t i = 0; i < n; i++)
        take_out(c, c->tree[i]);
}

// The waiting span that `w` is a descendant of and that has no waiting parent itself.
static struct waiting *find_top(struct faa_console *c, struct waiting *w)
{
    for (unsigned step = 0; step < DEPTH_MAX; step++) {
        struct waiting *up = c->buckets[w->record.trace_id[15]];
        while (up && !is_child(w, up))
            up = up->next;
        if (!up)
            break;
        w = up;
    }
    return w;
}

static int was_printed(const struct faa_console *c, const uint8_t id[8])
{
    for (unsigned i = 0; i < PRINTED; i++)
        if (is_same(c->printed[i], id))
            return 1;
    return 0;
}

static int is_top(const struct faa_console *c, const struct faa_record *r)
{
    static const uint8_t none[8];
    return is_same(r->parent_span_id, none) || (r->flags & FAA_FLAG_IS_REMOTE) ||
           (r->kind == FAA_KIND_SERVER && !(r->flags & FAA_FLAG_HAS_IS_REMOTE)) ||
           was_printed(c, r->parent_span_id);
}

void faa_console_print(struct faa_console *c)
{
    struct waiting *w;
    while ((w = c->fresh) != NULL) {
        c->fresh = w->younger;
        if (is_top(c, &w->record))
            print_tree(c, w);
    }
}

void faa_console_flush(struct faa_console *c)
{
    faa_console_print(c);
    while (c->oldest)
        print_tree(c, find_top(c, c->oldest));
}

static int is_full(const struct faa_console *c, size_t size)
{
    return c->count == FAA_CONSOLE_SPANS_MAX || c->bytes + size > FAA_CONSOLE_BYTES_MAX;
}

int faa_console_add(struct faa_console *c, const void *record, size_t size)
{
    struct faa_record_view view;
    if (faa_record_open(record, size, &view) != 0)
        return -1;
    if (is_full(c, size))
        faa_console_print(c);
    while (c->oldest && is_full(c, size))
        print_tree(c, find_top(c, c->oldest));
    struct waiting *w = calloc(1, offsetof(struct waiting, record) + size);
    if (!w)
        return -1;
    memcpy(&w->record, record, size);
    w->next = c->buckets[w->record.trace_id[15]];
    c->buckets[w->record.trace_id[15]] = w;
    w->older = c->youngest;
    *(c->youngest ? &c->youngest->younger : &c->oldest) = w;
    c->youngest = w;
    if (!c->fresh)
        c->fresh = w;
    c->count++;
    c->bytes += size;
    return 0;
}

// SPDX-License-Identifier: MIT
// Baggage is checked once, when it comes in, so that nothing else can go out in our name.
#include "span/baggage.h"

#include <stdatomic.h>
#include <stdlib.h>

struct faa_baggage {
    // Relaxed to take one: who takes it has one already. Acquire and release to drop one, so that
    // all reads of the text come before the last one frees it.
    _Atomic uint32_t references;
    uint32_t members;
    size_t len;
    char text[];
};

static _Atomic uint64_t dropped; // Relaxed: a number to look at.

void faa_baggage_drop(uint64_t n)
{
    atomic_fetch_add_explicit(&dropped, n, memory_order_relaxed);
}

uint64_t faa_baggage_dropped(void)
{
    return atomic_load_explicit(&dropped, memory_order_relaxed);
}

void faa_baggage_forget_count(void)
{
    atomic_store_explicit(&dropped, 0, memory_order_relaxed);
}

// ---- what is valid ----------------------------------------------------------------------------

static int is_blank(char c)
{
    return c == ' ' || c == '\t';
}

// RFC 9110, 5.6.2.
static int is_token(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

// baggage-octet: visible ASCII without the quote, comma, semicolon and backslash.
static int is_octet(char c)
{
    return c > ' ' && c < 0x7f && c != '"' && c != ',' && c != ';' && c != '\\';
}

static const char *skip(const char *p, const char *end, int (*is)(char))
{
    while (p < end && is(*p))
        p++;
    return p;
}

// key OWS "=" OWS value, or the key alone where `bare` allows it. Returns where it ends, behind the
// blanks that follow, or NULL.
static const char *skip_pair(const char *p, const char *end, int bare)
{
    const char *key = skip(p, end, is_blank);
    p = skip(key, end, is_token);
    if (p == key)
        return NULL;
    p = skip(p, end, is_blank);
    if (p == end || *p != '=')
        return bare ? p : NULL;
    p = skip(p + 1, end, is_blank);
    p = skip(p, end, is_octet);
    return skip(p, end, is_blank);
}

// A pair, and properties behind semicolons.
static int is_member(struct faa_str text)
{
    const char *end = text.p + text.n;
    const char *p = skip_pair(text.p, end, 0);
    while (p && p < end && *p == ';')
        p = skip_pair(p + 1, end, 1);
    return p == end;
}

// ---- the list ---------------------------------------------------------------------------------

// Room is asked for first: what is too much costs no look at it.
static int has_room(const struct faa_baggage *b, struct faa_str member)
{
    size_t comma = b->len > 0;
    return b->members < FAA_BAGGAGE_MEMBERS_MAX && b->len + comma + member.n <= FAA_BAGGAGE_MAX;
}

static void add_member(struct faa_baggage *b, struct faa_str member)
{
    if (faa_str_trim(member).n == 0)
        return; // An empty element of a list says nothing (RFC 9110, 5.6.1).
    if (!has_room(b, member) || !is_member(member)) {
        faa_baggage_drop(1);
        return;
    }
    if (b->len > 0) {
        b->text[b->len++] = ',';
    } else { // The one before it may have been left out.
        const char *end = member.p + member.n;
        member.p = skip(member.p, end, is_blank);
        member.n = (size_t)(end - member.p);
    }
    memcpy(b->text + b->len, member.p, member.n);
    b->len += member.n;
    b->members++;
}

static void add_header(struct faa_baggage *b, struct faa_str rest)
{
    rest = faa_str_trim(rest);
    while (rest.n > 0) {
        const char *comma = memchr(rest.p, ',', rest.n);
        size_t n = comma ? (size_t)(comma - rest.p) : rest.n;
        add_member(b, (struct faa_str){rest.p, n});
        rest.p += comma ? n + 1 : n;
        rest.n -= comma ? n + 1 : n;
    }
}

struct faa_baggage *faa_baggage_new(const struct faa_str *headers, size_t count)
{
    size_t room = 0;
    for (size_t i = 0; i < count && room < FAA_BAGGAGE_MAX; i++)
        room += headers[i].n + 1;
    if (room > FAA_BAGGAGE_MAX)
        room = FAA_BAGGAGE_MAX;
    struct faa_baggage *b = room > 0 ? malloc(sizeof(*b) + room) : NULL;
    if (!b) {
        faa_baggage_drop(count);
        return NULL;
    }
    atomic_init(&b->references, 1);
    b->members = 0;
    b->len = 0;
    for (size_t i = 0; i < count; i++)
        add_header(b, headers[i]);
    // A member in front of one that was left out may have ended in a blank.
    b->len = faa_str_trim((struct faa_str){b->text, b->len}).n;
    if (b->len == 0) {
        free(b);
        return NULL;
    }
    return b;
}

struct faa_baggage *faa_baggage_ref(struct faa_baggage *baggage)
{
    if (baggage)
        atomic_fetch_add_explicit(&baggage->references, 1, memory_order_relaxed);
    return baggage;
}

void faa_baggage_unref(struct faa_baggage *baggage)
{
    if (baggage && atomic_fetch_sub_explicit(&baggage->references, 1, memory_order_acq_rel) == 1)
        free(baggage);
}

struct faa_str faa_baggage_text(const struct faa_baggage *baggage)
{
    return baggage ? (struct faa_str){baggage->text, baggage->len} : (struct faa_str){NULL, 0};
}

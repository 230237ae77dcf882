// SPDX-License-Identifier: MIT
// Reading Forwarded and its kin; linear, without copies.
#include "span/forwarded.h"

#include <strings.h>

// Up to the first such byte that is not within quotes; `*rest` is what follows it.
static struct faa_str until(struct faa_str s, char stop, struct faa_str *rest)
{
    size_t i = 0;
    int quoted = 0;
    for (; i < s.n; i++) {
        if (quoted && s.p[i] == '\\')
            i++;
        else if (s.p[i] == '"')
            quoted = !quoted;
        else if (!quoted && s.p[i] == stop)
            break;
    }
    size_t n = i < s.n ? i : s.n;
    size_t next = i < s.n ? i + 1 : s.n;
    *rest = (struct faa_str){s.p + next, s.n - next};
    return (struct faa_str){s.p, n};
}

// The text of a quoted string; one with escapes is no address and no host.
static struct faa_str unquote(struct faa_str s)
{
    if (!s.n || s.p[0] != '"')
        return s;
    if (s.n < 2)
        return (struct faa_str){s.p, 0};
    struct faa_str inner = {s.p + 1, s.n - 2};
    if (s.p[s.n - 1] != '"' || memchr(inner.p, '\\', inner.n) || memchr(inner.p, '"', inner.n))
        return (struct faa_str){s.p, 0};
    return inner;
}

// "1.2.3.4", "1.2.3.4:80", "2001:db8::1", "[2001:db8::1]:80". A name is what a proxy hides behind
// ("unknown", "_hidden"): no address.
static struct faa_str address_of(struct faa_str s)
{
    const char *end = s.n ? memchr(s.p, ']', s.n) : NULL;
    const char *colon = s.n ? memchr(s.p, ':', s.n) : NULL;
    if (s.n && s.p[0] == '[')
        s = (struct faa_str){s.p + 1, end ? (size_t)(end - s.p) - 1 : 0};
    else if (colon && !memchr(colon + 1, ':', s.n - (size_t)(colon - s.p) - 1))
        s.n = (size_t)(colon - s.p);
    if (s.n && (s.p[0] == '_' || (s.n == 7 && strncasecmp(s.p, "unknown", 7) == 0)))
        s.n = 0;
    return s;
}

static int is_named(struct faa_str name, const char *wanted, size_t n)
{
    return name.n == n && strncasecmp(name.p, wanted, n) == 0;
}

struct faa_forwarded faa_forwarded_parse(struct faa_str header)
{
    struct faa_forwarded f = {{"", 0}, {"", 0}, {"", 0}};
    struct faa_str others, element = until(header, ',', &others);
    while (element.n) {
        struct faa_str value, pair = until(element, ';', &element);
        struct faa_str name = faa_str_trim(until(pair, '=', &value));
        value = unquote(faa_str_trim(value));
        if (is_named(name, "for", 3))
            f.client = address_of(value);
        else if (is_named(name, "host", 4))
            f.host = value;
        else if (is_named(name, "proto", 5))
            f.proto = value;
    }
    return f;
}

struct faa_str faa_forwarded_first(struct faa_str header)
{
    const char *comma = header.n ? memchr(header.p, ',', header.n) : NULL;
    if (comma)
        header.n = (size_t)(comma - header.p);
    return faa_str_trim(header);
}

struct faa_str faa_forwarded_for(struct faa_str header)
{
    return address_of(faa_forwarded_first(header));
}

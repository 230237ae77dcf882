// SPDX-License-Identifier: MIT
// Where it is not sure, more is masked.
#include "doctor/mask.h"

#include "doctor/report.h"

#include <ctype.h>
#include <strings.h>

#define MASK "***"

struct writer {
    char *out;
    size_t cap, n;
};

static void put(struct writer *w, struct faa_str text)
{
    for (size_t i = 0; i < text.n && w->n + 1 < w->cap; i++)
        w->out[w->n++] = text.p[i];
    w->out[w->n] = '\0';
}

static const char *find(struct faa_str text, const char *what)
{
    return memmem(text.p, text.n, what, strlen(what));
}

// gRPC's endpoints may be host:port alone.
static int is_host_and_port(struct faa_str text)
{
    const char *colon = text.n ? memrchr(text.p, ':', text.n) : NULL;
    if (!colon || colon == text.p || colon + 1 == text.p + text.n)
        return 0;
    for (const char *p = text.p; p < text.p + text.n; p++) {
        int is_digit = *p >= '0' && *p <= '9', c = *p | 0x20;
        if (!is_digit && (p > colon || !((c >= 'a' && c <= 'z') || strchr("-._:[]", *p))))
            return 0;
    }
    return 1;
}

static int put_url(struct writer *w, struct faa_str url)
{
    const char *scheme = find(url, "://"), *end = url.p + url.n;
    if (url.n > 5 && strncasecmp(url.p, "unix:", 5) == 0) {
        put(w, url);
        return 0;
    }
    if (!scheme && is_host_and_port(url)) {
        put(w, url);
        return 0;
    }
    if (!scheme) {
        put(w, FAA_STR(MASK));
        return 1;
    }
    const char *begin = scheme + 3;
    put(w, (struct faa_str){url.p, (size_t)(begin - url.p)});
    // A password may hold what ends an authority elsewhere.
    const char *at = memrchr(begin, '@', (size_t)(end - begin));
    if (at) {
        put(w, FAA_STR(MASK "@"));
        begin = at + 1;
    }
    size_t n = 0;
    while (begin + n < end && begin[n] != '?' && begin[n] != '#')
        n++;
    put(w, (struct faa_str){begin, n});
    int is_cut = begin + n < end;
    if (is_cut) {
        put(w, (struct faa_str){begin + n, 1});
        put(w, FAA_STR(MASK));
    }
    return at || is_cut;
}

static int sounds_secret(struct faa_str key)
{
    static const char *const words[] = {"password", "passwd", "secret",    "token",
                                        "key",      "auth",   "credential"};
    char text[128];
    if (key.n >= sizeof(text))
        return 1;
    memcpy(text, key.p, key.n);
    text[key.n] = '\0';
    for (size_t i = 0; i < FAA_COUNT(words); i++)
        if (strcasestr(text, words[i]))
            return 1;
    return 0;
}

// How many bytes of the beginning are of this set.
static size_t span_of(struct faa_str text, const char *set)
{
    size_t n = 0;
    while (n < text.n && strchr(set, text.p[n]))
        n++;
    return n;
}

// What stands before '=' may be shown when it can be a name, and there is something behind it: a
// token in the wrong place may end in '=', or follow a name and a colon.
static int is_name(struct faa_str key, struct faa_str value)
{
    struct faa_str name = faa_str_trim(key);
    if (name.n == 0 || name.n > 64 || value.n == 0 || value.p[0] == '=')
        return 0;
    for (size_t i = 0; i < name.n; i++)
        if (!isalnum((unsigned char)name.p[i]) && !strchr("-_./", name.p[i]))
            return 0;
    return 1;
}

static int put_pair(struct writer *w, struct faa_str pair, int every)
{
    const char *equals = pair.n ? memchr(pair.p, '=', pair.n) : NULL;
    if (!equals) {
        int is_number = pair.n == span_of(pair, "0123456789.+-eE");
        put(w, is_number ? pair : FAA_STR(MASK));
        return !is_number;
    }
    struct faa_str key = {pair.p, (size_t)(equals - pair.p)};
    struct faa_str value = {equals + 1, pair.n - key.n - 1};
    if (!is_name(key, value)) {
        put(w, FAA_STR(MASK));
        return 1;
    }
    put(w, (struct faa_str){pair.p, key.n + 1});
    if (every || sounds_secret(key)) {
        put(w, FAA_STR(MASK));
        return 1;
    }
    if (find(value, "://"))
        return put_url(w, value);
    put(w, value);
    return 0;
}

int faa_mask(enum faa_mask mask, const char *value, char *out, size_t cap)
{
    struct writer w = {out, cap, 0};
    int masked = 0;
    out[0] = '\0';
    if (mask == FAA_MASK_NOTHING)
        faa_report_format(out, cap, "%s", value);
    else if (mask == FAA_MASK_URL)
        masked = put_url(&w, faa_str_of(value));
    else
        for (const char *p = value; *p;) {
            size_t n = strcspn(p, ",");
            masked |= put_pair(&w, (struct faa_str){p, n}, mask == FAA_MASK_VALUES);
            p += n;
            if (*p)
                put(&w, (struct faa_str){p++, 1});
        }
    return masked;
}

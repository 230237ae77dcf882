// SPDX-License-Identifier: MIT
// URL splitting and redaction.
#include "span/url.h"

#include <strings.h>

#define REDACTED FAA_STR("REDACTED")

enum {
    KEY_MAX = 64,    // Bytes of a decoded key; a longer one is no key of ours.
    API_KEY_MIN = 20 // Bytes of a value that make `key` an API key.
};

struct writer {
    char *p;
    size_t n, cap; // Without the NUL.
};

static int is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

// Some clients take a backslash for a slash.
static int is_slash(char c)
{
    return c == '/' || c == '\\';
}

static struct faa_str head(struct faa_str s, size_t n)
{
    return (struct faa_str){s.p, n};
}

static struct faa_str tail(struct faa_str s, size_t from)
{
    return from < s.n ? (struct faa_str){s.p + from, s.n - from} : (struct faa_str){NULL, 0};
}

// The index of the first byte of s that is one of the four in `set`, or s.n.
static size_t find(struct faa_str s, const char set[4])
{
    size_t i = 0;
    while (i < s.n && s.p[i] != set[0] && s.p[i] != set[1] && s.p[i] != set[2] && s.p[i] != set[3])
        i++;
    return i;
}

static size_t find_byte(struct faa_str s, char c)
{
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;
    return at ? (size_t)(at - s.p) : s.n;
}

// Once something was cut, nothing more is written.
static void put(struct writer *w, struct faa_str s)
{
    size_t n = s.n;
    if (n > w->cap - w->n) {
        n = w->cap - w->n;
        while (n > 0 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
            n--;
        w->cap = w->n + n;
    }
    if (n > 0)
        memcpy(w->p + w->n, s.p, n);
    w->n += n;
}

static void put_encoded(struct writer *w, struct faa_str s)
{
    static const char hex[] = "0123456789ABCDEF";
    while (s.n > 0) {
        size_t n = 0;
        while (n < s.n && !is_control(s.p[n]))
            n++;
        put(w, head(s, n));
        s = tail(s, n);
        if (s.n > 0) {
            char code[3] = {'%', hex[(unsigned char)*s.p >> 4], hex[*s.p & 15]};
            if (w->cap - w->n < sizeof(code))
                w->cap = w->n;
            put(w, (struct faa_str){code, sizeof(code)});
            s = tail(s, 1);
        }
    }
}

static int hex_digit(char c)
{
    char lower = (char)(c | 0x20);
    return c >= '0' && c <= '9' ? c - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// Percent-decodes a key into `out`; the length is 0 for a key that is too long.
static struct faa_str decode_key(struct faa_str key, char out[KEY_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < key.n; i++) {
        if (n == KEY_MAX)
            return head(key, 0);
        char c = key.p[i];
        if (c == '%' && key.n - i > 2 && hex_digit(key.p[i + 1]) >= 0 &&
            hex_digit(key.p[i + 2]) >= 0) {
            c = (char)(hex_digit(key.p[i + 1]) * 16 + hex_digit(key.p[i + 2]));
            i += 2;
        }
        out[n++] = c;
    }
    return (struct faa_str){out, n};
}

static int is_listed(struct faa_str key, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (*key.p == *list[i] && faa_str_eq(key, faa_str_of(list[i])))
            return 1;
    return 0;
}

// The user's own names, folded. Written before there are spans.
static struct {
    char name[KEY_MAX];
    size_t n;
} added[FAA_URL_SECRETS_MAX];
static size_t added_count;
static unsigned char added_first[256]; // 1 for each byte that one of them begins with.

static char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

// The name in lower case and without `-` and `_`; `out` has room for all of it.
static struct faa_str fold(struct faa_str name, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] != '-' && name.p[i] != '_')
            out[n++] = lower(name.p[i]);
    return (struct faa_str){out, n};
}

int faa_url_add_secret(struct faa_str name)
{
    if (added_count == FAA_URL_SECRETS_MAX || name.n > KEY_MAX)
        return -1;
    for (size_t i = 0; i < name.n; i++)
        if (is_control(name.p[i]) || strchr("&;?#=%[] ", name.p[i]))
            return -1;
    struct faa_str folded = fold(name, added[added_count].name);
    if (folded.n == 0)
        return -1;
    added[added_count++].n = folded.n;
    added_first[(unsigned char)folded.p[0]] = 1;
    return 0;
}

static int is_added(struct faa_str folded)
{
    for (size_t i = 0; i < added_count; i++)
        if (faa_str_eq(folded, (struct faa_str){added[i].name, added[i].n}))
            return 1;
    return 0;
}

// Most keys are told by their first letter: none of the names begins with it.
static int may_be_secret(struct faa_str key)
{
    return key.n && (strchr("acijkprstx-_", key.p[0] | 0x20) || key.p[0] == '_' ||
                     added_first[(unsigned char)lower(key.p[0])] || key.p[key.n - 1] == ']' ||
                     memchr(key.p, '%', key.n));
}

static int is_secret_name(struct faa_str key, size_t value_len)
{
    static const char *const conventions[] = {
        "AWSAccessKeyId",  "Signature",        "sig", "X-Amz-Credential", "X-Amz-Security-Token",
        "X-Amz-Signature", "X-Goog-Signature",
    };
    static const char *const ours[] = {
        "accesskey",    "accesstoken", "apikey",  "auth",         "authorization", "authtoken",
        "clientsecret", "credentials", "idtoken", "jwt",          "passphrase",    "passwd",
        "password",     "privatekey",  "pwd",     "refreshtoken", "secret",        "secretkey",
        "sessiontoken", "token",       "xapikey",
    };
    if (key.n == 0)
        return 0;
    if (is_listed(key, conventions, FAA_COUNT(conventions)))
        return 1;
    char folded[KEY_MAX];
    key = fold(key, folded);
    return key.n > 0 && (is_listed(key, ours, FAA_COUNT(ours)) || is_added(key) ||
                         (faa_str_eq(key, FAA_STR("key")) && value_len >= API_KEY_MIN));
}

// In form notation, user[password], token[] and token[0], each part of the name counts.
int faa_url_is_secret(struct faa_str name, size_t value_len)
{
    if (!may_be_secret(name))
        return 0;
    char room[KEY_MAX];
    struct faa_str rest = decode_key(name, room);
    if (rest.n == 0 || rest.p[rest.n - 1] != ']')
        return is_secret_name(rest, value_len);
    while (rest.n > 0) {
        size_t n = find(rest, "[]]]");
        if (is_secret_name(head(rest, n), value_len))
            return 1;
        rest = tail(rest, n + 1);
    }
    return 0;
}

static void put_parameters(struct writer *w, struct faa_str s)
{
    while (s.n > 0) {
        size_t end = find(s, "&;??"), equals = find_byte(head(s, end), '=');
        if (equals < end && faa_url_is_secret(head(s, equals), end - equals - 1)) {
            put_encoded(w, head(s, equals + 1));
            put(w, REDACTED);
            s = tail(s, end);
            s = tail(s, find_byte(s, '&'));
            end = 0;
        }
        end += end < s.n; // The separator, too.
        put_encoded(w, head(s, end));
        s = tail(s, end);
    }
}

// Where user information can begin: behind the two slashes at the start or behind the scheme.
static size_t authority_start(struct faa_str url)
{
    size_t i = find(url, "/\\@?");
    if (i + 1 >= url.n || (i > 0 && url.p[i - 1] != ':') || !is_slash(url.p[i]) ||
        !is_slash(url.p[i + 1]))
        return 0;
    while (i < url.n && is_slash(url.p[i]))
        i++;
    return i;
}

static int parse_port(struct faa_str digits, unsigned *port)
{
    unsigned value = 0;
    for (size_t i = 0; i < digits.n; i++) {
        if (digits.p[i] < '0' || digits.p[i] > '9')
            return -1;
        value = value * 10 + (unsigned)(digits.p[i] - '0');
        if (value > 65535)
            return -1;
    }
    if (digits.n && value == 0)
        return -1;
    if (digits.n)
        *port = value;
    return 0;
}

// The length of the user information with its @, or 0. In user:pa/ss@host the authority ends, by
// the book, in a port that is no number: such a URL works nowhere, may hold a password, and all of
// it counts as user information, up to the last @ if there is one.
static size_t userinfo_len(struct faa_str rest)
{
    struct faa_str authority = head(rest, find(rest, "/?##"));
    const char *at = authority.n ? memrchr(rest.p, '@', authority.n) : NULL;
    unsigned port;
    if (!at && authority.n && *authority.p != '[' &&
        parse_port(tail(authority, find_byte(authority, ':') + 1), &port) < 0) {
        at = memrchr(rest.p, '@', rest.n);
        if (!at)
            return rest.n;
    }
    return at ? (size_t)(at - rest.p) + 1 : 0;
}

size_t faa_query_redact(struct faa_str query, char *out, size_t cap)
{
    if (cap == 0)
        return 0;
    struct writer w = {out, 0, cap - 1};
    put_parameters(&w, query.n < FAA_URL_READ_MAX ? query : head(query, FAA_URL_READ_MAX));
    out[w.n] = '\0';
    return w.n;
}

// What follows the path: from the question mark, or the hash sign, on.
static void put_rest(struct writer *w, struct faa_str rest)
{
    size_t fragment = find_byte(rest, '#');
    put_parameters(w, head(rest, fragment));
    put_encoded(w, head(tail(rest, fragment), fragment < rest.n));
    put_parameters(w, tail(rest, fragment + 1));
}

size_t faa_url_redact(struct faa_str url, char *out, size_t cap)
{
    if (cap == 0)
        return 0;
    struct writer w = {out, 0, cap - 1};
    if (url.n > FAA_URL_READ_MAX)
        url.n = FAA_URL_READ_MAX;
    size_t start = authority_start(url);
    put_encoded(&w, head(url, start));
    url = tail(url, start);
    size_t userinfo = userinfo_len(url);
    if (userinfo) {
        put(&w, REDACTED);
        if (memchr(url.p, ':', userinfo))
            put(&w, FAA_STR(":REDACTED"));
        put(&w, FAA_STR("@"));
        url = tail(url, userinfo);
    }
    size_t path = find(url, "?###");
    put_encoded(&w, head(url, path));
    put_rest(&w, tail(url, path));
    out[w.n] = '\0';
    return w.n;
}

// The scheme of a URL that is longer than it and `://`, and its usual port; 0, or -1.
static int find_scheme(struct faa_str url, struct faa_url *out)
{
    static const struct {
        struct faa_str name;
        unsigned port;
    } schemes[] = {
        {FAA_STR("http"), 80},
        {FAA_STR("https"), 443},
        {FAA_STR("ws"), 80},
        {FAA_STR("wss"), 443},
    };
    for (size_t i = 0; i < FAA_COUNT(schemes); i++) {
        size_t n = schemes[i].name.n;
        if (url.n > n + 3 && strncasecmp(url.p, schemes[i].name.p, n) == 0 &&
            memcmp(url.p + n, "://", 3) == 0) {
            out->scheme = schemes[i].name;
            out->port = schemes[i].port;
            return 0;
        }
    }
    return -1;
}

int faa_url_split(struct faa_str url, struct faa_url *out)
{
    struct faa_url u;
    if (find_scheme(url, &u))
        return -1;
    struct faa_str rest = tail(url, u.scheme.n + 3);
    size_t n = find(rest, "/?##");
    for (size_t i = 0; i < n; i++)
        if (is_control(rest.p[i]) || rest.p[i] == ' ' || rest.p[i] == '\\')
            return -1;
    struct faa_str authority = head(rest, n);
    rest = tail(rest, n);
    const char *at = n ? memrchr(authority.p, '@', n) : NULL;
    if (at)
        authority = tail(authority, (size_t)(at - authority.p) + 1);
    int bracket = authority.n > 0 && *authority.p == '[';
    size_t host = find_byte(authority, bracket ? ']' : ':');
    if (bracket && host == authority.n)
        return -1;
    u.host = bracket ? tail(head(authority, host), 1) : head(authority, host);
    struct faa_str after = tail(authority, host + (size_t)bracket);
    if (u.host.n == 0 || (after.n && *after.p != ':') || parse_port(tail(after, 1), &u.port) < 0)
        return -1;
    rest = head(rest, find_byte(rest, '#'));
    size_t path = find_byte(rest, '?');
    u.path = head(rest, path);
    u.query = tail(rest, path + 1);
    *out = u;
    return 0;
}

// ---- both at once -----------------------------------------------------------------------------

// Letters, digits, dots and dashes: what nearly all hosts are made of.
static int is_plain_host(char c)
{
    return (c | 0x20) >= 'a' ? (c | 0x20) <= 'z' : (c >= '0' && c <= '9') || c == '-' || c == '.';
}

// Reads a URL whose authority is a plain host, with or without a port, up to its path: nothing
// before it has to be hidden. Returns the length so far, or 0 for any other.
static size_t read_plain(struct faa_str url, struct faa_url *out)
{
    size_t i = 0, scheme;
    if (faa_str_starts(url, FAA_STR("http://")))
        *out = (struct faa_url){.scheme = FAA_STR("http"), .port = 80};
    else if (faa_str_starts(url, FAA_STR("https://")))
        *out = (struct faa_url){.scheme = FAA_STR("https"), .port = 443};
    else
        return 0;
    for (i = scheme = out->scheme.n + 3; i < url.n && is_plain_host(url.p[i]);)
        i++;
    out->host = (struct faa_str){url.p + scheme, i - scheme};
    if (i < url.n && url.p[i] == ':') {
        size_t digits = i + 1;
        for (i = digits; i < url.n && url.p[i] >= '0' && url.p[i] <= '9';)
            i++;
        if (parse_port((struct faa_str){url.p + digits, i - digits}, &out->port) < 0)
            return 0;
    }
    return out->host.n > 0 && (i == url.n || url.p[i] == '/') ? i : 0;
}

size_t faa_url_describe(struct faa_str url, char *out, size_t cap, struct faa_url *parts)
{
    int fits = url.n < cap && url.n < FAA_URL_READ_MAX;
    size_t authority = fits ? read_plain(url, parts) : 0, i = authority;
    while (i < url.n && !is_control(url.p[i]) && url.p[i] != '?' && url.p[i] != '#')
        i++;
    if (!authority || (i < url.n && is_control(url.p[i]))) {
        if (faa_url_split(url, parts) < 0)
            parts->host.n = 0;
        return faa_url_redact(url, out, cap);
    }
    memcpy(out, url.p, i);
    struct writer w = {out, i, cap - 1};
    parts->path = (struct faa_str){url.p + authority, i - authority};
    if (i < url.n) {
        struct faa_str rest = tail(url, i);
        parts->query = tail(head(rest, find_byte(rest, '#')), 1);
        put_rest(&w, rest);
    }
    out[w.n] = '\0';
    return w.n;
}

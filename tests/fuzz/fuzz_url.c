// SPDX-License-Identifier: MIT
// Fuzz target: URL redaction writes within its bounds, and a secret never passes it.
#include "span/url.h"
#include "require.h"

enum { MAX_INPUT = 4096, GUARD = 0x5a };

static char full[3 * (MAX_INPUT + 64) + 64], cut[sizeof(full)];

static void check(size_t (*redact)(struct faa_str, char *, size_t), struct faa_str in)
{
    size_t n = redact(in, full, sizeof(full));
    REQUIRE(n < sizeof(full) - 1 && full[n] == '\0');
    for (size_t i = 0; i < n; i++)
        REQUIRE((unsigned char)full[i] >= 0x20 && full[i] != 0x7f);
    // What is cut is the beginning of the whole.
    size_t cap = n / 2;
    cut[cap] = GUARD;
    size_t m = redact(in, cut, cap);
    REQUIRE(cut[cap] == GUARD);
    REQUIRE(cap == 0 ? m == 0 : m < cap && cut[m] == '\0' && memcmp(cut, full, m) == 0);
    // What is redacted stays as it is; only encoding makes values longer.
    for (size_t i = 0; i < in.n; i++)
        if ((unsigned char)in.p[i] < 0x20 || in.p[i] == 0x7f)
            return;
    memcpy(cut, full, n);
    static char again[sizeof(full)];
    size_t k = redact((struct faa_str){cut, n}, again, sizeof(again));
    REQUIRE(k == n && memcmp(again, full, n) == 0);
}

static int within(struct faa_str part, struct faa_str whole)
{
    return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static size_t describe(struct faa_str url, char *out, size_t cap)
{
    struct faa_url parts;
    return faa_url_describe(url, out, cap, &parts);
}

static int same(struct faa_str a, struct faa_str b)
{
    return a.n == b.n && (a.n == 0 || a.p == b.p);
}

// What is told at once is what is told one by one.
static void check_both(struct faa_str in)
{
    static char one[sizeof(full)], both[sizeof(full)];
    struct faa_url split, parts;
    size_t n = faa_url_redact(in, one, sizeof(one));
    REQUIRE(faa_url_describe(in, both, sizeof(both), &parts) == n && memcmp(one, both, n) == 0);
    if (faa_url_split(in, &split) < 0) {
        REQUIRE(parts.host.n == 0);
        return;
    }
    REQUIRE(same(split.host, parts.host) && same(split.path, parts.path));
    REQUIRE(same(split.query, parts.query) && split.port == parts.port);
    REQUIRE(faa_str_eq(split.scheme, parts.scheme));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > MAX_INPUT)
        return 0;
    struct faa_str in = {(const char *)data, size};
    check(faa_url_redact, in);
    check(describe, in);
    check(faa_query_redact, in);
    struct faa_url url;
    check_both(in);
    if (faa_url_split(in, &url) == 0) {
        REQUIRE(url.host.n > 0 && url.port >= 1 && url.port <= 65535);
        REQUIRE(within(url.host, in) && within(url.path, in) && within(url.query, in));
        REQUIRE(url.path.n == 0 || *url.path.p == '/');
    }
    // A secret behind any input that leaves the query open is redacted.
    static char planted[MAX_INPUT + 64];
    static const char secret[] = "&X-Amz-Signature=s3cr3tPLANTED";
    if (size == 0 || memmem(data, size, "s3cr3t", 6))
        return 0;
    memcpy(planted, data, size);
    memcpy(planted + size, secret, sizeof(secret) - 1);
    size_t n =
        faa_query_redact((struct faa_str){planted, size + sizeof(secret) - 1}, full, sizeof(full));
    REQUIRE(n > 0 && !memmem(full, n, "s3cr3tPLANTED", 13));
    return 0;
}

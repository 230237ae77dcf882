// SPDX-License-Identifier: MIT
// UTF-8 cleaning after RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
#include "base/utf8.h"

#include <stdint.h>

// The length of the valid sequence at p, or 0.
static size_t sequence(const unsigned char *p, size_t n)
{
    unsigned char c = p[0];
    if (c < 0x80)
        return c != 0;
    size_t want = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0xc2 || c > 0xf4 || n < want)
        return 0;
    // Only the second byte has bounds that depend on the first.
    unsigned char low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    unsigned char high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < want; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return want;
}

// The length of the valid beginning. Nearly all text is ASCII: that goes by eight bytes.
static size_t valid_prefix(struct faa_str in)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    const unsigned char *p = (const unsigned char *)in.p;
    size_t i = 0;
    while (i < in.n) {
        uint64_t word;
        if (in.n - i >= sizeof(word)) {
            memcpy(&word, p + i, sizeof(word));
            // A byte above 0x7f shows in `word`; a zero byte, when there is none such, borrows.
            if (((word | (word - ones)) & tops) == 0) {
                i += sizeof(word);
                continue;
            }
        }
        size_t len = sequence(p + i, in.n - i);
        if (len == 0)
            break;
        i += len;
    }
    return i;
}

// The longest beginning of `in` that ends on a character boundary and has at most max bytes.
// What it cuts is valid.
static size_t cut(struct faa_str in, size_t max)
{
    if (in.n <= max)
        return in.n;
    while (max > 0 && ((unsigned char)in.p[max] & 0xc0) == 0x80)
        max--;
    return max;
}

size_t faa_utf8_clean(struct faa_str in, char *out, size_t cap)
{
    size_t o = 0;
    while (in.n > 0) {
        struct faa_str good = {in.p, valid_prefix(in)};
        size_t put = cut(good, cap - 1 - o);
        if (put > 0)
            memcpy(out + o, good.p, put);
        o += put;
        if (put < good.n || good.n == in.n || cap - 1 - o < 3)
            break;
        memcpy(out + o, "\xef\xbf\xbd", 3);
        o += 3;
        in.p += good.n + 1;
        in.n -= good.n + 1;
    }
    out[o] = '\0';
    return o;
}

int faa_utf8_valid(struct faa_str in)
{
    return valid_prefix(in) == in.n;
}

size_t faa_utf8_prefix(struct faa_str in, size_t chars)
{
    size_t i = 0;
    for (; i < in.n; i++)
        if (((unsigned char)in.p[i] & 0xc0) != 0x80 && chars-- == 0)
            break;
    return i;
}

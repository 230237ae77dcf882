// SPDX-License-Identifier: MIT
// UTF-8 cleaning: one invalid byte in one attribute makes a collector refuse the whole batch.
#ifndef FAA_BASE_UTF8_H
#define FAA_BASE_UTF8_H

#include "base/str.h"

#include <stdint.h>

/// The bytes that faa_utf8_clean may need for an input of n bytes, with the NUL.
#define FAA_UTF8_CLEAN_MAX(n) (3 * (n) + 1)

/// Copies `in` to `out` as valid UTF-8 without NUL bytes: each invalid byte, and each NUL, becomes
/// U+FFFD. Writes at most cap - 1 bytes, cut on a character boundary, and a NUL; cap must be > 0.
/// Returns the length written without the NUL. `in` and `out` must not overlap.
size_t faa_utf8_clean(struct faa_str in, char *out, size_t cap);

/// True when cleaning would change nothing: `in` is valid UTF-8 without NUL bytes.
int faa_utf8_valid(struct faa_str in);

/// The bytes of the first `chars` characters of valid UTF-8, or all of them where it has fewer.
size_t faa_utf8_prefix(struct faa_str in, size_t chars);

/// The bytes that faa_utf8_copy_ascii writes for an input of n bytes.
#define FAA_UTF8_WORDS(n) (((n) | 7) + 1)

/// Copies `in` with a NUL when it is ASCII without NUL bytes, as nearly all text is, and is done
/// with it in one pass. Writes FAA_UTF8_WORDS(in.n) bytes, the last ones zero. Returns 1, or 0 when
/// `in` has other bytes: what was written is rubbish then. `in` and `out` must not overlap.
static inline int faa_utf8_copy_ascii(struct faa_str in, char *out)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    // A byte above 0x7f has its top bit set; a zero byte, when there is none such, gets it by the
    // subtraction. One look at all of them in the end is enough.
    uint64_t bad = 0, word;
    size_t i = 0;
    for (; i + sizeof(word) <= in.n; i += sizeof(word)) {
        memcpy(&word, in.p + i, sizeof(word));
        memcpy(out + i, &word, sizeof(word));
        bad |= word | (word - ones);
    }
    memset(out + i, 0, sizeof(word));
    if (i > 0) { // The rest, and of what is there already as much as fills a word.
        memcpy(&word, in.p + in.n - sizeof(word), sizeof(word));
        memcpy(out + in.n - sizeof(word), &word, sizeof(word));
        bad |= word | (word - ones);
        return (bad & tops) == 0;
    }
    if (in.n & 4) {
        uint32_t part;
        memcpy(&part, in.p, sizeof(part));
        memcpy(out, &part, sizeof(part));
        bad = part | (part - (uint32_t)ones);
        i = sizeof(part);
    }
    if (in.n & 2) {
        uint16_t part;
        memcpy(&part, in.p + i, sizeof(part));
        memcpy(out + i, &part, sizeof(part));
        bad |= (uint16_t)(part | (part - (uint16_t)ones));
        i += sizeof(part);
    }
    if (in.n & 1) {
        out[i] = in.p[i];
        bad |= (uint8_t)(in.p[i] | (in.p[i] - 1));
    }
    return (bad & tops) == 0;
}

#endif

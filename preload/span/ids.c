// SPDX-License-Identifier: MIT
// Ids without a system call or a lock: a shared counter, mixed with secrets of this process.
#include "span/ids.h"
#include "base/random.h"

#include <stdatomic.h>
#include <string.h>

// Written by faa_ids_seed only, while no other thread makes ids.
static struct stream {
    uint64_t start, key;
} trace_high, trace_low, span_stream;

// Relaxed everywhere: only that each caller gets a number of its own matters, not their order.
static _Atomic uint64_t counter;

// Two rounds with a key between them, so that an id seen outside does not tell the next one.
// A stream is a bijection of n: it repeats no value within 2^64.
static uint64_t stream_value(const struct stream *stream, uint64_t n)
{
    uint64_t x = stream->start + n * 0x9e3779b97f4a7c15u;
    return faa_random_mix(faa_random_mix(x) ^ stream->key);
}

static uint64_t next_number(void)
{
    return atomic_fetch_add_explicit(&counter, 1, memory_order_relaxed);
}

void faa_ids_seed(void)
{
    struct stream *streams[] = {&trace_high, &trace_low, &span_stream};
    for (unsigned i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
        streams[i]->start = faa_random_u64();
        streams[i]->key = faa_random_u64();
    }
}

// The streams are bijections: each gives a zero once in 2^64 numbers.
static uint64_t new_trace_id(uint8_t id[16])
{
    uint64_t n, half[2];
    do {
        n = next_number();
        half[0] = stream_value(&trace_high, n);
        half[1] = stream_value(&trace_low, n);
    } while ((half[0] | half[1]) == 0);
    memcpy(id, half, sizeof(half));
    return n;
}

static void new_span_id(uint8_t id[8], uint64_t n)
{
    uint64_t value;
    while ((value = stream_value(&span_stream, n)) == 0)
        n = next_number();
    memcpy(id, &value, sizeof(value));
}

void faa_ids_new_trace_id(uint8_t id[16])
{
    (void)new_trace_id(id);
}

void faa_ids_new_span_id(uint8_t id[8])
{
    new_span_id(id, next_number());
}

// The streams have nothing in common, so that one number serves both.
void faa_ids_new_root(uint8_t trace_id[16], uint8_t span_id[8])
{
    new_span_id(span_id, new_trace_id(trace_id));
}

// The digits of four bytes, all at once and without a table, which would be cold each time.
static void hex_of_four(char *out, const uint8_t *id)
{
    uint64_t x = id[0] | id[1] << 8 | id[2] << 16 | (uint64_t)id[3] << 24;
    x = (x | x << 16) & 0x0000ffff0000ffffu; // Each byte in the lower half of 16 bits,
    x = (x | x << 8) & 0x00ff00ff00ff00ffu;
    x = (x >> 4 | x << 8) & 0x0f0f0f0f0f0f0f0fu; // each digit in a byte, the first one lowest;
    uint64_t letters = (x + 0x0606060606060606u) >> 4 & 0x0101010101010101u;
    x += 0x3030303030303030u + letters * ('a' - '0' - 10);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    memcpy(out, &x, sizeof(x));
}

void faa_ids_hex(char *out, const uint8_t *id, unsigned n)
{
    static const char digits[] = "0123456789abcdef";
    for (; n >= 4; n -= 4, id += 4, out += 8)
        hex_of_four(out, id);
    for (unsigned i = 0; i < n; i++) {
        out[2 * i] = digits[id[i] >> 4];
        out[2 * i + 1] = digits[id[i] & 15];
    }
}

// More than 15 for what is no digit. A table, since the branches of anything else would be guessed
// wrong: ids are random.
static unsigned nibble(char c)
{
    static const uint8_t one_more[256] = {
        ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,
        ['6'] = 7,  ['7'] = 8,  ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12,
        ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16, ['A'] = 11, ['B'] = 12,
        ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
    };
    return one_more[(uint8_t)c] - 1u;
}

int faa_ids_parse(struct faa_str digits, uint8_t *id, unsigned n)
{
    if (digits.n == 0 || digits.n > 2 * (size_t)n)
        return -1;
    size_t left = digits.n, at = n;
    unsigned any = 0;
    while (left > 0) {
        unsigned low = nibble(digits.p[--left]);
        unsigned high = left > 0 ? nibble(digits.p[--left]) : 0;
        any |= high | low;
        id[--at] = (uint8_t)(high << 4 | low);
    }
    memset(id, 0, at);
    return any > 15 ? -1 : 0;
}

int faa_ids_is_zero(const uint8_t *id, unsigned n)
{
    uint64_t any = 0, word;
    for (; n >= sizeof(word); n -= sizeof(word), id += sizeof(word)) {
        memcpy(&word, id, sizeof(word));
        any |= word;
    }
    for (unsigned i = 0; i < n; i++)
        any |= id[i];
    return any == 0;
}

// SPDX-License-Identifier: MIT
// Strings that are not NUL-terminated, and the small macros that every layer uses.
#ifndef FAA_BASE_STR_H
#define FAA_BASE_STR_H

#include <stddef.h>
#include <string.h>

#define FAA_MUSTUSE __attribute__((warn_unused_result))
#define FAA_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define FAA_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/// A borrowed run of bytes; `p` may be NULL when `n` is 0. It is not NUL-terminated.
struct faa_str {
    const char *p;
    size_t n;
};

/// For string literals only.
#define FAA_STR(literal) ((struct faa_str){(literal), sizeof(literal) - 1})

static inline struct faa_str faa_str_of(const char *z)
{
    return (struct faa_str){z, z ? strlen(z) : 0};
}

static inline int faa_str_eq(struct faa_str a, struct faa_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline int faa_str_starts(struct faa_str s, struct faa_str start)
{
    return s.n >= start.n && memcmp(s.p, start.p, start.n) == 0;
}

/// Without the blanks and tabs at both ends (the optional white space of HTTP).
static inline struct faa_str faa_str_trim(struct faa_str s)
{
    for (; s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'); s.n--)
        s.p++;
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

#endif

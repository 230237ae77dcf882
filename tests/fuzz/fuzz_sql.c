// SPDX-License-Identifier: MIT
// Fuzz target: SQL sanitising writes within its bounds, and no literal passes it.
#include "span/sql.h"
#include "require.h"

enum { MAX_INPUT = 4096, GUARD = 0x5a };

static char full[4 * MAX_INPUT], cut[sizeof(full)];

static void check(size_t (*function)(struct faa_str, char *, size_t), struct faa_str in)
{
    size_t n = function(in, full, sizeof(full));
    REQUIRE(n < sizeof(full) - 1 && full[n] == '\0');
    for (size_t i = 0; i < n; i++)
        REQUIRE((unsigned char)full[i] >= 0x20 && full[i] != 0x7f);
    size_t cap = n / 2;
    cut[cap] = GUARD;
    size_t m = function(in, cut, cap);
    REQUIRE(cut[cap] == GUARD);
    REQUIRE(cap == 0 ? m == 0 : m < cap && cut[m] == '\0' && memcmp(cut, full, m) == 0);
}

static void check_one_pass(struct faa_str in)
{
    static struct faa_sql_told told;
    static char alone[FAA_SQL_TOLD_MAX];
    faa_sql_tell(in, FAA_SQL_TELL_TEXT, &told);
    size_t n = faa_sql_sanitize(in, alone, sizeof(alone));
    REQUIRE(n == told.text_len && memcmp(alone, told.text, n + 1) == 0);
    n = faa_sql_summary(in, alone, sizeof(alone));
    REQUIRE(n == told.summary_len && memcmp(alone, told.summary, n + 1) == 0);
    REQUIRE(told.procedure + told.procedure_len <= told.summary_len);
}

// True when no dialect can see quotes or comments in these bytes, nor the secret's own letters.
static int is_open(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (data[i] == 0 || strchr("'\"`[]$\\#/*-", data[i]))
            return 0;
    return size == 0 || (!memmem(data, size, "s3cr3t", 6) && !memmem(data, size, "424242", 6));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > MAX_INPUT)
        return 0;
    struct faa_str in = {(const char *)data, size};
    check(faa_sql_sanitize, in);
    check(faa_sql_summary, in);
    check_one_pass(in);
    REQUIRE(faa_sql_summary(in, full, sizeof(full)) < FAA_SQL_SUMMARY_MAX);

    // Literals behind any input without quotes or comments stay hidden.
    static char planted[MAX_INPUT + 64];
    static const char secret[] = " 's3cr3t' = s, 424242";
    if (!is_open(data, size))
        return 0;
    if (size)
        memcpy(planted, data, size);
    memcpy(planted + size, secret, sizeof(secret) - 1);
    in = (struct faa_str){planted, size + sizeof(secret) - 1};
    size_t n = faa_sql_sanitize(in, full, sizeof(full));
    REQUIRE(n > 0 && !memmem(full, n, "s3cr3t", 6) && !memmem(full, n, "424242", 6));
    n = faa_sql_summary(in, full, sizeof(full));
    REQUIRE(!memmem(full, n, "s3cr3t", 6) && !memmem(full, n, "424242", 6));
    static struct faa_sql_told told;
    faa_sql_tell(in, FAA_SQL_TELL_TEXT | FAA_SQL_QUOTED_NAMES, &told);
    REQUIRE(!strstr(told.text, "s3cr3t") && !strstr(told.text, "424242"));
    return 0;
}

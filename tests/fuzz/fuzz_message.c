// SPDX-License-Identifier: MIT
// Fuzz target: redaction of exception messages writes within its bounds, and no secret passes it.
#include "span/message.h"
#include "require.h"

enum { MAX_INPUT = 4096, GUARD = 0x5a };

static char full[4 * MAX_INPUT], cut[sizeof(full)];

static size_t check(size_t (*redact)(struct faa_str, char *, size_t), struct faa_str in)
{
    size_t n = redact(in, full, sizeof(full));
    REQUIRE(n < sizeof(full) - 1 && full[n] == '\0');
    size_t cap = n / 2 + 1;
    cut[cap] = GUARD;
    size_t m = redact(in, cut, cap);
    REQUIRE(cut[cap] == GUARD && m < cap && cut[m] == '\0');
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char planted[MAX_INPUT + 64];
    static const char pair[] = " password='s3cr3t'", value[] = " is 's3cr3t'";
    if (size > MAX_INPUT)
        return 0;
    struct faa_str in = {(const char *)data, size};
    check(faa_message_redact, in);
    check(faa_message_redact_driver, in);
    if (size == 0 || memmem(data, size, "s3", 2))
        return 0;
    // A secret behind its name is hidden where no quote is open, and a quoted value is in any
    // message of a driver.
    memcpy(planted, data, size);
    size_t n;
    if (!memchr(data, '\'', size) && !memchr(data, '"', size)) {
        memcpy(planted + size, pair, sizeof(pair) - 1);
        n = check(faa_message_redact, (struct faa_str){planted, size + sizeof(pair) - 1});
        REQUIRE(!memmem(full, n, "s3cr3t", 6));
    }
    memcpy(planted + size, value, sizeof(value) - 1);
    n = check(faa_message_redact_driver, (struct faa_str){planted, size + sizeof(value) - 1});
    REQUIRE(!memmem(full, n, "s3cr3t", 6));
    return 0;
}

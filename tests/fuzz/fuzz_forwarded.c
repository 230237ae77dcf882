// SPDX-License-Identifier: MIT
// Fuzz target: what proxies say is a part of the header, and an address looks like one.
#include "span/forwarded.h"
#include "require.h"

static int within(struct faa_str part, struct faa_str whole)
{
    return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static void check_address(struct faa_str address, struct faa_str header)
{
    REQUIRE(within(address, header));
    if (address.n == 0)
        return;
    REQUIRE(address.p[0] != '_');
    // A port, which one colon begins, is no part of it; within brackets there is none.
    int bracketed = address.p > header.p && address.p[-1] == '[';
    const char *colon = memchr(address.p, ':', address.n);
    size_t left = colon ? address.n - (size_t)(colon - address.p) - 1 : 0;
    REQUIRE(!colon || bracketed || memchr(colon + 1, ':', left));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct faa_str header = {(const char *)data, size};
    struct faa_forwarded f = faa_forwarded_parse(header);
    REQUIRE(within(f.client, header) && within(f.host, header) && within(f.proto, header));
    // Values come out of their quotes whole.
    REQUIRE(f.host.n == 0 || f.host.p[0] != '"');
    REQUIRE(f.proto.n == 0 || f.proto.p[0] != '"');
    struct faa_str first = faa_forwarded_first(header);
    REQUIRE(within(first, header) && !(first.n && memchr(first.p, ',', first.n)));
    REQUIRE(first.n == 0 || (first.p[0] != ' ' && first.p[first.n - 1] != ' '));
    check_address(faa_forwarded_for(header), header);
    check_address(f.client, header);
    return 0;
}

// SPDX-License-Identifier: MIT
// Fuzz target: a collector's answer, header lines up to an empty one and then the body.
#include "export/answer.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct faa_outcome *outcome)
{
    if (!memchr(outcome->reason, '\0', sizeof(outcome->reason)) ||
        outcome->verdict > FAA_VERDICT_WRONG_PROTOCOL ||
        (outcome->rejected && outcome->verdict != FAA_VERDICT_SENT))
        abort();
}

// A copy of the exact size, so that a sanitizer sees a byte too far.
static void give_header(struct faa_answer *answer, const char *p, size_t n)
{
    char *copy = malloc(n ? n : 1);
    if (copy) {
        memcpy(copy, p, n);
        faa_answer_header(answer, (struct faa_str){copy, n});
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct faa_answer answer;
    const char *p = (const char *)data, *end = p + size;
    faa_answer_clear(&answer);
    answer.status = 200;
    while (p < end) {
        const char *line = memchr(p, '\n', (size_t)(end - p));
        size_t n = line ? (size_t)(line - p) + 1 : (size_t)(end - p);
        give_header(&answer, p, n);
        p += n;
        if (n <= 2)
            break;
    }
    if (faa_answer_body(&answer, p, (size_t)(end - p)) != 0)
        return 0;
    struct faa_outcome grpc = {.rejected = 0}, http = {.rejected = 0};
    faa_grpc_judge(&answer, &grpc);
    check(&grpc);
    faa_http_judge(&answer, size % 2, &http);
    check(&http);
    return 0;
}

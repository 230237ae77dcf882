// SPDX-License-Identifier: MIT
// Fuzz target: any bytes as a record, as a killed process may leave them in the ring.
#include "base/utf8.h"
#include "span/record.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct faa_str text)
{
    if (!faa_utf8_valid(text) || text.p[text.n] != '\0')
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    // An aligned block of the exact size, so that a sanitizer sees a byte too far.
    size &= ~(size_t)7;
    char *copy = malloc(size ? size : 1);
    if (!copy)
        return 0;
    memcpy(copy, data, size);
    // A wrong size would be refused at once: let it be right.
    if (size >= sizeof(uint32_t))
        memcpy(copy, &(uint32_t){(uint32_t)size}, sizeof(uint32_t));
    struct faa_record_view view;
    struct faa_item_view item;
    if (faa_record_open(copy, size, &view) == 0) {
        check(view.name);
        check(view.scope);
        check(view.tracestate);
        check(view.message);
        unsigned count = 0;
        int found;
        for (; (found = faa_record_next(&view, &item)) > 0; count++)
            check(item.str);
        if (found < 0 || count != view.record->item_count)
            abort();
    }
    free(copy);
    return 0;
}

// SPDX-License-Identifier: MIT
// What a callable of the application is called, and where its code lies.
#ifndef FAA_INSTRUMENTORS_CALLABLE_H
#define FAA_INSTRUMENTORS_CALLABLE_H

#include "python/capi.h"
#include "span/span.h"

/// What a span tells of the callable that it is about.
enum faa_callable_detail {
    FAA_CALLABLE_NAME = 1 << 0,  ///< Behind the span's name: "endpoint read_item".
    FAA_CALLABLE_PLACE = 1 << 1, ///< code.file.path and code.line.number.
};

/// Names the span `what` (a static string) and sets code.function.name, and what `details` asks
/// for. `callable` is borrowed; with NULL the span gets its name alone. Anything callable will do:
/// for a functools.partial its function is told, for a class its constructor, for another object
/// its __call__, and behind decorators that set __wrapped__ what they decorate. Needs the GIL;
/// leaves no error set.
void faa_callable_describe(struct faa_span *span, const char *what, PyObject *callable,
                           unsigned details);

#endif

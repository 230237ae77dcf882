// SPDX-License-Identifier: MIT
// Synchronous calls on the thread of a running event loop: while they wait, every other request of
// that loop does.
#ifndef FAA_PYTHON_BLOCKING_H
#define FAA_PYTHON_BLOCKING_H

#include "span/span.h"

/// True when an asyncio loop runs on this thread. Costs one call of a C function, and imports
/// nothing: where asyncio has not been imported there is no loop. Leaves no error set.
int faa_loop_is_running(void);

/// Says on the span of a synchronous call that it blocks the event loop, and which line of the
/// application called it, if a loop runs on this thread and the span records.
void faa_span_mark_blocking(struct faa_span *span);

#endif

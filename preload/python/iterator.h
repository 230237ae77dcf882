// SPDX-License-Identifier: MIT
// The iterator proxy: stands for an iterator, sync or async, and sees how it ends.
#ifndef FAA_PYTHON_ITERATOR_H
#define FAA_PYTHON_ITERATOR_H

#include "python/awaitable.h"

/// Told once how the iteration ended: FAA_RETURNED when there was nothing more, FAA_RAISED with the
/// exception (borrowed) when it failed, FAA_CLOSED when it was dropped before. An async iterator is
/// heard of when it is dropped: as FAA_RAISED where it is an async generator that has failed, and
/// the exception is on its way, else as FAA_CLOSED. Runs with no error set and must leave none.
typedef void faa_iterator_end(PyObject *data, enum faa_outcome outcome, PyObject *error);

/// 0, or -1 with a Python error.
FAA_MUSTUSE int faa_iterator_init(void);

/// A proxy around an iterator (or async iterator) that a call has just returned, whose reference it
/// takes. Where there is no memory for one the iterator itself, and `end` is not called; NULL stays
/// NULL, with its error. A new reference to `data` is taken. Iterators are stepped by the proxy,
/// everything else (close(), aclose(), asend()...) is their own.
PyObject *faa_iterator_around(PyObject *iterator, faa_iterator_end *end, PyObject *data);

#endif

// SPDX-License-Identifier: MIT
// The text of statements that drivers compose of parts.
#ifndef FAA_INSTRUMENTORS_DBAPI_TEXT_H
#define FAA_INSTRUMENTORS_DBAPI_TEXT_H

#include "python/capi.h"

enum { FAA_DBAPI_TEXT_MAX = 4096 }; ///< Bytes of a template's text that are made.

/// The text of a statement that is no str: of a template string (its values are `?`), written to
/// `out`, or of an object with as_string(), called with `self`, in `*held` (a new reference, or
/// NULL). Empty for anything else. Python code of the driver may run; leaves no error set.
struct faa_str faa_dbapi_text(PyObject *sql, PyObject *self, char *out, size_t cap,
                              PyObject **held);

#endif

// SPDX-License-Identifier: MIT
// Where the running code is: its stack, and the line of the application that led to it. Walked in
// C, by functions that every supported version exports; no Python code runs.
//
// All functions are for a thread that may use Python (with the GIL, where there is one), tell of
// that thread alone, and leave no error set.
#ifndef FAA_PYTHON_STACK_H
#define FAA_PYTHON_STACK_H

#include "python/capi.h"

enum {
    FAA_STACK_FRAMES_MAX = 64, ///< Of the innermost; a deep recursion must not cost a request.
    FAA_STACK_FRAME_MAX = 1024 ///< Bytes of one frame's line; a longer one is cut.
};

/// Writes one line of a stack, `  File "…", line N, in qualname\n`, with a NUL. `code` is a code
/// object, borrowed. Returns the length without the NUL, which is below `cap`; 0 when `code` is
/// NULL.
size_t faa_stack_put_frame(PyObject *code, long long line, char *out, size_t cap);

/// Writes the running thread's stack, the innermost frame last: at most FAA_STACK_FRAMES_MAX
/// frames, and of those as many of the innermost as fit; a first line says when outer ones are left
/// out. Not NUL-terminated. Returns the length, at most `cap`; 0 when no Python code runs.
size_t faa_stack_format(char *out, size_t cap);

/// A place in the application's source.
struct faa_code_location {
    char function[256]; ///< "module.qualname" (before Python 3.11 the bare name); cut.
    char file[256];     ///< As the code object has it; cut.
    long long line;     ///< From 1.
};

/// The innermost frame of the application's own code: none of an installed package, of the standard
/// library, or made from text at run time by either. At most FAA_STACK_FRAMES_MAX frames are looked
/// at. Returns 0, or -1 when there is none and `*out` is unchanged.
FAA_MUSTUSE int faa_stack_caller(struct faa_code_location *out);

/// True when one of the innermost `depth` frames, at most FAA_STACK_FRAMES_MAX, runs a function of
/// this name of this module.
int faa_stack_runs(struct faa_str module, struct faa_str function, unsigned depth);

#endif

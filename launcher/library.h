// SPDX-License-Identifier: MIT
// Where the tracer's libraries are, as seen from the launcher's own place.
#ifndef FAA_LAUNCHER_LIBRARY_H
#define FAA_LAUNCHER_LIBRARY_H

#include "base/str.h"

/// Writes the absolute path of libfaa.so to `out` (cap bytes): from ../lib beside the launcher's
/// own folder, else from that folder itself. A place counts only when it has libfaa-agent.so
/// too, without which libfaa.so can do nothing.
/// Returns 0, or -1 when there is none; the reason has been printed.
FAA_MUSTUSE int faa_library_find(char *out, size_t cap);

/// The same without a message: on -1, `out` says where it was looked for ("'a' or 'b'").
FAA_MUSTUSE int faa_library_look(char *out, size_t cap);

/// Writes the absolute path of a program of ours (fastapi-auto-agent-`name`) to `out`: in
/// ../libexec beside the folder of `library`, else in that folder. Returns 0, or -1 when there is
/// none; then `out` says where it was looked for.
FAA_MUSTUSE int faa_library_look_program(const char *library, const char *name, char *out,
                                         size_t cap);

/// The same for the guard's program, and on -1 the reason has been printed.
FAA_MUSTUSE int faa_library_find_guard(const char *library, char *out, size_t cap);

#endif

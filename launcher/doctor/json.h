// SPDX-License-Identifier: MIT
// JSON, written as it comes: valid whatever bytes its strings hold.
#ifndef FAA_LAUNCHER_DOCTOR_JSON_H
#define FAA_LAUNCHER_DOCTOR_JSON_H

#include "base/str.h"

#include <stdio.h>

enum { FAA_JSON_DEPTH_MAX = 8 };

/// Where the writer stands. Starts as {.file = …}; errors are those of the file.
struct faa_json {
    FILE *file;
    size_t depth;
    int has_member[FAA_JSON_DEPTH_MAX]; ///< Of each open object or array.
};

/// Opens and closes objects and arrays. `key` is NULL outside of objects.
void faa_json_open(struct faa_json *json, const char *key, char bracket);
void faa_json_close(struct faa_json *json, char bracket);

/// A string: invalid UTF-8 becomes U+FFFD, controls are escaped, and so are DEL and the line
/// separators that JavaScript does not like.
void faa_json_string(struct faa_json *json, const char *key, const char *value);
void faa_json_number(struct faa_json *json, const char *key, long value);
void faa_json_bool(struct faa_json *json, const char *key, int value);
void faa_json_null(struct faa_json *json, const char *key);

#endif

// SPDX-License-Identifier: MIT
// What a span may tell about a Redis command: its name, how many values it has, and the words of an
// error, never a key or a value.
//
// Any bytes are accepted. Nothing allocates or calls Python. Any thread.
#ifndef FAA_SPAN_REDIS_H
#define FAA_SPAN_REDIS_H

#include "base/str.h"

enum {
    FAA_REDIS_NAME_MAX = 64,      ///< Bytes of the longest name, with the NUL.
    FAA_REDIS_VALUES_MAX = 16,    ///< Values that a text shows; more are told by "...".
    FAA_REDIS_TEXT_MAX = 128,     ///< Bytes of the longest text, with the NUL.
    FAA_REDIS_PROCEDURE_MAX = 128 ///< Bytes of the longest name of a procedure.
};

struct faa_redis_command {
    char name[FAA_REDIS_NAME_MAX]; ///< As written; "" when the first word is like no command's.
    size_t name_len;
    size_t values; ///< Words behind the name; not exact when a text does not show them all.
};

/// Reads a command from its first argument (empty for one that is no text) and the number of all.
/// The name is the first word, `GET`, and the second one with it for the commands of which it is a
/// part, `CONFIG GET`. The argument may hold several words, as redis-py allows. Returns 1 when the
/// second argument may be a part of the name, to be given to faa_redis_add_subcommand; else 0.
int faa_redis_parse(struct faa_str first, size_t count, struct faa_redis_command *command);

/// Adds the second argument to the name when it looks like a word of commands.
void faa_redis_add_subcommand(struct faa_redis_command *command, struct faa_str second);

/// True for the commands whose second argument is the digest of a script or a function's name.
int faa_redis_calls_procedure(struct faa_str name);

/// True for text that looks like such a digest or name.
int faa_redis_is_procedure(struct faa_str text);

/// True for commands that run a script or a function, and for those of modules (`FT.SEARCH`): what
/// the server says about their errors may repeat the application's words.
int faa_redis_is_wordy(struct faa_str name);

/// Writes the name and a `?` for each value, `SET ? ?`; nothing where there is no name. Writes at
/// most cap - 1 bytes and a NUL, and returns the length without it.
size_t faa_redis_text(const struct faa_redis_command *command, char *out, size_t cap);

/// The server's words in an exception's message, without the command and its arguments that a
/// pipeline puts in front of them. Points into `message`.
struct faa_str faa_redis_error_words(struct faa_str message);

/// The code that the words of an error begin with, "WRONGTYPE"; empty when there is none. Points
/// into `words`.
struct faa_str faa_redis_error_code(struct faa_str words);

/// Writes the code (which may be empty), then the words up to the first quoted one, which is the
/// application's: `ERR unknown command ?`. Bytes, cap and result as for faa_redis_text.
size_t faa_redis_error_message(struct faa_str code, struct faa_str words, char *out, size_t cap);

#endif

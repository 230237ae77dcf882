// SPDX-License-Identifier: MIT
// The commands of a pipeline, as one operation.
#include "instrumentors/redis_client.h"

enum { BATCH_TEXT_MAX = 1024 };

// The commands of a pipeline, as they are read one by one.
struct batch {
    struct faa_redis_command first;
    PyObject *word;       // The first argument of the first command, borrowed, if that is its name.
    Py_ssize_t arguments; // Of the first command.
    int one_name, one_text, is_wordy, is_full;
    char text[BATCH_TEXT_MAX];
    size_t len, first_len; // Of the text, and of the first command in it.
};

static void add_text(struct batch *b, const struct faa_redis_command *command)
{
    static const struct faa_str rest = FAA_STR("; ...");
    char text[FAA_REDIS_TEXT_MAX];
    struct faa_str piece = {text, faa_redis_text(command, text, sizeof(text))};
    if (b->is_full)
        return;
    if (!piece.n)
        piece = FAA_STR("?");
    if (b->len + FAA_STR("; ").n + piece.n + rest.n >= sizeof(b->text)) {
        piece = rest;
        b->is_full = 1;
    } else if (b->len) {
        memcpy(b->text + b->len, "; ", 2);
        b->len += 2;
    }
    memcpy(b->text + b->len, piece.p, piece.n);
    b->len += piece.n;
}

static void add_command(struct batch *b, PyObject *args, int is_first)
{
    struct faa_redis_command command;
    PyObject *word = faa_sequence_item(args, 0);
    Py_ssize_t count = faa_is_tuple(args) ? PyTuple_Size(args) : 0;
    if (!is_first && word && word == b->word && count == b->arguments && b->is_full)
        return; // One of many that are alike.
    int has_more = faa_redis_parse_words(word, faa_sequence_item(args, 1), count, &command);
    struct faa_str name = {command.name, command.name_len};
    add_text(b, &command);
    if (faa_redis_is_wordy(name) || !name.n)
        b->is_wordy = 1;
    if (is_first) {
        b->first = command;
        b->first_len = b->len;
        b->word = has_more ? NULL : word;
        b->arguments = count;
        b->one_name = b->one_text = name.n > 0;
    } else if (!faa_str_eq(name, (struct faa_str){b->first.name, b->first.name_len})) {
        b->one_name = b->one_text = 0;
    } else if (command.values != b->first.values) {
        b->one_text = 0;
    }
}

static void read_batch(struct batch *b, PyObject *commands, Py_ssize_t count)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = faa_newref(faa_sequence_item(commands, i)), *args = NULL;
        if (item && faa_is_tuple(item))
            args = faa_newref(faa_sequence_item(item, 0));
        else if (item)
            faa_getattr(item, FAA_NAME(args), &args);
        if (args)
            add_command(b, args, i == 0);
        Py_DecRef(args);
        Py_DecRef(item);
    }
}

void faa_redis_describe_batch(PyObject *operation, PyObject *commands, int is_transaction)
{
    struct faa_span *span = &faa_pyspan(operation)->span;
    struct batch b;
    memset(&b, 0, offsetof(struct batch, text));
    b.len = b.first_len = 0;
    Py_ssize_t count = commands && faa_is_list(commands) ? PyList_Size(commands) : 0;
    read_batch(&b, commands, count);
    char name[16 + FAA_REDIS_NAME_MAX];
    struct faa_str kind = is_transaction ? FAA_STR("MULTI") : FAA_STR("PIPELINE");
    memcpy(name, kind.p, kind.n);
    size_t n = kind.n;
    if (b.one_name) {
        name[n++] = ' ';
        memcpy(name + n, b.first.name, b.first.name_len);
        n += b.first.name_len;
    }
    faa_redis_set_name(operation, (struct faa_str){name, n});
    faa_redis_set_text(operation, (struct faa_str){b.text, b.one_text ? b.first_len : b.len});
    if (count != 1)
        faa_span_set_int(span, FAA_KEY_DB_OPERATION_BATCH_SIZE, count);
    if (b.is_wordy)
        faa_redis_hide_words(operation);
}

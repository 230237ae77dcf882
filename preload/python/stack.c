// SPDX-License-Identifier: MIT
// Frames are read through functions and attributes alone: their layout changes with every version.
#include "python/stack.h"

#include <stdio.h>

// Exported by every supported version, hidden from the limited headers.
PyAPI_FUNC(PyFrameObject *) PyFrame_GetBack(PyFrameObject *frame);

enum {
    LEFT_OUT_MAX = 64, // Bytes of the line that says so.
    FOLDER_MAX = 1024
};

static const char left_out[] = "  [outer frames left out]\n";
_Static_assert(sizeof(left_out) <= LEFT_OUT_MAX, "the line has its room");

static struct faa_str attribute(PyObject *object, PyObject *name, PyObject **holder)
{
    if (faa_getattr(object, name, holder) != 1)
        return (struct faa_str){"", 0};
    return faa_text(*holder);
}

// What snprintf has really written.
static size_t written(int n, size_t cap)
{
    return n < 0 || !cap ? 0 : (size_t)n < cap ? (size_t)n : cap - 1;
}

static struct faa_str name_of(PyObject *code, PyObject **holder)
{
    struct faa_str name = attribute(code, FAA_NAME(co_qualname), holder);
    if (!*holder) // Before 3.11.
        name = attribute(code, FAA_NAME(co_name), holder);
    return name;
}

size_t faa_stack_put_frame(PyObject *code, long long line, char *out, size_t cap)
{
    PyObject *f = NULL, *q = NULL;
    if (!code)
        return 0;
    struct faa_str file = attribute(code, FAA_NAME(co_filename), &f);
    struct faa_str name = name_of(code, &q);
    int n = snprintf(out, cap, "  File \"%.*s\", line %lld, in %.*s\n", (int)file.n, file.p, line,
                     (int)name.n, name.p);
    Py_DecRef(f);
    Py_DecRef(q);
    return written(n, cap);
}

static PyFrameObject *innermost(void)
{
    PyFrameObject *frame = PyEval_GetFrame(); // Borrowed.
    Py_IncRef((PyObject *)frame);             // NULL is allowed.
    return frame;
}

// The caller's frame, dropping this one; NULL at the end.
static PyFrameObject *outer_of(PyFrameObject *frame)
{
    PyFrameObject *outer = PyFrame_GetBack(frame);
    Py_DecRef((PyObject *)frame);
    return outer;
}

static size_t put_line(PyFrameObject *frame, char *out, size_t cap)
{
    PyObject *code = (PyObject *)PyFrame_GetCode(frame);
    size_t n = faa_stack_put_frame(code, PyFrame_GetLineNumber(frame), out, cap);
    Py_DecRef(code);
    return n;
}

size_t faa_stack_format(char *out, size_t cap)
{
    char line[FAA_STACK_FRAME_MAX];
    size_t start = cap; // The text grows from the end of `out` to its beginning.
    unsigned depth = 0;
    PyFrameObject *frame = innermost();
    for (; frame && depth < FAA_STACK_FRAMES_MAX; frame = outer_of(frame), depth++) {
        size_t n = put_line(frame, line, sizeof(line));
        if (start < n + sizeof(left_out))
            break;
        start -= n;
        memcpy(out + start, line, n);
    }
    if (frame && start >= sizeof(left_out)) {
        start -= sizeof(left_out) - 1;
        memcpy(out + start, left_out, sizeof(left_out) - 1);
    }
    Py_DecRef((PyObject *)frame);
    memmove(out, out + start, cap - start);
    return cap - start;
}

// ---- whose code is it? ------------------------------------------------------------------------

// Where the `os` module lies, with the slash: the standard library. Looked up each time, as this is
// rare and the folder may be no constant of the process (a module of that name may come and go).
static size_t find_library(char *out, size_t cap)
{
    PyObject *key = PyUnicode_FromString("os"), *file = NULL;
    PyObject *os = key ? PyImport_GetModule(key) : NULL;
    PyErr_Clear();
    struct faa_str path = {"", 0};
    if (os)
        path = attribute(os, FAA_NAME(__file__), &file);
    while (path.n && path.p[path.n - 1] != '/')
        path.n--;
    size_t n = path.n <= cap ? path.n : 0;
    memcpy(out, path.p, n);
    Py_DecRef(key);
    Py_DecRef(os);
    Py_DecRef(file);
    return n;
}

static int contains(struct faa_str text, struct faa_str part)
{
    return memmem(text.p, text.n, part.p, part.n) != NULL;
}

// Code with no file is the application's when it is the program itself (`python -c`); else it is
// frozen, or a library has made it from text.
static int is_application(struct faa_str file, struct faa_str module, struct faa_str library)
{
    if (!file.n)
        return 0;
    if (file.p[0] == '<')
        return faa_str_eq(module, FAA_STR("__main__"));
    if (contains(file, FAA_STR("/site-packages/")) || contains(file, FAA_STR("/dist-packages/")))
        return 0;
    return !library.n || file.n < library.n || memcmp(file.p, library.p, library.n) != 0;
}

static struct faa_str module_of(PyFrameObject *frame, PyObject **holder)
{
    PyObject *globals = NULL;
    struct faa_str name = {"", 0};
    if (faa_getattr((PyObject *)frame, FAA_NAME(f_globals), &globals) == 1 &&
        faa_is_dict(globals) && faa_dict_get(globals, FAA_NAME(__name__), holder) == 1)
        name = faa_text(*holder);
    Py_DecRef(globals);
    return name;
}

// True when this frame is the one, which is then told in `*out`.
static int locate(PyFrameObject *frame, struct faa_str library, struct faa_code_location *out)
{
    PyObject *m = NULL, *f = NULL, *q = NULL, *code = (PyObject *)PyFrame_GetCode(frame);
    struct faa_str module = module_of(frame, &m);
    struct faa_str file = attribute(code, FAA_NAME(co_filename), &f);
    int found = is_application(file, module, library);
    if (found) {
        struct faa_str name = name_of(code, &q);
        snprintf(out->function, sizeof(out->function), "%.*s%s%.*s", (int)module.n, module.p,
                 module.n ? "." : "", (int)name.n, name.p);
        snprintf(out->file, sizeof(out->file), "%.*s", (int)file.n, file.p);
        out->line = PyFrame_GetLineNumber(frame);
    }
    Py_DecRef(code);
    Py_DecRef(m);
    Py_DecRef(f);
    Py_DecRef(q);
    return found;
}

int faa_stack_caller(struct faa_code_location *out)
{
    char folder[FOLDER_MAX];
    struct faa_str library = {folder, find_library(folder, sizeof(folder))};
    int found = 0;
    PyFrameObject *frame = innermost();
    for (unsigned depth = 0; frame && depth < FAA_STACK_FRAMES_MAX; depth++) {
        if ((found = locate(frame, library, out)))
            break;
        frame = outer_of(frame);
    }
    Py_DecRef((PyObject *)frame);
    return found ? 0 : -1;
}

static int runs(PyFrameObject *frame, struct faa_str module, struct faa_str function)
{
    PyObject *name = NULL, *holder = NULL, *code = (PyObject *)PyFrame_GetCode(frame);
    int found = faa_str_eq(attribute(code, FAA_NAME(co_name), &name), function) &&
                faa_str_eq(module_of(frame, &holder), module);
    Py_DecRef(code);
    Py_DecRef(name);
    Py_DecRef(holder);
    return found;
}

int faa_stack_runs(struct faa_str module, struct faa_str function, unsigned depth)
{
    PyFrameObject *frame = innermost();
    int found = 0;
    for (unsigned i = 0; frame && i < depth && i < FAA_STACK_FRAMES_MAX; i++) {
        if ((found = runs(frame, module, function)))
            break;
        frame = outer_of(frame);
    }
    Py_DecRef((PyObject *)frame);
    return found;
}

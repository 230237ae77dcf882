// SPDX-License-Identifier: MIT
// asyncio itself knows whether a loop runs on a thread, uvloop's too: they all tell it.
#include "python/blocking.h"

#include "python/err.h"
#include "python/stack.h"

// asyncio.events._get_running_loop, the C function where there is one. Looked up until it is found,
// and then kept: threads that race here find the same.
static PyObject *find_question(void)
{
    static _Atomic(PyObject *) kept, kept_name;
    PyObject *question = kept;
    if (question)
        return question;
    PyObject *name = kept_name;
    if (!name)
        kept_name = name = PyUnicode_InternFromString("asyncio.events");
    PyObject *events = name ? PyImport_GetModule(name) : NULL;
    PyErr_Clear();
    if (events && faa_getattr(events, FAA_NAME(_get_running_loop), &question) == 1)
        kept = question; // Its reference is kept for ever, as the name's is.
    Py_DecRef(events);
    return question;
}

int faa_loop_is_running(void)
{
    PyObject *question = find_question();
    if (!question)
        return 0;
    PyObject *loop = faa_call(question, NULL, 0, NULL);
    if (!loop)
        faa_err_discard();
    int running = loop && loop != Py_None;
    Py_DecRef(loop);
    return running;
}

void faa_span_mark_blocking(struct faa_span *span)
{
    struct faa_code_location at;
    if (!span->recording || !faa_loop_is_running())
        return;
    faa_span_set_bool(span, FAA_KEY_FAA_EVENT_LOOP_BLOCKING, 1);
    if (faa_stack_caller(&at))
        return;
    faa_span_set_str(span, FAA_KEY_CODE_FUNCTION_NAME, faa_str_of(at.function));
    faa_span_set_str(span, FAA_KEY_CODE_FILE_PATH, faa_str_of(at.file));
    faa_span_set_int(span, FAA_KEY_CODE_LINE_NUMBER, at.line);
}

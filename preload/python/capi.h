// SPDX-License-Identifier: MIT
// CPython's C API as every file of python/ and instrumentors/ sees it.
//
// The stable ABI of 3.9, and nothing that knows how an object is laid out: one binary serves
// CPython 3.9 to 3.14, with the GIL and without. What the limited headers hide but every version
// exports is declared here; what newer versions alone have is weak and tested before use.
#ifndef FAA_PYTHON_CAPI_H
#define FAA_PYTHON_CAPI_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x03090000
#include <Python.h>
#include <structmember.h>

#include "base/str.h"

// These macros read or write object headers, whose size depends on the build.
#undef Py_INCREF
#undef Py_DECREF
#undef Py_XINCREF
#undef Py_XDECREF
#undef Py_CLEAR
#undef Py_REFCNT
#undef Py_TYPE
#undef Py_SIZE
#undef Py_NewRef
#undef Py_XNewRef
#undef PyUnicode_Check
#undef PyLong_Check
#undef PyTuple_Check
#undef PyList_Check
#undef PyDict_Check
#undef PyBytes_Check
#undef PyObject_TypeCheck
#undef PyType_Check
#undef Py_IS_TYPE
#undef PyExceptionInstance_Check
#pragma GCC poison Py_INCREF Py_DECREF Py_XINCREF Py_XDECREF Py_CLEAR Py_REFCNT Py_TYPE Py_SIZE
#pragma GCC poison Py_NewRef Py_XNewRef PyUnicode_Check PyLong_Check PyTuple_Check PyList_Check
#pragma GCC poison PyDict_Check PyBytes_Check PyObject_TypeCheck PyType_Check Py_IS_TYPE
#pragma GCC poison PyExceptionInstance_Check

// Exported by every supported version, hidden from the limited headers of some.
PyAPI_FUNC(PyObject *) PyContextVar_New(const char *name, PyObject *default_value);
PyAPI_FUNC(int) PyContextVar_Get(PyObject *var, PyObject *default_value, PyObject **value);
PyAPI_FUNC(PyObject *) PyContextVar_Set(PyObject *var, PyObject *value);
PyAPI_FUNC(PyObject *) PyContext_New(void);
PyAPI_FUNC(int) PyContext_Enter(PyObject *context);
PyAPI_FUNC(int) PyContext_Exit(PyObject *context);
PyAPI_FUNC(PyObject *) _PyObject_GC_New(PyTypeObject *type);
PyAPI_FUNC(PyObject *) PyMethod_New(PyObject *function, PyObject *self);
PyAPI_FUNC(const char *) PyUnicode_AsUTF8AndSize(PyObject *unicode, Py_ssize_t *size);

/// PySendResult of 3.10.
enum faa_send_result { FAA_SEND_RETURN = 0, FAA_SEND_ERROR = -1, FAA_SEND_NEXT = 1 };

/// One call with the vectorcall convention: `nargsf` may carry PY_VECTORCALL_ARGUMENTS_OFFSET.
PyObject *faa_call(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames);

/// The function type of a vectorcall slot, and the flag in its argument count.
typedef PyObject *(*faa_vectorcallfunc)(PyObject *self, PyObject *const *args, size_t nargsf,
                                        PyObject *kwnames);
#define FAA_NARGS(nargsf) ((nargsf) & ~((size_t)1 << (8 * sizeof(size_t) - 1)))

/// One step of an awaitable's iterator: PyIter_Send, or what stands for it before 3.10.
/// On FAA_SEND_RETURN and FAA_SEND_NEXT, `*result` is a new reference.
enum faa_send_result faa_iter_send(PyObject *iter, PyObject *arg, PyObject **result);

/// True from 3.10 on: types may have the am_send slot.
int faa_has_am_send(void);

/// Makes the main thread look for pending calls. Before 3.13 Py_AddPendingCall on another thread
/// leaves no sign for a main thread that computes: it runs the call when it next takes the GIL, by
/// then far from where it was. Asking it for the GIL is a sign: this takes the GIL and gives it
/// back. From 3.13 on nothing happens. Called without the GIL, on a thread that is none of
/// Python's.
void faa_pending_call_nudge(void);

/// Names that we look up, interned once.
#define FAA_NAMES(X)                                                                               \
    X(_ConnectionRecord__pool)                                                                     \
    X(__anext__)                                                                                   \
    X(__await__)                                                                                   \
    X(__call__)                                                                                    \
    X(__class__)                                                                                   \
    X(__code__)                                                                                    \
    X(__dict__)                                                                                    \
    X(__file__)                                                                                    \
    X(__init__)                                                                                    \
    X(__module__)                                                                                  \
    X(__mro__)                                                                                     \
    X(__name__)                                                                                    \
    X(__qualname__)                                                                                \
    X(__self__)                                                                                    \
    X(__version__)                                                                                 \
    X(__wrapped__)                                                                                 \
    X(_addr)                                                                                       \
    X(_buffer)                                                                                     \
    X(_closed)                                                                                     \
    X(_command_queue)                                                                              \
    X(_command_stack)                                                                              \
    X(_connection)                                                                                 \
    X(_connector)                                                                                  \
    X(_context)                                                                                    \
    X(_dbapi_connection)                                                                           \
    X(_dialect)                                                                                    \
    X(_execution_strategy)                                                                         \
    X(_exhausted)                                                                                  \
    X(_explicit_transaction)                                                                       \
    X(_faa_database)                                                                               \
    X(_faa_pool_wait)                                                                              \
    X(_faa_resend_count)                                                                           \
    X(_faa_span)                                                                                   \
    X(_faa_trace)                                                                                  \
    X(_fp_bytes_read)                                                                              \
    X(_fragment)                                                                                   \
    X(_full_url)                                                                                   \
    X(_get_running_loop)                                                                           \
    X(_initializing)                                                                               \
    X(_list)                                                                                       \
    X(_mounts)                                                                                     \
    X(_native_telemetry)                                                                           \
    X(_netloc)                                                                                     \
    X(_original_response)                                                                          \
    X(_params)                                                                                     \
    X(_path)                                                                                       \
    X(_portal_name)                                                                                \
    X(_query)                                                                                      \
    X(_scheme)                                                                                     \
    X(_transport)                                                                                  \
    X(_uri_reference)                                                                              \
    X(_watching)                                                                                   \
    X(ag_frame)                                                                                    \
    X(allow_redirects)                                                                             \
    X(args)                                                                                        \
    X(as_string)                                                                                   \
    X(body)                                                                                        \
    X(bytes)                                                                                       \
    X(call)                                                                                        \
    X(chunked)                                                                                     \
    X(client)                                                                                      \
    X(close)                                                                                       \
    X(closed)                                                                                      \
    X(co_filename)                                                                                 \
    X(co_firstlineno)                                                                              \
    X(co_name)                                                                                     \
    X(co_qualname)                                                                                 \
    X(code)                                                                                        \
    X(command_stack)                                                                               \
    X(config)                                                                                      \
    X(connection)                                                                                  \
    X(connection_kwargs)                                                                           \
    X(connection_pool)                                                                             \
    X(content)                                                                                     \
    X(copy)                                                                                        \
    X(cr_await)                                                                                    \
    X(create_module)                                                                               \
    X(current_thread)                                                                              \
    X(database)                                                                                    \
    X(db)                                                                                          \
    X(dbname)                                                                                      \
    X(dependant)                                                                                   \
    X(dependencies)                                                                                \
    X(dependency_cache)                                                                            \
    X(dialect)                                                                                     \
    X(disconnected)                                                                                \
    X(effective_route_context)                                                                     \
    X(engine)                                                                                      \
    X(error)                                                                                       \
    X(errors)                                                                                      \
    X(exception)                                                                                   \
    X(exceptions)                                                                                  \
    X(exec_module)                                                                                 \
    X(execution_context)                                                                           \
    X(explicit_transaction)                                                                        \
    X(extensions)                                                                                  \
    X(f_code)                                                                                      \
    X(f_globals)                                                                                   \
    X(fastapi)                                                                                     \
    X(find_spec)                                                                                   \
    X(fn)                                                                                          \
    X(format_spec)                                                                                 \
    X(fragment)                                                                                    \
    X(fp)                                                                                          \
    X(full_url)                                                                                    \
    X(func)                                                                                        \
    X(gen)                                                                                         \
    X(get_method)                                                                                  \
    X(handle_async_request)                                                                        \
    X(handle_request)                                                                              \
    X(headers)                                                                                     \
    X(history)                                                                                     \
    X(host)                                                                                        \
    X(http_version)                                                                                \
    X(info)                                                                                        \
    X(interpolations)                                                                              \
    X(is_async)                                                                                    \
    X(is_closed)                                                                                   \
    X(is_transaction)                                                                              \
    X(length)                                                                                      \
    X(length_remaining)                                                                            \
    X(loaded_app)                                                                                  \
    X(loader)                                                                                      \
    X(loc)                                                                                         \
    X(master_address)                                                                              \
    X(method)                                                                                      \
    X(more_body)                                                                                   \
    X(more_trailers)                                                                               \
    X(name)                                                                                        \
    X(original_route)                                                                              \
    X(original_url)                                                                                \
    X(otelServiceName)                                                                             \
    X(otelSpanID)                                                                                  \
    X(otelTraceID)                                                                                 \
    X(otelTraceSampled)                                                                            \
    X(path)                                                                                        \
    X(pending_work_items)                                                                          \
    X(pgcode)                                                                                      \
    X(pgconn)                                                                                      \
    X(port)                                                                                        \
    X(query_string)                                                                                \
    X(raw)                                                                                         \
    X(raw_headers)                                                                                 \
    X(raw_path)                                                                                    \
    X(reason)                                                                                      \
    X(req)                                                                                         \
    X(request)                                                                                     \
    X(response)                                                                                    \
    X(retries)                                                                                     \
    X(root_connection)                                                                             \
    X(root_path)                                                                                   \
    X(scheme)                                                                                      \
    X(send)                                                                                        \
    X(server)                                                                                      \
    X(server_version)                                                                              \
    X(span)                                                                                        \
    X(sqlite_errorname)                                                                            \
    X(sqlstate)                                                                                    \
    X(state)                                                                                       \
    X(status)                                                                                      \
    X(status_code)                                                                                 \
    X(stream)                                                                                      \
    X(string)                                                                                      \
    X(strings)                                                                                     \
    X(tb_frame)                                                                                    \
    X(tb_lineno)                                                                                   \
    X(tb_next)                                                                                     \
    X(text)                                                                                        \
    X(throw)                                                                                       \
    X(trailers)                                                                                    \
    X(transaction)                                                                                 \
    X(type)                                                                                        \
    X(unix_socket)                                                                                 \
    X(url)                                                                                         \
    X(use_cache)                                                                                   \
    X(value)                                                                                       \
    X(version)                                                                                     \
    X(watching)

enum faa_name {
#define X(name) FAA_NAME_##name,
    FAA_NAMES(X)
#undef X
        FAA_NAME_COUNT
};

/// Borrowed, immortal for us.
extern PyObject *faa_names[FAA_NAME_COUNT];
#define FAA_NAME(name) (faa_names[FAA_NAME_##name])

/// Prepares this module. 0, or -1 with a Python error.
FAA_MUSTUSE int faa_capi_init(void);

/// What faa_capi_init has found out about objects of this interpreter.
struct faa_layout {
    size_t head_size;   ///< Of a bare object, rounded up for our state.
    size_t type_offset; ///< Of the pointer to the type; 0 when it could not be found.
};
extern struct faa_layout faa_layout;

/// Its type, borrowed.
static inline PyTypeObject *faa_type_of(PyObject *object)
{
    if (faa_layout.type_offset)
        return *(PyTypeObject **)(void *)((char *)object + faa_layout.type_offset);
    PyObject *type = PyObject_Type(object);
    Py_DecRef(type); // The object keeps it.
    return (PyTypeObject *)type;
}

/// Type tests without macros; the exact type, which is nearly always the one, costs no flags.
static inline int faa_is_a(PyObject *object, PyTypeObject *exact, unsigned long subclass_flag)
{
    PyTypeObject *type = faa_type_of(object);
    return type == exact || (PyType_GetFlags(type) & subclass_flag) != 0;
}
#define faa_is_int(o) faa_is_a((o), &PyLong_Type, Py_TPFLAGS_LONG_SUBCLASS)
#define faa_is_tuple(o) faa_is_a((o), &PyTuple_Type, Py_TPFLAGS_TUPLE_SUBCLASS)
#define faa_is_list(o) faa_is_a((o), &PyList_Type, Py_TPFLAGS_LIST_SUBCLASS)
#define faa_is_dict(o) faa_is_a((o), &PyDict_Type, Py_TPFLAGS_DICT_SUBCLASS)
#define faa_is_bytes(o) faa_is_a((o), &PyBytes_Type, Py_TPFLAGS_BYTES_SUBCLASS)

static inline int faa_is_exception(PyObject *object)
{
    return (PyType_GetFlags(faa_type_of(object)) & Py_TPFLAGS_BASE_EXC_SUBCLASS) != 0;
}

/// The item of a list or a tuple, borrowed; NULL behind its end and for anything else: an iterator
/// is the application's, and not consumed.
static inline PyObject *faa_sequence_item(PyObject *sequence, Py_ssize_t i)
{
    PyObject *item = NULL;
    if (faa_is_tuple(sequence))
        item = PyTuple_GetItem(sequence, i);
    else if (faa_is_list(sequence))
        item = PyList_GetItem(sequence, i);
    if (!item)
        PyErr_Clear();
    return item;
}

/// Attribute and item look-ups: -1 error (cleared: ours never matter to the application), 0 absent,
/// 1 found with a new reference in *out, which is NULL otherwise.
int faa_getattr(PyObject *object, PyObject *name, PyObject **out);
int faa_dict_get(PyObject *dict, PyObject *key, PyObject **out);

/// The value, borrowed, or NULL: for where no Python code can run before it was used.
static inline PyObject *faa_dict_peek(PyObject *dict, PyObject *key)
{
    PyObject *value = PyDict_GetItemWithError(dict, key);
    if (!value)
        PyErr_Clear();
    return value;
}

/// The bytes of a str (as UTF-8) or a bytes object, valid as long as it lives; empty, and no
/// error set, for anything else and for a str that has no UTF-8 form (lone surrogates).
struct faa_str faa_text(PyObject *object);

/// An int's value, or `fallback` for anything else; no error is left set.
long long faa_int(PyObject *object, long long fallback);

/// A new heap type made of `spec`, whose instances have `state_size` bytes of state behind the
/// object head. spec->basicsize is computed here, from this interpreter's object. Members such as
/// "__vectorcalloffset__", given relative to the state, are shifted likewise. Python code cannot
/// make instances (from 3.10 on).
PyObject *faa_type_new(PyType_Spec *spec, size_t state_size);

/// The state of an instance of a type made by faa_type_new.
static inline void *faa_state(PyObject *self)
{
    return (char *)self + faa_layout.head_size;
}

/// Allocates an instance with zeroed state; NULL with MemoryError.
PyObject *faa_alloc(PyObject *type);

/// The same with the state as it comes. One with garbage collection is not tracked yet: the caller
/// fills it and calls PyObject_GC_Track. For one without, `state_size` says how large it is.
PyObject *faa_alloc_gc_raw(PyObject *type);
PyObject *faa_alloc_raw(PyObject *type, size_t state_size);

/// For tp_traverse: instances of heap types hold their type.
int faa_visit_type(PyObject *self, visitproc visit, void *arg);

/// The last step of a tp_dealloc: frees the instance and drops its type.
void faa_free(PyObject *self, int is_gc);

/// Takes the reference out of *slot and drops it.
static inline void faa_clear(PyObject **slot)
{
    PyObject *old = *slot;
    *slot = NULL;
    if (old)
        Py_DecRef(old);
}

/// The object, with one more reference; NULL stays NULL.
static inline PyObject *faa_newref(PyObject *object)
{
    if (object)
        Py_IncRef(object);
    return object;
}

#endif

// SPDX-License-Identifier: MIT
// The functions by which a C program starts Python (uWSGI, mod_wsgi, a host of one's own), and
// those of a libpython that was loaded after us.
//
// Each calls the real function, whatever happens. Types of CPython are not needed here: what a
// wrapper does not look into is a pointer, and PyStatus is the caller's memory behind a pointer.
#include "shim/shim.h"

#include <stdatomic.h>
#include <stddef.h>
#include <wchar.h>

#define CALLER __builtin_return_address(0)

/// PyStatus of CPython 3.8 and newer (PEP 587), returned by value.
struct status {
    int type;
    const char *func;
    const char *message;
    int exitcode;
};

FAA_EXPORT void Py_InitializeEx(int install_sigs);
FAA_EXPORT void Py_Initialize(void);
FAA_EXPORT struct status Py_InitializeFromConfig(const void *config);
FAA_EXPORT int Py_InitializeFromInitConfig(void *config);
FAA_EXPORT int Py_Main(int argc, wchar_t **argv);
FAA_EXPORT int Py_BytesMain(int argc, char **argv);
FAA_EXPORT int Py_RunMain(void);
FAA_EXPORT int PyImport_AppendInittab(const char *name, void *(*initfunc)(void));
FAA_EXPORT void *PyImport_ImportModule(const char *name);

// Set once the program is `python` itself: then the audit hook says when it is ready, and what
// happens on the way there (site, sitecustomize) is left alone.
static atomic_int is_python_main;

static void start_embedded(const char *road)
{
    if (!atomic_load_explicit(&is_python_main, memory_order_relaxed))
        faa_shim_start(road);
}

void Py_InitializeEx(int install_sigs)
{
    void (*real)(int) = (void (*)(int))faa_shim_real("Py_InitializeEx", CALLER);
    faa_shim_arm();
    if (real)
        real(install_sigs);
    start_embedded("Py_InitializeEx");
}

void Py_Initialize(void)
{
    void (*real)(void) = (void (*)(void))faa_shim_real("Py_Initialize", CALLER);
    faa_shim_arm();
    if (real)
        real();
    start_embedded("Py_Initialize");
}

struct status Py_InitializeFromConfig(const void *config)
{
    struct status (*real)(const void *) =
        (struct status(*)(const void *))faa_shim_real("Py_InitializeFromConfig", CALLER);
    struct status status = {1, "Py_InitializeFromConfig", "no Python library is loaded", 0};
    faa_shim_arm();
    if (real)
        status = real(config);
    start_embedded("Py_InitializeFromConfig");
    return status;
}

int Py_InitializeFromInitConfig(void *config)
{
    int (*real)(void *) = (int (*)(void *))faa_shim_real("Py_InitializeFromInitConfig", CALLER);
    faa_shim_arm();
    int result = real ? real(config) : -1;
    start_embedded("Py_InitializeFromInitConfig");
    return result;
}

// These run the program before they return: the audit hook starts the agent within them.

int Py_Main(int argc, wchar_t **argv)
{
    int (*real)(int, wchar_t **) = (int (*)(int, wchar_t **))faa_shim_real("Py_Main", CALLER);
    faa_shim_arm();
    atomic_store(&is_python_main, 1);
    return real ? real(argc, argv) : 1;
}

int Py_BytesMain(int argc, char **argv)
{
    int (*real)(int, char **) = (int (*)(int, char **))faa_shim_real("Py_BytesMain", CALLER);
    faa_shim_arm();
    atomic_store(&is_python_main, 1);
    return real ? real(argc, argv) : 1;
}

int Py_RunMain(void)
{
    int (*real)(void) = (int (*)(void))faa_shim_real("Py_RunMain", CALLER);
    faa_shim_arm();
    atomic_store(&is_python_main, 1);
    return real ? real() : 1;
}

// An embedder that extends the table of built-in modules is about to start an interpreter.
int PyImport_AppendInittab(const char *name, void *(*initfunc)(void))
{
    int (*real)(const char *, void *(*)(void)) =
        (int (*)(const char *, void *(*)(void)))faa_shim_real("PyImport_AppendInittab", CALLER);
    faa_shim_arm();
    return real ? real(name, initfunc) : -1;
}

// A host whose initialisation took a path that none of the above sees (one function of libpython
// calling another) imports its program by this one, with the interpreter ready.
void *PyImport_ImportModule(const char *name)
{
    static void *(*real)(const char *);
    if (!real)
        real = (void *(*)(const char *))faa_shim_real("PyImport_ImportModule", CALLER);
    if (!real)
        return NULL;
    start_embedded("PyImport_ImportModule");
    return real(name);
}

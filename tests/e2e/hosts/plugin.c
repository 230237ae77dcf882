// SPDX-License-Identifier: MIT
// A plugin that links libpython, for loader.c. Its calls are bound in the scope of its own load.
#include <Python.h>

#include <stdio.h>

int plugin_run(const char *path);

int plugin_run(const char *path)
{
    FILE *file = fopen(path, "r");
    printf("inittab %d\n", PyImport_AppendInittab("nothing", NULL));
    Py_Initialize();
    printf("initialized %d\n", Py_IsInitialized());
    if (!file || !Py_IsInitialized())
        return 91;
    int status = PyRun_SimpleFileExFlags(file, path, 1, NULL);
    PyObject *module = PyImport_ImportModule("string");
    printf("module %d\n", module != NULL);
    Py_XDECREF(module);
    printf("run %d\n", status);
    printf("finalize %d\n", Py_FinalizeEx());
    return status ? 1 : 0;
}

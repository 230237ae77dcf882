// SPDX-License-Identifier: MIT
// A program that knows nothing of Python and loads a plugin, or libpython itself:
// loader WAY LIBRARY PROGRAM.
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static int fail(const char *what)
{
    printf("%s: %s\n", what, dlerror());
    return 90;
}

// libpython's own functions, by its own handle: no name is looked up in the program.
static int by_handle(void *library, const char *path)
{
    char code[4096];
    void (*initialize)(void) = (void (*)(void))dlsym(library, "Py_Initialize");
    int (*run)(const char *, void *) =
        (int (*)(const char *, void *))dlsym(library, "PyRun_SimpleStringFlags");
    int (*finalize)(void) = (int (*)(void))dlsym(library, "Py_FinalizeEx");
    if (!initialize || !run || !finalize)
        return fail("dlsym");
    snprintf(code, sizeof(code), "exec(compile(open('%s').read(), 'program', 'exec'))", path);
    initialize();
    int status = run(code, NULL);
    printf("run %d\n", status);
    printf("finalize %d\n", finalize());
    return status ? 1 : 0;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    const char *way = argc == 4 ? argv[1] : "";
    int global = strstr(way, "global") != NULL;
    void *library = dlopen(argv[2], RTLD_NOW | (global ? RTLD_GLOBAL : RTLD_LOCAL));
    if (!library)
        return fail("dlopen");
    if (strncmp(way, "handle", 6) == 0)
        return by_handle(library, argv[3]);
    int (*plugin_run)(const char *) = (int (*)(const char *))dlsym(library, "plugin_run");
    if (!plugin_run)
        return fail("dlsym");
    int status = plugin_run(argv[3]);
    if (strstr(way, "unload"))
        printf("unload %d\n", dlclose(library));
    return status;
}

// SPDX-License-Identifier: MIT
// A program that links libpython and starts it in one of many ways: linked WAY PROGRAM [ARG...].
// What each call of libpython gave back is printed.
#include <Python.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static int run_file(const char *path)
{
    FILE *file = fopen(path, "r");
    int status = file ? PyRun_SimpleFileExFlags(file, path, 1, NULL) : 99;
    printf("run %d\n", status);
    return status;
}

static int finish(int status)
{
    printf("finalize %d\n", Py_FinalizeEx());
    printf("initialized %d\n", Py_IsInitialized());
    return status ? 1 : 0;
}

static int run_and_finish(const char *path)
{
    printf("initialized %d\n", Py_IsInitialized());
    return finish(run_file(path));
}

static PyObject *answer(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    return PyLong_FromLong(42);
}

static PyObject *init_hostmodule(void)
{
    static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};
    static struct PyModuleDef definition = {
        PyModuleDef_HEAD_INIT, .m_name = "hostmodule", .m_size = -1, .m_methods = methods};
    return PyModule_Create(&definition);
}

static int by_config(int argc, char **argv, int run_main)
{
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    config.parse_argv = run_main;
    PyStatus status = PyConfig_SetBytesArgv(&config, argc, argv);
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    printf("config %d %d\n", PyStatus_Exception(status), PyStatus_IsExit(status));
    if (PyStatus_Exception(status))
        return 98;
    return run_main ? Py_RunMain() : run_and_finish(argv[1]);
}

static int by_bad_config(void)
{
    static wchar_t bogus[] = L"bogus";
    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    PyConfig_SetString(&config, &config.check_hash_pycs_mode, bogus);
    PyConfig_SetString(&config, &config.stdio_encoding, L"utf-8");
    PyConfig_SetString(&config, &config.stdio_errors, L"strict");
    PyConfig_SetString(&config, &config.filesystem_encoding, L"no-such-encoding");
    PyStatus status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    printf("bad config: %d %d %s: %s\n", PyStatus_Exception(status), status.exitcode,
           status.func ? status.func : "-", status.err_msg ? status.err_msg : "-");
    return 97;
}

static int by_main(int argc, char **argv)
{
    wchar_t *wide[16];
    for (int i = 0; i < argc && i < 16; i++)
        wide[i] = Py_DecodeLocale(argv[i], NULL);
    return Py_Main(argc, wide);
}

static void *in_thread(void *path)
{
    Py_Initialize();
    return run_and_finish(path) ? path : NULL;
}

static int by_thread(char *path)
{
    pthread_t thread;
    void *result;
    pthread_create(&thread, NULL, in_thread, path);
    pthread_join(thread, &result);
    return result ? 1 : 0;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    const char *way = argv[1];
    char *program = argv[2];
    argv[1] = argv[0]; // The interpreter's own view: as if it were called without WAY.
    if (strcmp(way, "initialize") == 0) {
        Py_Initialize();
        return run_and_finish(program);
    }
    if (strcmp(way, "initialize-ex") == 0) {
        Py_InitializeEx(0);
        return run_and_finish(program);
    }
    if (strcmp(way, "no-finalize") == 0) {
        Py_Initialize();
        return run_file(program);
    }
    if (strcmp(way, "twice") == 0) {
        for (int i = 0; i < 3; i++) {
            Py_Initialize();
            Py_Initialize(); // Has no effect.
            run_and_finish(program);
        }
        return 0;
    }
    if (strcmp(way, "inittab") == 0) {
        printf("inittab %d\n", PyImport_AppendInittab("hostmodule", init_hostmodule));
        Py_Initialize();
        PyRun_SimpleString("import hostmodule; print('answer', hostmodule.answer())");
        return run_and_finish(program);
    }
    if (strcmp(way, "import") == 0) {
        Py_Initialize();
        PyObject *module = PyImport_ImportModule("no_such_module");
        printf("module %d %d\n", module != NULL, PyErr_ExceptionMatches(PyExc_ImportError));
        PyErr_Clear();
        module = PyImport_ImportModule("string");
        printf("module %d %d\n", module != NULL, PyErr_Occurred() != NULL);
        Py_XDECREF(module);
        return run_and_finish(program);
    }
    if (strcmp(way, "thread") == 0)
        return by_thread(program);
    if (strcmp(way, "config") == 0)
        return by_config(argc - 1, argv + 1, 0);
    if (strcmp(way, "config-run-main") == 0)
        return by_config(argc - 1, argv + 1, 1);
    if (strcmp(way, "bad-config") == 0)
        return by_bad_config();
    if (strcmp(way, "bytes-main") == 0)
        return Py_BytesMain(argc - 1, argv + 1);
    if (strcmp(way, "main") == 0)
        return by_main(argc - 1, argv + 1);
    return 96;
}

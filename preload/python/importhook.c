// SPDX-License-Identifier: MIT
// A finder that finds nothing of its own: it asks the finders behind it, and puts a loader in front
// of theirs that takes itself away again when the module's body runs.
#include "python/importhook.h"

#include "base/log.h"
#include "python/err.h"
#include "python/forward.h"

static const struct faa_import_target *targets;
static size_t target_count;
static PyObject *names; // A dict with the targets' names: the one look-up of every other import.

static PyObject *finder_type, *loader_type, *loader_names;

struct loader {
    PyObject *original;
};

static void call_targets(PyObject *name, PyObject *module)
{
    struct faa_err e = faa_err_save();
    struct faa_str wanted = faa_text(name);
    faa_debug("module %.*s intercepted", (int)wanted.n, wanted.p);
    for (size_t i = 0; i < target_count; i++) {
        if (faa_str_eq(wanted, faa_str_of(targets[i].module))) {
            targets[i].loaded(&targets[i], module);
            PyErr_Clear();
        }
    }
    faa_err_restore(&e);
}

// From here on nothing of ours is to be seen on the module.
static void restore_loader(PyObject *module, PyObject *original)
{
    PyObject *spec = PyObject_GetAttrString(module, "__spec__");
    if (spec && PyObject_SetAttr(spec, FAA_NAME(loader), original))
        PyErr_Clear();
    Py_DecRef(spec);
    PyErr_Clear();
    if (PyObject_SetAttrString(module, "__loader__", original))
        PyErr_Clear();
}

static PyObject *loader_create_module(PyObject *self, PyObject *spec)
{
    struct loader *l = faa_state(self);
    PyObject *create;
    if (faa_getattr(l->original, FAA_NAME(create_module), &create) != 1)
        return faa_newref(Py_None);
    PyObject *module = PyObject_CallFunctionObjArgs(create, spec, NULL);
    Py_DecRef(create);
    return module;
}

static PyObject *loader_exec_module(PyObject *self, PyObject *module)
{
    struct loader *l = faa_state(self);
    restore_loader(module, l->original);
    PyObject *result = PyObject_CallMethodObjArgs(l->original, FAA_NAME(exec_module), module, NULL);
    if (!result)
        return NULL;
    PyObject *name;
    if (faa_getattr(module, FAA_NAME(__name__), &name) == 1)
        call_targets(name, module);
    Py_DecRef(name);
    return result;
}

static PyObject *loader_getattro(PyObject *self, PyObject *name)
{
    struct loader *l = faa_state(self);
    return faa_forward_getattr(self, l->original, loader_names, name);
}

static int loader_setattro(PyObject *self, PyObject *name, PyObject *value)
{
    struct loader *l = faa_state(self);
    return faa_forward_setattr(self, l->original, name, value);
}

static int loader_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct loader *l = faa_state(self);
    Py_VISIT(l->original);
    return faa_visit_type(self, visit, arg);
}

static int loader_clear(PyObject *self)
{
    struct loader *l = faa_state(self);
    faa_clear(&l->original);
    return 0;
}

static void loader_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    loader_clear(self);
    faa_free(self, 1);
}

static PyMethodDef loader_methods[] = {
    {"create_module", loader_create_module, METH_O, NULL},
    {"exec_module", loader_exec_module, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot loader_slots[] = {
    {Py_tp_methods, loader_methods},
    {Py_tp_getattro, loader_getattro},
    {Py_tp_setattro, loader_setattro},
    {Py_tp_traverse, loader_traverse},
    {Py_tp_clear, loader_clear},
    {Py_tp_dealloc, loader_dealloc},
    {0, NULL},
};

static PyType_Spec loader_spec = {
    .name = "faa.loader",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = loader_slots,
};

// Swaps the loader of a spec, if it has one of the modern kind.
static void proxy_loader(PyObject *spec)
{
    PyObject *original, *exec = NULL, *proxy = NULL;
    if (faa_getattr(spec, FAA_NAME(loader), &original) == 1 && original != Py_None &&
        faa_getattr(original, FAA_NAME(exec_module), &exec) == 1)
        proxy = faa_alloc(loader_type);
    if (proxy) {
        ((struct loader *)faa_state(proxy))->original = faa_newref(original);
        if (PyObject_SetAttr(spec, FAA_NAME(loader), proxy))
            PyErr_Clear();
    }
    PyErr_Clear();
    Py_DecRef(original);
    Py_DecRef(exec);
    Py_DecRef(proxy);
}

// What the finders behind this one say: a spec, None, or NULL with an error.
static PyObject *ask_others(PyObject *self, PyObject *name, PyObject *path, PyObject *target)
{
    PyObject *finders = PySys_GetObject("meta_path"); // Borrowed.
    PyObject *copy = finders ? PySequence_List(finders) : NULL;
    PyObject *spec = NULL;
    if (!copy)
        return NULL;
    int behind = 0;
    for (Py_ssize_t i = 0; i < PyList_Size(copy); i++) {
        PyObject *finder = PyList_GetItem(copy, i), *find; // Borrowed.
        if (finder == self) {
            behind = 1;
            continue;
        }
        if (!behind || faa_getattr(finder, FAA_NAME(find_spec), &find) != 1)
            continue;
        spec = PyObject_CallFunctionObjArgs(find, name, path, target, NULL);
        Py_DecRef(find);
        if (spec != Py_None)
            break; // Found, or failed.
        faa_clear(&spec);
    }
    Py_DecRef(copy);
    if (!spec && !PyErr_Occurred())
        spec = faa_newref(Py_None);
    return spec;
}

// As the interpreter calls it: with the arguments in their places. A module that is looked for in
// vain is looked for again each time, and some libraries do so in each call.
static int are_plain(PyObject *args, PyObject *kwargs)
{
    return !kwargs && PyTuple_Size(args) == 3;
}

static PyObject *finder_find_spec(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char fullname[] = "fullname", path_[] = "path", target_[] = "target";
    static char *keywords[] = {fullname, path_, target_, NULL};
    PyObject *name, *path = Py_None, *target = Py_None;
    if (are_plain(args, kwargs)) {
        name = PyTuple_GetItem(args, 0);
        path = PyTuple_GetItem(args, 1);
        target = PyTuple_GetItem(args, 2);
    } else if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|OO", keywords, &name, &path,
                                            &target)) {
        return NULL;
    }
    if (!PyDict_GetItemWithError(names, name))
        return PyErr_Occurred() ? NULL : faa_newref(Py_None);
    PyObject *spec = ask_others(self, name, path, target);
    if (spec && spec != Py_None)
        proxy_loader(spec);
    return spec;
}

static PyMethodDef finder_methods[] = {
    {"find_spec", (PyCFunction)(void (*)(void))finder_find_spec, METH_VARARGS | METH_KEYWORDS,
     NULL},
    {NULL, NULL, 0, NULL},
};

static void finder_dealloc(PyObject *self)
{
    faa_free(self, 0);
}

static PyType_Slot finder_slots[] = {
    {Py_tp_methods, finder_methods},
    {Py_tp_dealloc, finder_dealloc},
    {0, NULL},
};

static PyType_Spec finder_spec = {
    .name = "faa.finder",
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = finder_slots,
};

// The type's name is how two copies of the agent know each other.
static int is_installed(PyObject *meta_path)
{
    int found = 0;
    for (Py_ssize_t i = 0; !found && i < PyList_Size(meta_path); i++) {
        PyObject *type = PyObject_Type(PyList_GetItem(meta_path, i)), *module, *name;
        faa_getattr(type, FAA_NAME(__module__), &module);
        faa_getattr(type, FAA_NAME(__name__), &name);
        found = faa_str_eq(faa_text(module), FAA_STR("faa")) &&
                faa_str_eq(faa_text(name), FAA_STR("finder"));
        Py_DecRef(module);
        Py_DecRef(name);
        Py_DecRef(type);
    }
    return found;
}

// A module that is half imported is somebody else's moment: its classes may not be there yet.
static int is_complete(PyObject *module)
{
    PyObject *spec = PyObject_GetAttrString(module, "__spec__"), *initializing = NULL;
    int busy = spec && faa_getattr(spec, FAA_NAME(_initializing), &initializing) == 1 &&
               PyObject_IsTrue(initializing) == 1;
    PyErr_Clear();
    Py_DecRef(spec);
    Py_DecRef(initializing);
    return !busy;
}

static void call_imported(void)
{
    for (size_t i = 0; i < target_count; i++) {
        PyObject *name = PyUnicode_FromString(targets[i].module);
        PyObject *module = name ? PyImport_GetModule(name) : NULL;
        if (module && is_complete(module)) {
            faa_debug("module %s was imported before", targets[i].module);
            targets[i].loaded(&targets[i], module);
        }
        PyErr_Clear();
        Py_DecRef(module);
        Py_DecRef(name);
    }
}

int faa_importhook_install(const struct faa_import_target *list, size_t count)
{
    static const char *const own[] = {"create_module", "exec_module", NULL};
    PyObject *meta_path = PySys_GetObject("meta_path"); // Borrowed.
    if (!meta_path || !faa_is_list(meta_path)) {
        PyErr_SetString(PyExc_RuntimeError, "sys.meta_path is not a list");
        return -1;
    }
    if (is_installed(meta_path))
        return 1;
    targets = list;
    target_count = count;
    names = PyDict_New();
    for (size_t i = 0; names && i < count; i++)
        if (PyDict_SetItemString(names, list[i].module, Py_None))
            return -1;
    loader_names = faa_forward_names(own);
    finder_type = faa_type_new(&finder_spec, 0);
    loader_type = faa_type_new(&loader_spec, sizeof(struct loader));
    if (!names || !loader_names || !finder_type || !loader_type)
        return -1;
    PyObject *finder = faa_alloc(finder_type);
    if (!finder)
        return -1;
    int status = PyList_Insert(meta_path, 0, finder);
    Py_DecRef(finder);
    if (status == 0)
        call_imported();
    return status;
}

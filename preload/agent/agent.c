// SPDX-License-Identifier: MIT
// The agent starts here: stands down where it should, else hooks into the interpreter.
#include "agent/config.h"
#include "agent/entry.h"
#include "agent/env.h"
#include "agent/lifecycle.h"
#include "base/log.h"
#include "instrumentors/instrumentor.h"
#include "python/asyncgen.h"
#include "python/awaitable.h"
#include "python/err.h"
#include "python/importhook.h"
#include "python/iterator.h"
#include "python/pyspan.h"
#include "python/stack.h"
#include "python/watch.h"
#include "python/wrapper.h"

#include <string.h>

static struct faa_config config;

// Tracers that instrument the same libraries by themselves. Both at once would tell everything
// twice; the one that the user configured in Python goes first.
static const char *other_tracer(void)
{
    static const char *const modules[] = {
        "opentelemetry.instrumentation.auto_instrumentation",
        "ddtrace.bootstrap.preload",
        "ddtrace.auto",
    };
    PyObject *loaded = PySys_GetObject("modules"); // Borrowed.
    for (size_t i = 0; loaded && faa_is_dict(loaded) && i < FAA_COUNT(modules); i++)
        if (PyDict_GetItemString(loaded, modules[i]))
            return modules[i];
    return NULL;
}

static const char *reason_to_stand_down(int version)
{
    if (version != FAA_ENTRY_VERSION)
        return "libfaa.so and libfaa-agent.so are of different versions";
    const char *reason = faa_config_disabled();
    return reason ? reason : other_tracer();
}

// With the version of the package, which is the module's name before the first dot; and that one's
// name where it is not the instrumentor's: "httpx (httpcore 1.0.9)". A package is asked for nothing
// that nobody reads: it may have a __getattr__ of its own.
static void log_instrumented(const struct faa_instrumentor *instrumentor)
{
    if (!faa_log_enabled(FAA_LOG_DEBUG))
        return;
    struct faa_str package = {instrumentor->module, strcspn(instrumentor->module, ".")};
    int is_own =
        memmem(instrumentor->name, strlen(instrumentor->name), package.p, package.n) != NULL;
    PyObject *name = PyUnicode_FromStringAndSize(package.p, (Py_ssize_t)package.n);
    PyObject *version = NULL;
    PyObject *module = name ? PyImport_GetModule(name) : NULL;
    if (module)
        faa_getattr(module, FAA_NAME(__version__), &version);
    struct faa_str text = faa_text(version);
    if (text.n == 0)
        text = FAA_STR("?");
    if (is_own)
        faa_debug("%s %.*s instrumented", instrumentor->name, (int)text.n, text.p);
    else
        faa_debug("%s (%.*s %.*s) instrumented", instrumentor->name, (int)package.n, package.p,
                  (int)text.n, text.p);
    Py_DecRef(name);
    Py_DecRef(module);
    Py_DecRef(version);
}

static void on_loaded(const struct faa_import_target *target, PyObject *module)
{
    const struct faa_instrumentor *instrumentor = target->data;
    if (faa_config_is_disabled(&config, instrumentor->name))
        faa_debug("%s not instrumented: OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", instrumentor->name);
    else if (instrumentor->install(module))
        faa_debug("%s not instrumented: its shape is not one that is known", instrumentor->name);
    else
        log_instrumented(instrumentor);
    PyErr_Clear();
}

static int install_import_hook(void)
{
    static const struct faa_instrumentor *const instrumentors[] = {
#define X(name) &faa_instrumentor_##name,
        FAA_INSTRUMENTORS(X)
#undef X
    };
    static struct faa_import_target targets[FAA_COUNT(instrumentors)];
    size_t count = 0;
    for (size_t i = 0; i < FAA_COUNT(instrumentors); i++) {
        if (instrumentors[i]->wanted && !instrumentors[i]->wanted())
            continue;
        targets[count++] = (struct faa_import_target){
            .module = instrumentors[i]->module, .loaded = on_loaded, .data = instrumentors[i]};
    }
    return faa_importhook_install(targets, count);
}

static void set_up_watch(void)
{
    static const struct faa_watch_ops ops = {
        .ask = Py_AddPendingCall,
        .is_alive = Py_IsInitialized,
        .nudge = faa_pending_call_nudge,
        .format = faa_stack_format,
    };
    faa_watch_init(&ops);
    faa_watch_set_threshold(config.blocked_ms * (uint64_t)1000000);
}

static int start(void)
{
    if (faa_config_read(&config) || faa_capi_init() || faa_wrapper_init() || faa_awaitable_init() ||
        faa_asyncgen_init() || faa_iterator_init() || faa_pyspan_init()) {
        faa_warn("cannot start: out of memory");
        return -1;
    }
    faa_propagation_set(config.propagators, config.propagator_count);
    set_up_watch();
    faa_lifecycle_init(&config);
    int status = install_import_hook();
    if (status > 0)
        faa_debug("standing down: another copy of the agent is here");
    else if (status < 0)
        faa_debug("standing down: sys.meta_path cannot be extended");
    return status ? -1 : 0;
}

__attribute__((visibility("default"))) faa_agent_start_fn faa_agent_start;

const struct faa_agent_ops *faa_agent_start(int version, const char *road)
{
    static const struct faa_agent_ops ops = {.flush = faa_lifecycle_flush};
    struct faa_err e = faa_err_save();
    faa_env_log_level();
    const char *reason = reason_to_stand_down(version);
    if (reason) {
        faa_debug("standing down: %s", reason);
        faa_err_restore(&e);
        return NULL;
    }
    const char *python = Py_GetVersion();
    faa_debug("fastapi-auto-agent " FAA_VERSION " in CPython %.*s, found by %s",
              (int)strcspn(python, " "), python, road);
    int status = start();
    // Runs before libc's exit handlers, among them those of libraries that the exporter uses.
    if (status == 0)
        Py_AtExit(faa_lifecycle_finish);
    faa_err_restore(&e);
    return status ? NULL : &ops;
}

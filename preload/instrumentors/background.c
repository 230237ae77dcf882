// SPDX-License-Identifier: MIT
// Starlette's background tasks, which are FastAPI's too: a list of them awaits one after another.
#include "instrumentors/callable.h"
#include "instrumentors/fastapi_steps.h"
#include "instrumentors/settings.h"
#include "instrumentors/step.h"
#include "python/wrapper.h"

// The response has been sent: whatever is raised now is a failure, an HTTPException as well.
static PyObject *task_hook(PyObject *wrapped, PyObject *data, PyObject *const *args, size_t nargsf,
                           PyObject *kwnames)
{
    static const struct faa_step step = {
        .what = "background_task",
        .scope = "starlette",
        .details = FAA_CALLABLE_NAME | FAA_CALLABLE_PLACE,
        .answers_nobody = 1,
    };
    (void)data;
    PyObject *result = faa_call(wrapped, args, nargsf, kwnames);
    if (!result || FAA_NARGS(nargsf) < 1 || !faa_step_wanted())
        return result;
    PyObject *callable;
    faa_getattr(args[0], FAA_NAME(func), &callable);
    result = faa_step_trace(&step, callable, result);
    Py_DecRef(callable);
    return result;
}

void faa_background_install(void)
{
    static const struct faa_patch task = {"starlette.background:BackgroundTask.__call__",
                                          task_hook};
    if (faa_settings.fastapi_spans & FAA_STEP_BACKGROUND_TASK)
        (void)!faa_patch_all(&task, 1); // Where it is missing, its debug line says so.
}

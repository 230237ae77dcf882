// SPDX-License-Identifier: MIT
// FastAPI's steps after the dependencies: the endpoint, and the serialization of what it returned.
// FastAPI calls both through names of its module, and for every kind of endpoint alike.
#include "instrumentors/fastapi_steps.h"

#include "instrumentors/callable.h"
#include "instrumentors/settings.h"
#include "instrumentors/step.h"
#include "python/wrapper.h"

static PyObject *endpoint_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                               size_t nargsf, PyObject *kwnames)
{
    static const struct faa_step step = {
        .what = "endpoint",
        .scope = "fastapi",
        .details = FAA_CALLABLE_NAME | FAA_CALLABLE_PLACE,
    };
    (void)data;
    PyObject *result = faa_call(wrapped, args, nargsf, kwnames);
    if (!result || !faa_step_wanted())
        return result;
    PyObject *dependant = faa_step_keyword(args, nargsf, kwnames, FAA_NAME(dependant));
    PyObject *callable = NULL;
    if (dependant)
        faa_getattr(dependant, FAA_NAME(call), &callable);
    result = faa_step_trace(&step, callable, result);
    Py_DecRef(callable);
    return result;
}

static PyObject *serialization_hook(PyObject *wrapped, PyObject *data, PyObject *const *args,
                                    size_t nargsf, PyObject *kwnames)
{
    static const struct faa_step step = {.what = "serialization", .scope = "fastapi"};
    (void)data;
    PyObject *result = faa_call(wrapped, args, nargsf, kwnames);
    return result && faa_step_wanted() ? faa_step_trace(&step, NULL, result) : result;
}

void faa_fastapi_steps_install(void)
{
    static const struct faa_patch endpoint = {"fastapi.routing:run_endpoint_function",
                                              endpoint_hook};
    static const struct faa_patch serialization = {"fastapi.routing:serialize_response",
                                                   serialization_hook};
    unsigned chosen = faa_settings.fastapi_spans;
    // A seam that is not there has its debug line.
    if (chosen & FAA_STEP_ENDPOINT)
        (void)!faa_patch_all(&endpoint, 1);
    if (chosen & FAA_STEP_SERIALIZATION)
        (void)!faa_patch_all(&serialization, 1);
    if (chosen & (FAA_STEP_DEPENDENCIES | FAA_STEP_SLOW_DEPENDENCY))
        faa_fastapi_dependencies_install();
    if (chosen & FAA_STEP_VALIDATION)
        faa_fastapi_validation_install();
}

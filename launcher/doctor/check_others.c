// SPDX-License-Identifier: MIT
// Other tracers on the same ground.
#include "doctor/check.h"

#include <stdlib.h>

struct other {
    const char *tool;
    const char *command;    ///< Its launcher, that stands before the command.
    const char *pythonpath; ///< What its launcher puts into PYTHONPATH.
    const char *preload;    ///< What it puts into LD_PRELOAD.
    const char *variable;   ///< What turns it on, when it says neither 0 nor false.
    int we_stand_down;      ///< Else both trace.
    const char *advice;
};

static const struct other others[] = {
    {"OpenTelemetry's auto-instrumentation", "opentelemetry-instrument",
     "opentelemetry/instrumentation/auto_instrumentation", NULL, NULL, 1,
     "Start the application without opentelemetry-instrument (or its operator's PYTHONPATH)"},
    {"Datadog's tracer", "ddtrace-run", "ddtrace/bootstrap", NULL, NULL, 1,
     "Start the application without ddtrace-run"},
    {"Datadog's library injection", NULL, NULL, "datadog", NULL, 0,
     "Take it out of LD_PRELOAD (or set DD_INSTRUMENT_SERVICE_WITH_APM=false)"},
    {"New Relic's agent", "newrelic-admin", "newrelic/bootstrap", NULL, NULL, 0,
     "Start the application without newrelic-admin"},
    {"Elastic APM", "elasticapm-run", "elasticapm/instrumentation/wrapper", NULL, NULL, 0,
     "Start the application without elasticapm-run"},
    {"Dynatrace OneAgent", NULL, NULL, "oneagentproc", NULL, 0,
     "Exclude this process from its monitoring"},
    {"OpenTelemetry's injector", NULL, NULL, "otelinject", NULL, 0,
     "Take it out of LD_PRELOAD, or exclude this process"},
    {"Logfire", "logfire", NULL, NULL, NULL, 0, "Start the application without logfire run"},
    {"FastAPI's own telemetry", NULL, NULL, NULL, "FASTAPI_OTEL_AUTO_CONFIGURE", 0,
     "Unset FASTAPI_OTEL_AUTO_CONFIGURE: where FastAPI makes spans of requests, the agent stands "
     "aside for them"},
    {"Sentry's tracing", NULL, NULL, NULL, "SENTRY_TRACES_SAMPLE_RATE", 0,
     "Set SENTRY_TRACES_SAMPLE_RATE=0 if one trace of each request is enough"},
};

static int says_yes(const char *name)
{
    const char *value = name ? getenv(name) : NULL;
    return value && *value && strcmp(value, "0") != 0 && strcasecmp(value, "false") != 0;
}

static int contains(const char *variable, const char *part)
{
    const char *value = getenv(variable);
    return value && part && strstr(value, part);
}

static int is_in_command(const struct faa_doctor *doctor, const char *name)
{
    for (char **word = doctor->options->command; name && *word; word++)
        if (strcmp(faa_command_basename(*word), name) == 0)
            return 1;
    return 0;
}

static void check_one(struct faa_doctor *doctor, const struct other *o)
{
    const char *where = is_in_command(doctor, o->command)       ? "in the command"
                        : contains("PYTHONPATH", o->pythonpath) ? "in PYTHONPATH"
                        : contains("LD_PRELOAD", o->preload)    ? "in LD_PRELOAD"
                        : says_yes(o->variable)                 ? o->variable
                                                                : NULL;
    if (!where)
        return;
    struct faa_finding *f =
        faa_report_add(doctor->report, o->we_stand_down ? FAA_PROBLEM : FAA_WARNING, "others.agent",
                       "%s is there (%s): %s", o->tool, where,
                       o->we_stand_down ? "this agent stands down for it"
                                        : "both will trace, and each slows the other down");
    faa_finding_advise(f, "%s", o->advice);
    faa_finding_fact(f, "tool", "%s", o->tool);
    faa_finding_fact(f, "where", "%s", where);
}

// Others in LD_PRELOAD are nobody's fault, but the first to look at when something is odd.
static void check_preload(struct faa_doctor *doctor)
{
    const char *value = getenv("LD_PRELOAD");
    if (!value || !*value || strcmp(value, doctor->library) == 0)
        return;
    faa_finding_fact(faa_report_add(doctor->report, FAA_NOTE, "others.preload",
                                    "LD_PRELOAD has more in it: %s", value),
                     "preload", "%s", value);
}

static void run(struct faa_doctor *doctor)
{
    size_t before = doctor->report->finding_count;
    for (size_t i = 0; i < FAA_COUNT(others); i++)
        check_one(doctor, &others[i]);
    if (doctor->report->finding_count == before)
        faa_report_add(doctor->report, FAA_OK, "others.agent",
                       "no other tracer in the command, PYTHONPATH or LD_PRELOAD");
    check_preload(doctor);
}

const struct faa_check faa_check_others = {.title = "Other agents", .run = run};

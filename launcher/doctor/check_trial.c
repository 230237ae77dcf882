// SPDX-License-Identifier: MIT
// The agent in the command's interpreter, for once: whether it starts, and what it does with the
// libraries that are there.
#include "doctor/check.h"
#include "doctor/interpreter.h"
#include "doctor/known.h"

#include <stdio.h>
#include <stdlib.h>

enum { TRIAL_LIMIT_MS = 30000 };

// Whose spans show requests: without one of them nothing of a server is seen.
static const char *const servers[] = {"fastapi", "starlette", "uvicorn", "hypercorn"};

static int is_server(const char *name)
{
    for (size_t i = 0; i < FAA_COUNT(servers); i++)
        if (strcmp(name, servers[i]) == 0)
            return 1;
    return 0;
}

struct trial {
    char road[64];     ///< "the audit hook"; "" while the agent has not started.
    char version[32];  ///< Of the agent that did.
    char refusal[300]; ///< Why it did not,
    char how[300];     ///< or how the interpreter ended.
};

static struct faa_library *library_of(struct faa_report *report, const char *name, size_t n)
{
    for (size_t i = 0; i < report->library_count; i++)
        if (strlen(report->libraries[i].name) == n &&
            memcmp(report->libraries[i].name, name, n) == 0)
            return &report->libraries[i];
    return NULL;
}

// A library of several modules is instrumented when all of them are.
static void note_library(struct faa_report *report, const char *text)
{
    static const char mark[] = " not instrumented: ";
    const char *space = strchr(text, ' '), *refused = strstr(text, mark);
    struct faa_library *l = space ? library_of(report, text, (size_t)(space - text)) : NULL;
    size_t n = strlen(text);
    if (!l)
        return;
    if (refused == space) {
        const char *why = refused + sizeof(mark) - 1;
        l->state = strcmp(why, "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS") == 0
                       ? FAA_LIBRARY_DISABLED
                       : FAA_LIBRARY_UNKNOWN_SHAPE;
        faa_report_format(l->reason, sizeof(l->reason), "%s", why);
    } else if (n > 13 && strcmp(text + n - 13, " instrumented") == 0 &&
               l->state == FAA_LIBRARY_NOT_TRIED) {
        l->state = FAA_LIBRARY_INSTRUMENTED;
    }
}

// One line of the interpreter's standard error: "<time> <pid> faa <level>: <text>" is the agent's.
static void read_error_line(struct faa_doctor *doctor, struct trial *trial, const char *line)
{
    const char *text = strstr(line, " faa debug: ");
    const char *warning = strstr(line, " faa warning: ");
    if (text) {
        text += strlen(" faa debug: ");
        const char *by = strstr(text, ", found by ");
        if (strncmp(text, "fastapi-auto-agent ", 19) == 0 && by) {
            snprintf(trial->version, sizeof(trial->version), "%.*s", (int)strcspn(text + 19, " "),
                     text + 19);
            snprintf(trial->road, sizeof(trial->road), "%s", by + strlen(", found by "));
        } else if (strncmp(text, "standing down: ", 15) == 0) {
            faa_report_format(trial->refusal, sizeof(trial->refusal), "it stands down: %s",
                              text + 15);
        } else {
            note_library(doctor->report, text);
        }
    } else if (warning && strstr(warning, "cannot load the agent")) {
        faa_report_format(trial->refusal, sizeof(trial->refusal), "%s", warning + 14);
    } else if (strncmp(line, "ERROR: ld.so: ", 14) == 0 && strstr(line, "libfaa.so")) {
        faa_report_format(trial->refusal, sizeof(trial->refusal), "%s", line + 14);
    }
}

static void read_output_line(struct faa_doctor *doctor, char *line)
{
    char *module = strchr(line, '\t');
    if (!module)
        return;
    *module++ = '\0';
    char *error = strchr(module, '\t');
    if (error)
        *error++ = '\0';
    for (size_t i = 0; i < faa_known_library_count; i++) {
        const char *name = faa_known_libraries[i].name;
        struct faa_library *l = strcmp(faa_known_libraries[i].module, module) == 0
                                    ? library_of(doctor->report, name, strlen(name))
                                    : NULL;
        if (!l || l->state != FAA_LIBRARY_NOT_TRIED)
            continue;
        l->state = error ? FAA_LIBRARY_BROKEN : FAA_LIBRARY_NOT_WANTED;
        if (error)
            faa_report_format(l->reason, sizeof(l->reason), "%s", error);
    }
}

// ---- what is told -----------------------------------------------------------------------------

static void tell_start(struct faa_doctor *doctor, const struct trial *trial)
{
    struct faa_finding *f;
    if (!trial->road[0] || trial->refusal[0]) {
        f = faa_report_add(doctor->report, FAA_PROBLEM, "trial.start",
                           "the agent does not start in this interpreter: %s",
                           trial->refusal[0] ? trial->refusal : trial->how);
        if (strncmp(trial->refusal, "it stands down", 14) == 0)
            faa_finding_advise(f, "Take away what it stands down for");
        else
            faa_finding_advise(f,
                               "See what the dynamic linker says: LD_DEBUG=libs LD_PRELOAD=%s "
                               "%s -c ''",
                               doctor->library, doctor->command.program);
        return;
    }
    if (strcmp(trial->version, FAA_VERSION) != 0) {
        f = faa_report_add(doctor->report, FAA_WARNING, "trial.start",
                           "the agent that starts is %s, this is " FAA_VERSION, trial->version);
        faa_finding_advise(f, "Is another copy of libfaa.so in LD_PRELOAD?");
        return;
    }
    f = faa_report_add(doctor->report, FAA_OK, "trial.start",
                       "the agent starts in this interpreter, by %s", trial->road);
    faa_finding_fact(f, "road", "%s", trial->road);
}

// It has ended before it was through, and not by us.
static void tell_end(struct faa_doctor *doctor, const struct trial *trial)
{
    faa_finding_advise(faa_report_add(doctor->report, FAA_PROBLEM, "trial.end",
                                      "the interpreter did not import all libraries: %s",
                                      trial->how),
                       "Import those that were not tried (--json lists them) with and without the "
                       "agent: LD_PRELOAD=%s %s -c 'import ...'",
                       doctor->library, doctor->command.program);
}

static void append(char *out, size_t cap, const struct faa_library *l)
{
    size_t n = strlen(out);
    faa_report_format(out + n, cap - n, "%s%s%s%s", n ? "; " : "", l->title,
                      l->version[0] ? " " : "", l->version);
}

static void tell_library(struct faa_doctor *doctor, const struct faa_library *l)
{
    struct faa_finding *f;
    const char *blank = l->version[0] ? " " : "";
    switch (l->state) {
    case FAA_LIBRARY_DISABLED:
        faa_report_add(doctor->report, FAA_NOTE, "trial.library",
                       "%s%s%s is not traced: OTEL_PYTHON_DISABLED_INSTRUMENTATIONS names it",
                       l->title, blank, l->version);
        return;
    case FAA_LIBRARY_UNKNOWN_SHAPE:
        f = faa_report_add(doctor->report, FAA_WARNING, "trial.library", "%s%s%s is not traced: %s",
                           l->title, blank, l->version, l->reason);
        faa_finding_advise(f, "Tested are the versions %s", l->tested);
        return;
    case FAA_LIBRARY_BROKEN:
        faa_report_add(doctor->report, FAA_NOTE, "trial.library", "%s%s%s cannot be imported: %s",
                       l->title, blank, l->version, l->reason);
        return;
    case FAA_LIBRARY_NOT_TRIED:
        faa_report_add(doctor->report, FAA_WARNING, "trial.library",
                       "%s%s%s is there, but there was no time to try it", l->title, blank,
                       l->version);
        return;
    case FAA_LIBRARY_INSTRUMENTED:
        if (!l->is_untested)
            return;
        faa_report_add(doctor->report, FAA_NOTE, "trial.library",
                       "%s %s is traced, but not one of the tested versions (%s)", l->title,
                       l->version, l->tested);
        return;
    default:
        return;
    }
}

static void tell_libraries(struct faa_doctor *doctor)
{
    struct faa_report *report = doctor->report;
    char traced[FAA_SUMMARY_MAX - 64] = "";
    int serves = 0;
    for (size_t i = 0; i < report->library_count; i++) {
        const struct faa_library *l = &report->libraries[i];
        if (l->state != FAA_LIBRARY_INSTRUMENTED)
            continue;
        append(traced, sizeof(traced), l);
        serves |= is_server(l->name);
    }
    if (traced[0])
        faa_report_add(report, FAA_OK, "trial.libraries", "traced: %s", traced);
    for (size_t i = 0; i < report->library_count; i++)
        tell_library(doctor, &report->libraries[i]);
    if (!serves)
        faa_finding_advise(
            faa_report_add(report, FAA_PROBLEM, "trial.server",
                           "no request will be traced: none of FastAPI, Starlette, uvicorn and "
                           "hypercorn is traced in this environment"),
            "Is it the environment of the application? If it is, install FastAPI there");
}

// The modules of the libraries that are there: what matters most comes first, for time may run out.
static void list_modules(const struct faa_doctor *doctor,
                         const char *modules[FAA_LIBRARIES_MAX + 1])
{
    size_t n = 0;
    for (int wanted = 1; wanted >= 0; wanted--)
        for (size_t i = 0; i < faa_known_library_count; i++)
            if (doctor->has_module[i] && is_server(faa_known_libraries[i].name) == wanted)
                modules[n++] = faa_known_libraries[i].module;
    modules[n] = NULL;
}

static void run(struct faa_doctor *doctor)
{
    const char *modules[FAA_LIBRARIES_MAX + 1];
    struct trial trial = {0};
    char *line;
    if (!doctor->python || !doctor->preload)
        return;
    list_modules(doctor, modules);
    int rc = faa_interpreter_run(doctor, faa_interpreter_imports, modules, doctor->preload,
                                 TRIAL_LIMIT_MS);
    if (rc)
        faa_child_describe(&doctor->child, trial.how, sizeof(trial.how));
    else
        snprintf(trial.how, sizeof(trial.how), "nothing was heard of it");
    for (char *rest = doctor->child.err; faa_child_line(&rest, &line);)
        read_error_line(doctor, &trial, line);
    for (char *rest = doctor->child.out; faa_child_line(&rest, &line);)
        read_output_line(doctor, line);
    tell_start(doctor, &trial);
    if (!trial.road[0] || trial.refusal[0])
        return;
    if (rc && !doctor->child.timed_out)
        tell_end(doctor, &trial);
    tell_libraries(doctor);
}

const struct faa_check faa_check_trial = {.title = "The agent in it", .run = run};

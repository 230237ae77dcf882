// SPDX-License-Identifier: MIT
// The settings in force, where each came from, and what the agent makes of them.
#include "doctor/check.h"
#include "doctor/probe.h"
#include "doctor/variables.h"
#include "export/guard.h"

#include <stdio.h>
#include <stdlib.h>

extern char **environ;

static const char *value_of(const char *name)
{
    const char *value = name ? getenv(name) : NULL;
    return value && *value ? value : NULL;
}

static const char *option_of(const struct faa_options *options, const char *variable)
{
    if (options->service_name && strcmp(variable, "OTEL_SERVICE_NAME") == 0)
        return "--service-name";
    if (options->jaeger_endpoint && strcmp(variable, "OTEL_EXPORTER_OTLP_ENDPOINT") == 0)
        return "--jaeger-endpoint";
    return options->debug && strcmp(variable, "FAA_LOG_LEVEL") == 0 ? "--debug" : NULL;
}

// What the launcher has changed came from an option of its, or from its defaults.
static void set_source(const struct faa_doctor *doctor, struct faa_setting *s, const char *value)
{
    s->source = FAA_SOURCE_ENVIRONMENT;
    s->option = option_of(doctor->options, s->variable);
    if (s->option)
        s->source = FAA_SOURCE_OPTION;
    for (size_t i = 0; !s->option && i < FAA_BEFORE_MAX && doctor->before[i].name; i++) {
        const struct faa_before *before = &doctor->before[i];
        if (strcmp(before->name, s->variable) == 0 &&
            (!before->value || strcmp(before->value, value) != 0))
            s->source = FAA_SOURCE_LAUNCHER;
    }
}

static void read_setting(struct faa_doctor *doctor, const struct faa_variable *v)
{
    struct faa_report *report = doctor->report;
    const char *own = value_of(v->name), *other = value_of(v->other);
    int takes_other = other && (v->other_first || !own);
    const char *value = takes_other ? other : own;
    if (report->setting_count == FAA_SETTINGS_MAX) {
        report->is_cut = 1;
        return;
    }
    struct faa_setting *s = &report->settings[report->setting_count++];
    *s = (struct faa_setting){.variable = takes_other ? v->other : v->name,
                              .alternative = takes_other ? v->name : v->other};
    if (value)
        set_source(doctor, s, value);
    s->is_masked = faa_mask(v->mask, value ? value : v->fallback, s->value, sizeof(s->value));
}

static void tell_setting(struct faa_report *report, const struct faa_setting *s)
{
    char source[96] = "environment";
    if (s->source == FAA_SOURCE_DEFAULT)
        return;
    if (s->source == FAA_SOURCE_OPTION)
        snprintf(source, sizeof(source), "option %s", s->option);
    else if (s->source == FAA_SOURCE_LAUNCHER)
        snprintf(source, sizeof(source), "the launcher's default");
    faa_report_add(report, FAA_OK, "settings.value", "%s=%s (%s)", s->variable, s->value, source);
}

// ---- names that nobody reads -------------------------------------------------------------------

enum { UNKNOWN_MAX = 20 }; // That many are told one by one.

static int is_mistake(const char *name)
{
    if (faa_variable_is_known(name) || strcmp(name, FAA_GUARD_VARIABLE) == 0)
        return 0;
    return strncmp(name, "FAA_", 4) == 0 || faa_variable_like(name) != NULL;
}

static void tell_name(struct faa_doctor *doctor, const char *name)
{
    const char *like = faa_variable_like(name);
    struct faa_finding *f = faa_report_add(doctor->report, FAA_WARNING, "settings.unknown",
                                           "%s is no variable that the agent reads", name);
    if (like)
        faa_finding_advise(f, "Is it meant to be %s?", like);
    faa_finding_fact(f, "variable", "%s", name);
}

static void check_names(struct faa_doctor *doctor)
{
    size_t unknown = 0;
    for (char **entry = environ; *entry; entry++) {
        char name[128];
        size_t n = strcspn(*entry, "=");
        if (n >= sizeof(name) ||
            (strncmp(*entry, "FAA_", 4) != 0 && strncmp(*entry, "OTEL_", 5) != 0))
            continue;
        memcpy(name, *entry, n);
        name[n] = '\0';
        if (is_mistake(name) && ++unknown <= UNKNOWN_MAX)
            tell_name(doctor, name);
    }
    if (unknown > UNKNOWN_MAX)
        faa_report_add(doctor->report, FAA_WARNING, "settings.unknown",
                       "%zu more such variables are none that the agent reads",
                       unknown - UNKNOWN_MAX);
}

// ---- what the agent makes of them --------------------------------------------------------------

static void tell_warnings(struct faa_doctor *doctor)
{
    static const char mark[] = " faa warning: ";
    char *rest = doctor->child.err, *line;
    while (faa_child_line(&rest, &line)) {
        const char *text = strstr(line, mark);
        if (!text)
            continue;
        text += sizeof(mark) - 1;
        int is_sampler = strncmp(text, "cannot read the sampling strategy", 33) == 0;
        faa_report_add(doctor->report, FAA_WARNING,
                       is_sampler ? "settings.sampler" : "settings.unusable", "%s", text);
    }
}

static void tell_exporter(struct faa_doctor *doctor)
{
    int otlp = (int)faa_probe_number(doctor, "otlp");
    int console = (int)faa_probe_number(doctor, "console");
    if (!otlp && !console)
        faa_finding_advise(faa_report_add(doctor->report, FAA_PROBLEM, "settings.exporter",
                                          "OTEL_TRACES_EXPORTER=none: no trace goes anywhere"),
                           "Unset OTEL_TRACES_EXPORTER, or set it to otlp");
    else if (!otlp)
        faa_report_add(doctor->report, FAA_NOTE, "settings.exporter",
                       "OTEL_TRACES_EXPORTER=console: traces are printed on standard error, and "
                       "not sent");
}

static void tell_sampler(struct faa_doctor *doctor)
{
    const char *sampler = faa_probe_value(doctor, "sampler");
    double ratio = faa_probe_number(doctor, "ratio");
    int parent_based = (int)faa_probe_number(doctor, "parent_based");
    int is_ratio = strcmp(sampler, "ratio") == 0;
    struct faa_finding *f;
    if (strcmp(sampler, "off") == 0 || (is_ratio && ratio <= 0)) {
        f = faa_report_add(doctor->report, parent_based ? FAA_WARNING : FAA_PROBLEM,
                           "settings.sampler",
                           parent_based ? "the sampler begins no trace: only requests whose caller "
                                          "records its own are traced"
                                        : "the sampler records nothing");
        faa_finding_advise(f, "Unset OTEL_TRACES_SAMPLER, or set it to parentbased_always_on");
    } else if (is_ratio && ratio < 1) {
        faa_report_add(doctor->report, FAA_NOTE, "settings.sampler",
                       "the sampler records %g %% of the traces", ratio * 100);
    } else if (strcmp(sampler, "remote") == 0) {
        faa_report_add(doctor->report, FAA_NOTE, "settings.sampler",
                       "Jaeger is asked what to record; until it answers, %g %% of the traces are",
                       ratio * 100);
    }
}

static void run(struct faa_doctor *doctor)
{
    struct faa_report *report = doctor->report;
    size_t defaults = 0;
    for (size_t i = 0; i < faa_variable_count; i++)
        read_setting(doctor, &faa_variables[i]);
    int rc = faa_probe_run(doctor);
    const char *disabled = faa_probe_value(doctor, "disabled");
    if (disabled[0])
        faa_finding_advise(faa_report_add(report, FAA_PROBLEM, "settings.disabled",
                                          "the agent is turned off: %s", disabled),
                           "Unset %.*s", (int)strcspn(disabled, "="), disabled);
    tell_warnings(doctor);
    if (faa_probe_value(doctor, "service")[0]) {
        tell_exporter(doctor);
        tell_sampler(doctor);
    } else if (rc) {
        faa_report_add(report, FAA_SKIPPED, "settings.unusable",
                       "what the agent makes of the settings is not known: %s",
                       doctor->probe_error);
    }
    check_names(doctor);
    for (size_t i = 0; i < report->setting_count; i++) {
        tell_setting(report, &report->settings[i]);
        defaults += report->settings[i].source == FAA_SOURCE_DEFAULT;
    }
    faa_report_add(report, FAA_OK, "settings.value",
                   "%zu others have their defaults (--json lists them)", defaults);
}

const struct faa_check faa_check_settings = {.title = "Settings", .run = run};

// SPDX-License-Identifier: MIT
// The report as JSON. Its fields are documented in the manual page.
#include "doctor/json.h"
#include "doctor/print.h"

static const char *status_name(enum faa_status status)
{
    static const char *const names[] = {
        [FAA_OK] = "ok",           [FAA_NOTE] = "note",       [FAA_WARNING] = "warning",
        [FAA_PROBLEM] = "problem", [FAA_SKIPPED] = "skipped",
    };
    return names[status];
}

static const char *state_name(enum faa_library_state state)
{
    static const char *const names[] = {
        [FAA_LIBRARY_INSTRUMENTED] = "instrumented",
        [FAA_LIBRARY_DISABLED] = "disabled",
        [FAA_LIBRARY_NOT_WANTED] = "not wanted",
        [FAA_LIBRARY_UNKNOWN_SHAPE] = "unknown shape",
        [FAA_LIBRARY_BROKEN] = "broken",
        [FAA_LIBRARY_NOT_TRIED] = "not tried",
        [FAA_LIBRARY_ABSENT] = "absent",
    };
    return names[state];
}

static const char *source_name(enum faa_source source)
{
    static const char *const names[] = {
        [FAA_SOURCE_DEFAULT] = "default",
        [FAA_SOURCE_ENVIRONMENT] = "environment",
        [FAA_SOURCE_OPTION] = "option",
        [FAA_SOURCE_LAUNCHER] = "launcher",
    };
    return names[source];
}

static void put_text(struct faa_json *json, const char *key, const char *value)
{
    if (value && *value)
        faa_json_string(json, key, value);
    else
        faa_json_null(json, key);
}

static void put_findings(struct faa_json *json, const struct faa_report *report)
{
    faa_json_open(json, "findings", '[');
    for (size_t i = 0; i < report->finding_count; i++) {
        const struct faa_finding *f = &report->findings[i];
        faa_json_open(json, NULL, '{');
        faa_json_string(json, "check", f->check);
        faa_json_string(json, "status", status_name(f->status));
        faa_json_string(json, "summary", f->summary);
        put_text(json, "advice", f->advice);
        faa_json_open(json, "facts", '{');
        for (size_t j = 0; j < f->fact_count; j++)
            faa_json_string(json, f->facts[j].key, f->facts[j].value);
        faa_json_close(json, '}');
        faa_json_close(json, '}');
    }
    faa_json_close(json, ']');
}

static void put_libraries(struct faa_json *json, const struct faa_report *report)
{
    faa_json_open(json, "libraries", '[');
    for (size_t i = 0; i < report->library_count; i++) {
        const struct faa_library *l = &report->libraries[i];
        faa_json_open(json, NULL, '{');
        faa_json_string(json, "name", l->name);
        faa_json_string(json, "library", l->title);
        faa_json_string(json, "state", state_name(l->state));
        put_text(json, "version", l->version);
        faa_json_string(json, "tested_versions", l->tested);
        faa_json_bool(json, "is_tested_version", !l->is_untested);
        put_text(json, "reason", l->reason);
        faa_json_close(json, '}');
    }
    faa_json_close(json, ']');
}

static void put_settings(struct faa_json *json, const struct faa_report *report)
{
    faa_json_open(json, "settings", '[');
    for (size_t i = 0; i < report->setting_count; i++) {
        const struct faa_setting *s = &report->settings[i];
        faa_json_open(json, NULL, '{');
        faa_json_string(json, "variable", s->variable);
        put_text(json, "alternative", s->alternative);
        put_text(json, "value", s->value);
        faa_json_bool(json, "is_masked", s->is_masked);
        faa_json_string(json, "source", source_name(s->source));
        put_text(json, "option", s->option);
        faa_json_close(json, '}');
    }
    faa_json_close(json, ']');
}

void faa_print_json(const struct faa_report *report, const struct faa_options *options)
{
    struct faa_json json = {.file = stdout};
    faa_json_open(&json, NULL, '{');
    faa_json_number(&json, "schema", FAA_JSON_SCHEMA);
    faa_json_string(&json, "version", FAA_VERSION);
    faa_json_bool(&json, "traces_arrive", faa_report_is_good(report));
    faa_json_bool(&json, "is_cut", report->is_cut);
    // Its arguments may be secrets.
    put_text(&json, "command", options->command[0]);
    put_findings(&json, report);
    put_libraries(&json, report);
    put_settings(&json, report);
    faa_json_close(&json, '}');
}

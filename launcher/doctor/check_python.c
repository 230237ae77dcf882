// SPDX-License-Identifier: MIT
// The interpreter by its own words, and the libraries that it would find.
#include "doctor/check.h"
#include "doctor/interpreter.h"
#include "doctor/known.h"

#include <stdio.h>
#include <stdlib.h>

enum { ASK_LIMIT_MS = 15000, OLDEST_MINOR = 9, NEWEST_TESTED_MINOR = 14 };

struct facts {
    const char *version, *implementation, *prefix;
    int free_threaded, is_virtual, ended;
};

// The part before the first dot: find_spec imports what is before the last one.
static struct faa_str top_of(const char *module)
{
    return (struct faa_str){module, strcspn(module, ".")};
}

// The first entry of the report's libraries with this name, made when there is none yet.
static void list_libraries(struct faa_report *report)
{
    for (size_t i = 0; i < faa_known_library_count; i++) {
        const struct faa_known_library *known = &faa_known_libraries[i];
        if (!known->title)
            continue;
        report->libraries[report->library_count++] =
            (struct faa_library){.name = known->name,
                                 .title = known->title,
                                 .tested = known->versions,
                                 .state = FAA_LIBRARY_ABSENT};
    }
}

// The top-level names of all modules, each once.
static void list_modules(const char *modules[FAA_LIBRARIES_MAX + 1],
                         char names[FAA_LIBRARIES_MAX][64])
{
    size_t n = 0;
    for (size_t i = 0; i < faa_known_library_count; i++) {
        struct faa_str top = top_of(faa_known_libraries[i].module);
        size_t j = 0;
        while (j < n && !faa_str_eq(faa_str_of(names[j]), top))
            j++;
        if (j < n || top.n >= sizeof(names[0]))
            continue;
        snprintf(names[n], sizeof(names[n]), "%.*s", (int)top.n, top.p);
        modules[n] = names[n];
        n++;
    }
    modules[n] = NULL;
}

// A module that is there, with the version of its package ("" where it has none). The version is
// that of the library whose descriptor tells about it.
static void note_module(struct faa_doctor *doctor, const char *module, const char *version)
{
    struct faa_report *report = doctor->report;
    for (size_t i = 0; i < faa_known_library_count; i++) {
        const struct faa_known_library *known = &faa_known_libraries[i];
        if (!faa_str_eq(top_of(known->module), faa_str_of(module)))
            continue;
        doctor->has_module[i] = 1;
        for (size_t j = 0; known->title && j < report->library_count; j++) {
            struct faa_library *library = &report->libraries[j];
            if (strcmp(library->name, known->name) != 0)
                continue;
            library->state = FAA_LIBRARY_NOT_TRIED;
            snprintf(library->version, sizeof(library->version), "%s", version);
            library->is_untested = faa_known_is_untested(version, library->tested);
        }
    }
}

static void read_facts(struct faa_doctor *doctor, struct facts *facts)
{
    char *rest = doctor->child.out, *line;
    while (faa_child_line(&rest, &line)) {
        char *value = strchr(line, '\t'), *more = NULL;
        if (value) {
            *value++ = '\0';
            more = strchr(value, '\t');
        }
        if (strcmp(line, "end") == 0)
            facts->ended = 1;
        if (!value)
            continue;
        if (more)
            *more++ = '\0';
        if (strcmp(line, "version") == 0)
            facts->version = value;
        else if (strcmp(line, "implementation") == 0)
            facts->implementation = value;
        else if (strcmp(line, "prefix") == 0)
            facts->prefix = value;
        else if (strcmp(line, "free_threaded") == 0)
            facts->free_threaded = value[0] == '1';
        else if (strcmp(line, "virtual") == 0)
            facts->is_virtual = value[0] == '1';
        else if (strcmp(line, "module") == 0 && more)
            note_module(doctor, value, more);
    }
}

static unsigned minor_of(const char *version)
{
    return strncmp(version, "3.", 2) == 0 ? (unsigned)strtoul(version + 2, NULL, 10) : 0;
}

static void tell_interpreter(struct faa_doctor *doctor, const struct facts *facts)
{
    unsigned minor = minor_of(facts->version);
    int is_cpython = strcmp(facts->implementation, "cpython") == 0;
    const char *shared = faa_elf_needs(&doctor->program, "libpython3");
    enum faa_status status = !is_cpython || minor < OLDEST_MINOR ? FAA_PROBLEM
                             : minor > NEWEST_TESTED_MINOR       ? FAA_WARNING
                                                                 : FAA_OK;
    struct faa_finding *f = faa_report_add(
        doctor->report, status, "python.version", "%s %s%s (%s%s, %s) in %s%s",
        is_cpython ? "CPython" : facts->implementation, facts->version,
        facts->free_threaded ? " free-threaded" : "", shared ? "with " : "libpython built in",
        shared ? shared : "", strstr(doctor->program.loader, "ld-musl") ? "musl" : "glibc",
        facts->is_virtual ? "the virtual environment " : "", facts->prefix);
    faa_finding_fact(f, "version", "%s", facts->version);
    faa_finding_fact(f, "implementation", "%s", facts->implementation);
    faa_finding_fact(f, "free_threaded", "%s", facts->free_threaded ? "true" : "false");
    faa_finding_fact(f, "prefix", "%s", facts->prefix);
    if (status == FAA_PROBLEM)
        faa_finding_advise(f, "The agent needs CPython 3.%d or newer", OLDEST_MINOR);
    else if (status == FAA_WARNING)
        faa_finding_advise(f, "CPython 3.%d is the newest that is tested", NEWEST_TESTED_MINOR);
    if (status == FAA_PROBLEM)
        doctor->python = NULL;
}

static void run(struct faa_doctor *doctor)
{
    static char names[FAA_LIBRARIES_MAX][64];
    const char *modules[FAA_LIBRARIES_MAX + 1];
    struct facts facts = {0};
    char how[FAA_FACT_MAX];
    if (!doctor->python)
        return;
    list_libraries(doctor->report);
    list_modules(modules, names);
    int rc = faa_interpreter_run(doctor, faa_interpreter_facts, modules, NULL, ASK_LIMIT_MS);
    if (rc)
        faa_child_describe(&doctor->child, how, sizeof(how));
    read_facts(doctor, &facts);
    if (facts.version && facts.implementation && facts.prefix)
        tell_interpreter(doctor, &facts);
    if (rc || !facts.ended || !facts.version) {
        struct faa_finding *f =
            faa_report_add(doctor->report, FAA_PROBLEM, "python.answer", "%s -I -c ... failed: %s",
                           doctor->command.program, rc ? how : "it said nothing");
        faa_finding_advise(f, "Does this Python work by itself, and is it CPython 3.%d or newer?",
                           OLDEST_MINOR);
        doctor->python = NULL;
    }
}

const struct faa_check faa_check_python = {.title = "The interpreter", .run = run};

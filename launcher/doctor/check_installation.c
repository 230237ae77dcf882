// SPDX-License-Identifier: MIT
// The agent's own files, and the libraries that they need.
#include "doctor/check.h"
#include "library.h"
#include "message.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { LOAD_LIMIT_MS = 10000 };

// What a package manager calls them.
static const struct {
    const char *library, *packages;
} packages[] = {
    {"libcurl.so",
     "libcurl4 (Debian, Ubuntu; libcurl4t64 on newer ones), libcurl (Red Hat, Alpine)"},
    {"libprotobuf-c.so", "libprotobuf-c1 (Debian, Ubuntu), protobuf-c (Red Hat, Alpine)"},
    {"libz.so", "zlib1g (Debian, Ubuntu), zlib (Red Hat, Alpine)"},
    {"libuv.so", "libuv1 (Debian, Ubuntu), libuv (Red Hat, Alpine)"},
};

static void agent_path(const struct faa_doctor *doctor, char out[PATH_MAX])
{
    const char *name = faa_command_basename(doctor->library);
    snprintf(out, PATH_MAX, "%.*slibfaa-agent.so", (int)(name - doctor->library), doctor->library);
}

// In a child: a library may be anything. Prints a line for each one that cannot be loaded.
static int load_all(void *arg)
{
    const struct faa_doctor *doctor = arg;
    int failed = dlopen(doctor->library, RTLD_NOW | RTLD_LOCAL) == NULL;
    if (failed)
        printf("libfaa.so\t%s\n", dlerror());
    for (size_t i = 0; i < doctor->program.needed_count; i++) {
        const char *name = doctor->program.needed[i];
        if (!dlopen(name, RTLD_NOW | RTLD_LOCAL)) {
            printf("%s\t%s\n", name, dlerror());
            failed = 1;
        }
    }
    return failed;
}

static void tell_missing(struct faa_doctor *doctor, const char *name, const char *error)
{
    struct faa_finding *f = faa_report_add(doctor->report, FAA_PROBLEM, "installation.libraries",
                                           "%s cannot be loaded: %s", name, error);
    faa_finding_fact(f, "library", "%s", name);
    for (size_t i = 0; i < FAA_COUNT(packages); i++)
        if (strncmp(name, packages[i].library, strlen(packages[i].library)) == 0)
            faa_finding_advise(f, "Install its package: %s", packages[i].packages);
    if (!f->advice[0])
        faa_finding_advise(f, "Is its folder mounted with noexec, or forbidden by SELinux or "
                              "AppArmor? Else install the agent again");
}

static void put_needed(const struct faa_elf *agent, char *out, size_t cap)
{
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < agent->needed_count && n < cap; i++)
        n += (size_t)snprintf(out + n, cap - n, "%s%s", i ? ", " : "", agent->needed[i]);
}

// doctor->program is the agent's meanwhile.
static void check_loading(struct faa_doctor *doctor)
{
    struct faa_child *child = &doctor->child;
    char *rest = child->out, *line, names[FAA_FACT_MAX];
    *child = (struct faa_child){.run = load_all, .arg = doctor, .limit_ms = LOAD_LIMIT_MS};
    int rc = faa_child_run(child), told = 0;
    while (faa_child_line(&rest, &line)) {
        char *tab = strchr(line, '\t');
        if (!tab)
            continue;
        *tab = '\0';
        tell_missing(doctor, line, tab + 1);
        told = 1;
    }
    if (rc && !told) {
        char how[FAA_FACT_MAX];
        faa_child_describe(child, how, sizeof(how));
        faa_report_add(doctor->report, FAA_PROBLEM, "installation.libraries",
                       "loading the agent's libraries failed: %s", how);
    }
    if (rc)
        return;
    put_needed(&doctor->program, names, sizeof(names));
    // A bundle has them all inside.
    const char *built_in = !faa_elf_needs(&doctor->program, "libcurl") ? "; the others are built in"
                           : !faa_elf_needs(&doctor->program, "libuv.") ? "; libuv is built in"
                                                                        : "";
    faa_finding_fact(faa_report_add(doctor->report, FAA_OK, "installation.libraries",
                                    "the libraries that it needs can be loaded: %s%s", names,
                                    built_in),
                     "libraries", "%s", names);
}

// Returns 0 when the file is a whole library for this processor; it stays in doctor->program.
static int check_file(struct faa_doctor *doctor, const char *path)
{
    int rc = faa_elf_read(path, &doctor->program);
    const char *why = rc < 0                       ? strerror(errno)
                      : rc > 0                     ? "it is no library"
                      : doctor->program.is_cut     ? "it is not whole"
                      : doctor->program.is_foreign ? "it is for another processor"
                                                   : NULL;
    if (!why)
        return 0;
    faa_finding_advise(faa_report_add(doctor->report, FAA_PROBLEM, "installation.files",
                                      "%s cannot be used: %s", path, why),
                       "Install the agent again");
    return -1;
}

static void check_program(struct faa_doctor *doctor, const char *name, enum faa_status status,
                          const char *for_what)
{
    char path[PATH_MAX];
    if (faa_library_look_program(doctor->library, name, path, sizeof(path)) == 0)
        return;
    faa_finding_advise(faa_report_add(doctor->report, status, "installation.programs",
                                      FAA_PROGRAM "-%s, which %s, is not in %s", name, for_what,
                                      path),
                       "Install the agent again");
}

static void run(struct faa_doctor *doctor)
{
    char agent[PATH_MAX], where[PATH_MAX];
    if (!doctor->library[0]) {
        if (faa_library_look(where, sizeof(where)) < 0)
            faa_finding_advise(faa_report_add(doctor->report, FAA_PROBLEM, "installation.files",
                                              "libfaa.so and libfaa-agent.so are not both in %s",
                                              where),
                               "Install the agent again (make install); the two libraries belong "
                               "beside each other");
        return;
    }
    if (!doctor->preload)
        faa_finding_advise(faa_report_add(doctor->report, FAA_PROBLEM, "installation.files",
                                          "%s cannot be preloaded: its path has white space, ':' "
                                          "or '$' in it",
                                          doctor->library),
                           "Install the agent in a folder without them");
    agent_path(doctor, agent);
    if (check_file(doctor, doctor->library) == 0 && check_file(doctor, agent) == 0) {
        struct faa_finding *f =
            faa_report_add(doctor->report, FAA_OK, "installation.files",
                           FAA_PROGRAM " " FAA_VERSION ": %s and libfaa-agent.so", doctor->library);
        faa_finding_fact(f, "version", "%s", FAA_VERSION);
        faa_finding_fact(f, "library", "%s", doctor->library);
        check_loading(doctor);
    }
    check_program(doctor, "guard", doctor->options->guard ? FAA_PROBLEM : FAA_NOTE,
                  "--guard needs");
    check_program(doctor, "probe", FAA_PROBLEM, "asks the collector");
}

const struct faa_check faa_check_installation = {.title = "The agent", .run = run};

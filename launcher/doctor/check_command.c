// SPDX-License-Identifier: MIT
// The command: whether it is found, what runs it, and whether anything can be preloaded there.
#include "doctor/check.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static int has_python(const struct faa_elf *elf)
{
    return elf->defines_python || elf->calls_python_main || elf->calls_python_init ||
           faa_elf_needs(elf, "libpython3") != NULL;
}

static int is_one_of(const char *path, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(faa_command_basename(path), names[i]) == 0)
            return 1;
    return 0;
}

// Programs that become what follows them, with their own environment. They may be static.
static int is_runner(const char *path)
{
    static const char *const names[] = {
        "env",       "nice",   "ionice",  "chrt",    "taskset",   "nohup",       "setsid",
        "timeout",   "stdbuf", "setpriv", "prlimit", "tini",      "tini-static", "dumb-init",
        "catatonit", "gosu",   "su-exec", "strace",  "catchsegv", "numactl"};
    return is_one_of(path, names, FAA_COUNT(names));
}

// Goes on with the first word behind a runner that has Python in it, if there is one.
static void look_further(struct faa_doctor *doctor)
{
    static struct faa_command command;
    static struct faa_elf elf;
    char **words = doctor->options->command;
    for (size_t i = 1; words[i] && i < 64; i++) {
        if (words[i][0] == '-')
            continue;
        faa_command_find(words[i], getenv("PATH"), &command);
        if (command.kind != FAA_COMMAND_PROGRAM || faa_elf_read(command.program, &elf) != 0 ||
            !has_python(&elf))
            continue;
        faa_report_add(doctor->report, FAA_NOTE, "command.found",
                       "%s is not Python: this is about %s, which follows it", words[0], words[i]);
        doctor->command = command;
        doctor->program = elf;
        return;
    }
}

static void tell_absent(struct faa_doctor *doctor)
{
    const struct faa_command *c = &doctor->command;
    const char *word = doctor->options->command[0];
    struct faa_finding *f;
    switch (c->kind) {
    case FAA_COMMAND_NOT_FOUND:
        f = faa_report_add(doctor->report, FAA_PROBLEM, "command.found", "%s: %s", c->program,
                           strchr(c->program, '/') ? "no such file" : "not found in PATH");
        faa_finding_advise(f,
                           c->scripts ? "The first line of %s names it: was its environment "
                                        "moved or removed?"
                                      : "Is the virtual environment with %s active? Else give "
                                        "its path",
                           c->scripts ? c->path : word);
        return;
    case FAA_COMMAND_SHELL_SCRIPT:
        f = faa_report_add(doctor->report, FAA_PROBLEM, "command.found",
                           "%s is a shell script: what it starts cannot be seen from here",
                           c->path);
        faa_finding_advise(f, "What it starts inherits the preload. Give doctor the command that "
                              "the script ends in");
        return;
    case FAA_COMMAND_LOOP:
        faa_report_add(doctor->report, FAA_PROBLEM, "command.found",
                       "%s: its scripts run one another without an end", c->path);
        return;
    default:
        f = faa_report_add(doctor->report, FAA_PROBLEM, "command.found", "%s cannot be run: %s",
                           c->program, strerror(c->error));
        faa_finding_advise(f, "Look at its permissions (ls -l), and those of its folders");
    }
}

// The kernel then tells the dynamic linker to ignore the environment (AT_SECURE).
static const char *secure_by(const char *path)
{
    static const char *const cleaners[] = {"sudo", "su", "doas", "pkexec", "runuser"};
    struct stat info;
    char value[64];
    if (is_one_of(path, cleaners, FAA_COUNT(cleaners)))
        return "gives its command another environment";
    if (stat(path, &info) < 0)
        return NULL;
    if ((info.st_mode & S_ISUID) && info.st_uid != getuid())
        return "is set-user-ID";
    if ((info.st_mode & S_ISGID) && (info.st_mode & S_IXGRP) && info.st_gid != getgid())
        return "is set-group-ID";
    return getuid() != 0 && getxattr(path, "security.capability", value, sizeof(value)) > 0
               ? "has file capabilities"
               : NULL;
}

// 0 when something can be preloaded into it.
static int check_preloadable(struct faa_doctor *doctor)
{
    const char *path = doctor->command.program;
    const char *secure = secure_by(path);
    struct faa_finding *f = NULL;
    if (doctor->program.is_foreign) {
        f = faa_report_add(doctor->report, FAA_PROBLEM, "command.preload",
                           "%s is for another processor or word size than the agent", path);
        faa_finding_advise(f, "Install the agent that was built for it");
    } else if (!doctor->program.loader[0]) {
        f = faa_report_add(doctor->report, FAA_PROBLEM, "command.preload",
                           "%s is statically linked: nothing can be preloaded into it", path);
        faa_finding_advise(f, "Use a Python that is linked dynamically. If this program starts "
                              "Python, give doctor the command that it starts");
    } else if (secure) {
        f = faa_report_add(doctor->report, FAA_PROBLEM, "command.preload",
                           "%s %s: LD_PRELOAD has no effect behind it", path, secure);
        faa_finding_advise(f, "Put fastapi-auto-agent behind it, in front of the Python command "
                              "(sudo fastapi-auto-agent uvicorn ...), or use a Python without "
                              "this privilege");
    }
    return f ? -1 : 0;
}

static const char *libc_of(const struct faa_elf *elf)
{
    return strstr(elf->loader, "ld-musl") ? "musl" : "glibc";
}

static void tell_program(struct faa_doctor *doctor)
{
    const struct faa_command *c = &doctor->command;
    const struct faa_elf *elf = &doctor->program;
    const char *shared = faa_elf_needs(elf, "libpython3");
    struct faa_finding *f;
    if (!has_python(elf)) {
        f = faa_report_add(doctor->report, FAA_PROBLEM, "command.found",
                           "%s is no Python, and no program that is linked with it", c->program);
        faa_finding_advise(f, "If it starts Python, that inherits the preload: give doctor the "
                              "command that it starts");
        return;
    }
    if (c->scripts)
        f = faa_report_add(doctor->report, FAA_OK, "command.found", "%s is a script of %s", c->path,
                           c->program);
    else
        f = faa_report_add(doctor->report, FAA_OK, "command.found", "it is %s", c->path);
    faa_finding_fact(f, "path", "%s", c->path);
    faa_finding_fact(f, "program", "%s", c->program);
    faa_finding_fact(f, "libpython", "%s", shared ? shared : "");
    faa_finding_fact(f, "linkage", "%s", shared ? "shared" : "static");
    faa_finding_fact(f, "libc", "%s", libc_of(elf));
    if (elf->defines_python || elf->calls_python_main)
        doctor->python = c->program;
    if (doctor->python)
        return;
    f = faa_report_add(doctor->report, FAA_WARNING, "trial.road",
                       "%s embeds Python (%s): the agent gets into it when it calls "
                       "Py_Initialize, which doctor does not try",
                       c->program, shared ? shared : "built in");
    faa_finding_fact(f, "road", "symbols");
    faa_finding_advise(f, "Run it once with --debug and look for 'found by' in the log");
}

static void run(struct faa_doctor *doctor)
{
    struct faa_command *c = &doctor->command;
    memset(&doctor->program, 0, sizeof(doctor->program));
    if (!doctor->options->command[0]) {
        faa_finding_advise(faa_report_add(doctor->report, FAA_NOTE, "command.found",
                                          "no command was given: Python and its libraries are not "
                                          "looked at"),
                           "fastapi-auto-agent doctor uvicorn app:app");
        return;
    }
    faa_command_find(doctor->options->command[0], getenv("PATH"), c);
    if (c->kind != FAA_COMMAND_PROGRAM) {
        tell_absent(doctor);
        return;
    }
    if (faa_elf_read(c->program, &doctor->program) != 0) {
        c->kind = FAA_COMMAND_UNREADABLE;
        c->error = errno;
        tell_absent(doctor);
        return;
    }
    if (is_runner(c->path))
        look_further(doctor);
    if (check_preloadable(doctor) == 0)
        tell_program(doctor);
}

const struct faa_check faa_check_command = {.title = "The command", .run = run};

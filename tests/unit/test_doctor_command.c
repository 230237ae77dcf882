// SPDX-License-Identifier: MIT
// Tests of how the doctor finds out what a command runs: PATH, first lines of scripts, ELF files,
// and children that do not end.
#include "doctor/child.h"
#include "doctor/command.h"
#include "doctor/elf.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/faa-doctor-XXXXXX";

static void make_folder(void)
{
    strcpy(folder + sizeof(folder) - 7, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void remove_folder(void)
{
    char command[64];
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

// Writes a file into the folder; returns its path, static.
static const char *file(const char *name, const void *p, size_t n, mode_t mode)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, p, n), (ssize_t)n);
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
    return path;
}

static const char *script(const char *name, const char *text)
{
    return file(name, text, strlen(text), 0755);
}

static const struct {
    const char *head, *program; // NULL: it is no script of this kind.
} scripts[] = {
    {"#!/usr/bin/python3\nimport x\n", "/usr/bin/python3"},
    {"#! /usr/bin/python3 -s\n", "/usr/bin/python3"},
    {"#!\t/usr/bin/python3\t-Es\n", "/usr/bin/python3"},
    {"#!/usr/bin/python3", "/usr/bin/python3"},
    {"#!python3\n", "./python3"}, // The kernel searches in no PATH.
    {"#!/usr/bin/env python3\n", "python3"},
    {"#!/usr/bin/env -S python3 -u\n", "python3"},
    {"#!/usr/bin/env -Spython3 -u\n", "python3"},
    {"#!/usr/bin/env -i A=b python3\n", "python3"},
    {"#!/usr/bin/env\n", NULL},
    {"#!/bin/sh\n'''exec' /long/venv/bin/python \"$0\" \"$@\"\n' '''\n", "/long/venv/bin/python"},
    {"#!/bin/sh\n'''exec' \"/a b/bin/python\" \"$0\" \"$@\"\n' '''\n", "/a b/bin/python"},
    {"#!/bin/sh\n'''exec' \"/a b/bin/python", "/bin/sh"},
    {"#!/bin/sh\nexec python\n", "/bin/sh"},
    {"#!/bin/sh", "/bin/sh"},
    {"#!\n", NULL},
    {"#!", NULL},
    {"import x\n", NULL},
    {"", NULL},
};

START_TEST(the_first_line_names_the_program)
{
    char out[PATH_MAX] = "";
    const char *head = scripts[_i].head;
    // On the heap, so that a byte too far is noticed.
    char *copy = malloc(strlen(head) + 1);
    memcpy(copy, head, strlen(head));
    int found = faa_command_read_script(copy, strlen(head), out);
    ck_assert_int_eq(found, scripts[_i].program != NULL);
    if (found)
        ck_assert_str_eq(out, scripts[_i].program);
    free(copy);
}
END_TEST

START_TEST(any_beginning_of_a_script_can_be_read)
{
    static const char alphabet[] = "#!/ \t\nenvsh'\"=-S\0\xff";
    char out[PATH_MAX];
    srand(7);
    for (int i = 0; i < 200000; i++) {
        size_t n = (size_t)rand() % 40;
        char *head = malloc(n + 1);
        for (size_t j = 0; j < n; j++)
            head[j] = alphabet[(size_t)rand() % (sizeof(alphabet) - 1)];
        if (n >= 2 && i % 2)
            memcpy(head, "#!", 2);
        if (faa_command_read_script(head, n, out))
            ck_assert_uint_gt(strlen(out), 0);
        free(head);
    }
}
END_TEST

START_TEST(path_is_searched_as_execvp_does)
{
    char out[PATH_MAX], path[PATH_MAX];
    snprintf(path, sizeof(path), "/nowhere:%s::%s/sub", folder, folder);
    file("tool", "", 0, 0644);
    if (getuid() == 0)
        ck_assert_int_eq(faa_command_search("tool", path, out), -EACCES);
    script("tool", "#!/bin/true\n");
    ck_assert_int_eq(faa_command_search("tool", path, out), 0);
    ck_assert_str_eq(out + strlen(folder), "/tool");
    ck_assert_int_eq(faa_command_search("nosuchtool", path, out), -ENOENT);
    ck_assert_str_eq(out, "nosuchtool");
    ck_assert_int_eq(faa_command_search("", path, out), -ENOENT);
    ck_assert_int_eq(faa_command_search(folder, path, out), -EACCES);
    ck_assert_int_eq(faa_command_search("sh", NULL, out), 0);
}
END_TEST

START_TEST(scripts_are_followed_to_the_program)
{
    static struct faa_command command;
    char text[PATH_MAX + 16];
    snprintf(text, sizeof(text), "#!%s/inner\n", folder);
    script("inner", "#!/proc/self/exe\n");
    faa_command_find(script("outer", text), "", &command);
    ck_assert_int_eq(command.kind, FAA_COMMAND_PROGRAM);
    ck_assert_int_eq(command.scripts, 2);
    ck_assert_str_eq(command.program, "/proc/self/exe");
    ck_assert_str_eq(faa_command_basename(command.path), "outer");
}
END_TEST

START_TEST(scripts_without_an_end_and_of_shells_are_told)
{
    static struct faa_command command;
    char text[PATH_MAX + 16];
    snprintf(text, sizeof(text), "#!%s/loop\n", folder);
    faa_command_find(script("loop", text), "", &command);
    ck_assert_int_eq(command.kind, FAA_COMMAND_LOOP);
    faa_command_find(script("start", "#!/bin/sh\nexec python\n"), "", &command);
    ck_assert_int_eq(command.kind, FAA_COMMAND_SHELL_SCRIPT);
    faa_command_find(script("bare", "exec python\n"), "", &command);
    ck_assert_int_eq(command.kind, FAA_COMMAND_SHELL_SCRIPT);
    faa_command_find(script("moved", "#!/nowhere/python\n"), "", &command);
    ck_assert_int_eq(command.kind, FAA_COMMAND_NOT_FOUND);
    ck_assert_str_eq(command.program, "/nowhere/python");
    faa_command_find("/bin/sh", "", &command);
    ck_assert_int_eq(command.kind, FAA_COMMAND_PROGRAM);
}
END_TEST

// ---- ELF --------------------------------------------------------------------------------------

static char *own_bytes(size_t *n)
{
    struct stat info;
    int fd = open("/proc/self/exe", O_RDONLY);
    ck_assert_int_eq(fstat(fd, &info), 0);
    *n = (size_t)info.st_size;
    char *bytes = malloc(*n);
    ck_assert_int_eq(read(fd, bytes, *n), (ssize_t)*n);
    close(fd);
    return bytes;
}

START_TEST(a_program_tells_its_loader_and_libraries)
{
    static struct faa_elf elf;
    ck_assert_int_eq(faa_elf_read("/proc/self/exe", &elf), 0);
    ck_assert(!elf.is_cut && !elf.is_foreign);
    ck_assert_ptr_nonnull(strstr(elf.loader, "/ld-"));
    ck_assert_ptr_nonnull(faa_elf_needs(&elf, "libc."));
    ck_assert_ptr_null(faa_elf_needs(&elf, "libpython3"));
    ck_assert(!elf.defines_python && !elf.calls_python_main && !elf.calls_python_init);
    ck_assert_int_eq(faa_elf_read(script("text", "#!/bin/sh\n"), &elf), 1);
    ck_assert_int_eq(faa_elf_read("/nowhere/x", &elf), -1);
    ck_assert_int_eq(errno, ENOENT);
}
END_TEST

START_TEST(cut_and_foreign_files_are_told)
{
    static struct faa_elf elf;
    size_t n;
    char *bytes = own_bytes(&n);
    ck_assert_int_eq(faa_elf_read(file("cut", bytes, n - 64, 0755), &elf), 0);
    ck_assert(elf.is_cut);
    ck_assert_int_eq(faa_elf_read(file("cut", bytes, 30, 0755), &elf), 0);
    ck_assert(elf.is_cut);
    bytes[18] ^= 0x7f; // e_machine
    ck_assert_int_eq(faa_elf_read(file("foreign", bytes, n, 0755), &elf), 0);
    ck_assert(elf.is_foreign && !elf.loader[0]);
    free(bytes);
}
END_TEST

START_TEST(damaged_files_can_be_read)
{
    static struct faa_elf elf;
    size_t n;
    char *bytes = own_bytes(&n);
    size_t sections = *(const size_t *)(const void *)(bytes + 40);
    srand(11);
    for (int i = 0; i < 400; i++) {
        char saved[64];
        // The header behind what makes it ours, and the table of sections.
        size_t at =
            i % 2 ? 24 + (size_t)rand() % 40 : sections + (size_t)rand() % (n - sections - 8);
        memcpy(saved, bytes + at, 8);
        for (int j = 0; j < 8 && at + (size_t)j < n; j++)
            bytes[at + (size_t)j] = (char)(rand() % 3 ? rand() : 0xff);
        ck_assert_int_eq(faa_elf_read(file("damaged", bytes, n, 0755), &elf), 0);
        memcpy(bytes + at, saved, 8);
    }
    free(bytes);
}
END_TEST

// ---- children ---------------------------------------------------------------------------------

static struct faa_child child;

static int run_shell(const char *text, unsigned limit_ms)
{
    static char shell[] = "/bin/sh", option[] = "-c", buffer[512];
    static char *argv[] = {shell, option, buffer, NULL};
    snprintf(buffer, sizeof(buffer), "%s", text);
    child = (struct faa_child){
        .argv = argv, .limit_ms = limit_ms, .variables = {{"FAA_A", "b"}, {"FAA_GONE", NULL}}};
    return faa_child_run(&child);
}

START_TEST(a_child_is_heard_out)
{
    setenv("FAA_GONE", "x", 1);
    ck_assert_int_eq(run_shell("echo \"$FAA_A$FAA_GONE\"; cat; echo e >&2", 20000), 0);
    ck_assert_str_eq(child.out, "b\n");
    ck_assert_str_eq(child.err, "e\n");
    ck_assert(!child.timed_out);
}
END_TEST

START_TEST(how_a_child_failed_is_told)
{
    char how[128];
    ck_assert_int_eq(run_shell("echo first >&2; echo 'last words' >&2; echo >&2; exit 3", 20000),
                     -1);
    faa_child_describe(&child, how, sizeof(how));
    ck_assert_str_eq(how, "last words");
    ck_assert_int_eq(run_shell("exit 3", 20000), -1);
    faa_child_describe(&child, how, sizeof(how));
    ck_assert_str_eq(how, "it ended with status 3");
    ck_assert_int_eq(run_shell("kill -SEGV $$", 20000), -1);
    faa_child_describe(&child, how, sizeof(how));
    ck_assert_ptr_nonnull(strstr(how, "signal 11"));
    char nowhere[] = "/nowhere/x", *argv[] = {nowhere, NULL};
    child = (struct faa_child){.argv = argv, .limit_ms = 20000};
    ck_assert_int_eq(faa_child_run(&child), -1);
    faa_child_describe(&child, how, sizeof(how));
    ck_assert_str_eq(how, strerror(ENOENT));
}
END_TEST

START_TEST(a_child_that_does_not_end_is_ended_with_its_children)
{
    char how[128], line[256];
    ck_assert_int_eq(run_shell("echo before; trap '' TERM; sleep 1000 & echo $!; wait", 300), -1);
    ck_assert(child.timed_out);
    faa_child_describe(&child, how, sizeof(how));
    ck_assert_str_eq(how, "it did not end within 0 seconds");
    char *rest = child.out, *word;
    ck_assert(faa_child_line(&rest, &word));
    ck_assert_str_eq(word, "before");
    ck_assert(faa_child_line(&rest, &word));
    // Killed, and perhaps not yet reaped by whoever has adopted it.
    snprintf(line, sizeof(line), "! grep -qs 'State:.[RSDT]' /proc/%d/status", atoi(word));
    int gone = 0;
    for (int i = 0; i < 500 && !gone; i++) {
        gone = system(line) == 0;
        usleep(10000);
    }
    ck_assert(gone);
    ck_assert(!faa_child_line(&rest, &word));
}
END_TEST

START_TEST(a_child_that_leaves_its_output_open_is_not_waited_for)
{
    ck_assert_int_eq(run_shell("echo done; sleep 1000 & exit 0", 20000), 0);
    ck_assert_str_eq(child.out, "done\n");
}
END_TEST

START_TEST(what_a_child_says_too_much_is_lost)
{
    ck_assert_int_eq(run_shell("head -c 300000 /dev/zero | tr '\\0' a; echo e >&2", 20000), 0);
    ck_assert_uint_eq(strlen(child.out), FAA_CHILD_OUT_MAX - 1);
    ck_assert_str_eq(child.err, "e\n");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("doctor_command");
    TCase *cases = tcase_create("command");
    tcase_set_timeout(cases, 120);
    tcase_add_checked_fixture(cases, make_folder, remove_folder);
    tcase_add_loop_test(cases, the_first_line_names_the_program, 0, FAA_COUNT(scripts));
    tcase_add_test(cases, any_beginning_of_a_script_can_be_read);
    tcase_add_test(cases, path_is_searched_as_execvp_does);
    tcase_add_test(cases, scripts_are_followed_to_the_program);
    tcase_add_test(cases, scripts_without_an_end_and_of_shells_are_told);
    tcase_add_test(cases, a_program_tells_its_loader_and_libraries);
    tcase_add_test(cases, cut_and_foreign_files_are_told);
    tcase_add_test(cases, damaged_files_can_be_read);
    tcase_add_test(cases, a_child_is_heard_out);
    tcase_add_test(cases, how_a_child_failed_is_told);
    tcase_add_test(cases, a_child_that_does_not_end_is_ended_with_its_children);
    tcase_add_test(cases, a_child_that_leaves_its_output_open_is_not_waited_for);
    tcase_add_test(cases, what_a_child_says_too_much_is_lost);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

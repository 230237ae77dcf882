// SPDX-License-Identifier: MIT
// What execvp and the kernel do with a command, without running it.
#include "doctor/command.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

const char *faa_command_basename(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int is_executable(const char *path)
{
    struct stat info;
    if (stat(path, &info) < 0)
        return -errno;
    if (!S_ISREG(info.st_mode))
        return -EACCES;
    return access(path, X_OK) < 0 ? -errno : 0;
}

static int put_path(char out[PATH_MAX], struct faa_str folder, const char *word)
{
    int n = folder.n ? snprintf(out, PATH_MAX, "%.*s/%s", (int)folder.n, folder.p, word)
                     : snprintf(out, PATH_MAX, "%s", word);
    return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

// A file that may not be run is only remembered: a later folder may have one that may.
int faa_command_search(const char *word, const char *path, char out[PATH_MAX])
{
    int worst = -ENOENT;
    if (!*word)
        return -ENOENT;
    if (strchr(word, '/')) {
        int rc = put_path(out, (struct faa_str){NULL, 0}, word);
        return rc ? rc : is_executable(out);
    }
    for (const char *p = path ? path : "/bin:/usr/bin";; p++) {
        size_t n = strcspn(p, ":");
        int rc = put_path(out, (struct faa_str){p, n}, word);
        rc = rc ? rc : is_executable(out);
        if (rc == 0)
            return 0;
        if (rc == -EACCES)
            worst = rc;
        p += n;
        if (!*p)
            break;
    }
    snprintf(out, PATH_MAX, "%s", word);
    return worst;
}

// ---- the first lines --------------------------------------------------------------------------

// Takes the next word off, as the kernel and env part them.
static struct faa_str next_word(struct faa_str *rest)
{
    *rest = faa_str_trim(*rest);
    size_t n = 0;
    while (n < rest->n && rest->p[n] != ' ' && rest->p[n] != '\t')
        n++;
    struct faa_str word = {rest->p, n};
    rest->p += n;
    rest->n -= n;
    return word;
}

static int ends_with(struct faa_str text, const char *end)
{
    size_t n = strlen(end);
    return text.n >= n && memcmp(text.p + text.n - n, end, n) == 0;
}

static int put(char out[PATH_MAX], struct faa_str text)
{
    if (text.n == 0 || text.n >= PATH_MAX || memchr(text.p, '\0', text.n))
        return 0;
    memcpy(out, text.p, text.n);
    out[text.n] = '\0';
    return 1;
}

// What follows env: its options and variables, then the program.
static int read_env(struct faa_str rest, char out[PATH_MAX])
{
    struct faa_str word;
    do {
        word = next_word(&rest);
        if (faa_str_starts(word, FAA_STR("-S")) && word.n > 2)
            word = (struct faa_str){word.p + 2, word.n - 2};
    } while (word.n && (word.p[0] == '-' || memchr(word.p, '=', word.n)));
    return put(out, word);
}

// '''exec' "/path with blanks/python" "$0" "$@": a shell runs it, Python sees a string.
static int read_exec(struct faa_str line, char out[PATH_MAX])
{
    const struct faa_str start = FAA_STR("'''exec' ");
    if (!faa_str_starts(line, start))
        return 0;
    struct faa_str rest = {line.p + start.n, line.n - start.n};
    rest = faa_str_trim(rest);
    if (rest.n && rest.p[0] == '"') {
        const char *end = memchr(rest.p + 1, '"', rest.n - 1);
        return end ? put(out, (struct faa_str){rest.p + 1, (size_t)(end - rest.p) - 1}) : 0;
    }
    return put(out, next_word(&rest));
}

static struct faa_str line_at(const char *p, const char *end)
{
    const char *newline = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
    return (struct faa_str){p, (size_t)((newline ? newline : end) - p)};
}

int faa_command_read_script(const char *head, size_t n, char out[PATH_MAX])
{
    if (n < 3 || memcmp(head, "#!", 2) != 0)
        return 0;
    struct faa_str first = line_at(head + 2, head + n), program = next_word(&first);
    if (ends_with(program, "/env"))
        return read_env(first, out);
    if (ends_with(program, "/sh") || ends_with(program, "/bash")) {
        const char *second = first.p + first.n + 1;
        if (second < head + n && read_exec(line_at(second, head + n), out))
            return 1;
    }
    if (!put(out, program))
        return 0;
    // The kernel searches in no PATH.
    if (!strchr(out, '/') && program.n + 2 < PATH_MAX) {
        memmove(out + 2, out, program.n + 1);
        memcpy(out, "./", 2);
    }
    return 1;
}

// ---- through all of them ----------------------------------------------------------------------

static ssize_t read_head(const char *path, char head[FAA_SCRIPT_HEAD_MAX])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, head, FAA_SCRIPT_HEAD_MAX);
    close(fd);
    return n;
}

static int is_shell(const char *path)
{
    static const char *const shells[] = {"sh",  "bash", "dash",    "ash", "zsh",
                                         "ksh", "fish", "busybox", "mksh"};
    for (size_t i = 0; i < FAA_COUNT(shells); i++)
        if (strcmp(faa_command_basename(path), shells[i]) == 0)
            return 1;
    return 0;
}

// Looks into the file at out->program. 1: it is a script, and `next` is what runs it.
static int look_into(struct faa_command *out, char next[PATH_MAX])
{
    char head[FAA_SCRIPT_HEAD_MAX];
    ssize_t n = read_head(out->program, head);
    if (n < 0) {
        out->error = errno;
        out->kind = FAA_COMMAND_UNREADABLE;
        return 0;
    }
    out->kind = FAA_COMMAND_PROGRAM;
    if (n >= 4 && memcmp(head, "\177ELF", 4) == 0)
        return 0;
    if (faa_command_read_script(head, (size_t)n, next))
        return 1;
    // What has no first line of this kind is given to the shell by execvp.
    out->kind = FAA_COMMAND_SHELL_SCRIPT;
    return 0;
}

void faa_command_find(const char *word, const char *path, struct faa_command *out)
{
    char next[PATH_MAX];
    memset(out, 0, sizeof(*out));
    snprintf(next, sizeof(next), "%s", word);
    for (int depth = 0; depth <= FAA_SCRIPTS_MAX; depth++) {
        int rc = faa_command_search(next, path, out->program);
        if (depth == 0)
            memcpy(out->path, out->program, sizeof(out->path));
        out->scripts = depth;
        if (rc) {
            out->error = -rc;
            out->kind = rc == -ENOENT || rc == -ENOTDIR ? FAA_COMMAND_NOT_FOUND
                                                        : FAA_COMMAND_NOT_EXECUTABLE;
            return;
        }
        if (!look_into(out, next)) {
            if (out->kind == FAA_COMMAND_PROGRAM && depth > 0 && is_shell(out->program))
                out->kind = FAA_COMMAND_SHELL_SCRIPT;
            return;
        }
    }
    out->kind = FAA_COMMAND_LOOP;
}

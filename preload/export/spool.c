// SPDX-License-Identifier: MIT
// One file per batch: <Unix time, ns>-<pid>-<number>.otlp. It is written under a name that nobody
// looks for and then renamed; a lock on it is held while it is being sent.
#include "export/spool.h"

#include "base/clock.h"
#include "base/log.h"
#include "export/otlp.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { NAME_LEN_MAX = 64, BATCH_MAX = FAA_OTLP_MESSAGE_MAX };

static const char suffix[] = ".otlp";

// What a file begins with; the message follows.
struct head {
    char magic[8];
    uint32_t spans, crc;
    uint64_t len;
};
static const char magic[8] = "faaspol1";

struct faa_spool {
    int folder;
    uint64_t limit;
    unsigned number;
    int taken; // The open and locked file that is being sent; -1.
    char name[NAME_LEN_MAX];
    uint8_t *memory;
};

// ---- the folder -------------------------------------------------------------------------------

static const char *check_folder(int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return strerror(errno);
    if (st.st_uid != geteuid())
        return "it belongs to another user";
    return st.st_mode & (S_IWGRP | S_IWOTH) ? "others may write to it" : NULL;
}

struct faa_spool *faa_spool_open(const char *folder, uint64_t limit)
{
    struct faa_spool *spool = calloc(1, sizeof(*spool));
    if (!spool)
        return NULL;
    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        faa_debug("FAA_SPOOL_DIR: %s cannot be made: %s", folder, strerror(errno));
    spool->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const char *why = spool->folder < 0 ? strerror(errno) : check_folder(spool->folder);
    spool->limit = limit;
    spool->taken = -1;
    if (!why)
        return spool;
    faa_warn("FAA_SPOOL_DIR: %s cannot be used: %s; nothing is kept in files", folder, why);
    faa_spool_close(spool);
    return NULL;
}

void faa_spool_close(struct faa_spool *spool)
{
    if (!spool)
        return;
    faa_spool_leave(spool);
    if (spool->folder >= 0)
        close(spool->folder);
    free(spool);
}

static int is_batch(const char *name)
{
    size_t n = strlen(name), k = sizeof(suffix) - 1;
    return n > k && n < NAME_LEN_MAX && name[0] >= '0' && name[0] <= '9' &&
           strcmp(name + n - k, suffix) == 0;
}

// The folder, read from its beginning; NULL when that cannot be done.
static DIR *list(const struct faa_spool *spool)
{
    int fd = openat(spool->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir && fd >= 0)
        close(fd);
    return dir;
}

// The oldest file after `after` (in the order of names, which is that of time), and the bytes of
// all of them. Returns 1, or 0 when there is none.
static int find_oldest(const struct faa_spool *spool, const char *after, char out[NAME_LEN_MAX],
                       uint64_t *total)
{
    DIR *dir = list(spool);
    int found = 0;
    *total = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        struct stat st;
        if (!is_batch(entry->d_name) ||
            fstatat(spool->folder, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        *total += (uint64_t)st.st_size;
        if (strcmp(entry->d_name, after) > 0 && (!found || strcmp(entry->d_name, out) < 0)) {
            memcpy(out, entry->d_name, strlen(entry->d_name) + 1); // is_batch has seen its length.
            found = 1;
        }
    }
    if (dir)
        closedir(dir);
    return found;
}

// Opens and locks a file. Returns -1 when another process has it, or it is gone by now.
static int claim(const struct faa_spool *spool, const char *name)
{
    struct stat st;
    int fd = openat(spool->folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
        st.st_nlink > 0)
        return fd;
    close(fd);
    return -1;
}

// ---- writing ----------------------------------------------------------------------------------

static int write_all(int fd, const void *p, size_t n)
{
    for (const char *at = p; n > 0;) {
        ssize_t done = write(fd, at, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return -1;
        at += done;
        n -= (size_t)done;
    }
    return 0;
}

static int write_file(const struct faa_spool *spool, const char *name,
                      const struct faa_batch *batch)
{
    struct head head = {.spans = batch->spans, .len = batch->len};
    memcpy(head.magic, magic, sizeof(magic));
    head.crc = (uint32_t)crc32(crc32(0, NULL, 0), batch->message, (uInt)batch->len);
    int fd = openat(spool->folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    int rc = write_all(fd, &head, sizeof(head)) || write_all(fd, batch->message, batch->len);
    if (close(fd) < 0)
        rc = -1;
    if (rc)
        unlinkat(spool->folder, name, 0);
    return rc ? -1 : 0;
}

// Deletes the oldest files until `need` more bytes fit. Returns the spans that were in them.
static uint64_t make_room(const struct faa_spool *spool, uint64_t need)
{
    char name[NAME_LEN_MAX], after[NAME_LEN_MAX] = "";
    uint64_t total, dropped = 0;
    while (find_oldest(spool, after, name, &total) && total + need > spool->limit) {
        struct head head = {0};
        int fd = claim(spool, name);
        memcpy(after, name, sizeof(after));
        if (fd < 0)
            continue; // It is being sent at this moment.
        if (read(fd, &head, sizeof(head)) == (ssize_t)sizeof(head))
            dropped += head.spans;
        unlinkat(spool->folder, name, 0);
        close(fd);
    }
    return dropped;
}

int faa_spool_put(struct faa_spool *spool, const struct faa_batch *batch, uint64_t *dropped)
{
    char hidden[NAME_LEN_MAX + 8], name[NAME_LEN_MAX];
    uint64_t need = sizeof(struct head) + batch->len;
    *dropped = 0;
    if (need > spool->limit)
        return -1;
    *dropped = make_room(spool, need);
    snprintf(name, sizeof(name), "%020llu-%d-%u%s",
             (unsigned long long)faa_clock_wall_of_mono(faa_clock_mono_ns()), getpid(),
             spool->number++, suffix);
    snprintf(hidden, sizeof(hidden), ".%s", name);
    if (write_file(spool, hidden, batch))
        return -1;
    if (renameat(spool->folder, hidden, spool->folder, name) == 0)
        return 0;
    unlinkat(spool->folder, hidden, 0);
    return -1;
}

// ---- reading ----------------------------------------------------------------------------------

static int read_all(int fd, void *p, size_t n)
{
    for (char *at = p; n > 0;) {
        ssize_t done = read(fd, at, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return -1;
        at += done;
        n -= (size_t)done;
    }
    return 0;
}

// Returns 0, or -1 when the file is torn, or none of ours.
static int read_file(struct faa_spool *spool, int fd, struct faa_batch *batch)
{
    struct head head;
    if (read_all(fd, &head, sizeof(head)) || memcmp(head.magic, magic, sizeof(magic)) != 0 ||
        head.len == 0 || head.len > BATCH_MAX || head.spans == 0)
        return -1;
    spool->memory = malloc(FAA_OTLP_HEADROOM + head.len);
    uint8_t *message = spool->memory ? spool->memory + FAA_OTLP_HEADROOM : NULL;
    if (!message || read_all(fd, message, head.len) ||
        crc32(crc32(0, NULL, 0), message, (uInt)head.len) != head.crc)
        return -1;
    *batch = (struct faa_batch){message, head.len, head.spans};
    return 0;
}

int faa_spool_take(struct faa_spool *spool, struct faa_batch *batch)
{
    char after[NAME_LEN_MAX] = "";
    uint64_t total;
    faa_spool_leave(spool);
    while (find_oldest(spool, after, spool->name, &total)) {
        memcpy(after, spool->name, sizeof(after));
        spool->taken = claim(spool, spool->name);
        if (spool->taken < 0)
            continue;
        if (read_file(spool, spool->taken, batch) == 0)
            return 1;
        faa_debug("%s in the spool is damaged, and thrown away", spool->name);
        faa_spool_done(spool);
    }
    return 0;
}

void faa_spool_leave(struct faa_spool *spool)
{
    if (spool->taken >= 0)
        close(spool->taken);
    spool->taken = -1;
    free(spool->memory);
    spool->memory = NULL;
}

void faa_spool_done(struct faa_spool *spool)
{
    if (spool->taken >= 0)
        unlinkat(spool->folder, spool->name, 0);
    faa_spool_leave(spool);
}

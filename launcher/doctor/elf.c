// SPDX-License-Identifier: MIT
// Sections and their strings, read piece by piece: the file may be anything, and may be changing.
#include "doctor/elf.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct reader {
    int fd;
    ElfW(Ehdr) head;
    ElfW(Shdr) * sections;
    size_t section_count;
    struct faa_elf *elf;
};

// `n` bytes from `offset`, with a NUL behind them; NULL where the file has none there.
static void *read_part(const struct reader *r, uint64_t offset, uint64_t n)
{
    if (n == 0 || n > FAA_ELF_TABLE_MAX || offset > INT64_MAX - n)
        return NULL;
    char *p = malloc((size_t)n + 1);
    if (p && pread(r->fd, p, (size_t)n, (off_t)offset) != (ssize_t)n) {
        free(p);
        return NULL;
    }
    if (p)
        p[n] = '\0';
    return p;
}

static int is_ours(const ElfW(Ehdr) * head)
{
    ElfW(Ehdr) ours = {0};
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int ok = fd >= 0 && read(fd, &ours, sizeof(ours)) == (ssize_t)sizeof(ours);
    if (fd >= 0)
        close(fd);
    return !ok || (head->e_machine == ours.e_machine &&
                   head->e_ident[EI_CLASS] == ours.e_ident[EI_CLASS] &&
                   head->e_ident[EI_DATA] == ours.e_ident[EI_DATA]);
}

static void read_loader(struct reader *r)
{
    size_t count = r->head.e_phnum;
    ElfW(Phdr) *parts = read_part(r, r->head.e_phoff, count * sizeof(*parts));
    for (size_t i = 0; parts && i < count; i++) {
        char *name = parts[i].p_type == PT_INTERP
                         ? read_part(r, parts[i].p_offset, parts[i].p_filesz)
                         : NULL;
        if (name && strlen(name) < sizeof(r->elf->loader))
            memcpy(r->elf->loader, name, strlen(name) + 1);
        free(name);
    }
    free(parts);
}

// The section's strings: those of the section that it is linked with.
static char *read_strings(const struct reader *r, const ElfW(Shdr) * section, size_t *n)
{
    if (section->sh_link >= r->section_count)
        return NULL;
    *n = r->sections[section->sh_link].sh_size;
    return read_part(r, r->sections[section->sh_link].sh_offset, *n);
}

static void read_symbols(struct reader *r, const ElfW(Shdr) * section)
{
    size_t strings_size, count = section->sh_size / sizeof(ElfW(Sym));
    ElfW(Sym) *symbols = read_part(r, section->sh_offset, section->sh_size);
    char *strings = read_strings(r, section, &strings_size);
    for (size_t i = 0; symbols && strings && i < count; i++) {
        if (symbols[i].st_name >= strings_size)
            continue;
        const char *name = strings + symbols[i].st_name;
        int defined = symbols[i].st_shndx != SHN_UNDEF;
        if (strncmp(name, "Py_", 3) != 0)
            continue;
        if (strcmp(name, "Py_BytesMain") == 0 || strcmp(name, "Py_Main") == 0)
            *(defined ? &r->elf->defines_python : &r->elf->calls_python_main) = 1;
        else if (!defined && strncmp(name, "Py_Initialize", 13) == 0)
            r->elf->calls_python_init = 1;
    }
    free(symbols);
    free(strings);
}

static void read_needed(struct reader *r, const ElfW(Shdr) * section)
{
    struct faa_elf *elf = r->elf;
    size_t strings_size, count = section->sh_size / sizeof(ElfW(Dyn));
    ElfW(Dyn) *entries = read_part(r, section->sh_offset, section->sh_size);
    char *strings = read_strings(r, section, &strings_size);
    for (size_t i = 0; entries && strings && i < count && entries[i].d_tag != DT_NULL; i++) {
        if (entries[i].d_tag != DT_NEEDED || entries[i].d_un.d_val >= strings_size ||
            elf->needed_count == FAA_ELF_NEEDED_MAX)
            continue;
        const char *name = strings + entries[i].d_un.d_val;
        if (strlen(name) < FAA_ELF_NAME_MAX)
            memcpy(elf->needed[elf->needed_count++], name, strlen(name) + 1);
    }
    free(entries);
    free(strings);
}

static void read_sections(struct reader *r)
{
    struct stat info;
    uint64_t size = (uint64_t)r->head.e_shnum * sizeof(*r->sections);
    r->elf->is_cut = fstat(r->fd, &info) == 0 && (uint64_t)info.st_size < r->head.e_shoff + size;
    r->section_count = r->head.e_shnum;
    r->sections = read_part(r, r->head.e_shoff, size);
    for (size_t i = 0; r->sections && i < r->section_count; i++) {
        if (r->sections[i].sh_type == SHT_DYNSYM)
            read_symbols(r, &r->sections[i]);
        else if (r->sections[i].sh_type == SHT_DYNAMIC)
            read_needed(r, &r->sections[i]);
    }
    free(r->sections);
}

int faa_elf_read(const char *path, struct faa_elf *elf)
{
    struct reader r = {.elf = elf};
    memset(elf, 0, sizeof(*elf));
    r.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (r.fd < 0)
        return -1;
    ssize_t n = pread(r.fd, &r.head, sizeof(r.head), 0);
    int saved = errno, rc = n < 0 ? -1 : 1;
    if (n >= EI_NIDENT && memcmp(r.head.e_ident, ELFMAG, SELFMAG) == 0) {
        rc = 0;
        if (n < (ssize_t)sizeof(r.head))
            elf->is_cut = 1;
        else if (!is_ours(&r.head))
            elf->is_foreign = 1;
        else {
            read_loader(&r);
            read_sections(&r);
        }
    }
    close(r.fd);
    errno = saved;
    return rc;
}

const char *faa_elf_needs(const struct faa_elf *elf, const char *start)
{
    for (size_t i = 0; i < elf->needed_count; i++) {
        // A name may be a path ("$ORIGIN/../lib/...").
        const char *slash = strrchr(elf->needed[i], '/');
        const char *name = slash ? slash + 1 : elf->needed[i];
        if (strncmp(name, start, strlen(start)) == 0)
            return name;
    }
    return NULL;
}

// SPDX-License-Identifier: MIT
// What an ELF file says about itself, as far as a preload is concerned.
#ifndef FAA_LAUNCHER_DOCTOR_ELF_H
#define FAA_LAUNCHER_DOCTOR_ELF_H

#include "base/str.h"

enum {
    FAA_ELF_NEEDED_MAX = 24,    ///< Libraries that are remembered.
    FAA_ELF_NAME_MAX = 96,      ///< Bytes of a library's name, with the NUL.
    FAA_ELF_TABLE_MAX = 8 << 20 ///< Bytes of a table that is read; a larger one is not looked at.
};

struct faa_elf {
    int is_foreign;     ///< Of another processor or word size than ours: nothing else is filled in.
    int is_cut;         ///< It ends before its table of sections does.
    char loader[256];   ///< The dynamic linker; "" for a static program or a library.
    int defines_python; ///< It has the interpreter in it (Py_BytesMain).
    int calls_python_main; ///< It is `python` itself, before a shared library,
    int calls_python_init; ///< or a program that embeds Python.
    size_t needed_count;
    char needed[FAA_ELF_NEEDED_MAX][FAA_ELF_NAME_MAX]; ///< Its libraries, in its order.
};

/// Reads the file, whose bytes are not trusted. Returns 0, 1 when it is no ELF file, or -1 with
/// errno when it cannot be read.
FAA_MUSTUSE int faa_elf_read(const char *path, struct faa_elf *elf);

/// The name, without folders, of the first library needed whose name begins with `start`; or NULL.
const char *faa_elf_needs(const struct faa_elf *elf, const char *start);

#endif

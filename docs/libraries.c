// SPDX-License-Identifier: MIT
// Prints docs/LIBRARIES.md, from the descriptors as they were compiled; or, with the argument
// `table`, launcher/doctor/libraries.inc. It is linked with the
// instrumentors alone and calls nothing of theirs, so what they want of Python stays undefined.
// A descriptor that tells nothing about itself, or tells it badly, is an error.
#include "instrumentors/instrumentor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct faa_instrumentor *const instrumentors[] = {
#define X(name) &faa_instrumentor_##name,
    FAA_INSTRUMENTORS(X)
#undef X
};

enum { COUNT = sizeof(instrumentors) / sizeof(instrumentors[0]) };

static const char head[] =
    "# Libraries\n"
    "\n"
    "What is traced, as the code itself says it: `make docs` writes this page from the "
    "descriptors\n"
    "of the instrumentors. [README](../README.md) has the introduction, and the meaning of the\n"
    "variables.\n"
    "\n"
    "Each library can be turned off by its name: `OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=%s`,\n"
    "or several as a comma list. A version of a library whose shape is not one that is known is\n"
    "left alone; one line of `--debug` names what is missing.\n";

static int fails;

static void complain(const struct faa_instrumentor *i, const char *what)
{
    fprintf(stderr, "libraries: the descriptor of %s (module %s) %s\n", i->name, i->module, what);
    fails = 1;
}

// A library of several modules has several descriptors; the one that tells about it is the first
// that tells anything.
static const struct faa_instrumentor *teller(const struct faa_instrumentor *one)
{
    const struct faa_instrumentor *found = NULL;
    for (size_t i = 0; !found && i < COUNT; i++) {
        if (strcmp(instrumentors[i]->name, one->name) == 0 && instrumentors[i]->about.library)
            found = instrumentors[i];
    }
    return found;
}

static int is_empty(const char *text)
{
    return !text || !*text;
}

// Text stands in one cell of a table.
static int fits_cell(const char *text)
{
    return !text || !strpbrk(text, "\n\r|");
}

// Lists are separated by one space, and name nothing twice.
static int is_list(const char *list)
{
    const char *word = list;
    while (*word) {
        size_t n = strcspn(word, " ");
        if (n == 0)
            return 0;
        const char *other = word[n] ? word + n + 1 : word + n;
        if (word[n] && !*other)
            return 0;
        for (const char *p = other; *p; p += strcspn(p, " "), p += *p == ' ') {
            if (strncmp(p, word, n) == 0 && (p[n] == ' ' || !p[n]))
                return 0;
        }
        word = other;
    }
    return 1;
}

static void check(const struct faa_instrumentor *i)
{
    const struct faa_instrumentor *t = teller(i);
    if (!t)
        complain(i, "says nothing about the library (.about)");
    if (t != i) {
        if (i->about.library)
            complain(i, "says again what another one of the same name says");
        return;
    }
    if (is_empty(i->about.library) || is_empty(i->about.versions) || is_empty(i->about.spans) ||
        !i->about.attributes || !i->about.switches)
        complain(i, "leaves something out of .about");
    else if (!is_list(i->about.attributes) || !is_list(i->about.switches))
        complain(i, "has a list that is no list of different words");
    if (!fits_cell(i->about.library) || !fits_cell(i->about.versions) ||
        !fits_cell(i->about.spans) || !fits_cell(i->about.attributes) ||
        !fits_cell(i->about.switches))
        complain(i, "has a line break or a bar in .about");
}

static void print_list(const char *label, const char *list)
{
    if (!*list)
        return;
    printf("| %s | ", label);
    for (const char *word = list; *word; word += strcspn(word, " "), word += *word == ' ')
        printf("%s`%.*s`", word == list ? "" : ", ", (int)strcspn(word, " "), word);
    printf(" |\n");
}

static void print_library(const struct faa_instrumentor *i)
{
    printf("\n## %s\n\n| | |\n| --- | --- |\n", i->about.library);
    printf("| name | `%s` |\n", i->name);
    printf("| tested versions | %s |\n", i->about.versions);
    printf("| spans | %s |\n", i->about.spans);
    print_list("attributes", i->about.attributes);
    print_list("switches", i->about.switches);
}

static int by_library(const void *a, const void *b)
{
    const struct faa_instrumentor *const *left = a, *const *right = b;
    return strcasecmp((*left)->about.library, (*right)->about.library);
}

static void print_literal(const char *text, const char *end)
{
    if (!text) {
        printf("NULL%s", end);
        return;
    }
    putchar('"');
    for (const char *p = text; *p; p++)
        printf(*p == '"' || *p == '\\' ? "\\%c" : "%c", *p);
    printf("\"%s", end);
}

// A struct faa_known_library each, in the order of the list.
static void print_table(void)
{
    puts("// SPDX-License-Identifier: MIT\n"
         "// `make docs` writes this table from the descriptors of the instrumentors.");
    for (size_t i = 0; i < COUNT; i++) {
        printf("{");
        print_literal(instrumentors[i]->name, ", ");
        print_literal(instrumentors[i]->module, ", ");
        print_literal(instrumentors[i]->about.library, ", ");
        print_literal(instrumentors[i]->about.versions, "},\n");
    }
}

static void print_page(const struct faa_instrumentor **told, size_t count)
{
    qsort(told, count, sizeof(told[0]), by_library);
    printf(head, told[count / 2]->name);
    for (size_t i = 0; i < count; i++)
        print_library(told[i]);
}

int main(int argc, char **argv)
{
    const struct faa_instrumentor *told[COUNT];
    size_t count = 0;
    for (size_t i = 0; i < COUNT; i++) {
        check(instrumentors[i]);
        if (instrumentors[i]->about.library)
            told[count++] = instrumentors[i];
    }
    if (fails)
        return EXIT_FAILURE;
    if (argc == 2 && strcmp(argv[1], "table") == 0)
        print_table();
    else
        print_page(told, count);
    return ferror(stdout) || fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}

// SPDX-License-Identifier: MIT
// The report as text: one line per finding, what to do about it below.
#include "doctor/print.h"

#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WIDTH = 96, INDENT = 7 };

struct style {
    const char *label, *colour;
};

static struct style style_of(enum faa_status status)
{
    switch (status) {
    case FAA_OK:
        return (struct style){"ok", "\033[32m"};
    case FAA_WARNING:
        return (struct style){"warn", "\033[33m"};
    case FAA_PROBLEM:
        return (struct style){"FAIL", "\033[1;31m"};
    case FAA_SKIPPED:
        return (struct style){"skip", "\033[2m"};
    default:
        return (struct style){"note", "\033[36m"};
    }
}

static int wants_colour(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && (!no || !*no) && term && strcmp(term, "dumb") != 0;
}

// A stranger's bytes: valid UTF-8 without controls, C1 among them.
static void make_harmless(const char *text, char out[FAA_UTF8_CLEAN_MAX(FAA_SUMMARY_MAX)])
{
    faa_utf8_clean(faa_str_of(text), out, FAA_UTF8_CLEAN_MAX(FAA_SUMMARY_MAX));
    for (unsigned char *p = (unsigned char *)out; *p; p++) {
        if (*p < 0x20 || *p == 0x7f)
            *p = '?';
        else if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
            p[0] = p[1] = '?';
    }
}

// Breaks lines between words, with `column` taken already.
static void print_wrapped(const char *text, int column)
{
    char clean[FAA_UTF8_CLEAN_MAX(FAA_SUMMARY_MAX)];
    make_harmless(text, clean);
    for (const char *p = clean; *p;) {
        int n = (int)strcspn(p, " ");
        if (column > INDENT && column + 1 + n > WIDTH) {
            printf("\n%*s", INDENT, "");
            column = INDENT;
        }
        int blank = column > INDENT && p != clean;
        printf("%s%.*s", blank ? " " : "", n, p);
        column += n + blank;
        p += n;
        p += *p == ' ';
    }
    putchar('\n');
}

void faa_print_section(const struct faa_report *report, const char *title, size_t first)
{
    int colour = wants_colour();
    if (first >= report->finding_count)
        return;
    printf("%s%s%s\n", colour ? "\033[1m" : "", title, colour ? "\033[0m" : "");
    for (size_t i = first; i < report->finding_count; i++) {
        const struct faa_finding *f = &report->findings[i];
        struct style style = style_of(f->status);
        printf("  %s%-4s%s ", colour ? style.colour : "", style.label, colour ? "\033[0m" : "");
        print_wrapped(f->summary, INDENT);
        if (f->advice[0]) {
            printf("%*s-> ", INDENT, "");
            print_wrapped(f->advice, INDENT + 3);
        }
    }
    putchar('\n');
    fflush(stdout); // The next check may take seconds.
}

void faa_print_verdict(const struct faa_report *report)
{
    size_t problems = faa_report_count(report, FAA_PROBLEM);
    size_t warnings = faa_report_count(report, FAA_WARNING);
    if (report->is_cut)
        puts("There was more to say than there is room for.");
    if (faa_report_is_good(report))
        printf("Traces will arrive");
    else
        printf("Traces will not arrive: %zu problem%s", problems, problems == 1 ? "" : "s");
    if (warnings)
        printf(", %zu warning%s", warnings, warnings == 1 ? "" : "s");
    puts(".");
}

// SPDX-License-Identifier: MIT
// Findings in a table with a ceiling.
#include "doctor/report.h"

#include <stdarg.h>
#include <stdio.h>

// Makes what vsnprintf has cut off end in dots, behind a whole character.
static void end_in_dots(char *text, size_t cap)
{
    size_t n = cap - sizeof("...");
    while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
        n--;
    memcpy(text + n, "...", sizeof("..."));
}

__attribute__((format(printf, 3, 0))) static void format(char *out, size_t cap, const char *fmt,
                                                         va_list args)
{
    int n = vsnprintf(out, cap, fmt, args);
    if (n < 0)
        out[0] = '\0';
    else if ((size_t)n >= cap)
        end_in_dots(out, cap);
}

void faa_report_format(char *out, size_t cap, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    format(out, cap, fmt, args);
    va_end(args);
}

struct faa_finding *faa_report_add(struct faa_report *report, enum faa_status status,
                                   const char *check, const char *fmt, ...)
{
    if (report->finding_count == FAA_FINDINGS_MAX) {
        report->is_cut = 1;
        report->finding_count--;
    }
    struct faa_finding *finding = &report->findings[report->finding_count++];
    va_list args;
    finding->status = status;
    finding->check = check;
    finding->advice[0] = '\0';
    finding->fact_count = 0;
    va_start(args, fmt);
    format(finding->summary, sizeof(finding->summary), fmt, args);
    va_end(args);
    return finding;
}

struct faa_finding *faa_finding_advise(struct faa_finding *finding, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    format(finding->advice, sizeof(finding->advice), fmt, args);
    va_end(args);
    return finding;
}

struct faa_finding *faa_finding_fact(struct faa_finding *finding, const char *key, const char *fmt,
                                     ...)
{
    if (finding->fact_count == FAA_FACTS_MAX)
        return finding;
    struct faa_fact *fact = &finding->facts[finding->fact_count++];
    va_list args;
    fact->key = key;
    va_start(args, fmt);
    format(fact->value, sizeof(fact->value), fmt, args);
    va_end(args);
    return finding;
}

size_t faa_report_count(const struct faa_report *report, enum faa_status status)
{
    size_t count = 0;
    for (size_t i = 0; i < report->finding_count; i++)
        count += report->findings[i].status == status;
    return count;
}

int faa_report_is_good(const struct faa_report *report)
{
    return !report->is_cut && faa_report_count(report, FAA_PROBLEM) == 0;
}

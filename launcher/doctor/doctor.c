// SPDX-License-Identifier: MIT
// The checks, one after another, on the environment that the command would get.
#include "doctor/doctor.h"

#include "doctor/check.h"
#include "doctor/print.h"
#include "environment.h"
#include "library.h"
#include "message.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static const struct faa_check *const checks[] = {
#define X(name) &faa_check_##name,
    FAA_CHECKS(X)
#undef X
};

// The variables that faa_environment_set may change.
static int remember(struct faa_doctor *doctor)
{
    static const char *const names[] = {"OTEL_SERVICE_NAME", "OTEL_EXPORTER_OTLP_ENDPOINT",
                                        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "FAA_LOG_LEVEL"};
    for (size_t i = 0; i < FAA_COUNT(names); i++) {
        const char *value = getenv(names[i]);
        doctor->before[i].name = names[i];
        doctor->before[i].value = value && *value ? strdup(value) : NULL;
        if (value && *value && !doctor->before[i].value)
            return -1;
    }
    return 0;
}

static int prepare(struct faa_doctor *doctor)
{
    if (remember(doctor) < 0 || faa_environment_set(doctor->options) < 0)
        return -1;
    if (faa_library_look(doctor->library, sizeof(doctor->library)) < 0) {
        doctor->library[0] = '\0';
        return 0;
    }
    int rc = faa_environment_preload(getenv("LD_PRELOAD"), doctor->library, &doctor->preload);
    return rc == -EINVAL ? 0 : rc;
}

static int finish(struct faa_doctor *doctor)
{
    for (size_t i = 0; i < FAA_BEFORE_MAX; i++)
        free(doctor->before[i].value);
    free(doctor->preload);
    if (fflush(stdout) == 0 && !ferror(stdout))
        return faa_report_is_good(doctor->report) ? EXIT_SUCCESS : EXIT_FAILURE;
    faa_message_print("cannot write to standard output: %s", strerror(errno));
    return EXIT_FAILURE;
}

int faa_doctor_run(const struct faa_options *options)
{
    static struct faa_report report;
    static struct faa_doctor doctor;
    doctor.options = options;
    doctor.report = &report;
    signal(SIGCHLD, SIG_DFL); // It may come ignored, and then nobody could be waited for.
    if (prepare(&doctor) < 0) {
        faa_message_print("cannot set the environment: %s", strerror(errno));
        return EXIT_FAILURE;
    }
    for (size_t i = 0; i < FAA_COUNT(checks); i++) {
        size_t first = report.finding_count;
        checks[i]->run(&doctor);
        if (!options->json)
            faa_print_section(&report, checks[i]->title, first);
    }
    if (options->json)
        faa_print_json(&report, options);
    else
        faa_print_verdict(&report);
    return finish(&doctor);
}

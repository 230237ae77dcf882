// SPDX-License-Identifier: MIT
// A child and its lines "key TAB value".
#include "doctor/probe.h"

#include "library.h"

#include <stdio.h>
#include <stdlib.h>

// Both protocols may be tried, each for ten seconds at most, and a name be asked for before.
enum { PROBE_LIMIT_MS = 25000 };

int faa_probe_run(struct faa_doctor *doctor)
{
    char path[PATH_MAX], *argv[] = {path, NULL}, *rest = doctor->child.out, *line;
    if (!doctor->library[0] ||
        faa_library_look_program(doctor->library, "probe", path, sizeof(path)) < 0) {
        snprintf(doctor->probe_error, sizeof(doctor->probe_error), "the agent is not complete");
        return -1;
    }
    // Not the agent's own level: it would silence what the doctor wants to hear, or say too much.
    doctor->child = (struct faa_child){
        .argv = argv,
        .limit_ms = PROBE_LIMIT_MS,
        .variables = {{"LD_PRELOAD", NULL}, {"FAA_LOG_LEVEL", NULL}, {"OTEL_LOG_LEVEL", NULL}}};
    int rc = faa_child_run(&doctor->child);
    doctor->child.argv = NULL;
    if (rc)
        faa_child_describe(&doctor->child, doctor->probe_error, sizeof(doctor->probe_error));
    while (faa_child_line(&rest, &line) && doctor->probe_count < FAA_PROBE_LINES_MAX) {
        char *value = strchr(line, '\t');
        if (!value)
            continue;
        *value++ = '\0';
        doctor->probe[doctor->probe_count].key = line;
        doctor->probe[doctor->probe_count++].value = value;
    }
    return rc;
}

const char *faa_probe_value(const struct faa_doctor *doctor, const char *key)
{
    for (size_t i = 0; i < doctor->probe_count; i++)
        if (strcmp(doctor->probe[i].key, key) == 0)
            return doctor->probe[i].value;
    return "";
}

double faa_probe_number(const struct faa_doctor *doctor, const char *key)
{
    return strtod(faa_probe_value(doctor, key), NULL);
}

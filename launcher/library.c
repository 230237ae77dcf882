// SPDX-License-Identifier: MIT
// Where the tracer's libraries are, as seen from the launcher's own place.
#include "library.h"

#include "message.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

// Cuts the last component off, and the slash before it.
static void cut_last(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash)
        *slash = '\0';
}

static int is_readable(const char *folder, const char *subfolder, const char *file, char *out,
                       size_t cap)
{
    int n = snprintf(out, cap, "%s%s/%s", folder, subfolder, file);
    return n > 0 && (size_t)n < cap && access(out, R_OK) == 0;
}

// Leaves the path of libfaa.so in `out`.
static int is_complete(const char *folder, const char *subfolder, char *out, size_t cap)
{
    return is_readable(folder, subfolder, "libfaa-agent.so", out, cap) &&
           is_readable(folder, subfolder, "libfaa.so", out, cap);
}

int faa_library_look(char *out, size_t cap)
{
    char bin[PATH_MAX], prefix[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", bin, sizeof(bin) - 1);
    if (n < 0) {
        snprintf(out, cap, "/proc/self/exe, which cannot be read");
        return -1;
    }
    bin[n] = '\0';
    cut_last(bin);
    memcpy(prefix, bin, sizeof(prefix));
    cut_last(prefix);
    if (is_complete(prefix, "/lib", out, cap) || is_complete(bin, "", out, cap))
        return 0;
    snprintf(out, cap, "'%.400s/lib' or '%.400s'", prefix, bin);
    return -1;
}

int faa_library_find(char *out, size_t cap)
{
    if (faa_library_look(out, cap) == 0)
        return 0;
    faa_message_print("cannot find libfaa.so and libfaa-agent.so in %s", out);
    return -1;
}

int faa_library_look_program(const char *library, const char *name, char *out, size_t cap)
{
    static const char *const places[] = {"/../libexec/", "/"};
    char folder[PATH_MAX];
    snprintf(folder, sizeof(folder), "%s", library);
    cut_last(folder);
    for (size_t i = 0; i < FAA_COUNT(places); i++) {
        int n = snprintf(out, cap, "%s%s" FAA_PROGRAM "-%s", folder, places[i], name);
        if (n > 0 && (size_t)n < cap && access(out, X_OK) == 0)
            return 0;
    }
    snprintf(out, cap, "'%.400s/../libexec' or '%.400s'", folder, folder);
    return -1;
}

int faa_library_find_guard(const char *library, char *out, size_t cap)
{
    if (faa_library_look_program(library, "guard", out, cap) == 0)
        return 0;
    faa_message_print("cannot find " FAA_PROGRAM "-guard in %s", out);
    return -1;
}

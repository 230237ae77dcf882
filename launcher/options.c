// SPDX-License-Identifier: MIT
// The command line: what was asked for, and the text of --help.
#include "options.h"

#include "base/utf8.h"
#include "endpoint.h"
#include "message.h"

#include <getopt.h>
#include <unistd.h>

const char faa_options_help[] =
    "Usage: " FAA_PROGRAM " [OPTION]... [--] COMMAND [ARG]...\n"
    "  or:  " FAA_PROGRAM " [OPTION]... doctor [--json] [--] [COMMAND [ARG]...]\n"
    "Run COMMAND and trace the FastAPI applications in it, without changing them.\n"
    "With doctor, look at all that its traces need, and say what is wrong and what\n"
    "to do; COMMAND is not run. To run a program named doctor: -- doctor\n"
    "\n"
    "  --service-name NAME    name of the service in the traces\n"
    "                         (default: " FAA_DEFAULT_SERVICE_NAME ")\n"
    "  --jaeger-endpoint URL  collector that gets the traces, by OTLP (gRPC or HTTP)\n"
    "                         (default: " FAA_DEFAULT_ENDPOINT ")\n"
    "  --guard                stay as the command's parent and export for it, so that\n"
    "                         nothing is lost when a process is killed\n"
    "                         (default as PID 1; --no-guard turns it off)\n"
    "  --die-with-parent      with --guard: end the command when the caller ends\n"
    "  --debug                log on standard error what the tracer does\n"
    "  --json                 with doctor: tell it as JSON\n"
    "  --version              print the version and exit\n"
    "  --help                 print this help and exit\n"
    "\n"
    "An option goes before the environment, and the environment before the defaults:\n"
    "  OTEL_SERVICE_NAME, or service.name in OTEL_RESOURCE_ATTRIBUTES\n"
    "  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, or OTEL_EXPORTER_OTLP_ENDPOINT\n"
    "  FAA_LOG_LEVEL\n"
    "\n"
    "The exit status is that of COMMAND; 127 if COMMAND is not found, 126 if it\n"
    "cannot be run, and 2 if nothing was started. That of doctor is 0 if traces will\n"
    "arrive, 1 if not or if that cannot be told, and 2 for wrong usage.\n"
    "\n"
    "Examples:\n"
    "  " FAA_PROGRAM " uvicorn app:app\n"
    "  " FAA_PROGRAM " --service-name shop --jaeger-endpoint http://jaeger:4318 \\\n"
    "      python3 -m uvicorn app:app --workers 2\n"
    "  " FAA_PROGRAM " doctor uvicorn app:app\n";

// Beyond the range of a char, so that getopt's optopt tells them from short options.
enum {
    OPT_SERVICE_NAME = 256,
    OPT_JAEGER_ENDPOINT,
    OPT_GUARD,
    OPT_NO_GUARD,
    OPT_DIE_WITH_PARENT,
    OPT_DEBUG,
    OPT_JSON,
    OPT_VERSION,
    OPT_HELP
};

static const struct option long_options[] = {
    {"service-name", required_argument, NULL, OPT_SERVICE_NAME},
    {"jaeger-endpoint", required_argument, NULL, OPT_JAEGER_ENDPOINT},
    {"guard", no_argument, NULL, OPT_GUARD},
    {"no-guard", no_argument, NULL, OPT_NO_GUARD},
    {"die-with-parent", no_argument, NULL, OPT_DIE_WITH_PARENT},
    {"debug", no_argument, NULL, OPT_DEBUG},
    {"json", no_argument, NULL, OPT_JSON},
    {"version", no_argument, NULL, OPT_VERSION},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

// C0 and DEL, and C1 as UTF-8 writes it.
static int has_control(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p == 0x7f || (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0))
            return 1;
    return 0;
}

// Returns NULL, or what is wrong with the name.
static const char *check_service_name(const char *name)
{
    char clean[FAA_UTF8_CLEAN_MAX(FAA_SERVICE_NAME_MAX)];
    if (name[strspn(name, " ")] == '\0')
        return "it is empty";
    if (strnlen(name, FAA_SERVICE_NAME_MAX + 1) > FAA_SERVICE_NAME_MAX)
        return "it is longer than 255 bytes";
    if (has_control(name))
        return "it contains a control character";
    faa_utf8_clean(faa_str_of(name), clean, sizeof(clean));
    return strcmp(clean, name) == 0 ? NULL : "it is not valid UTF-8";
}

static enum faa_options_action take_service_name(struct faa_options *out)
{
    const char *why = check_service_name(optarg);
    if (why) {
        faa_message_print("invalid --service-name: %s", why);
        return FAA_OPTIONS_BAD;
    }
    out->service_name = optarg;
    return FAA_OPTIONS_RUN;
}

static enum faa_options_action take_jaeger_endpoint(struct faa_options *out)
{
    const char *why = faa_endpoint_check(optarg);
    if (why) {
        faa_message_print("invalid --jaeger-endpoint: %s", why);
        return FAA_OPTIONS_BAD;
    }
    out->jaeger_endpoint = optarg;
    return FAA_OPTIONS_RUN;
}

// `argument` is the whole of the one that getopt did not like.
static enum faa_options_action refuse(int result, const char *argument)
{
    // What follows '=' is not repeated, for it may be a secret.
    int n = (int)strnlen(argument, 256);
    if (memchr(argument, '=', (size_t)n))
        n = (int)strcspn(argument, "=");
    if (result == ':')
        faa_message_print("option '%.*s' needs an argument", n, argument);
    else if (optopt >= OPT_SERVICE_NAME)
        faa_message_print("option '%.*s' takes no argument", n, argument);
    else if (optopt != 0)
        faa_message_print("unknown option '-%c'", optopt);
    else
        faa_message_print("unknown option '%.*s'", n, argument);
    return FAA_OPTIONS_BAD;
}

// Returns FAA_OPTIONS_RUN for "go on".
static enum faa_options_action take(int option, char **argv, struct faa_options *out)
{
    switch (option) {
    case OPT_SERVICE_NAME:
        return take_service_name(out);
    case OPT_JAEGER_ENDPOINT:
        return take_jaeger_endpoint(out);
    case OPT_GUARD:
    case OPT_NO_GUARD:
        out->guard = option == OPT_GUARD;
        return FAA_OPTIONS_RUN;
    case OPT_DIE_WITH_PARENT:
        out->die_with_parent = true;
        return FAA_OPTIONS_RUN;
    case OPT_DEBUG:
        out->debug = true;
        return FAA_OPTIONS_RUN;
    case OPT_JSON:
        out->json = true;
        return FAA_OPTIONS_RUN;
    case OPT_VERSION:
        return FAA_OPTIONS_VERSION;
    case OPT_HELP:
        return FAA_OPTIONS_HELP;
    default:
        return refuse(option, argv[optind - 1]);
    }
}

// The word that asks for the doctor; behind "--" it is a command.
static int is_doctor(int argc, char **argv)
{
    return optind < argc && strcmp(argv[optind], "doctor") == 0 &&
           strcmp(argv[optind - 1], "--") != 0;
}

static enum faa_options_action check(const struct faa_options *options, int has_command)
{
    if (!has_command && !options->doctor)
        faa_message_print("no command given");
    else if (options->die_with_parent && !options->guard)
        faa_message_print("--die-with-parent needs --guard");
    else if (options->json && !options->doctor)
        faa_message_print("--json belongs to doctor");
    else
        return FAA_OPTIONS_RUN;
    return FAA_OPTIONS_BAD;
}

enum faa_options_action faa_options_parse(int argc, char **argv, struct faa_options *out)
{
    *out = (struct faa_options){.guard = getpid() == 1};
    for (;;) {
        // '+' ends at the first argument that is no option; with ':' getopt leaves the messages to
        // us.
        int option = getopt_long(argc, argv, "+:", long_options, NULL);
        if (option == -1 && (out->doctor || !is_doctor(argc, argv)))
            break;
        if (option == -1) {
            out->doctor = true;
            optind++; // Its options follow.
            continue;
        }
        enum faa_options_action action = take(option, argv, out);
        if (action != FAA_OPTIONS_RUN)
            return action;
    }
    out->command = argv + optind;
    return check(out, optind < argc);
}

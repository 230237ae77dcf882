// SPDX-License-Identifier: MIT
// The way to the collector, step by step: its name, a connection, TLS, the protocol, a span.
#include "doctor/check.h"
#include "doctor/probe.h"

#include <curl/curl.h>
#include <stdlib.h>

enum step { STEP_NAME, STEP_CONNECT, STEP_TLS, STEP_PROTOCOL, STEP_SPAN, STEP_NONE };

static const char *const checks[] = {
    [STEP_NAME] = "collector.name", [STEP_CONNECT] = "collector.connect",
    [STEP_TLS] = "collector.tls",   [STEP_PROTOCOL] = "collector.protocol",
    [STEP_SPAN] = "collector.span",
};

struct answer {
    const char *endpoint, *reason, *verdict, *protocol, *address;
    int curl_code, tls, proxied, is_unix;
    long status;
};

static int is_tls_error(int code)
{
    static const int codes[] = {CURLE_SSL_CONNECT_ERROR,  CURLE_PEER_FAILED_VERIFICATION,
                                CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CERTPROBLEM,
                                CURLE_SSL_CIPHER,         CURLE_SSL_ISSUER_ERROR,
                                CURLE_SSL_CRL_BADFILE,    CURLE_USE_SSL_FAILED};
    for (size_t i = 0; i < FAA_COUNT(codes); i++)
        if (code == codes[i])
            return 1;
    return 0;
}

static int is_sent(const struct answer *a)
{
    return strcmp(a->verdict, "sent") == 0;
}

// The step at which it ended; STEP_NONE: at none.
static enum step find_failure(const struct faa_doctor *doctor, const struct answer *a)
{
    int connected = faa_probe_number(doctor, "connect_ms") > 0 || a->address[0];
    if (is_sent(a))
        return STEP_NONE;
    if (a->curl_code == CURLE_COULDNT_RESOLVE_HOST || a->curl_code == CURLE_COULDNT_RESOLVE_PROXY ||
        (a->curl_code == CURLE_OPERATION_TIMEDOUT && strncmp(a->reason, "Resolving", 9) == 0))
        return STEP_NAME;
    if (is_tls_error(a->curl_code))
        return STEP_TLS;
    if (a->curl_code == CURLE_COULDNT_CONNECT || (a->curl_code && !connected))
        return STEP_CONNECT;
    if (a->curl_code && a->tls && faa_probe_number(doctor, "tls_ms") <= 0)
        return STEP_TLS;
    if (a->curl_code || a->status == 404 || a->status == 405 || a->status == 415 ||
        strcmp(a->reason, "it answers with a web page") == 0)
        return STEP_PROTOCOL;
    return STEP_SPAN;
}

static void tell_success(struct faa_doctor *doctor, const struct answer *a, enum step step)
{
    struct faa_report *report = doctor->report;
    const char *port = faa_probe_value(doctor, "port");
    switch (step) {
    case STEP_NAME:
        if (a->is_unix)
            return;
        faa_finding_fact(faa_report_add(report, FAA_OK, checks[step],
                                        "%s's name or address is known",
                                        a->proxied ? "the proxy" : "the host"),
                         "ms", "%s", faa_probe_value(doctor, "name_ms"));
        return;
    case STEP_CONNECT:
        if (a->is_unix)
            faa_report_add(report, FAA_OK, checks[step], "connected to %s", a->endpoint);
        else
            faa_finding_fact(faa_report_add(report, FAA_OK, checks[step],
                                            "connected to %s%s, port %s", a->address,
                                            a->proxied ? " (the proxy)" : "", port),
                             "ms", "%s", faa_probe_value(doctor, "connect_ms"));
        return;
    case STEP_TLS:
        if (a->tls)
            faa_finding_fact(faa_report_add(report, FAA_OK, checks[step],
                                            "TLS: the certificate is one that is trusted"),
                             "ms", "%s", faa_probe_value(doctor, "tls_ms"));
        return;
    case STEP_PROTOCOL:
        faa_finding_fact(faa_report_add(report, FAA_OK, checks[step], "it speaks OTLP over %s",
                                        strcmp(a->protocol, "grpc") == 0 ? "gRPC" : "HTTP"),
                         "protocol", "%s", a->protocol);
        return;
    default:
        faa_finding_fact(faa_report_add(report, FAA_OK, checks[step],
                                        "it took a test span of the service %s (trace %s)",
                                        faa_probe_value(doctor, "service"),
                                        faa_probe_value(doctor, "trace_id")),
                         "trace_id", "%s", faa_probe_value(doctor, "trace_id"));
    }
}

// Connected, and nothing came.
static int is_slow(const struct answer *a, enum step step)
{
    return step == STEP_PROTOCOL && a->curl_code == CURLE_OPERATION_TIMEDOUT;
}

static const char *advice_for(const struct answer *a, enum step step)
{
    switch (step) {
    case STEP_NAME:
        return a->proxied
                   ? "Is the proxy's name right?"
                   : "Is the name right, and known here? Inside a container, names are those "
                     "of its network";
    case STEP_CONNECT:
        return a->is_unix
                   ? "Does a collector listen at this socket, and may this user write to it?"
                   : "Start Jaeger or a collector, or say where it is: --jaeger-endpoint, or "
                     "OTEL_EXPORTER_OTLP_ENDPOINT. Inside a container, localhost is the "
                     "container itself; a firewall may be in between";
    case STEP_TLS:
        if (a->curl_code == CURLE_SSL_CERTPROBLEM)
            return "Look at OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and ..._CLIENT_KEY";
        return a->curl_code == CURLE_SSL_CONNECT_ERROR
                   ? "Does it speak TLS at all? If not, write http:// in place of https://"
                   : "Name the file of its authority in OTEL_EXPORTER_OTLP_CERTIFICATE, or install "
                     "the system's certificates (ca-certificates). The certificate must be for the "
                     "host's name";
    case STEP_PROTOCOL:
        if (is_slow(a, step))
            return "Is it an OTLP port? Jaeger's are 4317 (gRPC) and 4318 (HTTP). A slow collector "
                   "needs a longer OTEL_EXPORTER_OTLP_TIMEOUT";
        return a->curl_code ? "Is it an OTLP port? Jaeger's are 4317 (gRPC) and 4318 (HTTP). If it "
                              "wants TLS, write https:// in place of http://"
                            : "Is the path right? Jaeger's OTLP ports are 4317 (gRPC) and 4318 "
                              "(HTTP, /v1/traces is appended to OTEL_EXPORTER_OTLP_ENDPOINT)";
    default:
        return a->status == 401 || a->status == 403
                   ? "It wants credentials: OTEL_EXPORTER_OTLP_HEADERS"
                   : "Look into the collector's own log";
    }
}

static void tell_failure(struct faa_doctor *doctor, const struct answer *a, enum step step)
{
    static const char *const what[] = {
        [STEP_NAME] = "the name cannot be resolved",
        [STEP_CONNECT] = "it cannot be reached",
        [STEP_TLS] = "TLS fails",
        [STEP_PROTOCOL] = "it does not speak OTLP",
        [STEP_SPAN] = "it does not take a span",
    };
    struct faa_finding *f =
        faa_report_add(doctor->report, FAA_PROBLEM, checks[step], "%s: %s",
                       is_slow(a, step) ? "it does not answer" : what[step], a->reason);
    faa_finding_advise(f, "%s", advice_for(a, step));
    faa_finding_fact(f, "reason", "%s", a->reason);
    faa_finding_fact(f, "protocol", "%s", a->protocol);
    faa_finding_fact(f, "http_status", "%ld", a->status);
}

static void tell_steps(struct faa_doctor *doctor, const struct answer *a)
{
    enum step failed = find_failure(doctor, a);
    for (int step = STEP_NAME; step < STEP_NONE; step++) {
        if (step < (int)failed)
            tell_success(doctor, a, (enum step)step);
        else if (step == (int)failed)
            tell_failure(doctor, a, (enum step)step);
        else if (step != STEP_TLS || a->tls)
            faa_report_add(doctor->report, FAA_SKIPPED, checks[step], "not tried: %s",
                           step == STEP_TLS        ? "TLS"
                           : step == STEP_PROTOCOL ? "the protocol"
                           : step == STEP_SPAN     ? "a span"
                                                   : "a connection");
    }
}

static void run(struct faa_doctor *doctor)
{
    struct answer a = {
        .endpoint = faa_probe_value(doctor, "endpoint"),
        .reason = faa_probe_value(doctor, "reason"),
        .verdict = faa_probe_value(doctor, "verdict"),
        .protocol = faa_probe_value(doctor, "protocol"),
        .address = faa_probe_value(doctor, "address"),
        .curl_code = (int)faa_probe_number(doctor, "curl_code"),
        .tls = (int)faa_probe_number(doctor, "tls"),
        .proxied = (int)faa_probe_number(doctor, "proxied"),
        .status = (long)faa_probe_number(doctor, "http_status"),
    };
    a.is_unix = strncmp(a.endpoint, "unix:", 5) == 0;
    if (faa_probe_value(doctor, "otlp")[0] == '0') {
        faa_report_add(doctor->report, FAA_SKIPPED, "collector.endpoint",
                       "none is used (OTEL_TRACES_EXPORTER)");
        return;
    }
    if (a.endpoint[0])
        faa_finding_fact(faa_report_add(doctor->report, FAA_NOTE, "collector.endpoint",
                                        "the collector is %s", a.endpoint),
                         "endpoint", "%s", a.endpoint);
    if (a.verdict[0]) {
        tell_steps(doctor, &a);
        return;
    }
    const char *error = faa_probe_value(doctor, "error");
    faa_report_add(doctor->report, FAA_PROBLEM, "collector.probe",
                   "the collector could not be asked: %s", error[0] ? error : doctor->probe_error);
}

const struct faa_check faa_check_collector = {.title = "The collector", .run = run};

# SPDX-License-Identifier: MIT
"""The doctor and the settings: what holds, where it came from, what of it is of no use."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.doctor import diagnose, start, strict
from harness.jaeger import Jaeger
from harness.process import TOP, Runner
from harness.raw import RawServer
from harness.receiver import HttpReceiver

OTLP = "OTEL_EXPORTER_OTLP_"
SECRET = "s3cr3t"
SERVICE = "OTEL_SERVICE_NAME"
ENDPOINT = f"{OTLP}ENDPOINT"
TRACES_ENDPOINT = f"{OTLP}TRACES_ENDPOINT"

# Each with what it tells of the variable: value, source, option.
SOURCES = {
    "defaults": ({}, [], {SERVICE: ("fastapi-application", "launcher", None)}),
    "the launcher's endpoint": ({}, [], {ENDPOINT: ("http://localhost:4317", "launcher", None)}),
    "protocol chosen": (
        {f"{OTLP}PROTOCOL": "grpc"},
        [],
        {
            ENDPOINT: ("http://localhost:4318", "default", None),
            f"{OTLP}PROTOCOL": ("grpc", "environment", None),
        },
    ),
    "environment": (
        {SERVICE: "shop", ENDPOINT: "http://127.0.0.1:9"},
        [],
        {
            SERVICE: ("shop", "environment", None),
            ENDPOINT: ("http://127.0.0.1:9", "environment", None),
        },
    ),
    "options": (
        {SERVICE: "shop", TRACES_ENDPOINT: "http://127.0.0.1:8"},
        ["--service-name", "cart", "--jaeger-endpoint", "http://127.0.0.1:9", "--debug"],
        {
            SERVICE: ("cart", "option", "--service-name"),
            ENDPOINT: ("http://127.0.0.1:9", "option", "--jaeger-endpoint"),
            "FAA_LOG_LEVEL": ("debug", "option", "--debug"),
        },
    ),
    "the one for traces goes first": (
        {TRACES_ENDPOINT: "http://127.0.0.1:8/x", ENDPOINT: "http://127.0.0.1:9"},
        [],
        {TRACES_ENDPOINT: ("http://127.0.0.1:8/x", "environment", None)},
    ),
    "ours goes before the standard's": (
        {"FAA_LOG_LEVEL": "warn", "OTEL_LOG_LEVEL": "debug"},
        [],
        {"FAA_LOG_LEVEL": ("warn", "environment", None)},
    ),
    "the standard's alone": (
        {"OTEL_LOG_LEVEL": "error"},
        [],
        {"OTEL_LOG_LEVEL": ("error", "environment", None)},
    ),
    "empty is unset": (
        {"OTEL_PROPAGATORS": ""},
        [],
        {"OTEL_PROPAGATORS": ("tracecontext,baggage", "default", None)},
    ),
}
WORDS = {"environment": "(environment)", "launcher": "(the launcher's default)"}


@pytest.mark.parametrize("case", SOURCES)
def test_settings_say_where_they_came_from(run: Runner, case: str) -> None:
    env, options, expected = SOURCES[case]
    found = diagnose(run, env={"OTEL_TRACES_EXPORTER": "console"} | env, options=options)
    for variable, (value, source, option) in expected.items():
        setting = found.setting(variable)
        assert (setting["value"], setting["source"], setting["option"]) == (value, source, option)
        words = WORDS.get(source, f"(option {option})")
        assert (f"ok {variable}={value} {words}" in found.text) is (source != "default")


def test_every_variable_that_the_agent_reads_is_listed(run: Runner) -> None:
    flags = subprocess.check_output(["pkg-config", "--cflags", "python3"], text=True).split()
    sources = sorted((TOP / "preload" / "agent").glob("*.c"))
    command = ["cc", "-E", "-D_GNU_SOURCE", f"-I{TOP}/preload", *flags, *sources]
    text = subprocess.check_output(command, text=True)
    names = set(re.findall(r'"((?:OTEL|FAA|SSL)_[A-Z0-9_]+[A-Z0-9])"', re.sub(r'"\s*"', "", text)))
    names |= set(re.findall(r'"([a-zA-Z]+_(?:proxy|PROXY))"', text))
    # Put together at run time.
    names |= {OTLP + what for what in re.findall(r'[^_]setting\("([A-Z_]+)", &name\)', text)}
    assert {ENDPOINT, f"{OTLP}CLIENT_KEY", "FAA_LOG_LEVEL", "no_proxy"} <= names
    settings = diagnose(run).report["settings"]
    listed = {one["variable"] for one in settings} | {one["alternative"] for one in settings}
    assert names - {"FAA_GUARD_SOCKET"} <= listed


# Secrets


def test_secrets_are_in_no_output(run: Runner) -> None:
    env = {
        f"{OTLP}HEADERS": f"authorization=Bearer%20{SECRET},x-key={SECRET}",
        f"{OTLP}TRACES_HEADERS": f"authorization: {SECRET}=,{SECRET}=",
        ENDPOINT: f"http://user:{SECRET}@127.0.0.1:9/?token={SECRET}",
        "https_proxy": f"http://user:{SECRET}@127.0.0.1:9",
        "all_proxy": SECRET,
        "OTEL_RESOURCE_ATTRIBUTES": f"a.token={SECRET},b=http://x:{SECRET}@y/",
        "OTEL_TRACES_SAMPLER": "jaeger_remote",
        "OTEL_TRACES_SAMPLER_ARG": f"endpoint=http://u:{SECRET}@127.0.0.1:9",
        "DD_API_KEY": SECRET,
    }
    for words in ([], ["--json"]):
        process = start(run, ["doctor", *words, "--", "sh", SECRET], env=env)
        assert SECRET not in process.stdout + process.stderr
    found = diagnose(run, env=env)
    assert found.setting(ENDPOINT)["value"] == "http://***@127.0.0.1:9/?***"
    assert found.setting(ENDPOINT)["is_masked"] is True
    assert found.setting("OTEL_RESOURCE_ATTRIBUTES")["value"] == "a.token=***,b=http://***@y/"
    assert found.setting(f"{OTLP}TRACES_HEADERS")["value"] == "***,***"
    assert found.setting(SERVICE)["is_masked"] is False


# What is of no use


def test_a_value_that_cannot_be_used(run: Runner, receiver: HttpReceiver) -> None:
    env = receiver.env | {"OTEL_BSP_SCHEDULE_DELAY": "soon"}
    found = diagnose(run, env=env)
    warning = found.one("settings.unusable", "warning")
    assert "OTEL_BSP_SCHEDULE_DELAY=soon cannot be used" in warning["summary"]
    assert (found.status, "Traces will arrive, 1 warning." in found.text) == (0, True)


@pytest.mark.parametrize(
    "name, like",
    [
        ("OTEL_EXPORTER_OTLP_ENDPONT", ENDPOINT),
        ("FAA_LOGLEVEL", "FAA_LOG_LEVEL"),
        ("FAA_NO_SUCH_THING", None),
    ],
)
def test_a_misspelt_variable(
    run: Runner, receiver: HttpReceiver, name: str, like: str | None
) -> None:
    found = diagnose(run, env=receiver.env | {name: "1"})
    warning = found.one("settings.unknown", "warning")
    assert warning["facts"] == {"variable": name}
    assert (warning["advice"] or "").endswith(f"{like}?") is (like is not None)
    assert found.status == 0


def test_many_unknown_variables(run: Runner, receiver: HttpReceiver) -> None:
    found = diagnose(run, env=receiver.env | {f"FAA_X{n}": "1" for n in range(300)})
    assert found.status == 0
    assert len(found.all("settings.unknown")) == 21
    assert "280 more such variables" in found.text


@pytest.mark.parametrize("name", ["OTEL_METRICS_EXPORTER", "OTEL_PYTHON_FLASK_EXCLUDED_URLS"])
def test_variables_for_others_are_nobodys_mistake(
    run: Runner, receiver: HttpReceiver, name: str
) -> None:
    assert diagnose(run, env=receiver.env | {name: "1"}).all("settings.unknown") == []


@pytest.mark.parametrize("name", ["OTEL_SDK_DISABLED", "FAA_DISABLED"])
def test_an_agent_that_is_turned_off(run: Runner, receiver: HttpReceiver, name: str) -> None:
    found = diagnose(run, env=receiver.env | {name: "true"})
    assert found.problems() == {"settings.disabled"}
    problem = found.one("settings.disabled", "problem")
    assert f"the agent is turned off: {name}=true" in problem["summary"]
    assert problem["advice"] == f"Unset {name}"


def test_traces_that_are_sent_nowhere(run: Runner) -> None:
    found = diagnose(run, env={"OTEL_TRACES_EXPORTER": "none"})
    assert found.problems() == {"settings.exporter"}
    assert "no trace goes anywhere" in found.text
    found.one("collector.endpoint", "skipped")


def test_traces_that_are_printed(run: Runner) -> None:
    found = diagnose(run, env={"OTEL_TRACES_EXPORTER": "console"})
    assert found.status == 0
    assert "printed on standard error" in found.one("settings.exporter", "note")["summary"]


@pytest.mark.parametrize(
    "sampler, argument, status, words",
    [
        ("always_off", None, "problem", "the sampler records nothing"),
        ("parentbased_always_off", None, "warning", "only requests whose caller records"),
        ("traceidratio", "0", "problem", "the sampler records nothing"),
        ("parentbased_traceidratio", "0.25", "note", "records 25 % of the traces"),
    ],
)
def test_samplers_that_leave_traces_out(
    run: Runner, receiver: HttpReceiver, sampler: str, argument: str | None, status: str, words: str
) -> None:
    env = receiver.env | {"OTEL_TRACES_SAMPLER": sampler}
    if argument is not None:
        env["OTEL_TRACES_SAMPLER_ARG"] = argument
    found = diagnose(run, env=env)
    assert words in found.one("settings.sampler", status)["summary"]
    assert found.problems() == ({"settings.sampler"} if status == "problem" else set())


def test_a_sampler_that_asks_jaeger(
    run: Runner, jaeger: Jaeger, raw_server: Callable[..., RawServer]
) -> None:
    env = {"OTEL_TRACES_SAMPLER": "jaeger_remote", "OTEL_TRACES_EXPORTER": "console"}
    env["OTEL_TRACES_SAMPLER_ARG"] = f"endpoint={jaeger.sampling_endpoint}"
    found = diagnose(run, env=env)
    assert "Jaeger is asked what to record" in found.one("settings.sampler", "note")["summary"]
    env["OTEL_TRACES_SAMPLER_ARG"] = f"endpoint={raw_server('refuse').endpoint}"
    told = diagnose(run, env=env).all("settings.sampler")
    assert [one["status"] for one in told] == ["warning", "note"]
    assert "cannot read the sampling strategy" in told[0]["summary"]


def test_a_spool_that_is_refused(run: Runner, receiver: HttpReceiver, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    env = receiver.env | {"FAA_SPOOL_DIR": str(spool)}
    assert diagnose(run, env=env).all("settings.unusable") == []
    spool.chmod(0o777)
    warning = diagnose(run, env=env).one("settings.unusable", "warning")
    assert f"FAA_SPOOL_DIR: {spool} cannot be used: others may write to it" in warning["summary"]


# The command line, and what is printed


@pytest.mark.parametrize(
    "words, message",
    [
        (["doctor", "--nonsense"], "unknown option '--nonsense'"),
        (["--json", "true"], "--json belongs to doctor"),
        (["doctor", "--service-name"], "option '--service-name' needs an argument"),
        (["doctor", "--die-with-parent"], "--die-with-parent needs --guard"),
        (["doctor", "--json=1"], "option '--json' takes no argument"),
    ],
)
def test_wrong_usage(run: Runner, words: list[str], message: str) -> None:
    process = start(run, words)
    assert (process.status, process.stdout) == (2, "")
    assert message in process.stderr


def test_options_may_stand_behind_the_word(run: Runner) -> None:
    words = ["doctor", "--service-name=cart", "--json", "--debug"]
    report = strict(start(run, words, env={"OTEL_TRACES_EXPORTER": "console"}).stdout)
    values = {one["variable"]: one["value"] for one in report["settings"]}
    assert (values[SERVICE], values["FAA_LOG_LEVEL"]) == ("cart", "debug")


def test_a_program_of_that_name_is_run_behind_two_dashes(run: Runner, tmp_path: Path) -> None:
    program = tmp_path / "doctor"
    program.write_text("#!/bin/sh\necho itself $1\n")
    program.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    process = start(run, ["--", "doctor", "who"], env=env)
    assert (process.status, process.stdout) == (0, "itself who\n")
    assert "doctor is a shell script" in start(run, ["doctor", "doctor"], env=env).stdout


def test_json_is_valid_whatever_it_quotes(run: Runner) -> None:
    hostile = "a\"\\\n\t\x1b[31m\x7f\u009b\u2028é"
    env = {
        SERVICE: hostile,
        "OTEL_PROPAGATORS": hostile,
        "LD_PRELOAD": "/nowhere/" + hostile,
        "FAA_" + hostile.replace("=", ""): "1",
        "OTEL_TRACES_EXPORTER": "console",
    }
    bytes_too = "/nowhere/\udcff\udc80" + hostile
    process = start(run, ["doctor", "--json", "--", bytes_too], env=env)
    report = strict(process.stdout)
    assert report["command"] == "/nowhere/\ufffd\ufffd" + hostile
    values = {one["variable"]: one["value"] for one in report["settings"]}
    assert values["OTEL_PROPAGATORS"] == hostile
    text = start(run, ["doctor", "--", bytes_too], env=env).stdout
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\x80-\x9f]", text)


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_output_that_cannot_be_written_is_a_failure(run: Runner, words: list[str]) -> None:
    launcher = run.build / "bin" / "fastapi-auto-agent"
    with open("/dev/full", "w") as full:
        env = run.environment({"OTEL_TRACES_EXPORTER": "console"})
        done = subprocess.run(
            [launcher, "doctor", *words], stdout=full, stderr=subprocess.PIPE, env=env, timeout=60
        )
    assert done.returncode == 1
    assert b"cannot write to standard output" in done.stderr

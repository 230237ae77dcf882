# SPDX-License-Identifier: MIT
"""The variables that set the agent up, each end to end: what arrives, and what is said."""

import os
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from harness.process import Process, Runner
from harness.raw import RawServer
from harness.receiver import GrpcReceiver, HttpReceiver, Receiver
from harness.tree import one

SERVICE = "OTEL_SERVICE_NAME"
ATTRIBUTES = "OTEL_RESOURCE_ATTRIBUTES"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
TRACES_PROTOCOL = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
EXPORTER = "OTEL_TRACES_EXPORTER"
LOST = "cannot send traces to"


def direct(run: Runner, env: dict[str, str], count: int = 1, **options: Any) -> Process:
    """Runs an application that calls itself `count` times, and ends well."""
    process = run.run([run.python, "selfcall.py", str(count)], env=env, **options)
    assert (process.status, process.stdout) == (0, f"served {count}\n"), process.describe()
    return process


def resource(run: Runner, receiver: HttpReceiver, **options: Any) -> dict[str, Any]:
    """Returns the resource attributes of a traced process that has nothing to complain of."""
    env = receiver.env | options.pop("env", {})
    process = direct(run, env, **options)
    assert process.stderr == ""
    return one(receiver.spans).resource


def complaint(process: Process, name: str) -> str:
    """Returns the one line that a process wrote, which names this variable."""
    assert len(process.agent_lines) == 1, process.stderr
    assert process.own_stderr == ""
    assert re.search(rf"faa warning: .*\b{name}\b", process.agent_lines[0]), process.stderr
    return process.agent_lines[0]


# The service and its attributes


def test_resource_of_a_process_without_settings(run: Runner, receiver: HttpReceiver) -> None:
    env = receiver.env
    server = run.uvicorn("selfcall:app", env=env)
    pid = int(server.get("/pid").text)
    attributes = one(receiver.wait(1)).resource
    assert attributes["service.name"] == "fastapi-application"
    assert attributes["telemetry.sdk.language"] == "python"
    assert attributes["telemetry.sdk.name"] == "fastapi-auto-agent"
    assert re.fullmatch(r"\d+\.\d+\.\d+", attributes["telemetry.sdk.version"])
    assert attributes["process.pid"] == pid
    assert attributes["host.name"] == socket.gethostname()


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({SERVICE: "shop"}, "shop"),
        ({SERVICE: ""}, "fastapi-application"),
        ({SERVICE: "Läden ☕, 50%"}, "Läden ☕, 50%"),
        ({ATTRIBUTES: "service.name=inside"}, "inside"),
        ({ATTRIBUTES: "service.name=inside", SERVICE: ""}, "inside"),
        ({ATTRIBUTES: "service.name=inside", SERVICE: "shop"}, "shop"),
        ({ATTRIBUTES: "service.name="}, "fastapi-application"),
    ],
)
def test_service_name(
    run: Runner, receiver: HttpReceiver, env: dict[str, str], name: str
) -> None:
    assert resource(run, receiver, env=env)["service.name"] == name


def test_service_name_that_is_no_utf8_still_makes_valid_spans(
    run: Runner, receiver: HttpReceiver
) -> None:
    name = resource(run, receiver, env={SERVICE: os.fsdecode(b"caf\xe9")})["service.name"]
    assert name.startswith("caf")


@pytest.mark.parametrize(
    ("value", "attributes"),
    [
        ("a=1,deployment.environment.name=prod", {"a": "1", "deployment.environment.name": "prod"}),
        (" a = 1 ,\tb=2 ", {"b": "2"}),
        ("a=x%2Cy%3Dz%20%25%C3%A9", {"a": "x,y=z %é"}),
        ("a%2Eb=1", {"a.b": "1"}),
        ("a=b=c", {"a": "b=c"}),
        ("a=", {"a": ""}),
        ("a=1,,b=2,", {"a": "1", "b": "2"}),
        ("a=1,a=2", {"a": "2"}),
        ("host.name=other", {"host.name": "other"}),
        ("", {}),
    ],
)
def test_resource_attributes(
    run: Runner, receiver: HttpReceiver, value: str, attributes: dict[str, str]
) -> None:
    got = resource(run, receiver, env={ATTRIBUTES: value})
    assert {key: got.get(key) for key in attributes} == attributes
    assert "" not in got


@pytest.mark.parametrize("pair", ["broken", "=x", "b=%", "b=%4", "b=%zz", "b=%00", "%=1"])
def test_broken_resource_attribute_leaves_the_others(
    run: Runner, receiver: HttpReceiver, pair: str
) -> None:
    process = direct(run, receiver.env | {ATTRIBUTES: f"a=1,{pair},c=3"})
    complaint(process, ATTRIBUTES)
    got = one(receiver.spans).resource
    assert (got["a"], got["c"], got.get("b")) == ("1", "3", None)
    assert got["service.name"] == "fastapi-application"


def test_more_resource_attributes_than_there_is_room_for_get_a_line(
    run: Runner, receiver: HttpReceiver
) -> None:
    value = ",".join(f"key{number}=x" for number in range(500))
    process = direct(run, receiver.env | {ATTRIBUTES: value})
    if sum(key.startswith("key") for key in one(receiver.spans).resource) < 500:
        complaint(process, ATTRIBUTES)


def test_pid_is_the_processs_own_after_a_fork(run: Runner, receiver: HttpReceiver) -> None:
    script = (
        "import os, selfcall; selfcall.request(); pid = os.fork(); selfcall.request('/pid')\n"
        "if pid: os.waitpid(pid, 0); print(os.getpid(), pid)"
    )
    process = run.run([run.python, "-c", script], env=receiver.env)
    parent, child = map(int, process.stdout.split())
    pids = [(span.name, span.resource["process.pid"]) for span in receiver.wait(3)]
    assert sorted(pids) == sorted(
        [("GET /items/{item_id}", parent), ("GET /pid", parent), ("GET /pid", child)]
    )


# The endpoint


@pytest.fixture
def rooted() -> Iterator[HttpReceiver]:
    """A receiver that takes traces at another path."""
    receiver = HttpReceiver("/")
    yield receiver
    receiver.stop()
    receiver.check()


@pytest.mark.parametrize(
    ("variable", "suffix", "path"),
    [
        (ENDPOINT, "", "/v1/traces"),
        (ENDPOINT, "/", "/v1/traces"),
        (ENDPOINT, "/otlp", "/otlp/v1/traces"),
        (ENDPOINT, "/otlp/", "/otlp/v1/traces"),
        (ENDPOINT, "/a/b%20c/", "/a/b%20c/v1/traces"),
        (TRACES_ENDPOINT, "", "/"),
        (TRACES_ENDPOINT, "/", "/"),
        (TRACES_ENDPOINT, "/v1/traces", "/v1/traces"),
        (TRACES_ENDPOINT, "/mine", "/mine"),
        (TRACES_ENDPOINT, "/mine/", "/mine/"),
        (TRACES_ENDPOINT, "/mine?key=1", "/mine?key=1"),
    ],
)
def test_path(run: Runner, rooted: HttpReceiver, variable: str, suffix: str, path: str) -> None:
    rooted.path = path
    process = direct(run, {variable: rooted.endpoint + suffix})
    assert process.stderr == ""
    assert [request.path for request in rooted.requests] == [path]
    assert len(rooted.spans) == 1


def test_endpoint_for_traces_goes_before_the_general_one(
    run: Runner, rooted: HttpReceiver, receiver: HttpReceiver
) -> None:
    env = {ENDPOINT: receiver.endpoint, TRACES_ENDPOINT: rooted.endpoint}
    assert direct(run, env).stderr == ""
    assert (len(rooted.spans), receiver.requests) == (1, [])


def test_endpoint_for_traces_that_is_empty_is_unset(run: Runner, receiver: HttpReceiver) -> None:
    assert direct(run, receiver.env | {TRACES_ENDPOINT: ""}).stderr == ""
    assert len(receiver.spans) == 1


@pytest.mark.parametrize("word", ["HTTP://127.0.0.1:{0}", "http://localhost:{0}"])
def test_scheme_in_capitals_and_host_by_name(
    run: Runner, receiver: HttpReceiver, word: str
) -> None:
    assert direct(run, {ENDPOINT: word.format(receiver.port)}).stderr == ""
    assert len(receiver.spans) == 1


UNUSABLE = [
    "localhost:4317",
    "grpc://localhost:4317",
    "file:///etc/passwd",
    "http://",
    "http://:4318",
    "http://a b",
    "nonsense",
    "http://localhost:99999",
    "http://localhost:port",
    "http://[::1",
]


@pytest.mark.parametrize("value", UNUSABLE)
def test_endpoint_that_cannot_be_used_gets_a_line(run: Runner, value: str) -> None:
    complaint(direct(run, {ENDPOINT: value, EXPORTER: "none"}), ENDPOINT)


@pytest.mark.parametrize("value", ["nonsense", "http://localhost:99999", "http://[::1"])
def test_endpoint_that_cannot_be_used_leaves_the_default(run: Runner, value: str) -> None:
    process = direct(run, {ENDPOINT: value, "FAA_LOG_LEVEL": "debug"})
    assert " to http://localhost:4318/v1/traces (OTLP/HTTP)" in process.stderr


@pytest.mark.parametrize("value", ["nonsense", "http://localhost:99999"])
def test_endpoint_for_traces_that_cannot_be_used_leaves_the_general_one(
    run: Runner, receiver: HttpReceiver, value: str
) -> None:
    process = direct(run, receiver.env | {TRACES_ENDPOINT: value})
    complaint(process, TRACES_ENDPOINT)
    assert len(receiver.spans) == 1


def test_password_in_the_endpoint_is_never_shown(
    run: Runner, receiver: HttpReceiver, raw_server: Any
) -> None:
    url = f"http://user:hush@127.0.0.1:{receiver.port}"
    for endpoint in (url, url.replace("http:", "ftp:")):
        process = direct(run, {ENDPOINT: endpoint, "FAA_LOG_LEVEL": "debug"})
        assert "hush" not in process.stderr
    closed = url.replace(str(receiver.port), str(raw_server("refuse").port))
    process = direct(run, {ENDPOINT: closed})
    assert LOST in process.stderr and "hush" not in process.stderr


# The protocol


@pytest.mark.parametrize("variable", [PROTOCOL, TRACES_PROTOCOL])
@pytest.mark.parametrize("value", ["{0}", "{1}", ""], ids=["lower", "upper", "empty"])
def test_protocol(run: Runner, any_receiver: Receiver, variable: str, value: str) -> None:
    name = any_receiver.protocol
    env = {ENDPOINT: any_receiver.endpoint, variable: value.format(name, name.upper())}
    assert direct(run, env).stderr == ""
    assert len(any_receiver.spans) == 1


def test_protocol_for_traces_goes_before_the_general_one(
    run: Runner, grpc_receiver: GrpcReceiver
) -> None:
    env = {ENDPOINT: grpc_receiver.endpoint, PROTOCOL: "http/protobuf", TRACES_PROTOCOL: "grpc"}
    assert direct(run, env).stderr == ""
    assert len(grpc_receiver.spans) == 1


@pytest.mark.parametrize("value", ["http/json", "thrift", " grpc", "http"])
def test_protocol_that_cannot_be_used_is_found_out(
    run: Runner, any_receiver: Receiver, value: str
) -> None:
    process = direct(run, {ENDPOINT: any_receiver.endpoint, PROTOCOL: value})
    complaint(process, PROTOCOL)
    assert len(any_receiver.spans) == 1


@pytest.mark.parametrize(
    ("env", "where"),
    [
        ({}, "http://localhost:4318/v1/traces (OTLP/HTTP)"),
        ({PROTOCOL: "http/protobuf"}, "http://localhost:4318/v1/traces (OTLP/HTTP)"),
        ({PROTOCOL: "grpc"}, "http://localhost:4317 (OTLP/gRPC)"),
        ({ENDPOINT: "http://localhost:4317"}, "http://localhost:4317 (OTLP/gRPC)"),
        ({ENDPOINT: ""}, "http://localhost:4318/v1/traces (OTLP/HTTP)"),
    ],
)
def test_default_endpoint(run: Runner, env: dict[str, str], where: str) -> None:
    process = direct(run, env | {"FAA_LOG_LEVEL": "debug"})
    first = next(line for line in process.agent_lines if re.search(r"\d+ bytes to", line))
    assert f" to {where}" in first


# Which exporter


@pytest.mark.parametrize(
    ("value", "otlp", "console"),
    [
        ("otlp", True, False),
        ("OTLP", True, False),
        ("", True, False),
        ("console", False, True),
        ("none", False, False),
        ("otlp,console", True, True),
        (" console , otlp ", True, True),
    ],
)
def test_exporter(
    run: Runner, receiver: HttpReceiver, value: str, otlp: bool, console: bool
) -> None:
    process = direct(run, receiver.env | {EXPORTER: value})
    assert process.agent_lines == []
    assert len(receiver.spans) == otlp
    assert process.stderr.count("GET /items/{item_id}") == console


@pytest.mark.parametrize(
    ("value", "otlp", "console"),
    [("zipkin", True, False), ("zipkin,console", False, True), ("otlp,jaeger", True, False)],
)
def test_exporter_that_is_unknown(
    run: Runner, receiver: HttpReceiver, value: str, otlp: bool, console: bool
) -> None:
    process = direct(run, receiver.env | {EXPORTER: value})
    assert len(process.agent_lines) == 1
    assert EXPORTER in process.agent_lines[0]
    assert re.search("zipkin|jaeger", process.agent_lines[0])
    assert len(receiver.spans) == otlp
    assert process.stderr.count("GET /items/{item_id}") == console


# Off


@pytest.mark.parametrize(
    ("value", "spans", "lines"), [("true", 0, 0), ("True", 0, 0), ("false", 1, 0), ("", 1, 0)]
)
def test_disabled(
    run: Runner, receiver: HttpReceiver, value: str, spans: int, lines: int
) -> None:
    process = direct(run, receiver.env | {"OTEL_SDK_DISABLED": value})
    assert (len(receiver.spans), len(process.agent_lines)) == (spans, lines)


@pytest.mark.parametrize("value", ["1", "yes", "on"])
def test_disabled_by_anything_else_is_enabled_with_a_line(
    run: Runner, receiver: HttpReceiver, value: str
) -> None:
    complaint(direct(run, receiver.env | {"OTEL_SDK_DISABLED": value}), "OTEL_SDK_DISABLED")
    assert len(receiver.spans) == 1


CALLS = """\
import selfcall, requests, sqlalchemy
from starlette.responses import PlainTextResponse
from starlette.routing import Route
engine = sqlalchemy.create_engine("sqlite://")
async def endpoint(request):
    session = requests.Session()
    session.trust_env = False
    try:
        session.get("{url}")
    except requests.ConnectionError:
        pass
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
    return PlainTextResponse("done")
selfcall.app.router.routes.append(Route("/all", endpoint))
selfcall.request("/all")
"""
SPANS = {"starlette": "GET /all", "requests": "GET", "sqlalchemy": "SELECT"}


@pytest.mark.parametrize(
    ("value", "off"),
    [
        ("", []),
        ("starlette", ["starlette"]),
        ("requests,urllib3", ["requests"]),
        ("sqlalchemy , requests, sqlite3,urllib3", ["requests", "sqlalchemy"]),
        ("*", ["requests", "sqlalchemy", "starlette"]),
        ("django,,click", []),
    ],
)
def test_disabled_instrumentations(
    run: Runner, receiver: HttpReceiver, raw_server: Any, value: str, off: list[str]
) -> None:
    closed: RawServer = raw_server("refuse")
    env = receiver.env | {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": value}
    process = run.run([run.python, "-c", CALLS.format(url=closed.endpoint)], env=env)
    assert (process.status, process.stderr) == (0, "")
    names = sorted(span.name for span in receiver.spans)
    assert names == sorted(name for library, name in SPANS.items() if library not in off)


# Time


def test_schedule_delay_gathers_spans(run: Runner, receiver: HttpReceiver) -> None:
    server = run.uvicorn("selfcall:app", env=receiver.env | {"OTEL_BSP_SCHEDULE_DELAY": "60000"})
    for number in range(20):
        assert server.get(f"/items/{number}").status_code == 200
    assert receiver.requests == []
    assert server.stop() == -15
    assert [len(request.spans) for request in receiver.requests] == [20]


def test_schedule_delay_ends_the_gathering(run: Runner, receiver: HttpReceiver) -> None:
    server = run.uvicorn("selfcall:app", env=receiver.env | {"OTEL_BSP_SCHEDULE_DELAY": "1"})
    assert server.get("/items/1").status_code == 200
    receiver.wait(1)


NUMBERS = [
    "OTEL_BSP_SCHEDULE_DELAY",
    "FAA_FLUSH_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "FAA_BLOCKED_THRESHOLD",
]


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, "soon") for name in NUMBERS]
    + [(NUMBERS[0], value) for value in ("-1", "5s", "1.5", "99999999999999999999", " ")],
)
def test_number_that_cannot_be_used(
    run: Runner, receiver: HttpReceiver, name: str, value: str
) -> None:
    complaint(direct(run, receiver.env | {name: value}), name)
    assert len(receiver.spans) == 1


def test_numbers_that_are_empty_are_unset(run: Runner, receiver: HttpReceiver) -> None:
    assert direct(run, receiver.env | dict.fromkeys(NUMBERS, "")).stderr == ""
    assert len(receiver.spans) == 1


# The log


@pytest.mark.parametrize("value", ["", "warn", "WARN"])
def test_log_level_that_warns(run: Runner, raw_server: Any, value: str) -> None:
    env = {ENDPOINT: raw_server("refuse").endpoint, "FAA_LOG_LEVEL": value}
    (line,) = direct(run, env).agent_lines
    assert LOST in line


def test_log_level_none_is_silent(run: Runner, raw_server: Any) -> None:
    env = {ENDPOINT: raw_server("refuse").endpoint, "FAA_LOG_LEVEL": "none"}
    assert direct(run, env | {"FAA_FLUSH_TIMEOUT": "x"}).stderr == ""


@pytest.mark.parametrize("value", ["debug", "DEBUG"])
def test_log_level_debug(run: Runner, receiver: HttpReceiver, value: str) -> None:
    lines = direct(run, receiver.env | {"FAA_LOG_LEVEL": value}).agent_lines
    assert len(lines) > 3 and all(" faa debug: " in line for line in lines)


def test_log_level_that_cannot_be_used(run: Runner, receiver: HttpReceiver) -> None:
    complaint(direct(run, receiver.env | {"FAA_LOG_LEVEL": "loud"}), "FAA_LOG_LEVEL")


def test_value_with_control_characters_makes_one_line(run: Runner, receiver: HttpReceiver) -> None:
    value = "x\n1 faa warning: forged\x1b[2J\x9b2J" + "y" * 5000
    process = direct(run, receiver.env | {"FAA_FLUSH_TIMEOUT": value})
    complaint(process, "FAA_FLUSH_TIMEOUT")
    assert "\x1b" not in process.stderr and "\x9b" not in process.stderr
    assert len(process.stderr) < 1100


def test_every_bad_value_has_its_own_line(run: Runner, receiver: HttpReceiver) -> None:
    bad = {
        "FAA_LOG_LEVEL": "loud",
        "FAA_FLUSH_TIMEOUT": "x",
        "OTEL_BSP_SCHEDULE_DELAY": "x",
        "OTEL_SDK_DISABLED": "x",
        TRACES_PROTOCOL: "x",
        TRACES_ENDPOINT: "x",
        EXPORTER: "x",
        ATTRIBUTES: "x",
    }
    process = direct(run, receiver.env | bad)
    named = sorted(re.findall(r"faa warning: (\w+)", process.stderr))
    assert named == sorted(bad)
    assert len(receiver.spans) == 1


# The launcher's options, against the environment


@pytest.mark.parametrize(
    ("options", "env", "name"),
    [
        ([], {}, "fastapi-application"),
        (["--service-name", "shop"], {}, "shop"),
        (["--service-name=shop"], {SERVICE: "env", ATTRIBUTES: "service.name=inside"}, "shop"),
        ([], {SERVICE: "env"}, "env"),
        ([], {ATTRIBUTES: "service.name=inside"}, "inside"),
    ],
)
def test_launchers_service_name(
    run: Runner, receiver: HttpReceiver, options: list[str], env: dict[str, str], name: str
) -> None:
    got = resource(run, receiver, env=env, agent="launcher", options=options)
    assert got["service.name"] == name


@pytest.mark.parametrize("variable", [ENDPOINT, TRACES_ENDPOINT])
def test_launchers_endpoint_wins_over_the_environment(
    run: Runner, any_receiver: Receiver, raw_server: Any, variable: str
) -> None:
    elsewhere: RawServer = raw_server("silent")
    options = ["--jaeger-endpoint", any_receiver.endpoint]
    env = {variable: elsewhere.endpoint}
    assert direct(run, env, agent="launcher", options=options).stderr == ""
    assert (len(any_receiver.spans), elsewhere.connections) == (1, 0)


def test_launcher_leaves_the_environments_endpoint(run: Runner, receiver: HttpReceiver) -> None:
    for env in ({ENDPOINT: receiver.endpoint}, {TRACES_ENDPOINT: f"{receiver.endpoint}/v1/traces"}):
        assert direct(run, env, agent="launcher").stderr == ""
    assert len(receiver.spans) == 2


def test_launchers_default_is_jaegers_grpc_port(run: Runner) -> None:
    process = direct(run, {}, agent="launcher", options=["--debug"])
    assert " to http://localhost:4317 (OTLP/gRPC)" in process.stderr



# SPDX-License-Identifier: MIT
"""OTEL_PYTHON_LOG_CORRELATION: log records tell their span; without it nothing changes."""

import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import websockets.exceptions
import websockets.sync.client

from harness import libraries
from harness.deadline import scaled, until
from harness.otlp import Span
from harness.process import TOP, Runner
from harness.receiver import HttpReceiver
from harness.traced import Traced, traced
from harness.tree import one, where

ON = {"OTEL_PYTHON_LOG_CORRELATION": "true", "OTEL_SERVICE_NAME": "log shop"}
README = (TOP / "README.md").read_text()


def documented_format() -> str:
    """The format string that README.md gives; the tests use it as it stands there."""
    (text,) = re.findall(r"^```\n(%\(asctime\)s.*)\n```$", README, re.MULTILINE)
    return str(text)


def log_config(folder: Path) -> Path:
    """Writes a --log-config with the documented format for all, and uvicorn's own for access."""
    access = "%(client_addr)s %(request_line)s %(status_code)s "
    ids = documented_format().partition("[trace_id=")[2].partition("]")[0]
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "plain": {"format": documented_format()},
            "access": {
                "()": "uvicorn.logging.AccessFormatter",
                "fmt": f"x INFO [access] [x:1] [trace_id={ids}] - {access}",
                "use_colors": False,
            },
        },
        "handlers": {
            "all": {"class": "logging.StreamHandler", "formatter": "plain"},
            "access": {"class": "logging.StreamHandler", "formatter": "access"},
        },
        "loggers": {
            "uvicorn.access": {"handlers": ["access"], "level": "INFO", "propagate": False}
        },
        "root": {"handlers": ["all"], "level": "INFO"},
    }
    path = folder / "log.json"
    path.write_text(json.dumps(config))
    return path


@dataclass(frozen=True)
class Line:
    """One line of the log, in the documented format."""

    logger: str
    trace_id: str
    span_id: str
    service: str
    sampled: str
    message: str


LINE = re.compile(
    r"^.* \w+ \[(\S+)\] \[\S+:\d+\] \[trace_id=(\w+) span_id=(\w+) "
    r"resource\.service\.name=(.*) trace_sampled=(\w+)\] - (.*)$",
    re.MULTILINE,
)


def lines(text: str) -> list[Line]:
    return [Line(*fields) for fields in LINE.findall(text)]


def logged(app: Traced, text: str) -> Line:
    """Waits for the one line whose message contains this, and returns it."""

    def found() -> list[Line]:
        pattern = rf"(?<!\w){re.escape(text)}"
        return [line for line in lines(app.server.stderr) if re.search(pattern, line.message)]

    until(found, 20, lambda: f"no {text!r} in {app.server.describe()}")
    (line,) = found()
    return line


def assert_tells(line: Line, span: Span, sampled: str = "True") -> None:
    assert (line.trace_id, line.span_id) == (span.trace_id, span.span_id), line
    assert (line.service, line.sampled) == ("log shop", sampled)


NOBODY = ("0", "0", "False")


def ids(line: Line) -> tuple[str, str, str]:
    return line.trace_id, line.span_id, line.sampled


@pytest.fixture(scope="module", params=["h11", "httptools"])
def http(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def served(
    factory: pytest.TempPathFactory, build: Path, http: str, name: str, **env: str
) -> Iterator[Traced]:
    directory = factory.mktemp("logs")
    python = libraries.python()
    loop = {"h11": "asyncio", "httptools": "uvloop"}[http]
    arguments = ("--http", http, "--loop", loop, "--log-config", str(log_config(directory)))
    with traced(directory, build, python, f"logs:{name}", *arguments, env=ON | env) as server:
        yield server


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, build: Path, http: str) -> Iterator[Traced]:
    """apps/logs.py's FastAPI application."""
    yield from served(
        tmp_path_factory, build, http, "app", OTEL_PYTHON_FASTAPI_EXCLUDED_URLS="/async/66$"
    )


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, build: Path, http: str) -> Iterator[Traced]:
    """Its application without a framework."""
    yield from served(tmp_path_factory, build, http, "bare")


@pytest.mark.parametrize("path", ["async/1", "def/2"])
def test_a_record_and_the_access_log_tell_the_requests_span(app: Traced, path: str) -> None:
    call = app.get(f"/{path}")
    assert_tells(logged(app, path.replace("/", " ")), call.server)
    access = logged(app, f"GET /{path} HTTP/1.1 200 OK")
    assert access.logger == "access"
    assert_tells(access, call.server)


def test_records_of_threads_pools_and_tasks_tell_the_requests_span(app: Traced) -> None:
    call = app.get("/jobs/3", until=lambda spans: spans)
    for where in ("thread", "pool", "to_thread", "task"):
        assert_tells(logged(app, f"{where} 3"), call.server)
    assert_tells(logged(app, "background 3"), one(call.spans, parent_id=call.server.span_id))


def test_a_streamed_response_logs_under_its_request(app: Traced) -> None:
    call = app.get("/stream/4")
    for part in range(3):
        assert_tells(logged(app, f"chunk {part} of 4"), call.server)


def test_an_exception_of_the_application_is_logged_with_its_request(app: Traced) -> None:
    before = len(lines(app.server.stderr))
    call = app.get("/failing/5")
    assert call.response.status_code == 500
    logged(app, "/failing/5")

    def error() -> list[Line]:
        new = lines(app.server.stderr)[before:]
        return [line for line in new if line.message == "Exception in ASGI application"]

    (line,) = until(error, 20, lambda: app.server.describe())
    assert line.logger == "uvicorn.error"
    assert_tells(line, call.server)
    assert_tells(logged(app, "GET /failing/5 HTTP/1.1 500"), call.server)


@pytest.mark.parametrize("path", ["/refusing/6", "/nowhere/6"])
def test_an_error_that_is_an_answer_is_in_the_access_log(app: Traced, path: str) -> None:
    call = app.get(path)
    assert_tells(logged(app, f"GET {path} "), call.server)


@pytest.mark.parametrize(
    ("path", "message", "status"),
    [
        ("/failing/1", "Exception in ASGI application", 500),
        ("/silent/1", "ASGI callable returned without starting response.", 500),
        ("/half/1", "ASGI callable returned without completing response.", 200),
    ],
)
def test_what_the_server_says_in_the_applications_place(
    bare: Traced, path: str, message: str, status: int
) -> None:
    if status == 500:
        call = bare.get(path)
        assert call.response.status_code == 500
        span = call.server
    else:
        seen = len(bare.receiver.spans)
        with pytest.raises(Exception, match="disconnected|peer closed"):
            bare.server.get(path)
        span = one(bare.receiver.wait(seen + 1)[seen:])
    assert_tells(logged(bare, message), span)
    assert_tells(logged(bare, f"GET {path} HTTP/1.1 {status}"), span)


def test_a_connection_that_is_used_again_tells_each_request_its_own(app: Traced) -> None:
    """Pipelined, the server's tasks come out of one another's context."""
    traces = [os.urandom(16).hex() for _ in range(6)]
    kinds = ["async", "def", "refusing", "def", "async", "refusing"]
    numbers = list(range(70, 76))
    text = "".join(
        f"GET /{kind}/{number} HTTP/1.1\r\nHost: x\r\n"
        f"traceparent: 00-{trace}-{'ab' * 8}-01\r\n\r\n"
        for kind, number, trace in zip(kinds, numbers, traces, strict=True)
    )
    with socket.create_connection(("127.0.0.1", app.server.port), scaled(20)) as connection:
        connection.sendall(text.encode())
        answer = b""
        while answer.count(b"HTTP/1.1 ") < 6:
            part = connection.recv(65536)
            assert part, answer
            answer += part
    for kind, number, trace in zip(kinds, numbers, traces, strict=True):
        spans = app.receiver.wait(lambda spans, wanted=trace: where(spans, trace_id=wanted))
        span = one(spans, trace_id=trace)
        assert span.parent_id == "ab" * 8
        if kind != "refusing":
            assert_tells(logged(app, f"{kind} {number}"), span)
        assert_tells(logged(app, f"GET /{kind}/{number} "), span)


def test_what_comes_after_a_request_is_not_its_own(app: Traced) -> None:
    with socket.create_connection(("127.0.0.1", app.server.port), scaled(20)) as connection:
        connection.sendall(b"GET /async/90 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        logged(app, "async 90")
        connection.sendall(b"no request\r\n\r\n")
        while connection.recv(65536):
            pass
    found = [line for line in lines(app.server.stderr) if "Invalid HTTP" in line.message]
    assert len(found) == 2  # One is the harness's, which asks whether the server answers.
    assert {ids(line) for line in found} == {NOBODY}


def test_a_trace_that_is_not_sampled_is_told_all_the_same(app: Traced) -> None:
    trace = os.urandom(16).hex()
    app.server.get("/async/60", headers={"traceparent": f"00-{trace}-{'ab' * 8}-00"})
    line = logged(app, "async 60")
    assert (line.trace_id, line.sampled) == (trace, "False")
    assert len(line.span_id) == 16 and line.span_id != "ab" * 8


def test_below_an_excluded_url_there_is_no_trace_to_tell(app: Traced) -> None:
    app.server.get("/async/66")
    assert ids(logged(app, "async 66")) == NOBODY
    assert ids(logged(app, "GET /async/66 ")) == NOBODY


def test_what_no_request_logs_tells_the_service_alone(app: Traced) -> None:
    line = logged(app, "Application startup complete")
    assert (*ids(line), line.service) == (*NOBODY, "log shop")


@pytest.mark.parametrize("number", [80, 81])
def test_a_websocket_logs_under_its_connection(app: Traced, number: int) -> None:
    trace = os.urandom(16).hex()
    before = len(lines(app.server.stderr))
    url = f"ws://127.0.0.1:{app.server.port}/socket/{number}"
    headers = {"traceparent": f"00-{trace}-{'ab' * 8}-01"}
    connect = websockets.sync.client.connect
    with connect(url, proxy=None, additional_headers=headers) as connection:
        with suppress(websockets.exceptions.ConnectionClosed):
            connection.recv(timeout=scaled(20))
    spans = app.receiver.wait(lambda spans: where(spans, trace_id=trace))
    span = one(spans, trace_id=trace)
    assert_tells(logged(app, f"socket {number}"), span)
    assert_tells(logged(app, f'"WebSocket /socket/{number}" [accepted]'), span)
    if number % 2:

        def error() -> list[Line]:
            new = lines(app.server.stderr)[before:]
            return [line for line in new if line.message == "Exception in ASGI application"]

        (line,) = until(error, 20, lambda: app.server.describe())
        assert_tells(line, span)


def test_hypercorn_logs_tell_their_request_too(
    run: Runner, receiver: HttpReceiver, tmp_path: Path
) -> None:
    config = json.loads(log_config(tmp_path).read_text())
    config["formatters"]["access"] = config["formatters"]["plain"]
    config["loggers"] = {
        "hypercorn.access": {"handlers": ["all"], "level": "INFO", "propagate": False},
        "hypercorn.error": {"handlers": ["all"], "level": "INFO", "propagate": False},
    }
    (tmp_path / "log.json").write_text(json.dumps(config))
    command = [run.python, "-m", "hypercorn", "logs:bare", "--bind", "127.0.0.1:0"]
    options = ["--log-config", f"json:{tmp_path}/log.json", "--access-logfile", "-"]
    server = run.serve([*command, *options], env=receiver.env | ON)
    for path in ("/good/1", "/failing/2"):
        server.get(path)
    server.stop()
    found = lines(server.stderr + server.stdout)
    for path in ("/good/1", "/failing/2"):
        span = one(receiver.spans, attributes={"url.path": path})
        (access,) = [line for line in found if f"GET {path} " in line.message]
        assert_tells(access, span)
    (error,) = [line for line in found if line.message == "Error in ASGI Framework"]
    assert_tells(error, span)


# What applications do with their records.


def said(
    run: Runner, receiver: HttpReceiver, case: str, env: dict[str, str] = ON, **options: Any
) -> list[str]:
    """Runs a case of apps/log_script.py in a request of its own, and returns what it prints."""
    process = run.run([run.python, "log_script.py", case], env=receiver.env | env, **options)
    assert process.status == 0, process.describe()
    assert process.own_stderr == ""
    assert process.agent_lines == []
    return process.stdout.splitlines()


TRACE = "ab" * 16


@pytest.mark.parametrize(
    "case",
    """plain child_logger adapter factory_before factory_after make_record made_record
    handler_alone logger_filter handler_filter through_a_queue memory subclass template
    dollar_template extra_of_others pickled caller lambda_factory slots_record""".split(),
)
def test_a_record_tells_its_span_whatever_the_application_does(
    run: Runner, receiver: HttpReceiver, case: str
) -> None:
    printed = said(run, receiver, case)
    span = one(receiver.wait(1))
    assert printed == [f"{case} {TRACE} {span.span_id} True log shop"]


@pytest.mark.parametrize(
    ("case", "printed"),
    [
        ("extra", "extra mine {span} True log shop"),
        ("extra_service", f"extra_service {TRACE} {{span}} True mine"),
        ("factory_with_attributes", f"factory_with_attributes {TRACE} mine True log shop"),
        ("received", "received theirs theirs False theirs"),
        ("no_record", "no_record untouched"),
        ("overwrite", "overwrite KeyError"),
        ("disabled", "disabled nothing"),
    ],
)
def test_what_the_application_says_itself_stays(
    run: Runner, receiver: HttpReceiver, case: str, printed: str
) -> None:
    lines_ = said(run, receiver, case)
    assert lines_ == [printed.format(span=one(receiver.wait(1)).span_id)]


@pytest.mark.parametrize("value", ["", "false", "False"])
def test_without_the_variable_logging_is_left_alone(
    run: Runner, receiver: HttpReceiver, value: str
) -> None:
    env = {"OTEL_PYTHON_LOG_CORRELATION": value, "OTEL_SERVICE_NAME": "log shop"}
    untouched = said(run, receiver, "untouched", env)
    assert untouched == said(run, receiver, "untouched", env, agent="none")
    assert untouched[0] == "function function function"
    process = run.run(
        [run.python, "log_script.py", "untouched"],
        env=receiver.env | env | {"FAA_LOG_LEVEL": "debug"},
    )
    assert "logging" not in process.stderr


def test_it_can_be_turned_off_like_any_library(run: Runner, receiver: HttpReceiver) -> None:
    env = ON | {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "logging"}
    assert said(run, receiver, "untouched", env)[0] == "function function function"


def test_a_value_that_is_none_gets_a_line(run: Runner, receiver: HttpReceiver) -> None:
    env = receiver.env | {"OTEL_PYTHON_LOG_CORRELATION": "yes"}
    process = run.run([run.python, "log_script.py", "untouched"], env=env)
    (line,) = process.agent_lines
    assert "OTEL_PYTHON_LOG_CORRELATION" in line
    assert process.stdout.startswith("function function function\n")


def test_the_service_is_the_resources(run: Runner, receiver: HttpReceiver) -> None:
    env = {
        "OTEL_PYTHON_LOG_CORRELATION": "TRUE",
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=caf%C3%A9",
    }
    printed = said(run, receiver, "plain", env | {"PYTHONIOENCODING": "utf-8"})
    span = one(receiver.wait(1))
    assert span.resource["service.name"] == "caf\u00e9"
    assert printed == [f"plain {TRACE} {span.span_id} True caf\u00e9"]

# SPDX-License-Identifier: MIT
"""FAA_LOG_LEVEL=debug: what troubleshooting needs; and without it, nothing."""

import re
import socket
from collections.abc import Iterable
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from harness.compare import seen
from harness.process import AGENTS, Process, Runner, Server
from harness.receiver import HttpReceiver, Receiver
from harness.target import Target

DEBUG = {"FAA_LOG_LEVEL": "debug"}
LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z) (\d+) faa debug: (.+)")
EVERYTHING = "import fastapi, sqlalchemy, requests, selfcall; selfcall.request()"
LIBRARIES = ("fastapi", "starlette", "sqlalchemy", "requests", "urllib3", "urllib", "anyio")


def debug_lines(process: Process) -> list[str]:
    """Returns the texts of the agent's lines. Raises AssertionError when another kind is there."""
    texts = []
    for line in process.agent_lines:
        match = LINE.fullmatch(line)
        assert match, line
        texts.append(match[3])
    return texts


def script(run: Runner, code: str, env: dict[str, str], **options: Any) -> Process:
    process = run.run([run.python, "-c", code], env=DEBUG | env, **options)
    assert process.status == 0, process.describe()
    return process


def test_each_line_has_utc_time_and_pid(run: Runner, receiver: HttpReceiver) -> None:
    before = datetime.now(timezone.utc)
    process = script(run, EVERYTHING, receiver.env | {"TZ": "Asia/Kathmandu"})
    after = datetime.now(timezone.utc)
    assert (process.own_stderr, process.stdout) == ("", "")
    times = []
    for line in process.agent_lines:
        match = LINE.fullmatch(line)
        assert match, line
        assert int(match[2]) == process.pid
        times.append(datetime.fromisoformat(match[1].replace("Z", "+00:00")))
    assert times == sorted(times)
    slack = (after - before) * 0.1
    assert before - slack <= times[0] and times[-1] <= after + slack


def test_child_has_lines_of_its_own(run: Runner, receiver: HttpReceiver) -> None:
    # One write for a line: print() makes two, between which the other process may write.
    line = "os.write(1, b'%d\\n' % os.getpid())"
    code = f"import os, selfcall; pid = os.fork(); selfcall.request(); {line}"
    process = script(run, code + "\nif pid: os.waitpid(pid, 0)", receiver.env)
    sent = {int(line.split()[1]) for line in process.agent_lines if " bytes to " in line}
    assert sent == set(map(int, process.stdout.split()))


def test_interpreter_and_road(run: Runner, receiver: HttpReceiver) -> None:
    code = "import platform; print(platform.python_version())"
    process = script(run, code, receiver.env)
    (line,) = debug_lines(process)
    assert re.fullmatch(
        rf"fastapi-auto-agent \d+\.\d+\.\d+ in CPython {re.escape(process.stdout.strip())}\S*, "
        "found by the audit hook",
        line,
    )


def test_module_library_and_version(run: Runner, receiver: HttpReceiver) -> None:
    lines = debug_lines(script(run, EVERYTHING, receiver.env))
    for library in LIBRARIES:
        name = {"sqlalchemy": "SQLAlchemy"}.get(library, library)
        # Those have no __version__.
        told = "?" if library in ("anyio", "urllib") else version(name)
        instrumented = lines.index(f"{library} {told} instrumented")
        intercepted = [l for l in lines[:instrumented] if re.search(rf"module {library}\b", l)]
        assert len(intercepted) == 1 and "intercepted" in intercepted[0]
    assert not any("not instrumented" in line for line in lines)


def test_a_library_below_is_told_by_its_own_name(run: Runner, receiver: HttpReceiver) -> None:
    lines = debug_lines(script(run, "import httpx; httpx.Client()", receiver.env))
    for told in (f"httpx {version('httpx')}", f"httpx (httpcore {version('httpcore')})"):
        assert lines.count(f"{told} instrumented") == 1


@pytest.mark.parametrize("value", [*LIBRARIES, "*"])
def test_why_not_turned_off(run: Runner, receiver: HttpReceiver, value: str) -> None:
    env = receiver.env | {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": value}
    lines = debug_lines(script(run, EVERYTHING, env))
    refused = [line for line in lines if "not instrumented" in line]
    names = LIBRARIES if value == "*" else (value,)
    # Modules of the standard library come with these, and may be several of one name.
    assert sorted(own(line.split()[0] for line in refused)) == sorted(names)
    assert all("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS" in line for line in refused)
    taken = [line.split()[0] for line in lines if re.fullmatch(r"\S+ \S+ instrumented", line)]
    assert sorted(own(taken)) == sorted(set(LIBRARIES) - set(names))
    assert ("threading" in taken) == (value != "*")


def own(names: Iterable[str]) -> list[str]:
    """Those of the names that EVERYTHING imports by itself."""
    return [name for name in names if name in LIBRARIES]


# Packages of these names that are something else.
STRANGE = {
    "requests": {
        "requests/__init__.py": "__version__ = '99'\nfrom . import sessions, adapters\n",
        "requests/sessions.py": "class Session: pass\n",
        "requests/adapters.py": "HTTPAdapter = None\n",
    },
    "sqlalchemy": {
        "sqlalchemy/__init__.py": "__version__ = '99'\nfrom . import engine, event\n",
        "sqlalchemy/engine.py": "",
        "sqlalchemy/event.py": "def listen(*args, **options): raise RuntimeError('strange')\n",
    },
    "starlette": {
        "starlette/__init__.py": "__version__ = '99'\nfrom . import applications\n",
        "starlette/applications.py": "class Starlette:\n    __slots__ = ('__dict__',)\n",
    },
    "fastapi": {
        "fastapi/__init__.py": "__version__ = '99'\nfrom . import applications\n",
        "fastapi/applications.py": "FastAPI = 4711\n",
    },
}


@pytest.mark.parametrize("library", STRANGE)
def test_why_not_strange_shape(
    run: Runner, receiver: HttpReceiver, tmp_path: Path, library: str
) -> None:
    for name, text in STRANGE[library].items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    code = f"import {library}; print({library}.__version__)"
    process = script(run, code, receiver.env, cwd=tmp_path)
    assert (process.stdout, process.own_stderr) == ("99\n", "")
    (line,) = [line for line in debug_lines(process) if "instrumented" in line]
    assert re.match(rf"{library} not instrumented: \w+", line)


def test_why_not_standing_down(run: Runner) -> None:
    process = script(run, EVERYTHING, {"OTEL_SDK_DISABLED": "true"})
    (line,) = debug_lines(process)
    assert "standing down" in line and "OTEL_SDK_DISABLED" in line


def test_batches(run: Runner, any_receiver: Receiver) -> None:
    env = any_receiver.env | {"OTEL_BSP_SCHEDULE_DELAY": "5000"}
    code = "import selfcall\nfor _ in range(700): selfcall.request()"
    process = script(run, code, env)
    pattern = r"(\d+) spans, (\d+) bytes to (\S+) \(OTLP/(?:HTTP|gRPC)\): (.*) in \d+\.\d ms"
    told = [match.groups() for match in re.finditer(pattern, process.stderr)]
    grpc = any_receiver.protocol == "grpc"
    where = any_receiver.endpoint + ("" if grpc else "/v1/traces")
    status = "gRPC status 0" if grpc else "HTTP 200"
    assert told == [
        (str(len(request.spans)), str(len(request.body)), where, status)
        for request in any_receiver.requests
    ]
    assert "700 spans ended, 700 exported, 0 dropped" in process.stderr


def test_drops(run: Runner, raw_server: Any) -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": raw_server("refuse").endpoint}
    process = script(run, EVERYTHING, env)
    assert "1 spans ended, 0 exported, 1 dropped" in process.stderr
    assert re.search(r"debug: 1 spans? dropped", process.stderr)


def test_launchers_option_is_the_variable(run: Runner, receiver: HttpReceiver) -> None:
    command = [run.python, "-c", EVERYTHING]
    process = run.run(command, agent="launcher", options=["--debug"], env=receiver.env)
    assert any("requests" in line and "instrumented" in line for line in debug_lines(process))


def test_secrets_stay_out_of_the_log(run: Runner, receiver: HttpReceiver, target: Target) -> None:
    env = receiver.env | DEBUG | {"TARGET_URL": target.url}
    server = run.uvicorn("shop:app", env=env)
    server.get("/orders/1?token=hush", headers={"Authorization": "Bearer hush"})
    receiver.wait(3)
    server.stop()
    assert not any("hush" in line for line in server.agent_lines)


@pytest.mark.parametrize("agent", [agent for agent in AGENTS if agent != "none"])
def test_healthy_run_says_nothing(
    run: Runner, receiver: HttpReceiver, target: Target, agent: str
) -> None:
    """Standard output and error are byte for byte what they are without the agent."""
    port = free_port()
    outputs = []
    for kind in ("none", agent):
        command = [run.python, "-m", "uvicorn", "shop:app", "--host", "127.0.0.1"]
        server: Server = run.serve(
            [*command, "--port", str(port), "--no-access-log"],
            agent=kind,
            env=receiver.env | {"TARGET_URL": target.url},
        )
        answers = [seen(server.get(path)) for path in ("/orders/1", "/raises", "/no", "/teapot")]
        status = server.stop()
        stderr = server.stderr.replace(str(server.pid), "PID")
        outputs.append((answers, status, server.stdout, stderr))
    assert outputs[0] == outputs[1]
    # Two statements at the start, and per request its own span and what it calls.
    assert len(receiver.spans) == 2 + 3 + 1 + 1 + 2


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])

# SPDX-License-Identifier: MIT
"""The same two libraries on every CPython: one set of checks, run on each of them."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.compare import quiet
from harness.deadline import scaled
from harness.otlp import Span, describe
from harness.process import TOP, Runner, Server
from harness.receiver import HttpReceiver
from harness.target import Target
from harness.tree import assert_tree, one, tree, where

SETUP = TOP / "tests" / "setup"
REQUIREMENTS = TOP / "tests" / "interpreters" / "requirements.txt"

# "system" is the distribution's own, static one, in the environment of these tests.
VERSIONS = ["system", "3.10", "3.11", "3.14"]

# The first run fetches interpreters and packages.
pytestmark = pytest.mark.timeout(scaled(600))

STUBS = {
    "__init__.py": "__version__ = '0'\n",
    "routing.py": (
        "class Route:\n"
        "    async def handle(self, scope, receive, send): pass\n"
        "class WebSocketRoute:\n"
        "    async def handle(self, scope, receive, send): pass\n"
        "class Mount:\n"
        "    async def handle(self, scope, receive, send): pass\n"
    ),
    "applications.py": (
        "from . import routing\n"
        "class Starlette:\n"
        "    async def __call__(self, scope, receive, send):\n"
        "        'The documentation.'\n"
        "        return await scope['run'](scope, receive, send)\n"
    ),
}


def made(*command: str | Path) -> str:
    """Returns the path that a script of tests/setup prints."""
    result = subprocess.run(
        [str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True
    )
    return result.stdout.strip()


@pytest.fixture(scope="module", params=VERSIONS)
def interpreter(request: pytest.FixtureRequest) -> str:
    """A bare interpreter."""
    return (
        sys.executable if request.param == "system" else made(SETUP / "interpreter", request.param)
    )


@pytest.fixture
def python(interpreter: str) -> str:
    """The interpreter of an environment with the libraries."""
    if interpreter == sys.executable:
        return interpreter
    version = Path(interpreter).parents[1].name
    return made(SETUP / "venv", f"python-{version}", REQUIREMENTS, interpreter) + "/bin/python"


# A coroutine through the proxy


def test_coroutine_is_driven_as_without_the_agent(
    run: Runner, receiver: HttpReceiver, interpreter: str, tmp_path: Path
) -> None:
    package = tmp_path / "stubs" / "starlette"
    package.mkdir(parents=True)
    for name, text in STUBS.items():
        (package / name).write_text(text)
    env = {**receiver.env, "PYTHONPATH": str(package.parent)}
    command = [interpreter, "-W", "ignore::DeprecationWarning", "proxied.py"]
    plain = run.run(command, agent="none", env=env)
    traced = run.run(command, env=env)
    assert plain.status == traced.status == 0, plain.describe() + traced.describe()
    assert traced.stdout.splitlines() == plain.stdout.splitlines()
    assert quiet(traced.own_stderr).splitlines() == quiet(plain.stderr).splitlines()
    spans = where(receiver.spans, name="GET", kind="SERVER")
    assert len(spans) == len(receiver.spans) > 100


def test_server_sees_an_asgi_3_application(run: Runner) -> None:
    code = (
        "import inspect, basic_fastapi, plain_starlette\n"
        "from uvicorn.config import Config\n"
        "for module in (basic_fastapi, plain_starlette):\n"
        "    config = Config(module.app, log_config=None)\n"
        "    config.load()\n"
        "    function = type(module.app).__call__\n"
        "    print(config.interface, inspect.iscoroutinefunction(module.app.__call__),\n"
        "          inspect.iscoroutinefunction(function), inspect.signature(function))\n"
    )
    plain = run.run([run.python, "-W", "ignore", "-c", code], agent="none")
    process = run.run([run.python, "-W", "ignore", "-c", code])
    assert (process.status, process.stderr) == (0, "")
    assert process.stdout == plain.stdout
    lines = [line.split()[:3] for line in process.stdout.splitlines()]
    assert lines == [["asgi3", "True", "True"]] * 2


def test_agent_says_which_interpreter_it_found(run: Runner) -> None:
    process = run.run([run.python, "-V"], env={"FAA_LOG_LEVEL": "debug"})
    version = process.stdout.split()[1]
    assert (process.status, process.stderr) == (0, "")
    process = run.run([run.python, "-c", ""], env={"FAA_LOG_LEVEL": "debug"})
    assert f"in CPython {version}, found by the audit hook" in process.stderr


# Real libraries

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


def check_basic(server: Server, spans: Callable[[str], list[Span]]) -> None:
    assert server.get("/api/v1/items/3/reviews/x", headers=TRACEPARENT).status_code == 200
    assert server.get("/raises").status_code == 500
    assert server.get("/sync").json() == {"kind": "sync"}
    assert server.get("/tasks").json() == [1, 2, 3, 4, 5, 6]
    assert server.get("/stream").text.count("chunk") == 5
    assert server.get("/none").status_code == 404
    assert server.stop() == -signal.SIGTERM
    route = "/api/v1/items/{item_id}/reviews/{review_id}"
    review = one(spans("/api/v1/items/3/reviews/x"))
    assert (review.name, review.kind) == (f"GET {route}", "SERVER")
    assert (review.trace_id, review.parent_id) == (TRACE, PARENT)
    assert review.attributes["http.route"] == route
    assert review.attributes["http.response.status_code"] == 200
    raises = one(spans("/raises"))
    assert (raises.status, raises.attributes["http.response.status_code"]) == ("ERROR", 500)
    (event,) = raises.events
    assert event.attributes["exception.type"] == "ValueError"
    assert event.attributes["exception.message"] == "on purpose"
    assert "in raises" in event.attributes["exception.stacktrace"]
    for path in ("/sync", "/tasks", "/stream"):
        assert_tree(spans(path), (f"GET {path}", "SERVER"))
    assert one(spans("/none")).name == "GET"


def check_db(server: Server, spans: Callable[[str], list[Span]]) -> None:
    assert server.get("/core/sync").json() == ["Ada", "Grace"]
    assert server.get("/orm/async/1").json() == "Ada"
    assert server.get("/tasks").json() == ["Ada", "Grace"]
    assert server.get("/fails/caught").json()["error"] == "OperationalError"
    assert server.stop() == -signal.SIGTERM
    select = ("SELECT users", "CLIENT")
    assert_tree(spans("/core/sync"), ("GET /core/sync", "SERVER", [select]))
    assert_tree(spans("/orm/async/1"), ("GET /orm/async/{user_id}", "SERVER", [select]))
    assert_tree(spans("/tasks"), ("GET /tasks", "SERVER", [select, select]))
    failed = one(spans("/fails/caught"), kind="CLIENT")
    assert (failed.status, failed.attributes["db.system.name"]) == ("ERROR", "sqlite")
    assert failed.attributes["error.type"]


def check_client(server: Server, spans: Callable[[str], list[Span]], target: Target) -> None:
    for path in ("/sync", "/async", "/status/500", "/redirect/1"):
        assert server.get(path).status_code == 200
    assert server.stop() == -signal.SIGTERM
    get = ("GET", "CLIENT")
    for path, name in (
        ("/sync", "/sync"),
        ("/async", "/async"),
        ("/status/500", "/status/{status}"),
    ):
        assert_tree(spans(path), (f"GET {name}", "SERVER", [get]))
    assert_tree(spans("/redirect/1"), ("GET /redirect/{count}", "SERVER", [get, get]))
    assert one(spans("/status/500"), kind="CLIENT").status == "ERROR"
    sent = {seen["headers"]["traceparent"] for seen in target.seen}
    made = [
        span
        for path in ("/sync", "/async", "/status/500", "/redirect/1")
        for span in spans(path)
        if span.kind == "CLIENT"
    ]
    assert sent == {f"00-{span.trace_id}-{span.span_id}-01" for span in made}


def test_libraries_are_traced(
    run: Runner, receiver: HttpReceiver, target: Target, tmp_path: Path
) -> None:
    env = {
        **receiver.env,
        "OTEL_BSP_SCHEDULE_DELAY": "3600000",
        "DATABASE": str(tmp_path / "database"),
        "TARGET_URL": target.url,
    }

    def start(app: str) -> Server:
        command = [run.python, "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", "0"]
        server: Server = run.start(command, env={**env, "OTEL_SERVICE_NAME": app}, kind=Server)
        return server

    servers = {app: start(f"{app}:app") for app in ("basic_fastapi", "db", "client")}
    for server in servers.values():
        server.wait_ready()

    def of(app: str) -> Callable[[str], list[Span]]:
        def spans(path: str) -> list[Span]:
            """The whole tree of the request to a path."""
            mine = [span for span in receiver.spans if span.service == f"{app}:app"]
            root = one(mine, kind="SERVER", attributes={"url.path": path})
            return [span for span in mine if span.trace_id == root.trace_id]

        return spans

    check_basic(servers["basic_fastapi"], of("basic_fastapi"))
    check_db(servers["db"], of("db"))
    check_client(servers["client"], of("client"), target)
    roots = [node.span for node in tree(receiver.spans)]
    assert all(span.kind == "SERVER" or span.service == "db:app" for span in roots), describe(roots)

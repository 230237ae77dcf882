# SPDX-License-Identifier: MIT
"""The span goes along into threads, pools and processes; none of them keeps it."""

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import libraries
from harness.compare import quiet
from harness.deadline import scaled
from harness.otlp import Span
from harness.process import APPS, TOP, Runner
from harness.receiver import HttpReceiver
from harness.target import Target
from harness.traced import Traced, traced
from harness.tree import one, where


@pytest.fixture(scope="module")
def peer() -> Iterator[Target]:
    server = Target()
    yield server
    server.stop()


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def app(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    build: Path,
    peer: Target,
) -> Iterator[Traced]:
    """apps/threads.py on each event loop."""
    directory = tmp_path_factory.mktemp("threads")
    python = libraries.python()
    arguments = ("--loop", request.param)
    # What is told is calls: statements on aiosqlite's thread make them, and have no spans here.
    env = {"TARGET_URL": peer.url, "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "sqlite3"}
    with traced(directory, build, python, "threads:app", *arguments, env=env) as server:
        yield server


def path_of(span: Span) -> str:
    """What a call's URL has behind /echo/."""
    return str(span.attributes["url.full"]).partition("/echo/")[2]


# The calls of each case, and those of them that are nobody's: roots of traces of their own.
CASES = {
    "thread": ["thread"],
    "thread_with_own_run": ["thread_with_own_run"],
    "thread_with_slots": ["thread_with_slots"],
    "timer": ["timer"],
    "thread_of_a_thread": ["deep"],
    "thread_made_before": ["thread_made_before"],
    "submit": ["submit"],
    "pool_map": ["map/1", "map/2", "map/3"],
    "initializer": ["initializer/item", "-initializer"],
    "future_callback": ["future_callback", "future_callback/done"],
    "pool_of_a_pool": ["pool_of_a_pool"],
    "foreign_item": ["foreign_item/own", "-foreign_item"],
    "own_item_on_a_foreign_worker": ["own_item"],
    "thread_pool": [
        f"thread_pool/{how}" for how in ("apply", "async", "map", "starmap", "imap", "unordered")
    ],
    "foreign_task": ["foreign_task/own", "-foreign_task"],
    "cancelled_item": ["cancelled_item"],
    "failing_item": ["failing_item", "failing_item/next"],
    "worker_of_anyio": ["worker_of_anyio/function", "-worker_of_anyio"],
    "start_new_thread": ["-start_new_thread"],
    "thread_with_context": ["-thread_with_context"],
    "fresh_context": ["-fresh_context"],
    "fork": ["process/fork"],
    "spawn": ["process/spawn"],
    "forkserver": ["process/forkserver"],
    "fork_pool": ["pool/fork", "map/fork", "-foreign/fork"],
    "spawn_pool": ["pool/spawn", "map/spawn", "-foreign/spawn"],
    "forkserver_pool": ["pool/forkserver", "map/forkserver", "-foreign/forkserver"],
    "worker_processes": ["-worker_processes"],
    "to_thread": ["to_thread"],
    "default_executor": ["default_executor"],
    "executor": ["executor"],
    "anyio_thread": ["anyio_thread"],
    "from_thread": ["from_thread"],
    "from_thread_of_a_thread": ["portal"],
    "run_coroutine_threadsafe": ["threadsafe"],
    "call_soon": ["call_soon"],
    "call_at_a_time": ["call_later"],
    "call_soon_threadsafe": ["call_soon_threadsafe"],
    "task_callback": ["task_callback"],
    "task_group": ["task_group/1", "task_group/2"],
    "task_with_context": ["-task_with_context"],
    "own_loop_in_a_thread": ["own_loop"],
}


def assert_calls(app: Traced, peer: Target, case: str, calls: list[str]) -> None:
    """Runs a case; each call must be a child of its request, but for those with a minus."""
    own = sorted(call for call in calls if call[0] != "-")
    roots = sorted(call[1:] for call in calls if call[0] == "-")
    before = len(peer.seen)
    call = app.get(f"/{case}", until=lambda spans: len(spans) >= len(own))
    assert call.response.status_code == 200, call.response.text
    assert sorted(path_of(span) for span in call.spans) == own
    for span in call.spans:
        assert (span.name, span.kind) == ("GET", "CLIENT")
        assert span.parent_id == call.server.span_id
        assert span.service == call.server.service
    # The peer has seen each of them as its parent, and the others in traces of their own.
    seen = peer.seen[before:]
    assert len(seen) == len(calls)
    sent = {request["path"].partition("/echo/")[2]: parent_of(request) for request in seen}
    assert {path: sent[path] for path in own} == {
        path_of(span): (span.trace_id, span.span_id) for span in call.spans
    }
    for path in roots:
        trace_id, span_id = sent[path]
        assert trace_id != call.server.trace_id
        spans = app.receiver.wait(lambda spans, wanted=trace_id: where(spans, trace_id=wanted))
        root = one(spans, trace_id=trace_id)
        assert (root.span_id, root.parent_id, path_of(root)) == (span_id, "", path)


def parent_of(request: dict[str, dict[str, str]]) -> tuple[str, str]:
    """The trace and span ids that a request has told."""
    _, trace_id, span_id, flags = request["headers"]["traceparent"].split("-")
    assert flags == "01"
    return trace_id, span_id


@pytest.mark.parametrize("case", CASES)
def test_a_call_is_a_child_of_the_request_that_asked_for_it(
    app: Traced, peer: Target, case: str
) -> None:
    assert_calls(app, peer, case, CASES[case])


def test_a_statement_in_a_shared_connections_thread_is_its_own_requests(
    app: Traced, peer: Target
) -> None:
    for _ in range(3):
        assert_calls(app, peer, "shared_connection", ["shared_connection"])
    foreign = "shared_connection_without_a_request"
    assert_calls(app, peer, foreign, ["-foreign_statement"])


@pytest.mark.parametrize("case", ["spawn", "spawn_pool"])
def test_another_process_goes_on_with_all_of_the_trace(
    app: Traced, peer: Target, case: str
) -> None:
    before = len(peer.seen)
    headers = {"tracestate": "vendor=value,other=1", "baggage": "customer=7,tier=gold"}
    app.get(f"/{case}", headers=headers, until=lambda spans: spans)
    own = [r["headers"] for r in peer.seen[before:] if "/foreign/" not in r["path"]]
    assert own
    for sent in own:
        assert {name: sent[name] for name in headers} == headers


@pytest.mark.parametrize("case", ["thread", "submit", "fork", "spawn", "spawn_pool"])
def test_what_an_excluded_request_asks_for_elsewhere_is_excluded(
    run: Runner, receiver: HttpReceiver, target: Target, case: str
) -> None:
    env = {
        **receiver.env,
        "TARGET_URL": target.url,
        "OTEL_PYTHON_FASTAPI_EXCLUDED_URLS": f"/{case}$",
    }
    server = run.uvicorn("threads:app", env=env)
    assert server.get(f"/{case}").status_code == 200
    assert server.stop() == -15
    own = [request for request in target.seen if "/foreign/" not in request["path"]]
    assert own
    assert all("traceparent" not in request["headers"] for request in own)
    assert [path_of(span) for span in receiver.spans] == (
        ["foreign/spawn"] if case == "spawn_pool" else []
    )


# Any interpreter, without a package.

SETUP = TOP / "tests" / "setup"
VERSIONS = {
    "system": [],
    "3.10": [],
    "3.14": [],
    "3.14-inheriting": ["-X", "thread_inherit_context=1"],  # As free-threaded builds do.
}


@pytest.fixture(params=VERSIONS)
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> list[str | Path]:
    """A command that runs a script on a bare interpreter, with by_hand.py's server on its path."""
    version, _, _ = request.param.partition("-")
    path: str | Path = sys.executable
    if version != "system":
        command = [SETUP / "interpreter", version]
        path = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    package = tmp_path / "hypercorn"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "app_wrappers.py").write_text(
        "class ASGIWrapper:\n"
        "    def __init__(self, app):\n"
        "        self.app = app\n"
        "    async def __call__(self, scope, receive, send, sync_spawn, call_soon):\n"
        "        await self.app(scope, receive, send)\n"
    )
    return [path, *VERSIONS[request.param]]


@pytest.mark.timeout(scaled(600))  # The first run fetches interpreters.
def test_the_span_is_carried_and_dropped_on_every_interpreter(
    run: Runner, receiver: HttpReceiver, bare: list[str | Path], tmp_path: Path
) -> None:
    env = {
        **receiver.env,
        "PYTHONPATH": str(tmp_path),
        "OTEL_PYTHON_LOG_CORRELATION": "true",
        "OTEL_SERVICE_NAME": "carrier",
    }
    result = run.run([*bare, APPS / "carried.py"], env=env)
    assert result.status == 0, result.describe()
    assert result.own_stderr == ""
    span = one(receiver.wait(1))
    own = f"{'ab' * 16} {span.span_id} True carrier"
    lines = result.stdout.splitlines()
    assert len(lines) >= 25
    for line in lines:
        wanted = {"own": own, "none": "0 0 False carrier"}[line.partition(" ")[0]]
        assert line.endswith(f" {wanted}"), line


@pytest.mark.timeout(scaled(600))
def test_an_application_sees_nothing_of_it(
    run: Runner, receiver: HttpReceiver, bare: list[str | Path], tmp_path: Path
) -> None:
    env = {**receiver.env, "PYTHONPATH": str(tmp_path)}
    with_agent, without = (
        run.run([*bare, APPS / "thread_script.py"], env=env, agent=agent)
        for agent in ("preload", "none")
    )
    assert quiet(with_agent.stdout) == quiet(without.stdout)
    assert quiet(with_agent.own_stderr) == quiet(without.stderr)
    assert (with_agent.status, without.status) == (0, 0)
    assert len(without.stdout.splitlines()) > 100


def test_it_can_be_turned_off(
    run: Runner, receiver: HttpReceiver, tmp_path: Path, python: str, target: Target
) -> None:
    env = {**receiver.env, "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "threading"}
    server = run.uvicorn("threads:app", env={**env, "TARGET_URL": target.url})
    assert server.get("/thread").status_code == 200
    assert server.get("/submit").status_code == 200
    server.stop()
    calls = where(receiver.spans, name="GET")
    assert sorted(path_of(span) for span in calls) == ["submit", "thread"]
    assert {span.parent_id for span in calls} == {""}


def test_nothing_stays_in_threads_that_live_on(run: Runner, receiver: HttpReceiver) -> None:
    """Workers that requests have started and used; records and work items by the thousand."""
    env = {**receiver.env, "OTEL_PYTHON_LOG_CORRELATION": "true"}
    rounds = 5
    process = run.run([run.python, "carry_leaks.py", "200", str(rounds)], env=env, timeout=60)
    assert (process.status, process.stderr) == (0, "")
    none, *measured, with_a_thread = [json.loads(line) for line in process.stdout.splitlines()]
    assert len(measured) == rounds
    assert {each["spans"] for each in measured} == {none["spans"]}
    growth = [after["blocks"] - before["blocks"] for before, after in itertools.pairwise(measured)]
    assert min(growth) < 100, growth
    # A thread that a request leaves running keeps the request's span, and no more.
    assert with_a_thread["spans"] - measured[-1]["spans"] == 1

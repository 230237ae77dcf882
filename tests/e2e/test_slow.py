# SPDX-License-Identifier: MIT
"""What made a request slow: calls that block the event loop, waits for a thread and a connection.

Waits are made by the test, which lets the one who waits go on: only lower limits are asserted.
"""

import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness import libraries
from harness.deadline import until
from harness.otlp import Span
from harness.process import APPS, TOP, Runner
from harness.receiver import HttpReceiver
from harness.target import Target
from harness.traced import Call, Traced, traced
from harness.tree import one

APP = APPS / "slow_cases.py"
OLDER = Path(__file__).with_name("requirements-older.txt")
BLOCKING = "faa.event_loop.blocking"
PLACE = ("code.function.name", "code.file.path", "code.line.number")
THREAD = "faa.thread_pool.wait_us"
CONNECTION = "faa.db.pool.wait_us"
HELD = 0.3  # Seconds for which the test lets a request wait,
WAITED = 100_000  # and the microseconds of it that are seen at least.


@pytest.fixture(scope="module", params=["asyncio", "uvloop", "older"])
def kind(request: pytest.FixtureRequest) -> str:
    """Today's libraries on one of the loops; or FastAPI 0.110, SQLAlchemy 1.4 and anyio 3."""
    return str(request.param)


@pytest.fixture(scope="module")
def python(kind: str) -> str:
    """An interpreter that has the libraries."""
    default = libraries.python()
    if kind != "older":
        return default
    command = [TOP / "tests" / "setup" / "venv", "older", OLDER, default]
    venv = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    return f"{venv}/bin/python"


@pytest.fixture(scope="module")
def slow(
    tmp_path_factory: pytest.TempPathFactory, build: Path, python: str, kind: str
) -> Iterator[Traced]:
    """apps/slow_cases.py."""
    directory = tmp_path_factory.mktemp("slow")
    target = Target()
    env = {
        "DATABASE": str(directory / "slow.db"),
        "TARGET_URL": target.url,
        "FAA_SLOW_POOL_WAIT": "",  # The agent's default; the harness sets another.
    }
    loop = "uvloop" if kind == "uvloop" else "asyncio"
    with traced(directory, build, python, "slow_cases:app", "--loop", loop, env=env) as server:
        yield server
    target.stop()


def line_of(name: str) -> int:
    """Returns the number of the application's line that ends in "# line: name"."""
    lines = APP.read_text().splitlines()
    return one_of([i for i, line in enumerate(lines, 1) if line.endswith(f"# line: {name}")])


def one_of(values: list[Any]) -> Any:
    assert len(values) == 1, values
    return values[0]


def place(span: Span) -> tuple[Any, ...]:
    return tuple(span.attributes.get(key) for key in PLACE)


# Calls that block the event loop.


@pytest.mark.parametrize(
    ("path", "function", "line"),
    [
        ("/sql/in-async", "sql_in_async", "sql-in-async"),
        ("/sql/in-helper", "query", "query"),
        ("/sql/in-class", "Repository.count", "repository"),
        ("/sql/in-generated", "sql_in_generated", "sql-in-generated"),
        ("/http/in-async", "http_in_async", "http-in-async"),
        ("/http/refused", "http_refused", "http-refused"),
    ],
)
def test_a_call_that_blocks_the_loop_is_marked_with_the_line_that_makes_it(
    slow: Traced, path: str, function: str, line: str
) -> None:
    span = one(slow.get(path).spans)
    assert span.kind == "CLIENT"
    assert span.attributes[BLOCKING] is True
    told = place(span)
    # Before 3.11 a code object does not know the class that a function is in.
    assert told[0] in (f"slow_cases.{function}", f"slow_cases.{function.rpartition('.')[2]}")
    assert told[1:] == (str(APP), line_of(line))


@pytest.mark.parametrize(
    "path", ["/sql/in-def", "/sql/in-thread", "/sql/async", "/http/in-def"]
)
def test_a_call_that_blocks_only_its_thread_is_not_marked(slow: Traced, path: str) -> None:
    call = slow.get(path)
    assert call.json is not None
    span = one(call.spans)
    assert span.kind == "CLIENT"
    assert not {BLOCKING, *PLACE} & span.attributes.keys()


def test_the_server_span_is_not_marked(slow: Traced) -> None:
    server = slow.get("/sql/in-async").server
    assert not {BLOCKING, *PLACE} & server.attributes.keys()


def test_a_script_without_a_loop_blocks_nobody(run: Runner, receiver: HttpReceiver) -> None:
    code = (
        "import asyncio, sqlalchemy as s\n"
        "def query():\n"
        "    with s.create_engine('sqlite://').connect() as c: c.execute(s.text('SELECT 1'))\n"
        "async def main(): query()\n"
        "query(); asyncio.run(main()); query()\n"
    )
    script = run.run([run.python, "-c", code], env=receiver.env)
    assert (script.status, script.stderr) == (0, "")
    spans = sorted(receiver.wait(3), key=lambda span: span.start_ns)
    assert [span.attributes.get(BLOCKING) for span in spans] == [None, True, None]
    assert place(spans[1]) == ("__main__.query", "<string>", 3)


# Waits. The gate is shut while somebody waits, and opened by the test.


@contextmanager
def shut(slow: Traced) -> Iterator[ThreadPoolExecutor]:
    """The gate is shut; requests are made by the pool's threads."""
    with ThreadPoolExecutor(4) as clients:
        assert slow.server.get("/gate/shut").status_code == 200
        try:
            yield clients
        finally:
            slow.server.get("/gate/open")


def open_gate(slow: Traced) -> None:
    """Opens it when the one who waits has waited for long enough."""
    time.sleep(HELD)
    assert slow.server.get("/gate/open").status_code == 200


@pytest.mark.parametrize("path", ["/quick", "/depends"])
def test_the_wait_for_a_thread_is_told(slow: Traced, path: str) -> None:
    slow.server.get("/threads/1")
    try:
        with shut(slow) as clients:
            first = clients.submit(slow.get, "/hold")
            second = clients.submit(waiting_call, slow, path)
            until(
                lambda: slow.server.get("/gate/ask").json() == 1,
                20,
                lambda: "nobody waits for a thread",
            )
            open_gate(slow)
            assert first.result().json is None
            call = second.result()
    finally:
        slow.server.get("/threads/40")
    assert call.json in (1, 2)
    assert call.server.attributes[THREAD] >= WAITED
    took = (call.server.end_ns - call.server.start_ns) / 1000
    assert call.server.attributes[THREAD] <= took
    assert CONNECTION not in call.server.attributes


def waiting_call(slow: Traced, path: str) -> Call:
    """Makes the request when the only thread is taken."""
    until(lambda: slow.server.get("/taken").json(), 20, lambda: "the thread is not taken")
    return slow.get(path)


def test_a_request_that_needs_no_thread_waits_for_none(slow: Traced) -> None:
    assert THREAD not in slow.get("/no-thread").server.attributes


def test_run_sync_gives_what_it_gives_without_the_agent(
    slow: Traced, run: Runner, python: str, tmp_path: Path
) -> None:
    bare = Runner(tmp_path, run.build, python)
    env = {"DATABASE": str(tmp_path / "bare.db")}
    server = bare.uvicorn("slow_cases:app", agent="none", env=env)
    try:
        expected = server.get("/run-sync").json()
    finally:
        bare.kill_all()
    call = slow.get("/run-sync")
    assert call.json == expected
    assert call.server.attributes[THREAD] >= 0


@pytest.mark.parametrize("pool", ["pool", "pool/async"])
def test_the_wait_for_a_connection_is_told(slow: Traced, pool: str) -> None:
    with shut(slow) as clients:
        asked = slow.server.get("/asking").json()
        first = clients.submit(slow.get, f"/{pool}/hold")
        until(lambda: slow.server.get("/holding").json() == 1, 20, lambda: "it is not held")
        second = clients.submit(slow.get, f"/{pool}/use")
        until(
            lambda: slow.server.get("/asking").json() == asked + 1,
            20,
            lambda: "nobody asks for a connection",
        )
        open_gate(slow)
        assert first.result().json is None
        call = second.result()
    assert call.json == 1
    assert call.server.attributes[CONNECTION] >= WAITED
    took = (call.server.end_ns - call.server.start_ns) / 1000
    assert call.server.attributes[CONNECTION] <= took
    wait, statement = call.spans
    assert (wait.name, wait.kind, wait.status) == ("pool wait", "INTERNAL", "UNSET")
    assert wait.attributes["db.system.name"] == statement.attributes["db.system.name"] == "sqlite"
    assert wait.attributes["db.namespace"] == statement.attributes["db.namespace"]
    waited = (wait.end_ns - wait.start_ns) // 1000
    assert WAITED <= waited <= call.server.attributes[CONNECTION]
    assert wait.parent_id == statement.parent_id == call.server.span_id
    assert wait.end_ns <= statement.start_ns
    assert statement.attributes[CONNECTION] == call.server.attributes[CONNECTION]


def test_a_wait_in_vain_is_told(slow: Traced) -> None:
    call = slow.get("/pool/exhausted")
    assert call.json == "TimeoutError"
    assert call.server.attributes[CONNECTION] >= 200_000
    wait = one(call.spans, name="pool wait")
    assert (wait.parent_id, wait.status) == (call.server.span_id, "ERROR")
    assert wait.attributes["error.type"] == "sqlalchemy.exc.TimeoutError"


def test_a_request_without_a_database_waits_for_no_connection(slow: Traced) -> None:
    assert CONNECTION not in slow.get("/quick").server.attributes

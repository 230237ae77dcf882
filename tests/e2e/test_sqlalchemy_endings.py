# SPDX-License-Identifier: MIT
"""Statements of SQLAlchemy that end in unusual ways, and connections that are slow to come by.

Whatever happened, the statement after it is told, under the request: an operation that was left
current would be its parent.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.compare import seen
from harness.otlp import Span
from harness.process import Runner, Server
from harness.receiver import HttpReceiver
from harness.sqlalchemy import VERSIONS, interpreter
from harness.target import Target
from harness.traced import Call, Traced, traced
from harness.tree import one, where

ERRORS = ("exception", "base", "interrupt", "exit", "greenlet", "cancelled")
# Those that say that nobody wants the answer any more.
QUIET = ("interrupt", "exit", "greenlet", "cancelled")
DEFAULT = {"FAA_SLOW_POOL_WAIT": ""}  # Of the agent; the harness sets another.
SLOW_BY = 0.25e9  # Nanoseconds that the application's slow function takes at least.


@pytest.fixture(scope="module", params=VERSIONS)
def python(request: pytest.FixtureRequest) -> str:
    return interpreter(request.param)


@pytest.fixture(scope="module")
def start(
    tmp_path_factory: pytest.TempPathFactory, build: Path, python: str
) -> Iterator[Callable[..., Traced]]:
    """apps/sql_endings.py, once for each environment; nothing secret has left it at the end."""
    running: dict[str, tuple[Any, Traced]] = {}

    def get(**env: str) -> Traced:
        if str(env) not in running:
            folder = tmp_path_factory.mktemp("endings")
            server = traced(folder, build, python, "sql_endings:app", env=env)
            running[str(env)] = (server, server.__enter__())
        return running[str(env)][1]

    yield get
    for server, found in running.values():
        sent = found.sent
        server.__exit__(None, None, None)
        assert b"hush" not in sent


@pytest.fixture
def endings(start: Callable[..., Traced]) -> Traced:
    return start()


def before_the_last(call: Call) -> list[Span]:
    """The spans before the ordinary statement at the end, which is as it should be."""
    *spans, last = call.spans
    assert last.attributes["db.query.text"] == "SELECT ? AS afterwards"
    assert (last.name, last.status, last.parent_id) == ("SELECT", "UNSET", call.server.span_id)
    assert all(span.end_ns <= last.start_ns for span in spans)
    return spans


# The driver, and listeners of the application, are left by errors of every kind.


@pytest.mark.parametrize("name", ERRORS)
def test_a_driver_that_raises_anything_ends_its_statement(endings: Traced, name: str) -> None:
    call = endings.get(f"/driver/{name}")
    assert call.json[-1] == "1"
    span = one(before_the_last(call))
    assert span.attributes["db.query.text"] == "SELECT ? AS wrong"
    assert span.parent_id == call.server.span_id
    kind = {"exception": "KeyError", "base": "sql_endings.Ended"}.get(name)
    assert span.attributes.get("error.type") == kind
    assert span.status == ("UNSET" if name in QUIET else "ERROR")


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize(
    "listener", ["before_cursor_execute", "after_cursor_execute", "handle_error"]
)
def test_a_listener_that_raises_anything_keeps_no_statement_open(
    endings: Traced, listener: str, name: str
) -> None:
    call = endings.get(f"/listener/{listener}/{name}")
    assert len(call.json) == 2
    told = [(span.name, span.status, span.parent_id) for span in before_the_last(call)]
    parent = call.server.span_id
    assert told == {
        "before_cursor_execute": [],  # The statement was not executed.
        "after_cursor_execute": [("SELECT sqlite_master", "UNSET", parent)],
        "handle_error": [("SELECT nowhere", "ERROR", parent)],
    }[listener]


def test_a_statement_that_a_listener_executes_is_not_sqlalchemys(endings: Traced) -> None:
    call = endings.get("/replaced")
    assert call.json == ["1"]
    assert where(before_the_last(call), scope_name="sqlalchemy") == []


def test_a_log_that_raises_keeps_no_statement_open(endings: Traced) -> None:
    call = endings.get("/logging")
    assert call.json == ["Ended", "1"]
    assert [span.name for span in before_the_last(call)] == ["SELECT"]


def test_a_failure_within_the_handling_of_another_is_told_beside_it(endings: Traced) -> None:
    call = endings.get("/reentrant")
    assert call.json[-1] == "1"
    spans = before_the_last(call)
    assert [(span.name, span.status) for span in spans] == [("SELECT nowhere", "ERROR")] * 2
    assert {span.parent_id for span in spans} == {call.server.span_id}


def test_a_statement_within_a_statement_is_its_child(endings: Traced) -> None:
    call = endings.get("/within")
    assert call.json == ["1"]
    outer, inner = before_the_last(call)
    assert outer.parent_id == call.server.span_id
    assert inner.attributes["db.query.text"] == "SELECT ? AS inside"
    assert inner.parent_id == outer.span_id


def test_methods_of_a_dialect_that_call_each_other_are_one_statement(endings: Traced) -> None:
    call = endings.get("/overriding")
    assert call.json == ["1"]
    spans = before_the_last(call)
    assert [span.name for span in spans] == ["CREATE TABLE words", "BATCH INSERT words"]
    assert spans[1].attributes["db.operation.batch.size"] == 2
    assert {span.parent_id for span in spans} == {call.server.span_id}


@pytest.mark.needs("aiosqlite", "0.22")  # 0.17 leaves a connection that cannot be used again.
@pytest.mark.parametrize("how", ["closed", "dropped"])
def test_an_async_statement_that_is_left_behind_ends(endings: Traced, how: str) -> None:
    call = endings.get(f"/abandoned/{how}")
    assert call.json[-1] == "1"
    left = one(before_the_last(call))
    assert left.attributes["db.query.text"] == "SELECT wait_here()"
    assert left.parent_id == call.server.span_id
    assert left.status == "UNSET"


def test_a_cancelled_statement_leaves_nothing_in_its_context(endings: Traced) -> None:
    call = endings.get("/cancelled")
    assert call.json == ["True", "1"]
    left = one(before_the_last(call))
    assert left.attributes["db.query.text"] == "SELECT wait_here()"
    assert (left.parent_id, left.status) == (call.server.span_id, "UNSET")
    assert "error.type" not in left.attributes


# Connections.


def test_a_slow_connect_is_told(start: Callable[..., Traced]) -> None:
    call = start(**DEFAULT).get("/connect/slow")
    connect = one(before_the_last(call), name="connect")
    assert (connect.kind, connect.status) == ("CLIENT", "UNSET")
    assert connect.parent_id == call.server.span_id
    assert connect.end_ns - connect.start_ns >= SLOW_BY
    assert connect.attributes == {"db.system.name": "sqlite", "db.namespace": ":memory:"}
    assert call.spans[-1].attributes["faa.db.pool.wait_us"] >= SLOW_BY / 1000


def test_a_slow_connect_is_no_wait_for_the_pool(start: Callable[..., Traced]) -> None:
    call = start(FAA_SQLALCHEMY_SPANS="pool_wait").get("/connect/slow")
    wait = one(before_the_last(call))
    assert (wait.name, wait.kind) == ("pool wait", "INTERNAL")
    assert wait.end_ns - wait.start_ns < SLOW_BY


@pytest.mark.parametrize(
    ("env", "names"),
    [
        ({"FAA_SQLALCHEMY_SPANS": "none"}, set()),
        ({"FAA_SQLALCHEMY_SPANS": "slow_pool_wait", "FAA_SLOW_POOL_WAIT": "1000"}, set()),
        ({}, set()),
        ({"FAA_SQLALCHEMY_SPANS": "slow_connect", "FAA_SLOW_POOL_WAIT": "200"}, {"connect"}),
        ({"FAA_SQLALCHEMY_SPANS": "Connect, ,"}, {"connect"}),
        ({"FAA_SQLALCHEMY_SPANS": "all"}, {"pool wait", "connect", "BEGIN", "ROLLBACK"}),
        ({"FAA_SLOW_POOL_WAIT": "0"}, {"pool wait", "connect"}),
    ],
)
def test_what_is_told_is_what_is_chosen(
    start: Callable[..., Traced], env: dict[str, str], names: set[str]
) -> None:
    call = start(**env).get("/connect/slow")
    assert call.json == ["1"]
    found = [span.name for span in call.spans if not span.attributes.get("db.query.text")]
    assert sorted(found) == sorted(names)
    assert {span.parent_id for span in call.spans} == {call.server.span_id}
    statement = one(where(call.spans, attributes={"db.query.text": "SELECT ? AS afterwards"}))
    assert statement.attributes["faa.db.pool.wait_us"] >= SLOW_BY / 1000


@pytest.mark.parametrize("chosen", ["slow_connect", "connect"])
def test_what_making_a_connection_asks_for_has_a_parent(
    start: Callable[..., Traced], target: Target, chosen: str
) -> None:
    env = {"FAA_SQLALCHEMY_SPANS": chosen}
    call = start(**env).get("/connect/asks", params={"url": target.url})
    assert call.json == ["1"]
    spans = before_the_last(call)
    exchange = one(spans, scope_name="requests")
    parent = call.server if chosen == "slow_connect" else one(spans, name="connect")
    assert exchange.parent_id == parent.span_id
    sent = target.seen[-1]["headers"]["traceparent"].split("-")
    assert sent[1:3] == [exchange.trace_id, exchange.span_id]


def test_a_connection_that_does_not_do_is_a_failed_connect(endings: Traced) -> None:
    call = endings.get("/connect/fails")
    assert call.json == ["OperationalError", "1"]
    connect = one(before_the_last(call))
    assert (connect.name, connect.status) == ("connect", "ERROR")
    assert connect.attributes["error.type"] == "sqlite3.OperationalError"


@pytest.mark.parametrize("chosen", ["slow_connect", "transactions", "none"])
def test_a_commit_that_fails_is_told(start: Callable[..., Traced], chosen: str) -> None:
    call = start(FAA_SQLALCHEMY_SPANS=chosen).get("/commit/fails")
    assert call.json == ["IntegrityError", "1"]
    failed = where(call.spans, status="ERROR")
    if chosen == "none":
        assert failed == []
        return
    commit = one(failed)
    assert (commit.name, commit.parent_id) == ("COMMIT", call.server.span_id)
    assert commit.attributes["error.type"] == "sqlite3.IntegrityError"
    assert commit.attributes["db.operation.name"] == "COMMIT"
    assert (len(where(call.spans, name="BEGIN")) > 0) == (chosen == "transactions")


# The application does not notice.


@pytest.mark.needs("aiosqlite", "0.22")  # For what is left behind, as above.
def test_every_ending_is_the_same_without_the_agent(
    same_with_and_without: Callable[..., Any], receiver: HttpReceiver
) -> None:
    paths = [
        *(f"/driver/{name}" for name in ERRORS),
        *(f"/listener/before_cursor_execute/{name}" for name in ERRORS),
        *(f"/listener/after_cursor_execute/{name}" for name in ERRORS),
        *(f"/listener/handle_error/{name}" for name in ERRORS),
        *(f"/abandoned/{how}" for how in ("closed", "dropped")),
        *("/replaced", "/logging", "/reentrant", "/within", "/overriding", "/connect/slow"),
        *("/cancelled", "/connect/fails", "/commit/fails"),
    ]

    def visit(server: Server) -> dict[str, Any]:
        return {path: seen(server.get(path)) for path in paths}

    env = {**receiver.env, "FAA_SQLALCHEMY_SPANS": "all"}
    results = same_with_and_without("sql_endings:app", visit, env=env)
    assert {status for status, _, _ in results.values()} == {200}
    assert where(receiver.spans, name="BEGIN")


def test_the_application_sees_its_own_methods(endings: Traced) -> None:
    found = endings.get("/hooked").json
    assert found == {
        "engine": [],
        "connection": [],
        "methods": [
            "sqlalchemy.engine.default.DefaultDialect.do_execute",
            "sqlalchemy.engine.default.DefaultDialect.do_commit",
        ],
    }


# Settings.


def test_a_name_that_is_not_known_is_told_and_the_others_count(
    run: Runner, receiver: HttpReceiver
) -> None:
    code = (
        "import sqlalchemy as s\n"
        "with s.create_engine('sqlite://').begin() as c:\n"
        "    c.execute(s.text('SELECT 1'))\n"
    )
    env = {
        **receiver.env,
        "FAA_SQLALCHEMY_SPANS": "transactions,rows",
        "FAA_SLOW_POOL_WAIT": "soon",
    }
    script = run.run([run.python, "-c", code], env=env)
    assert (script.status, script.stdout) == (0, "")
    lines = script.stderr.splitlines()
    assert len(lines) == 2
    assert "FAA_SQLALCHEMY_SPANS: rows is not known" in lines[0]
    assert "FAA_SLOW_POOL_WAIT=soon cannot be used" in lines[1]
    spans = receiver.wait(3)
    names = sorted((span.name for span in spans if span.name != "connect"))
    assert names == ["BEGIN", "COMMIT", "SELECT"]
    assert {span.parent_id for span in spans} == {""}

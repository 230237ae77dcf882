# SPDX-License-Identifier: MIT
"""psycopg 3 against a real PostgreSQL, sync and async: one CLIENT span for each statement."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.compare import seen
from harness.databases import DATABASE, PostgreSQL
from harness.process import Runner, Server
from harness.receiver import HttpReceiver
from harness.statements import (
    connects,
    database_spans,
    environment,
    failure,
    secretive,
    statements,
    told,
)
from harness.traced import Traced
from harness.tree import one, where


@pytest.fixture(scope="module")
def cases(
    tmp_path_factory: pytest.TempPathFactory, build: Path, postgresql: PostgreSQL
) -> Iterator[Traced]:
    """apps/drivers_psycopg.py."""
    folder = tmp_path_factory.mktemp("psycopg")
    with secretive(folder, build, "drivers_psycopg:app", environment(postgresql)) as server:
        yield server


def test_a_statement_is_a_client_span_with_the_attributes_of_the_conventions(
    cases: Traced, postgresql: PostgreSQL
) -> None:
    call = cases.get("/execute")
    assert call.json == [[2]]
    span = one(statements(call))
    assert (span.name, span.status, span.scope_name) == ("SELECT items", "UNSET", "psycopg")
    assert span.attributes == {
        "db.system.name": "postgresql",
        "db.namespace": DATABASE,
        "db.operation.name": "SELECT",
        "db.query.summary": "SELECT items",
        "db.query.text": "SELECT id FROM items WHERE name = %s",
        "server.address": "127.0.0.1",
        "server.port": postgresql.port,
    }


@pytest.mark.parametrize("path", ["/execute", "/execute/async"])
def test_a_connect_is_a_span_too(cases: Traced, postgresql: PostgreSQL, path: str) -> None:
    span = one(connects(cases.get(path)))
    assert (span.status, span.scope_name) == ("UNSET", "psycopg")
    assert span.attributes == {
        "db.system.name": "postgresql",
        "db.namespace": DATABASE,
        "db.operation.name": "connect",
        "server.address": "127.0.0.1",
        "server.port": postgresql.port,
    }


def test_a_unix_socket_is_the_servers_address(cases: Traced, postgresql: PostgreSQL) -> None:
    spans = database_spans(cases.get("/execute/socket"))
    assert [span.name for span in spans] == ["connect", "SELECT"]
    assert {span.attributes["server.address"] for span in spans} == {postgresql.socket}


BY_NAME = ("SELECT items", "SELECT id FROM items WHERE name = %s", "UNSET")
BY_LITERAL = ("SELECT items", "SELECT id FROM items WHERE name = ?", "UNSET")
ALL = ("SELECT items", "SELECT id FROM items ORDER BY id", "UNSET")
BETWEEN = ("SELECT", "SELECT ?", "UNSET")


@pytest.mark.parametrize(
    ("path", "answer", "expected"),
    [
        ("/execute", [[2]], [BY_NAME]),
        ("/execute/cursor", [{"id": 2}], [BY_LITERAL]),
        ("/execute/in-loop", [[2]], [BY_NAME]),
        ("/execute/async", [[2]], [BY_NAME]),
        ("/execute/client", [[2]], [BY_NAME]),
        ("/many", ["hush-a"], [("BATCH SELECT", "SELECT %s", "UNSET")]),
        ("/many/one", None, [("SELECT", "SELECT %s", "UNSET")]),
        ("/many/generator", None, [("SELECT", "SELECT %s", "UNSET")]),
        ("/many/async", None, [("BATCH SELECT", "SELECT %s", "UNSET")]),
        ("/stream", [1, 2, 3], [ALL, BETWEEN, BETWEEN, BETWEEN]),
        ("/stream/async", [1, 2, 3], [ALL, BETWEEN, BETWEEN, BETWEEN]),
        ("/stream/stopped", 1, [ALL]),
        ("/server-cursor", [[1], [2], [3]], [ALL]),
        ("/server-cursor/async", [[1], [2], [3]], [ALL]),
        (
            "/copy",
            [1, [["101"]]],
            [
                ("COPY items", "COPY items (id, name) FROM STDIN", "UNSET"),
                BETWEEN,
                (
                    "COPY SELECT items",
                    "COPY (SELECT id FROM items WHERE id > ?) TO STDOUT",
                    "UNSET",
                ),
            ],
        ),
        (
            "/copy/async",
            [["1"], ["2"], ["3"]],
            [("COPY items", "COPY items (id) TO STDOUT", "UNSET"), BETWEEN],
        ),
        (
            "/composed",
            [[number, "hush-4711"] for number in (1, 2, 3)],
            [("SELECT items", 'SELECT "id", ? FROM "items"', "UNSET")],
        ),
        (
            "/pipeline",
            [["hush"], [1]],
            [
                ("SELECT", "SELECT %s::text", "UNSET"),
                ("SELECT items", "SELECT id FROM items LIMIT ?", "UNSET"),
            ],
        ),
        ("/transaction", [1], [BETWEEN]),
        ("/subclasses", ["CountingConnection", "LoudCursor", 1, [5]], [BETWEEN]),
        (
            "/gathered",
            [0, 1, 2],
            [("SELECT", f"SELECT ?::int AS a{number}", "UNSET") for number in range(3)],
        ),
        ("/never-awaited", "done", []),
    ],
)
def test_each_statement_is_one_span(
    cases: Traced, path: str, answer: Any, expected: list[Any]
) -> None:
    call = cases.get(path)
    assert call.json == answer
    assert [told(span) for span in statements(call)] == expected


def test_a_template_string_is_told_without_its_values(cases: Traced) -> None:
    call = cases.get("/template")
    assert call.json == [[2, 4711]]
    span = one(statements(call))
    text = 'SELECT "id", ? FROM "items" WHERE name = ?'
    assert (span.name, span.attributes["db.query.text"]) == ("SELECT items", text)
    assert b"4711" not in cases.sent


def test_a_batch_has_a_size(cases: Traced) -> None:
    sizes = {
        path: one(statements(cases.get(path))).attributes.get("db.operation.batch.size")
        for path in ("/many", "/many/async", "/many/one", "/many/generator")
    }
    assert list(sizes.values()) == [3, 2, None, None]


def test_a_stream_and_a_copy_last_until_they_are_read(cases: Traced) -> None:
    for path in ("/stream", "/stream/async", "/copy", "/copy/async"):
        outer, inner = statements(cases.get(path))[:2]
        assert told(inner) == BETWEEN
        assert outer.start_ns <= inner.start_ns <= inner.end_ns <= outer.end_ns, path


def test_a_sync_statement_on_an_event_loop_blocks_it(cases: Traced) -> None:
    marked = database_spans(cases.get("/execute/in-loop"))
    assert [span.attributes.get("faa.event_loop.blocking") for span in marked] == [True, True]
    assert marked[1].attributes["code.function.name"].endswith("execute")
    for path in ("/execute", "/execute/async", "/copy/async", "/stream/async"):
        for span in database_spans(cases.get(path)):
            assert "faa.event_loop.blocking" not in span.attributes


# Errors.


@pytest.mark.parametrize(
    ("path", "name", "expected"),
    [
        (
            "/fails",
            "SELECT nowhere",
            ["relation ? does not exist", "psycopg.errors.UndefinedTable", "42P01"],
        ),
        (
            "/fails/async",
            "INSERT items",
            [
                "duplicate key value violates unique constraint ?",
                "psycopg.errors.UniqueViolation",
                "23505",
            ],
        ),
        (
            "/stream/fails",
            "SELECT nowhere",
            ["relation ? does not exist", "psycopg.errors.UndefinedTable", "42P01"],
        ),
        (
            "/copy/fails",
            "COPY items",
            [
                "duplicate key value violates unique constraint ?",
                "psycopg.errors.UniqueViolation",
                "23505",
            ],
        ),
        ("/copy/left", "COPY items", ["left", "LookupError", None]),
        ("/fails/closed", "SELECT", ["the connection is closed", "psycopg.OperationalError", None]),
    ],
)
def test_a_failure_has_the_drivers_type_and_the_sqlstate(
    cases: Traced, path: str, name: str, expected: list[Any]
) -> None:
    call = cases.get(path)
    span = one(statements(call))
    assert (span.name, failure(span)) == (name, expected)
    assert (expected[1].rpartition(".")[2]) in call.response.text


@pytest.mark.parametrize(
    ("path", "namespace"),
    [("", "shop"), ("/url", "shop"), ("/keywords", "shop"), ("/async", None)],
)
def test_a_connect_that_fails_says_where_to(
    cases: Traced, path: str, namespace: str | None
) -> None:
    call = cases.get(f"/connect/fails{path}")
    assert call.json == "OperationalError"
    span = one(database_spans(call))
    assert failure(span)[1:] == ["psycopg.OperationalError", None]
    assert "Connection refused" in span.status_message
    keys = ("server.address", "server.port", "db.namespace")
    assert [span.attributes.get(key) for key in keys] == ["127.0.0.1", 1, namespace]


def test_a_cancelled_statement_has_not_failed(cases: Traced) -> None:
    call = cases.get("/cancelled")
    assert call.json == 2
    first, second = statements(call)
    assert told(first) == ("SELECT", "SELECT pg_sleep(?)", "UNSET")
    assert first.end_ns - first.start_ns > 100_000_000
    assert told(second) == BETWEEN


# Under SQLAlchemy.


def test_the_driver_stands_aside_under_sqlalchemy(cases: Traced) -> None:
    count = ("SELECT items", "SELECT count(*) FROM items", "UNSET")
    insert = ("BATCH INSERT items", "INSERT INTO items (name) VALUES (%(n)s)", "UNSET")
    for path, expected in (
        ("/sqlalchemy", [count, insert, BETWEEN]),
        ("/sqlalchemy/async", [count]),
    ):
        spans = database_spans(cases.get(path))
        assert [told(span) for span in spans] == expected
        assert {span.scope_name for span in spans} == {"sqlalchemy"}


def test_the_driver_alone_is_traced_beside_sqlalchemy(cases: Traced) -> None:
    spans = statements(cases.get("/sqlalchemy/beside"))
    assert [span.scope_name for span in spans] == ["sqlalchemy"] * 3 + ["psycopg"]
    assert told(spans[-1]) == BY_NAME


# The application does not notice.

UNCHANGED = """execute execute/cursor execute/in-loop execute/async execute/client many many/one
    many/generator stream stream/stopped stream/async stream/fails server-cursor
    server-cursor/async copy copy/async copy/fails copy/left composed pipeline transaction fails
    fails/async fails/closed fails/arguments cancelled never-awaited connect/fails
    connect/fails/async subclasses sqlalchemy sqlalchemy/async look""".split()


def test_results_exceptions_and_classes_are_the_same_without_the_agent(
    same_with_and_without: Callable[..., Any], receiver: HttpReceiver, postgresql: PostgreSQL
) -> None:
    def visit(server: Server) -> dict[str, Any]:
        return {path: seen(server.get(f"/{path}")) for path in UNCHANGED}

    env = {**environment(postgresql), **receiver.env}
    results = same_with_and_without("drivers_psycopg:app", visit, env=env)
    assert where(receiver.spans, scope_name="psycopg")
    assert {status for status, _, _ in results.values()} == {200}


def test_a_script_and_its_threads_are_traced(
    run: Runner, receiver: HttpReceiver, postgresql: PostgreSQL
) -> None:
    code = (
        "import os, threading, psycopg\n"
        "def work():\n"
        "    with psycopg.connect(os.environ['DSN']) as conn:\n"
        "        print(conn.execute('SELECT 1').fetchone())\n"
        "work()\n"
        "thread = threading.Thread(target=work)\n"
        "thread.start()\n"
        "thread.join()\n"
    )
    env = {**environment(postgresql), **receiver.env}
    script = run.run([run.python, "-c", code], env=env)
    assert (script.status, script.stdout, script.stderr) == (0, "(1,)\n(1,)\n", "")
    spans = receiver.wait(4)
    assert sorted(span.name for span in spans) == ["SELECT", "SELECT", "connect", "connect"]
    assert {span.parent_id for span in spans} == {""}


@pytest.mark.parametrize("disabled", ["psycopg", "sqlalchemy"])
def test_each_can_be_turned_off(
    run: Runner, receiver: HttpReceiver, postgresql: PostgreSQL, disabled: str
) -> None:
    env = {
        **environment(postgresql),
        **receiver.env,
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": disabled,
    }
    server = run.uvicorn("drivers_psycopg:app", env=env)
    assert server.get("/sqlalchemy").json() == [3]
    assert server.get("/execute").json() == [[2]]
    assert server.stop() == -15
    requests = {span.name: span.trace_id for span in where(receiver.spans, kind="SERVER")}
    scopes = {
        name: {
            span.scope_name for span in where(receiver.spans, kind="CLIENT", trace_id=trace_id)
        }
        for name, trace_id in requests.items()
    }
    other = "sqlalchemy" if disabled == "psycopg" else "psycopg"
    assert scopes["GET /sqlalchemy"] == {other}
    assert scopes["GET /execute"] == (set() if disabled == "psycopg" else {"psycopg"})

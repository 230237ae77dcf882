# SPDX-License-Identifier: MIT
"""psycopg2 against a real PostgreSQL: one CLIENT span for each statement, of types made in C."""

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
    """apps/drivers_psycopg2.py."""
    folder = tmp_path_factory.mktemp("psycopg2")
    with secretive(folder, build, "drivers_psycopg2:app", environment(postgresql)) as server:
        yield server


def test_statement_and_connect_are_client_spans_with_the_attributes_of_the_conventions(
    cases: Traced, postgresql: PostgreSQL
) -> None:
    call = cases.get("/execute")
    assert call.json == [[2]]
    server = {
        "db.system.name": "postgresql",
        "db.namespace": DATABASE,
        "server.address": "127.0.0.1",
        "server.port": postgresql.port,
    }
    connect, span = database_spans(call)
    assert (connect.name, connect.status, connect.scope_name) == ("connect", "UNSET", "psycopg2")
    assert connect.attributes == {**server, "db.operation.name": "connect"}
    assert (span.name, span.status, span.scope_name) == ("SELECT goods", "UNSET", "psycopg2")
    assert span.attributes == {
        **server,
        "db.operation.name": "SELECT",
        "db.query.summary": "SELECT goods",
        "db.query.text": "SELECT id FROM goods WHERE name = %s",
    }


def test_a_unix_socket_is_the_servers_address(cases: Traced, postgresql: PostgreSQL) -> None:
    spans = database_spans(cases.get("/execute/socket"))
    assert [span.name for span in spans] == ["connect", "SELECT"]
    assert {span.attributes["server.address"] for span in spans} == {postgresql.socket}


CONSTANT = ("SELECT", "SELECT ?", "UNSET")


@pytest.mark.parametrize(
    ("path", "answer", "expected"),
    [
        (
            "/execute/keywords",
            [[2]],
            [("SELECT goods", "SELECT id FROM goods WHERE name = %(n)s", "UNSET")],
        ),
        ("/many", 3, [("BATCH SELECT", "SELECT %s", "UNSET")]),
        (
            "/many/values",
            3,
            [("INSERT goods", "INSERT INTO goods (id, name) VALUES (?,?)", "UNSET")],
        ),
        (
            "/callproc",
            [4712],
            [("SELECT add_two", "SELECT * FROM add_two(%s,%s)", "UNSET")],
        ),
        (
            "/server-cursor",
            [[1], [2], [3]],
            [("SELECT goods", "SELECT id FROM goods ORDER BY id", "UNSET")],
        ),
        (
            "/copy",
            ["1", "2", "3", "101", "102"],
            [
                ("COPY goods", "COPY goods FROM STDIN", "UNSET"),
                ("COPY goods", "COPY goods (id, name) FROM STDIN", "UNSET"),
                ("COPY goods", "COPY goods TO STDOUT", "UNSET"),
            ],
        ),
        (
            "/composed",
            [[2]],
            [("SELECT goods", 'SELECT "id" FROM "goods" WHERE name = ?', "UNSET")],
        ),
        (
            "/factories",
            [["RealDictCursor", [{"a": 1}]], ["NamedTupleCursor", 2], ["DictCursor", 3]],
            [("SELECT", "SELECT ? AS a", "UNSET")] * 3,
        ),
        ("/subclasses", [True, True, True, [5]], [CONSTANT]),
        ("/pool", [[6]], [CONSTANT]),
    ],
)
def test_each_statement_is_one_span(
    cases: Traced, path: str, answer: Any, expected: list[Any]
) -> None:
    call = cases.get(path)
    assert call.json == answer
    assert [told(span) for span in statements(call)] == expected


def test_a_batch_has_a_size(cases: Traced) -> None:
    assert one(statements(cases.get("/many"))).attributes["db.operation.batch.size"] == 3


def test_a_statement_on_an_event_loop_blocks_it(cases: Traced) -> None:
    marked = database_spans(cases.get("/execute/in-loop"))
    assert [span.attributes.get("faa.event_loop.blocking") for span in marked] == [True, True]
    for span in database_spans(cases.get("/execute")):
        assert "faa.event_loop.blocking" not in span.attributes


@pytest.mark.parametrize(
    ("path", "name", "expected"),
    [
        (
            "/fails",
            "SELECT nowhere",
            ["relation ? does not exist", "psycopg2.errors.UndefinedTable", "42P01"],
        ),
        ("/fails/closed", "SELECT", ["cursor already closed", "psycopg2.InterfaceError", None]),
    ],
)
def test_a_failure_has_the_drivers_type_and_the_sqlstate(
    cases: Traced, path: str, name: str, expected: list[Any]
) -> None:
    call = cases.get(path)
    span = one(statements(call))
    assert (span.name, failure(span)) == (name, expected)
    assert call.json[0] == expected[1].rpartition(".")[2]


@pytest.mark.parametrize("path", ["", "/url", "/keywords"])
def test_a_connect_that_fails_says_where_to(cases: Traced, path: str) -> None:
    call = cases.get(f"/connect/fails{path}")
    assert call.json == "OperationalError"
    span = one(connects(call))
    assert failure(span)[1:] == ["psycopg2.OperationalError", None]
    assert "Connection refused" in span.status_message
    keys = ("server.address", "server.port", "db.namespace")
    assert [span.attributes.get(key) for key in keys] == ["127.0.0.1", 1, "shop"]


def test_the_driver_stands_aside_under_sqlalchemy(cases: Traced) -> None:
    call = cases.get("/sqlalchemy")
    assert call.json == [3]
    spans = database_spans(call)
    assert [told(span) for span in spans] == [
        ("SELECT goods", "SELECT count(*) FROM goods", "UNSET"),
        ("BATCH INSERT goods", "INSERT INTO goods (name) VALUES (%(n)s)", "UNSET"),
        CONSTANT,
    ]
    assert {span.scope_name for span in spans} == {"sqlalchemy"}


UNCHANGED = """execute execute/keywords execute/in-loop many many/values callproc server-cursor copy
    composed factories subclasses pool fails fails/closed fails/arguments connect/fails
    connect/fails/url connect/fails/keywords sqlalchemy look""".split()


def test_results_exceptions_and_classes_are_the_same_without_the_agent(
    same_with_and_without: Callable[..., Any], receiver: HttpReceiver, postgresql: PostgreSQL
) -> None:
    def visit(server: Server) -> dict[str, Any]:
        return {path: seen(server.get(f"/{path}")) for path in UNCHANGED}

    env = {**environment(postgresql), **receiver.env}
    results = same_with_and_without("drivers_psycopg2:app", visit, env=env)
    assert where(receiver.spans, scope_name="psycopg2")
    assert {status for status, _, _ in results.values()} == {200}


def test_a_script_is_traced(run: Runner, receiver: HttpReceiver, postgresql: PostgreSQL) -> None:
    code = (
        "import os, pickle, copy\n"
        "import psycopg2.extensions as e, psycopg2\n"
        "conn = psycopg2.connect(os.environ['DSN'])\n"
        "cursor = conn.cursor()\n"
        "for _ in range(3):\n"
        "    cursor.execute('SELECT 1')\n"
        "print(cursor.fetchall(), e.cursor.execute.__name__, type(cursor) is e.cursor)\n"
        "print(copy.copy(e.cursor.execute) is e.cursor.execute)\n"
        "print(pickle.loads(pickle.dumps(psycopg2.connect)) is psycopg2.connect)\n"
    )
    env = {**environment(postgresql), **receiver.env}
    script = run.run([run.python, "-c", code], env=env)
    output = "[(1,)] execute True\nTrue\nTrue\n"
    assert (script.status, script.stdout, script.stderr) == (0, output, "")
    spans = receiver.wait(4)
    assert sorted(span.name for span in spans) == ["SELECT", "SELECT", "SELECT", "connect"]
    assert {span.parent_id for span in spans} == {""}

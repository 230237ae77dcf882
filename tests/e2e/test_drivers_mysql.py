# SPDX-License-Identifier: MIT
"""PyMySQL and aiomysql against a real MariaDB: one CLIENT span for each statement."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.compare import seen
from harness.databases import DATABASE, MariaDB
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
    tmp_path_factory: pytest.TempPathFactory, build: Path, mariadb: MariaDB
) -> Iterator[Traced]:
    """apps/drivers_mysql.py."""
    folder = tmp_path_factory.mktemp("mysql")
    with secretive(folder, build, "drivers_mysql:app", environment(mariadb)) as server:
        yield server


@pytest.mark.parametrize(("path", "scope"), [("/execute", "pymysql"), ("/async", "aiomysql")])
def test_statement_and_connect_are_client_spans_with_the_attributes_of_the_conventions(
    cases: Traced, mariadb: MariaDB, path: str, scope: str
) -> None:
    connect, span = database_spans(cases.get(path))[:2]
    server = {
        "db.namespace": DATABASE,
        "server.address": "127.0.0.1",
        "server.port": mariadb.port,
    }
    assert (connect.name, connect.status, connect.scope_name) == ("connect", "UNSET", scope)
    assert connect.attributes == {
        **server,
        "db.system.name": "mysql",  # Before the server has said what it is.
        "db.operation.name": "connect",
    }
    assert (span.name, span.status, span.scope_name) == ("SELECT wares", "UNSET", scope)
    assert span.attributes == {
        **server,
        "db.system.name": "mariadb",
        "db.operation.name": "SELECT",
        "db.query.summary": "SELECT wares",
        "db.query.text": "SELECT id FROM wares WHERE name = %s",
    }


def test_a_unix_socket_is_the_servers_address(cases: Traced, mariadb: MariaDB) -> None:
    spans = database_spans(cases.get("/execute/socket"))
    assert [span.name for span in spans] == ["connect", "SELECT"]
    for span in spans:
        assert span.attributes["server.address"] == mariadb.socket
        assert "server.port" not in span.attributes


BY_NAME = ("SELECT wares", "SELECT id FROM wares WHERE name = %s", "UNSET")
INSERT = ("BATCH INSERT wares", "INSERT INTO wares (id, name) VALUES (%s, %s)", "UNSET")
CALL = ("CALL add_two", "CALL add_two(%s,%s)", "UNSET")


@pytest.mark.parametrize(
    ("path", "answer", "expected"),
    [
        ("/execute", [[2]], [BY_NAME]),
        ("/execute/keywords", [{"id": 2}], [(BY_NAME[0], BY_NAME[1][:-2] + "?", "UNSET")]),
        (
            "/execute/unbuffered",
            [[1], [2], [3]],
            [("SELECT wares", "SELECT id FROM wares ORDER BY id", "UNSET")],
        ),
        ("/execute/in-loop", [[2]], [BY_NAME]),
        (
            "/many",
            5,
            [INSERT, ("BATCH DELETE wares", "DELETE FROM wares WHERE id = %s", "UNSET")],
        ),
        ("/callproc", [4712], [CALL]),
        ("/init", True, []),
        ("/subclasses", [True, [5]], [("SELECT", "SELECT ?", "UNSET")]),
        ("/async", [1, 3, 3], [BY_NAME, INSERT, CALL]),
    ],
)
def test_each_statement_is_one_span(
    cases: Traced, path: str, answer: Any, expected: list[Any]
) -> None:
    call = cases.get(path)
    assert call.json == answer
    assert len(connects(call)) == 1
    assert [told(span) for span in statements(call)] == expected


def test_a_called_procedure_has_its_name(cases: Traced) -> None:
    for path in ("/callproc", "/async"):
        attributes = statements(cases.get(path))[-1].attributes
        assert attributes["db.stored_procedure.name"] == "add_two"
        assert attributes["db.operation.name"] == "CALL"


def test_a_batch_has_a_size(cases: Traced) -> None:
    sizes = [
        span.attributes.get("db.operation.batch.size")
        for path in ("/many", "/async")
        for span in statements(cases.get(path))
    ]
    assert sizes == [3, 2, None, 3, None]


def test_a_sync_statement_on_an_event_loop_blocks_it(cases: Traced) -> None:
    marked = database_spans(cases.get("/execute/in-loop"))
    assert [span.attributes.get("faa.event_loop.blocking") for span in marked] == [True, True]
    for path in ("/execute", "/async"):
        for span in database_spans(cases.get(path)):
            assert "faa.event_loop.blocking" not in span.attributes


@pytest.mark.parametrize(
    ("path", "name", "expected"),
    [
        (
            "/fails",
            "SELECT nowhere",
            ["(1146) Table ?", "pymysql.err.ProgrammingError", "1146"],
        ),
        (
            "/fails/duplicate",
            "INSERT wares",
            ["(1062) Duplicate entry ?", "pymysql.err.IntegrityError", "1062"],
        ),
        ("/fails/closed", "SELECT", ["Cursor closed", "pymysql.err.ProgrammingError", None]),
        (
            "/async/fails",
            "SELECT nowhere",
            ["(1146) Table ?", "pymysql.err.ProgrammingError", "1146"],
        ),
    ],
)
def test_a_failure_has_the_drivers_type_and_the_servers_number(
    cases: Traced, path: str, name: str, expected: list[Any]
) -> None:
    call = cases.get(path)
    span = one(statements(call))
    assert (span.name, failure(span)) == (name, expected)
    assert call.json[0] == expected[1].rpartition(".")[2]


@pytest.mark.parametrize(
    ("path", "code", "begins"),
    [
        ("", 2003, "(2003) Can"),
        ("/async", 2003, "(2003) Can"),
        ("/password", 1045, "(1045) Access denied for user ?"),
    ],
)
def test_a_connect_that_fails_says_where_to(
    cases: Traced, mariadb: MariaDB, path: str, code: int, begins: str
) -> None:
    call = cases.get(f"/connect/fails{path}")
    assert call.json == ["OperationalError", code]
    span = one(connects(call))
    assert failure(span)[1:] == ["pymysql.err.OperationalError", str(code)]
    assert span.status_message.startswith(begins)
    keys = ("server.address", "server.port", "db.namespace")
    where_to = ["127.0.0.1", 1, "shop"] if code == 2003 else ["127.0.0.1", mariadb.port, None]
    assert [span.attributes.get(key) for key in keys] == where_to


def test_a_cancelled_statement_has_not_failed(cases: Traced) -> None:
    call = cases.get("/async/cancelled")
    assert call.json == "cancelled"
    span = one(statements(call))
    assert told(span) == ("SELECT", "SELECT sleep(?)", "UNSET")
    assert span.end_ns - span.start_ns > 100_000_000


def test_the_driver_stands_aside_under_sqlalchemy(cases: Traced) -> None:
    count = ("SELECT wares", "SELECT count(*) FROM wares", "UNSET")
    insert = ("BATCH INSERT wares", "INSERT INTO wares (name) VALUES (%(n)s)", "UNSET")
    ordered = ("SELECT wares", "SELECT id FROM wares ORDER BY id", "UNSET")
    for path, expected in (
        ("/sqlalchemy", [count, insert, ("SELECT", "SELECT ?", "UNSET")]),
        ("/sqlalchemy/async", [ordered]),
    ):
        spans = database_spans(cases.get(path))
        assert [told(span) for span in spans] == expected
        assert {span.scope_name for span in spans} == {"sqlalchemy"}


UNCHANGED = """execute execute/keywords execute/unbuffered execute/in-loop many callproc init fails
    fails/duplicate fails/closed connect/fails connect/fails/password connect/fails/async
    subclasses async async/fails async/cancelled sqlalchemy sqlalchemy/async look""".split()


def test_results_exceptions_and_classes_are_the_same_without_the_agent(
    same_with_and_without: Callable[..., Any], receiver: HttpReceiver, mariadb: MariaDB
) -> None:
    def visit(server: Server) -> dict[str, Any]:
        return {path: seen(server.get(f"/{path}")) for path in UNCHANGED}

    env = {**environment(mariadb), **receiver.env}
    results = same_with_and_without("drivers_mysql:app", visit, env=env)
    assert {span.scope_name for span in where(receiver.spans, kind="CLIENT")} == {
        *("pymysql", "aiomysql", "sqlalchemy")
    }
    assert {status for status, _, _ in results.values()} == {200}


def test_a_script_is_traced(run: Runner, receiver: HttpReceiver, mariadb: MariaDB) -> None:
    code = (
        "import os, pymysql\n"
        "conn = pymysql.connect(unix_socket=os.environ['SOCKET'], user='shop',\n"
        "                       password='s3cret-of-the-tests')\n"
        "with conn.cursor() as cursor:\n"
        "    print(cursor.execute('SELECT 1'), cursor.fetchall())\n"
    )
    env = {**environment(mariadb), **receiver.env}
    script = run.run([run.python, "-c", code], env=env)
    assert (script.status, script.stdout, script.stderr) == (0, "1 ((1,),)\n", "")
    spans = receiver.wait(2)
    assert sorted(span.name for span in spans) == ["SELECT", "connect"]
    assert {span.parent_id for span in spans} == {""}

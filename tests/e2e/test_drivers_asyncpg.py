# SPDX-License-Identifier: MIT
"""asyncpg against a real PostgreSQL: one CLIENT span for each statement."""

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
    """apps/drivers_asyncpg.py."""
    folder = tmp_path_factory.mktemp("asyncpg")
    with secretive(folder, build, "drivers_asyncpg:app", environment(postgresql)) as server:
        yield server


def test_statement_and_connect_are_client_spans_with_the_attributes_of_the_conventions(
    cases: Traced, postgresql: PostgreSQL
) -> None:
    call = cases.get("/execute")
    assert call.json == "DELETE 0"
    server = {
        "db.system.name": "postgresql",
        "db.namespace": DATABASE,
        "server.address": "127.0.0.1",
        "server.port": postgresql.port,
    }
    connect, span = database_spans(call)
    assert (connect.name, connect.status, connect.scope_name) == ("connect", "UNSET", "asyncpg")
    assert connect.attributes == {**server, "db.operation.name": "connect"}
    assert (span.name, span.status, span.scope_name) == ("DELETE parts", "UNSET", "asyncpg")
    assert span.attributes == {
        **server,
        "db.operation.name": "DELETE",
        "db.query.summary": "DELETE parts",
        "db.query.text": "DELETE FROM parts WHERE name = $1",
    }


def test_a_unix_socket_is_the_servers_address(cases: Traced, postgresql: PostgreSQL) -> None:
    connect, span = database_spans(cases.get("/fetch/socket"))
    assert connect.attributes["server.address"] == postgresql.socket
    assert span.attributes["server.address"] == f"{postgresql.socket}/.s.PGSQL.{postgresql.port}"


ALL = ("SELECT parts", "SELECT id FROM parts ORDER BY id", "UNSET")
PREPARED = ("SELECT parts", "SELECT id FROM parts WHERE id = $1", "UNSET")
CONSTANT = ("SELECT", "SELECT ?", "UNSET")


@pytest.mark.parametrize(
    ("path", "answer", "expected"),
    [
        (
            "/fetch",
            [[1, 2, 3], 2, 3],
            [
                ALL,
                ("SELECT parts", "SELECT id FROM parts WHERE name = $1", "UNSET"),
                ("SELECT parts", "SELECT id FROM parts WHERE name = ?", "UNSET"),
            ],
        ),
        ("/many", None, [("BATCH SELECT", "SELECT $1::text", "UNSET")]),
        ("/many/keywords", None, [("SELECT", "SELECT $1::text", "UNSET")]),
        ("/prepared", [1, 2, 3], [PREPARED] * 3 + [(f"BATCH {PREPARED[0]}", *PREPARED[1:])]),
        ("/cursor", [1, 2, 3], [ALL, CONSTANT, CONSTANT, CONSTANT]),
        ("/cursor/awaited", [1, 2, 3], [ALL]),
        (
            "/cursor/prepared",
            [3],
            [("SELECT parts", "SELECT id FROM parts WHERE id > $1", "UNSET")],
        ),
        (
            "/cursor/empty",
            [],
            [("SELECT parts", "SELECT id FROM parts WHERE id < ?", "UNSET")],
        ),
        (
            "/copy",
            ["COPY 1", "COPY 1", "COPY 5", "COPY 1"],
            [
                ("COPY parts", "COPY parts FROM STDIN", "UNSET"),
                ("COPY parts", "COPY parts FROM STDIN", "UNSET"),
                ("COPY parts", "COPY parts TO STDOUT", "UNSET"),
                (
                    "COPY SELECT parts",
                    "COPY (SELECT id FROM parts WHERE id = ?) TO STDOUT",
                    "UNSET",
                ),
            ],
        ),
        ("/transaction", 1, [CONSTANT]),
        (
            "/transaction/by-hand",
            "ROLLBACK",
            [("BEGIN", "BEGIN", "UNSET"), ("ROLLBACK", "ROLLBACK", "UNSET")],
        ),
        ("/pool", [1, 2, "PoolConnectionProxy"], [CONSTANT, CONSTANT]),
        ("/never-awaited", "done", []),
        ("/subclasses", [True, 5], [CONSTANT]),
    ],
)
def test_each_statement_is_one_span(
    cases: Traced, path: str, answer: Any, expected: list[Any]
) -> None:
    call = cases.get(path)
    assert call.json == answer
    assert [told(span) for span in statements(call)] == expected


def test_statements_at_the_same_time_are_siblings(cases: Traced) -> None:
    call = cases.get("/gathered")
    assert call.json == [1, 2]
    texts = [span.attributes["db.query.text"] for span in statements(call)]
    assert sorted(texts) == ["SELECT ?::int AS a1", "SELECT ?::int AS a2"]


def test_a_batch_has_a_size(cases: Traced) -> None:
    many, prepared = statements(cases.get("/many")), statements(cases.get("/prepared"))
    assert one(many).attributes["db.operation.batch.size"] == 3
    assert prepared[-1].attributes["db.operation.batch.size"] == 2


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/fails", ["relation ? does not exist", "UndefinedTableError", "42P01"]),
        ("/fails/prepare", ["relation ? does not exist", "UndefinedTableError", "42P01"]),
        ("/cursor/fails", ["relation ? does not exist", "UndefinedTableError", "42P01"]),
        ("/timeout", ["", "TimeoutError", None]),
        (
            "/fails/closed",
            [
                "cannot call PreparedStatement.fetch(): the underlying connection is closed",
                "InterfaceError",
                None,
            ],
        ),
    ],
)
def test_a_failure_has_the_drivers_type_and_the_sqlstate(
    cases: Traced, path: str, expected: list[Any]
) -> None:
    call = cases.get(path)
    message, kind, code = failure(one(statements(call)))
    assert [message, kind.rpartition(".")[2], code] == expected
    assert expected[1] in call.response.text


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", ["127.0.0.1", 1, "shop", "ConnectionRefusedError", None]),
        ("/keywords", ["127.0.0.1", 1, "shop", "ConnectionRefusedError", None]),
        (
            "/password",
            [
                "127.0.0.1",
                None,
                DATABASE,
                "asyncpg.exceptions.InvalidAuthorizationSpecificationError",
                "28000",
            ],
        ),
    ],
)
def test_a_connect_that_fails_says_where_to(
    cases: Traced, postgresql: PostgreSQL, path: str, expected: list[Any]
) -> None:
    call = cases.get(f"/connect/fails{path}")
    assert call.json == expected[3].rpartition(".")[2]
    span = one(connects(call))
    assert failure(span)[1:] == expected[3:]
    keys = ("server.address", "server.port", "db.namespace")
    address, port, namespace = expected[:3]
    where_to = [address, port or postgresql.port, namespace]
    assert [span.attributes.get(key) for key in keys] == where_to


def test_a_cancelled_statement_has_not_failed(cases: Traced) -> None:
    call = cases.get("/cancelled")
    assert call.json == 2
    first, second = statements(call)
    assert told(first) == ("SELECT", "SELECT pg_sleep(?)", "UNSET")
    assert first.end_ns - first.start_ns > 100_000_000
    assert told(second) == CONSTANT


def test_the_driver_stands_aside_under_sqlalchemy(cases: Traced) -> None:
    call = cases.get("/sqlalchemy")
    assert call.json == [1, 2, 3]
    spans = database_spans(call)
    assert [told(span) for span in spans] == [
        ("SELECT parts", "SELECT count(*) FROM parts", "UNSET"),
        ("BATCH INSERT parts", "INSERT INTO parts (name) VALUES ($1)", "UNSET"),
        ALL,
    ]
    assert {span.scope_name for span in spans} == {"sqlalchemy"}


UNCHANGED = """execute fetch many many/keywords prepared cursor cursor/awaited cursor/prepared
    cursor/empty cursor/fails copy transaction transaction/by-hand pool fails fails/prepare
    fails/closed timeout cancelled never-awaited gathered connect/fails connect/fails/password
    subclasses sqlalchemy look""".split()


def test_results_exceptions_and_classes_are_the_same_without_the_agent(
    same_with_and_without: Callable[..., Any], receiver: HttpReceiver, postgresql: PostgreSQL
) -> None:
    def visit(server: Server) -> dict[str, Any]:
        return {path: seen(server.get(f"/{path}")) for path in UNCHANGED}

    env = {**environment(postgresql), **receiver.env}
    results = same_with_and_without("drivers_asyncpg:app", visit, env=env)
    assert where(receiver.spans, scope_name="asyncpg")
    assert {status for status, _, _ in results.values()} == {200}


def test_a_script_is_traced(run: Runner, receiver: HttpReceiver, postgresql: PostgreSQL) -> None:
    code = (
        "import asyncio, os, asyncpg\n"
        "async def main():\n"
        "    conn = await asyncpg.connect('postgresql://' + os.environ['URL'])\n"
        "    async with conn.transaction():\n"
        "        print(await conn.fetchval('SELECT 1'))\n"
        "    await conn.close()\n"
        "asyncio.run(main())\n"
    )
    env = {**environment(postgresql), **receiver.env}
    script = run.run([run.python, "-c", code], env=env)
    assert (script.status, script.stdout, script.stderr) == (0, "1\n", "")
    spans = receiver.wait(2)
    assert sorted(span.name for span in spans) == ["SELECT", "connect"]
    assert {span.parent_id for span in spans} == {""}

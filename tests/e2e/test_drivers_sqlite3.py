# SPDX-License-Identifier: MIT
"""sqlite3, and aiosqlite on it: one CLIENT span for each statement, of types made in C."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness.compare import seen
from harness.process import Runner, Server
from harness.receiver import HttpReceiver
from harness.statements import connects, database_spans, failure, secretive, statements, told
from harness.traced import Traced
from harness.tree import one, where


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("database") / "notes.db")


@pytest.fixture(scope="module")
def cases(
    tmp_path_factory: pytest.TempPathFactory, build: Path, database: str
) -> Iterator[Traced]:
    """apps/drivers_sqlite3.py."""
    folder = tmp_path_factory.mktemp("sqlite3")
    env = {"DATABASE": database}
    with secretive(folder, build, "drivers_sqlite3:app", env) as server:
        yield server


def test_a_statement_is_a_client_span_with_the_attributes_of_the_conventions(
    cases: Traced,
) -> None:
    call = cases.get("/execute")
    assert call.json == [[2]]
    span = one(database_spans(call))
    assert (span.name, span.status, span.scope_name) == ("SELECT notes", "UNSET", "sqlite3")
    assert span.attributes == {
        "db.system.name": "sqlite",
        "db.operation.name": "SELECT",
        "db.query.summary": "SELECT notes",
        "db.query.text": "SELECT id FROM notes WHERE word = ?",
    }


BY_WORD = ("SELECT notes", "SELECT id FROM notes WHERE word = ?", "UNSET")
CONSTANT = ("SELECT", "SELECT ?", "UNSET")
DELETE = ("DELETE notes", "DELETE FROM notes WHERE id = ?", "UNSET")


@pytest.mark.parametrize(
    ("path", "answer", "expected"),
    [
        ("/execute/cursor", [[2]], [BY_WORD]),
        ("/execute/in-loop", [[2]], [BY_WORD]),
        (
            "/many",
            4,
            [
                ("BATCH INSERT notes", "INSERT INTO notes (id, word) VALUES (?, ?)", "UNSET"),
                DELETE,
                DELETE,
            ],
        ),
        (
            "/script",
            "done",
            [
                (
                    "CREATE TABLE a INSERT a",
                    "CREATE TEMP TABLE a (b); INSERT INTO a VALUES (?)",
                    "UNSET",
                ),
                ("DROP TABLE a", "DROP TABLE a", "UNSET"),
            ],
        ),
        ("/subclasses", [[[5], [6]], ["SELECT 5"], True, True], [CONSTANT, CONSTANT]),
        ("/made-directly", [[7], [8]], [CONSTANT, CONSTANT]),
        (
            "/async",
            [[2], [3], [4]],
            [
                BY_WORD,
                BY_WORD,
                (f"BATCH {DELETE[0]}", *DELETE[1:]),
                ("SELECT SELECT", "SELECT ?; SELECT ?", "UNSET"),
                CONSTANT,
            ],
        ),
        (
            "/async/gathered",
            [[0], [1], [2]],
            [("SELECT", f"SELECT ? AS a{number}", "UNSET") for number in range(3)],
        ),
    ],
)
def test_each_statement_is_one_span(
    cases: Traced, path: str, answer: Any, expected: list[Any]
) -> None:
    call = cases.get(path)
    assert call.json == answer
    assert [told(span) for span in database_spans(call)] == expected


def test_a_batch_has_a_size(cases: Traced) -> None:
    sizes = [
        span.attributes.get("db.operation.batch.size") for span in statements(cases.get("/many"))
    ]
    assert sizes == [3, None, None]


def test_one_thread_of_aiosqlite_serves_each_request_under_its_own_span(cases: Traced) -> None:
    cases.get("/async/shared/1000")
    numbers = range(40)
    with ThreadPoolExecutor(8) as pool:
        calls = list(pool.map(lambda number: cases.get(f"/async/shared/{number}"), numbers))
    for number, call in zip(numbers, calls, strict=True):
        assert call.json == [number]
        span = one(database_spans(call))
        assert told(span) == ("SELECT", f"SELECT ? AS a{number}", "UNSET")


def test_a_statement_on_an_event_loop_blocks_it(cases: Traced) -> None:
    span = one(database_spans(cases.get("/execute/in-loop")))
    assert span.attributes["faa.event_loop.blocking"] is True
    for path in ("/execute", "/async"):
        for other in database_spans(cases.get(path)):
            assert "faa.event_loop.blocking" not in other.attributes


@pytest.mark.parametrize(
    ("path", "name", "message", "kind", "code"),
    [
        (
            "/fails",
            "SELECT nowhere",
            "no such table: nowhere",
            "sqlite3.OperationalError",
            "SQLITE_ERROR",
        ),
        (
            "/fails/constraint",
            "INSERT notes",
            "UNIQUE constraint failed: notes.word",
            "sqlite3.IntegrityError",
            "SQLITE_CONSTRAINT_UNIQUE",
        ),
    ],
)
def test_a_failure_has_the_drivers_type_and_the_code_where_python_knows_it(
    cases: Traced, path: str, name: str, message: str, kind: str, code: str
) -> None:
    call = cases.get(path)
    span = one(database_spans(call))
    assert call.json[0] == kind.rpartition(".")[2]
    assert span.name == name
    known = cases.get("/fails/constraint").json[1] is not None  # From Python 3.11 on.
    assert failure(span) == [message, kind, code if known else None]


def test_only_a_connect_that_fails_is_a_span(cases: Traced) -> None:
    call = cases.get("/connect/fails")
    assert call.json == [["OperationalError", "unable to open database file"]] * 3
    spans = connects(call)
    assert len(spans) == len(call.spans) == 3
    for span in spans:
        assert failure(span)[:2] == ["unable to open database file", "sqlite3.OperationalError"]
        assert span.attributes["db.namespace"] == "/nowhere/at/all.db"


def test_failures_on_the_thread_of_aiosqlite_are_told(cases: Traced) -> None:
    call = cases.get("/async/fails")
    assert call.json == ["no such table: nowhere", "unable to open database file"]
    assert [failure(span)[0] for span in database_spans(call)] == call.json
    assert [span.name for span in call.spans] == ["SELECT nowhere", "connect"]


def test_the_driver_stands_aside_under_sqlalchemy(cases: Traced) -> None:
    count = ("SELECT notes", "SELECT count(*) FROM notes", "UNSET")
    insert = ("BATCH INSERT notes", "INSERT INTO notes (word) VALUES (?)", "UNSET")
    ordered = ("SELECT notes", "SELECT id FROM notes ORDER BY id", "UNSET")
    for path, expected in (
        ("/sqlalchemy", [count, insert, CONSTANT]),
        ("/sqlalchemy/async", [ordered]),
    ):
        spans = database_spans(cases.get(path))
        assert [told(span) for span in spans] == expected
        assert {span.scope_name for span in spans} == {"sqlalchemy"}


UNCHANGED = """execute execute/cursor execute/in-loop many script subclasses made-directly copies
    fails fails/constraint fails/arguments connect/fails async async/gathered async/shared/1
    async/fails sqlalchemy sqlalchemy/async""".split()


def test_results_and_exceptions_are_the_same_without_the_agent(
    same_with_and_without: Callable[..., Any], receiver: HttpReceiver, database: str
) -> None:
    def visit(server: Server) -> dict[str, Any]:
        return {path: seen(server.get(f"/{path}")) for path in UNCHANGED}

    env = {"DATABASE": f"{database}.same", **receiver.env}
    results = same_with_and_without("drivers_sqlite3:app", visit, env=env)
    assert where(receiver.spans, scope_name="sqlite3")
    assert {status for status, _, _ in results.values()} == {200}


def test_a_script_sees_the_same_types_without_the_agent(
    run: Runner, receiver: HttpReceiver
) -> None:
    scripts = [
        run.run([run.python, "sqlite3_script.py"], env=receiver.env, agent=agent)
        for agent in ("none", "preload")
    ]
    bare, traced_ = ((script.status, script.stdout, script.stderr) for script in scripts)
    assert bare == traced_
    assert bare[0] == 0
    assert where(receiver.spans, scope_name="sqlite3", parent_id="")
    assert all(b"hush" not in request.body for request in receiver.requests)

# SPDX-License-Identifier: MIT
"""SQLAlchemy, the installed version and 1.4: one CLIENT span for each statement, without values."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.compare import seen
from harness.jaeger import Jaeger
from harness.otlp import Span
from harness.process import Runner, Server
from harness.receiver import HttpReceiver
from harness.sqlalchemy import VERSIONS, interpreter
from harness.traced import Traced, traced
from harness.tree import assert_tree, one, where


@pytest.fixture(scope="module", params=VERSIONS)
def python(request: pytest.FixtureRequest) -> str:
    """An interpreter that has the version of SQLAlchemy."""
    return interpreter(request.param)


@pytest.fixture(scope="module")
def is_14(python: str) -> bool:
    code = "import sqlalchemy; print(sqlalchemy.__version__.startswith('1.4'))"
    return subprocess.check_output([python, "-c", code], text=True).strip() == "True"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("database") / "items.db")


@pytest.fixture(scope="module")
def cases(
    tmp_path_factory: pytest.TempPathFactory, build: Path, python: str, database: str
) -> Iterator[Traced]:
    """apps/sql_cases.py; nothing secret has left it when its tests are over."""
    directory = tmp_path_factory.mktemp("cases")
    with traced(directory, build, python, "sql_cases:app", env={"DATABASE": database}) as server:
        yield server
        assert b"hush" not in server.sent


@pytest.fixture(scope="module")
def ordinary(
    tmp_path_factory: pytest.TempPathFactory, build: Path, python: str, database: str
) -> Iterator[Traced]:
    """apps/db.py, what most applications do."""
    directory = tmp_path_factory.mktemp("ordinary")
    env = {"DATABASE": f"{database}.ordinary"}
    with traced(directory, build, python, "db:app", env=env) as server:
        yield server


def told(span: Span) -> tuple[str, str, str]:
    return span.name, span.attributes["db.query.text"], span.status


def texts(spans: list[Span]) -> list[str]:
    return [span.attributes["db.query.text"] for span in spans]


# What a span tells.


def test_a_statement_is_a_client_span_with_the_attributes_of_the_conventions(
    ordinary: Traced, database: str
) -> None:
    call = ordinary.get("/core/sync")
    assert call.json == ["Ada", "Grace"]
    span = one(call.spans)
    assert (span.name, span.kind, span.status) == ("SELECT users", "CLIENT", "UNSET")
    assert (span.parent_id, span.events, span.links) == (call.server.span_id, [], [])
    waited = span.attributes.pop("faa.db.pool.wait_us")
    assert waited == call.server.attributes["faa.db.pool.wait_us"]
    assert span.attributes == {
        "db.system.name": "sqlite",
        "db.namespace": f"{database}.ordinary",
        "db.operation.name": "SELECT",
        "db.query.summary": "SELECT users",
        "db.query.text": "SELECT users.name FROM users ORDER BY users.id",
    }
    assert span.scope_name == "sqlalchemy"
    assert call.server.start_ns <= span.start_ns <= span.end_ns <= call.server.end_ns


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/core/async", ["SELECT users"]),
        ("/core/in-loop", ["SELECT users"]),
        ("/orm/sync/1", ["SELECT users"]),
        ("/orm/async/2", ["SELECT users"]),
        ("/memory", ["SELECT"]),
        ("/tasks", ["SELECT users", "SELECT users"]),
        (
            "/several",
            ["SELECT orders", "INSERT orders", "UPDATE orders", "SELECT users orders"]
            + ["DELETE orders"],
        ),
    ],
)
def test_each_statement_is_one_span(ordinary: Traced, path: str, names: list[str]) -> None:
    call = ordinary.get(path)
    assert call.json is not None
    assert [span.name for span in call.spans] == names
    for span in call.spans:
        assert (span.kind, span.parent_id) == ("CLIENT", call.server.span_id)
        assert span.attributes["db.operation.name"] == span.name.split()[0]
        assert span.attributes["db.query.summary"] == span.name


def test_odd_statements_have_a_name(cases: Traced) -> None:
    spans = cases.get("/odd").spans
    assert [span.name for span in spans] == [
        "sqlite",
        "PRAGMA user_version",
        "SELECT items",
        "SELECT items",
        "INSERT tags SELECT items",
    ]
    assert not {"db.operation.name", "db.query.summary"} & spans[0].attributes.keys()


# Values.


def test_literals_are_replaced(cases: Traced) -> None:
    call = cases.get("/literals")
    assert ["hush-4"] in call.json
    assert texts(call.spans) == [
        "SELECT name FROM items WHERE name = ? OR id = ? OR name = ?",
        "SELECT ? FROM items",
        "SELECT ?",
    ]
    assert b"471147" not in cases.sent


def test_parameters_are_never_sent(cases: Traced) -> None:
    call = cases.get("/parameters")
    assert call.json == []
    assert texts(call.spans) == [
        "SELECT items.id FROM items WHERE items.name = ?",
        "SELECT items.id FROM items WHERE items.name IN (?)",
        "SELECT items.id FROM items WHERE items.name IN (?)",
        "SELECT id FROM items WHERE name = ?",
        "SELECT id FROM items WHERE name = ?",
    ]
    assert b"hush" not in cases.sent


# Errors.


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("/fails/table", "sqlite3.OperationalError", "no such table: nowhere"),
        ("/fails/async", "sqlite3.OperationalError", "no such table: nowhere"),
        ("/fails/constraint", "sqlite3.IntegrityError", "UNIQUE constraint failed: items.name"),
        ("/fails/orm", "sqlite3.IntegrityError", "UNIQUE constraint failed: items.id"),
    ],
)
def test_a_failed_statement_is_an_error_of_the_drivers_type(
    cases: Traced, path: str, error: str, message: str
) -> None:
    call = cases.get(path)
    span = one(call.spans)
    assert error.rpartition(".")[2] in call.response.text
    assert (span.status, span.status_message) == ("ERROR", message)
    assert span.attributes["error.type"] == error
    assert call.server.status == "UNSET"


def test_values_in_the_drivers_message_are_replaced(cases: Traced) -> None:
    call = cases.get("/fails/message")
    assert "hush-14" in call.response.text  # The application sees them.
    span = one(call.spans)
    assert span.status == "ERROR"
    assert "path" in span.status_message
    assert b"hush" not in cases.sent


def test_an_unhandled_error_tells_no_values_in_any_span(cases: Traced) -> None:
    call = cases.get("/fails/unhandled")
    assert call.response.status_code == 500
    assert one(call.spans).attributes["error.type"] == "sqlite3.OperationalError"
    assert call.server.attributes["error.type"] == "sqlalchemy.exc.OperationalError"
    exception = one(call.server.events)
    assert exception.attributes["exception.message"] == "(sqlite3.OperationalError) malformed JSON"
    assert b"hush" not in cases.sent


def test_only_the_statement_that_failed_is_an_error(cases: Traced) -> None:
    call = cases.get("/fails/between")
    assert call.json == [3, 2]
    assert [told(span) for span in call.spans] == [
        ("SELECT items", "SELECT count(*) FROM items", "UNSET"),
        ("UPDATE nowhere", "UPDATE nowhere SET a = ?", "ERROR"),
        ("SELECT tags", "SELECT count(*) FROM tags", "UNSET"),
    ]
    assert [span.attributes.get("error.type") for span in call.spans] == [
        None,
        "sqlite3.OperationalError",
        None,
    ]


def test_an_error_while_rows_are_fetched_makes_no_second_span(cases: Traced) -> None:
    call = cases.get("/fails/fetch")
    assert call.json == ["OperationalError"]
    assert len(call.spans) == 1


def test_a_cancelled_statement_is_one_span(cases: Traced) -> None:
    call = cases.get("/cancelled")
    assert call.json == "cancelled"
    span = one(call.spans)
    assert span.end_ns <= call.server.end_ns
    assert "error.type" not in span.attributes


# Batches, rows that come one by one, the ORM.


def test_executemany_is_one_span_with_its_size(cases: Traced) -> None:
    spans = cases.get("/many").spans
    assert [(span.name, span.attributes.get("db.operation.batch.size")) for span in spans] == [
        ("BATCH INSERT tags", 3),
        ("BATCH UPDATE tags", 2),
        ("DELETE tags", None),
    ]
    for span in spans:
        assert span.attributes["db.query.summary"] == span.name
        assert span.attributes["db.operation.name"] == span.name.rpartition(" ")[0]


def test_rows_of_one_insert_are_no_batch(cases: Traced, is_14: bool) -> None:
    spans = cases.get("/many/orm").spans
    if not is_14:  # It has no RETURNING for SQLite.
        call = cases.get("/many/values")
        assert len(call.json) == 3
        spans.append(one(call.spans))
    assert {span.name for span in spans} == {"INSERT tags"}
    assert where(spans, attributes={"db.operation.batch.size": 2}) == []
    assert all("db.operation.batch.size" not in span.attributes for span in spans)


@pytest.mark.parametrize("path", ["/stream", "/stream/async"])
def test_streamed_rows_come_from_one_span(cases: Traced, path: str) -> None:
    call = cases.get(path)
    assert call.json == [1, 2, 3]
    assert [span.name for span in call.spans] == ["SELECT items"]


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/lazy", ["SELECT items", *["SELECT tags"] * 3]),
        ("/eager", ["SELECT items", "SELECT tags"]),
        ("/run-sync", ["SELECT items", "SELECT tags"]),
    ],
)
def test_relationships_are_loaded_in_spans_of_the_request(
    cases: Traced, path: str, names: list[str]
) -> None:
    call = cases.get(path)
    assert call.json[0] == ["red", "blue"]
    assert [span.name for span in call.spans] == names
    assert {span.parent_id for span in call.spans} == {call.server.span_id}


# Engines and servers.


def test_every_engine_is_traced_whenever_it_was_made(cases: Traced, database: str) -> None:
    call = cases.get("/engines")
    assert call.json == [1, 1, 1, 1]
    wanted = [database, f"{database}.other", ":memory:", f"{database}.new"]
    assert [span.attributes["db.namespace"] for span in call.spans] == wanted


def test_an_async_engine_made_in_a_request_is_traced_once(cases: Traced) -> None:
    call = cases.get("/engines/async")
    assert call.json == 1
    assert one(call.spans).attributes["db.namespace"] == ":memory:"


@pytest.mark.parametrize(
    ("name", "system", "namespace", "address", "port"),
    [
        ("postgresql", "postgresql", "shop", "db.example", 5433),
        ("postgresql-usual-port", "postgresql", "shop", "db.example", None),
        ("postgresql-no-port", "postgresql", "shop", "db.example", None),
        ("postgresql-socket", "postgresql", "shop", None, None),
        ("mysql", "mysql", "shop", "db.example", 3307),
        ("mariadb", "mariadb", "shop", "db.example", None),
        ("mssql", "microsoft.sql_server", "shop", "db.example", 1434),
        ("no-database", "mysql", None, "db.example", None),
    ],
)
def test_the_server_is_the_one_of_the_url(
    cases: Traced,
    name: str,
    system: str,
    namespace: str | None,
    address: str | None,
    port: int | None,
) -> None:
    call = cases.get(f"/server/{name}", params={"statement": "SELECT a FROM t WHERE b = 7"})
    assert call.json == "done"
    span = one(call.spans)
    expected: dict[str, Any] = {
        "db.system.name": system,
        "db.namespace": namespace,
        "server.address": address,
        "server.port": port,
    }
    assert {key: span.attributes.get(key) for key in expected} == expected
    assert told(span) == ("SELECT t", "SELECT a FROM t WHERE b = ?", "UNSET")


def test_a_failure_on_a_server_has_its_sqlstate(cases: Traced) -> None:
    call = cases.get("/server/postgresql", params={"statement": "SELECT FAIL FROM t"})
    assert call.json == "ProgrammingError"
    span = one(call.spans)
    assert span.attributes["db.response.status_code"] == "42P01"
    assert span.attributes["error.type"] in ("42P01", "fake_dbapi.ProgrammingError")
    assert (span.status, span.status_message) == ("ERROR", "relation ? does not exist")


# Outside of requests.


def test_statements_outside_of_a_request_are_roots(cases: Traced) -> None:
    server = cases.get("/thread").server
    spans = cases.receiver.wait(lambda spans: where(spans, name="SELECT tags", parent_id=""))
    inserts = where(spans, attributes={"db.operation.name": "INSERT"}, parent_id="")
    assert inserts, "the statements of the start have come"
    thread = one(spans, name="SELECT tags", parent_id="")
    assert thread.trace_id != server.trace_id
    roots = where(spans, parent_id="")
    assert {span.kind for span in roots} == {"CLIENT"}
    assert len({span.trace_id for span in roots}) == len(roots)


def test_a_script_that_ends_sends_its_statements(run: Runner, receiver: HttpReceiver) -> None:
    code = (
        "import sqlalchemy as s\n"
        "with s.create_engine('sqlite://').connect() as c:\n"
        "    print(c.execute(s.text(\"SELECT 'x'\")).scalar())\n"
    )
    script = run.run([run.python, "-c", code], env=receiver.env)
    assert (script.status, script.stdout, script.stderr) == (0, "x\n", "")
    assert_tree(receiver.wait(1), ("SELECT", "CLIENT"))


# The application does not notice.


def test_a_script_sees_the_same_of_sqlalchemy_without_the_agent(
    run: Runner, receiver: HttpReceiver
) -> None:
    """Listeners of the Engine class, enormous and broken statements, memory."""
    scripts = [
        run.run([run.python, "sql_script.py"], env=receiver.env, agent=agent)
        for agent in ("none", "preload")
    ]
    bare, traced_ = ((script.status, script.stdout, script.stderr) for script in scripts)
    assert bare == traced_
    assert bare[1].endswith("engine is gone: True\n")
    # But for the last one, which a listener of the application takes from the driver.
    assert len(receiver.spans) == bare[1].count("class ") - 1
    assert {span.kind for span in receiver.spans} == {"CLIENT"}
    assert max(len(text) for text in texts(receiver.spans)) < 10_000
    assert all(b"hush" not in request.body for request in receiver.requests)


UNCHANGED = """literals parameters fails/table fails/message fails/constraint fails/unhandled
    fails/orm fails/async fails/between fails/fetch many many/orm stream stream/async lazy eager
    run-sync engines engines/async server/postgresql?statement=SELECT+FAIL listeners
    listeners/raise inspect odd""".split()


def test_results_exceptions_and_listeners_are_the_same_without_the_agent(
    same_with_and_without: Callable[..., Any], receiver: HttpReceiver, database: str
) -> None:
    def visit(server: Server) -> dict[str, Any]:
        return {path: seen(server.get(f"/{path}")) for path in UNCHANGED}

    env = {"DATABASE": f"{database}.same", **receiver.env}
    results = same_with_and_without("sql_cases:app", visit, env=env)
    assert where(receiver.spans, kind="CLIENT")
    assert {status for status, _, _ in results.values()} == {200, 500}


def test_listeners_of_the_application_work_in_their_order(cases: Traced) -> None:
    call = cases.get("/listeners")
    assert [step if isinstance(step, int) else step[0] for step in call.json[:-1]] == [
        *("change", "before", "after", 1),
        *("change", "before", "replace", "watch"),
    ]
    assert call.json[1][1] == "SELECT ? -- changed"  # What the other listeners gave goes on.
    assert call.json[-1][0][0] == "LookupError"
    assert [told(span) for span in call.spans] == [
        ("SELECT", "SELECT ?", "UNSET"),
        ("SELECT nowhere", "SELECT a FROM nowhere", "ERROR"),
    ]
    assert call.spans[1].attributes["error.type"] == "sqlite3.OperationalError"


def test_a_listener_that_raises_leaves_no_span_open(cases: Traced) -> None:
    call = cases.get("/listeners/raise")
    assert [outcome[:2] for outcome in call.json] == [
        [name, "KeyError"]
        for name in ("before_cursor_execute", "after_cursor_execute", "handle_error")
    ]
    assert len(call.spans) in (2, 3)  # The first statement was never executed.
    assert call.spans[-1].attributes["error.type"] == "sqlite3.OperationalError"


def test_nothing_is_recorded_of_a_trace_that_is_not_sampled(
    run: Runner, receiver: HttpReceiver, database: str
) -> None:
    env = {**receiver.env, "DATABASE": f"{database}.unsampled"}
    server = run.uvicorn("db:app", env=env)
    trace_id = "ab" * 16
    headers = {"traceparent": f"00-{trace_id}-{'cd' * 8}-00"}
    assert server.get("/core/sync", headers=headers).json() == ["Ada", "Grace"]
    assert server.get("/core/async", headers=headers).json() == ["Ada", "Grace"]
    assert server.stop() == -15
    assert receiver.spans, "the statements of the start have come"
    assert where(receiver.spans, trace_id=trace_id) == []


def test_statements_are_seen_in_jaeger(run: Runner, jaeger: Jaeger, database: str) -> None:
    service = f"sql-{os.urandom(4).hex()}"
    env = {
        "DATABASE": f"{database}.jaeger",
        "OTEL_SERVICE_NAME": service,
        "OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.http_endpoint,
    }
    server = run.uvicorn("db:app", env=env)
    assert server.get("/several").status_code == 200
    assert server.get("/fails/caught").status_code == 200
    assert server.stop() == -15
    ids = {
        span["operationName"]: trace["traceID"]
        for trace in jaeger.traces(service)
        for span in trace["spans"]
    }
    names = ["SELECT orders", "INSERT orders", "UPDATE orders", "SELECT users orders"]
    children = [(name, "CLIENT") for name in [*names, "DELETE orders"]]
    spans = jaeger.wait(ids["GET /several"], 6)
    assert_tree(spans, ("GET /several", "SERVER", children), ordered=True)
    assert [span for span in spans if "@jaeger@warnings" in span.attributes] == []
    failed = one(jaeger.wait(ids["GET /fails/caught"], 2), kind="CLIENT")
    assert (failed.status, failed.status_message) == ("ERROR", "no such table: nowhere")

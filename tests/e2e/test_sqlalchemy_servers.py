# SPDX-License-Identifier: MIT
"""SQLAlchemy on a real PostgreSQL and a real MariaDB, by the drivers that services use."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness.databases import DATABASE, PASSWORD, USER, MariaDB, PostgreSQL
from harness.otlp import Span
from harness.sqlalchemy import VERSIONS, interpreter
from harness.traced import Call, Traced, traced
from harness.tree import one, where

DIALECTS = {
    "psycopg": "postgresql+psycopg",
    "psycopg-async": "postgresql+psycopg",
    "psycopg2": "postgresql+psycopg2",
    "asyncpg-async": "postgresql+asyncpg",
    "pymysql": "mysql+pymysql",
    "aiomysql-async": "mysql+aiomysql",
}
DRIVERS = [
    f"{version}-{name}"
    for version in VERSIONS
    for name, dialect in DIALECTS.items()
    if version != "1.4" or not dialect.endswith("+psycopg")  # Which it does not know.
]
ASYNC = [name for name in DRIVERS if name.endswith("-async")]
WAIT = "faa.db.pool.wait_us"
TRACED = {"FAA_SQLALCHEMY_SPANS": "transactions"}


class Servers:
    """apps/sql_servers.py under the agent, once for each version and each environment it is asked
    for with."""

    def __init__(
        self, folder: Path, build: Path, postgresql: PostgreSQL, mariadb: MariaDB
    ) -> None:
        self.folder = folder
        self.build = build
        self.databases = {"postgresql": postgresql, "mysql": mariadb}
        self._running: dict[str, tuple[Any, Traced]] = {}

    def database(self, driver: str) -> Any:
        return self.databases[DIALECTS[driver].partition("+")[0]]

    def url(self, driver: str, host: str = "127.0.0.1", port: int = 0, rest: str = "") -> str:
        port = port or self.database(driver).port
        return f"{DIALECTS[driver]}://{USER}:{PASSWORD}@{host}:{port}/{DATABASE}{rest}"

    def get(self, version: str, **env: str) -> Traced:
        key = json.dumps([version, env])
        if key not in self._running:
            names = [name.partition("-")[2] for name in DRIVERS if name.startswith(f"{version}-")]
            urls = {name: self.url(name) for name in names}
            folder = self.folder / str(len(self._running))
            folder.mkdir()
            python = interpreter(version)
            running = traced(
                folder,
                self.build,
                python,
                "sql_servers:app",
                env={"URLS": json.dumps(urls), **env},
            )
            self._running[key] = (running, running.__enter__())
        return self._running[key][1]

    def stop(self) -> None:
        for running, server in self._running.values():
            sent = server.sent
            running.__exit__(None, None, None)
            assert b"hush" not in sent and PASSWORD.encode() not in sent


@pytest.fixture(scope="module")
def servers(
    tmp_path_factory: pytest.TempPathFactory,
    build: Path,
    postgresql: PostgreSQL,
    mariadb: MariaDB,
) -> Iterator[Servers]:
    """What has been sent by all of them names no secret."""
    found = Servers(tmp_path_factory.mktemp("servers"), build, postgresql, mariadb)
    yield found
    found.stop()


def split(driver: str) -> tuple[str, str]:
    version, _, name = driver.partition("-")
    return version, name


def run(servers: Servers, driver: str, path: str, **env: str) -> Call:
    """GETs a path, in which {} stands for the driver's name."""
    version, name = split(driver)
    return servers.get(version, **env).get(path.format(name))


def names_of(call: Call) -> list[str]:
    """The names of the spans below the request, each of which is its child."""
    assert {span.parent_id for span in call.spans} <= {call.server.span_id}
    assert {span.kind for span in call.spans} <= {"CLIENT"}
    return [span.name for span in call.spans]


def server_of(span: Span) -> dict[str, Any]:
    keys = ("db.system.name", "db.namespace", "server.address", "server.port")
    return {key: span.attributes[key] for key in keys if key in span.attributes}


# Statements.


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_statement_is_one_span_with_its_server(servers: Servers, driver: str) -> None:
    call = run(servers, driver, "/case/{}/two")
    assert call.json == [2, 2]
    assert names_of(call) == ["SELECT orders", "SELECT orders"]
    database = servers.database(split(driver)[1])
    for span in call.spans:
        assert span.status == "UNSET"
        assert server_of(span) == {
            "db.system.name": "postgresql" if isinstance(database, PostgreSQL) else "mysql",
            "db.namespace": DATABASE,
            "server.address": "127.0.0.1",
            "server.port": database.port,
        }
        assert span.attributes["db.query.text"].startswith("SELECT orders.id")
        assert span.attributes["db.operation.name"] == "SELECT"
        assert "faa.event_loop.blocking" not in span.attributes
    first, second = call.spans
    assert first.attributes["db.query.text"] == second.attributes["db.query.text"]
    assert first.end_ns <= second.start_ns


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_first_statement_says_how_long_its_connection_was_waited_for(
    servers: Servers, driver: str
) -> None:
    call = run(servers, driver, "/case/{}/two")
    first, second = call.spans
    assert first.attributes[WAIT] == call.server.attributes[WAIT]
    assert WAIT not in second.attributes


@pytest.mark.parametrize("driver", DRIVERS)
def test_statements_of_any_kind_are_told_without_values(servers: Servers, driver: str) -> None:
    call = run(servers, driver, "/case/{}/odd")
    assert names_of(call) == ["SELECT", "SELECT orders", "SELECT"]
    assert [span.attributes["db.query.text"] for span in call.spans[:2]] == [
        "SELECT ?",
        "SELECT id FROM orders WHERE name = ?",
    ]
    assert b"4711" not in servers.get(split(driver)[0]).sent


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_list_of_values_is_one_text_however_long(servers: Servers, driver: str) -> None:
    for _ in range(2):
        call = run(servers, driver, "/case/{}/values")
        assert call.json == [1, 2, 3]
        assert names_of(call) == ["SELECT orders"] * 3
        texts = {span.attributes["db.query.text"] for span in call.spans}
        assert len(texts) == 1
        assert texts.pop().endswith("orders.id IN (?)")


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_batch_is_one_span(servers: Servers, driver: str) -> None:
    call = run(servers, driver, "/case/{}/many")
    assert names_of(call) == ["BATCH INSERT order_lines", "BATCH UPDATE order_lines"]
    sizes = [span.attributes["db.operation.batch.size"] for span in call.spans]
    assert sizes == [3, 2]


@pytest.mark.parametrize("driver", DRIVERS)
def test_fetching_from_a_cursor_on_the_server_is_no_statement(
    servers: Servers, driver: str
) -> None:
    call = run(servers, driver, "/case/{}/stream")
    assert call.json == [1, 2, 3, 4]
    assert names_of(call) == ["SELECT orders"]


@pytest.mark.parametrize("driver", ASYNC)
def test_an_async_stream_is_one_span(servers: Servers, driver: str) -> None:
    call = run(servers, driver, "/stream/{}")
    assert call.json == [1, 2, 3, 4]
    assert names_of(call) == ["SELECT orders"]


@pytest.mark.parametrize("driver", DRIVERS)
def test_loads_and_flushes_of_a_session_are_spans(servers: Servers, driver: str) -> None:
    call = run(servers, driver, "/case/{}/orm")
    assert call.json == ["red", "blue"]
    assert names_of(call) == ["SELECT orders", "SELECT order_lines", "INSERT orders"]


@pytest.mark.parametrize("driver", ASYNC)
def test_sessions_in_tasks_are_told_under_their_request(servers: Servers, driver: str) -> None:
    call = run(servers, driver, "/sessions/{}")
    assert call.json == [[1, 4], [2, 4], [3, 4]]
    assert names_of(call) == ["SELECT orders"] * 6
    texts = [span.attributes["db.query.text"] for span in call.spans]
    assert {text[-2:] for text in texts if text.startswith("SELECT count")} == {"o1", "o2", "o3"}


@pytest.mark.parametrize("driver", DRIVERS)
def test_statements_of_requests_at_once_are_under_their_own(servers: Servers, driver: str) -> None:
    version, name = split(driver)
    server = servers.get(version)
    marks = [f"mark_{number}_" for number in range(6)]
    with ThreadPoolExecutor(len(marks)) as clients:
        calls = list(clients.map(lambda mark: server.get(f"/marked/{name}/{mark}"), marks))
    for mark, call in zip(marks, calls, strict=True):
        assert names_of(call) == ["SELECT orders"] * 15
        assert {span.attributes["db.query.text"] for span in call.spans} == {
            f"SELECT id AS {mark} FROM orders"
        }


# Failures.


@pytest.mark.parametrize("driver", DRIVERS)
def test_what_fails_is_an_error_and_what_follows_is_none(servers: Servers, driver: str) -> None:
    call = run(servers, driver, "/case/{}/fails")
    postgresql = isinstance(servers.database(split(driver)[1]), PostgreSQL)
    assert call.json[-1] == 4
    assert [(span.name, span.status) for span in call.spans] == [
        ("SELECT nowhere", "ERROR"),
        ("INSERT orders", "ERROR" if not postgresql else call.spans[1].status),
        ("SELECT orders", "UNSET"),
    ]
    assert names_of(call)
    failed = call.spans[0]
    assert failed.attributes["error.type"].rpartition(".")[2] in call.json[0]
    if postgresql:
        assert failed.attributes["db.response.status_code"] == "42P01"
    assert "hush" not in failed.status_message


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_failure_that_listeners_do_not_see_is_told(servers: Servers, driver: str) -> None:
    call = run(servers, driver, "/case/{}/skip_events")
    assert call.json == 4
    assert names_of(call) == ["SELECT nowhere", "SELECT orders"]
    assert [span.status for span in call.spans] == ["ERROR", "UNSET"]


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_lost_connection_is_the_failure_of_one_statement(servers: Servers, driver: str) -> None:
    call = run(servers, driver, "/lost/{}")
    assert call.json == [True, 4]
    names_of(call)
    asked = where(call.spans, attributes={"db.query.text": "SELECT count(*) FROM orders"})
    assert [span.status for span in asked][-2:] == ["ERROR", "UNSET"]
    assert [span.status for span in call.spans].count("ERROR") == 1
    assert asked[-2].attributes["error.type"]
    assert all(WAIT in span.attributes for span in asked)


@pytest.mark.parametrize("driver", ASYNC)
def test_a_cancelled_statement_ends_and_is_no_failure(servers: Servers, driver: str) -> None:
    call = run(servers, driver, "/cancelled/{}")
    assert call.json == ["cancelled", [2, 2]]
    assert names_of(call) == ["SELECT", "SELECT orders", "SELECT orders"]
    cancelled = call.spans[0]
    assert (cancelled.status, cancelled.attributes.get("error.type")) == ("UNSET", None)
    assert cancelled.end_ns <= call.spans[1].start_ns


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_connection_that_cannot_be_made_is_told(servers: Servers, driver: str) -> None:
    call = run(servers, driver, "/unreachable/{}")
    assert call.json != "reached"
    assert names_of(call) == ["connect"]
    span = call.spans[0]
    assert (span.status, span.scope_name) == ("ERROR", "sqlalchemy")
    assert span.attributes["error.type"]
    assert server_of(span)["server.address"] == "127.0.0.1"
    assert server_of(span)["server.port"] == 1
    assert PASSWORD not in span.status_message


# Connections.


PINGED = [name for name in DRIVERS if name != "1.4-aiomysql-async"]  # Its ping is too old for it.


@pytest.mark.parametrize("driver", PINGED)
def test_making_and_testing_connections_is_not_told(servers: Servers, driver: str) -> None:
    call = run(servers, driver, "/new/{}/two")
    assert call.json == [2, 2]
    assert names_of(call) == ["SELECT orders"] * 4


@pytest.mark.parametrize("driver", DRIVERS)
def test_what_a_pool_and_its_listeners_do_is_not_told(servers: Servers, driver: str) -> None:
    call = run(servers, driver, "/listened/{}")
    assert call.json == [2, 2]
    assert names_of(call) == ["SELECT orders"] * 2


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_setting_of_a_connection_is_not_told(servers: Servers, driver: str) -> None:
    call = run(servers, driver, "/case/{}/isolation")
    assert call.json == 1
    assert names_of(call) == ["SELECT orders"]


@pytest.mark.parametrize("driver", PINGED)
def test_each_new_connection_is_a_span_when_it_is_chosen(servers: Servers, driver: str) -> None:
    call = run(servers, driver, "/new/{}/two", FAA_SQLALCHEMY_SPANS="connect")
    assert names_of(call) == ["connect"] + ["SELECT orders"] * 4
    connect = call.spans[0]
    assert (connect.status, connect.scope_name) == ("UNSET", "sqlalchemy")
    assert connect.attributes == server_of(call.spans[1])
    assert connect.end_ns <= call.spans[1].start_ns


def other_urls(servers: Servers, driver: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """URLs that do not say where the server is in the usual place, and what is told of it."""
    database = servers.database(driver)
    dialect, user = DIALECTS[driver], f"{USER}:{PASSWORD}"
    tcp = {"server.address": "127.0.0.1", "server.port": database.port}
    if isinstance(database, PostgreSQL):
        query = f"host={database.socket}&port={database.port}"
        socket = {"server.address": database.socket, "server.port": database.port}
        tcp_query = f"host=127.0.0.1&port={database.port}"
        return {
            "socket": (f"{dialect}://{user}@/{DATABASE}?{query}", socket),
            "query": (f"{dialect}://{user}@/{DATABASE}?{tcp_query}", tcp),
        }
    query = f"unix_socket={database.socket}"
    socket = {"server.address": database.socket}
    return {"socket": (f"{dialect}://{user}@/{DATABASE}?{query}", socket)}


@pytest.mark.parametrize("kind", ["socket", "query"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_the_server_of_a_query_is_told(servers: Servers, driver: str, kind: str) -> None:
    version, name = split(driver)
    url, expected = other_urls(servers, name).get(kind, (None, None))
    if url is None:
        return  # MySQL's drivers have no host in the query.
    call = servers.get(version).get(f"/url/{name}", headers={"x-url": url})
    assert call.json == 1
    span = one(call.spans, name="SELECT orders")
    assert span.parent_id == call.server.span_id
    found = server_of(span)
    del found["db.system.name"]
    assert found == {"db.namespace": DATABASE, **expected}


@pytest.mark.parametrize("driver", [name for name in DRIVERS if name not in ASYNC])
def test_the_server_of_a_creator_is_told_by_the_connection(servers: Servers, driver: str) -> None:
    version, name = split(driver)
    headers = {"x-url": f"{DIALECTS[name]}://", "x-creator": "1"}
    call = servers.get(version).get(f"/url/{name}", headers=headers)
    assert call.json == 1
    found = server_of(one(call.spans, name="SELECT orders"))
    del found["db.system.name"]
    port = servers.database(name).port
    expected = {"server.address": "127.0.0.1", "server.port": port, "db.namespace": DATABASE}
    assert found == expected


# Transactions.


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_transaction_is_its_statements_by_default(servers: Servers, driver: str) -> None:
    call = run(servers, driver, "/case/{}/transaction")
    assert call.json == 2
    assert names_of(call) == ["INSERT order_lines"] * 3 + ["DELETE order_lines"] * 2


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_steps_of_transactions_are_spans_when_they_are_chosen(
    servers: Servers, driver: str
) -> None:
    call = run(servers, driver, "/case/{}/transaction", **TRACED)
    assert call.json == 2
    assert names_of(call) == [
        "BEGIN",
        "INSERT order_lines",
        *("SAVEPOINT", "INSERT order_lines", "RELEASE SAVEPOINT"),
        *("SAVEPOINT", "INSERT order_lines", "ROLLBACK TO SAVEPOINT"),
        "COMMIT",
        *("BEGIN", "DELETE order_lines", "ROLLBACK"),
        *("BEGIN", "DELETE order_lines", "COMMIT"),
    ]
    server = server_of(call.spans[1])
    for span in call.spans:
        assert server_of(span) == server
        if "order_lines" not in span.name:
            assert span.attributes["db.operation.name"] == span.name
            assert span.attributes["db.query.summary"] == span.name
            assert "db.query.text" not in span.attributes


@pytest.mark.parametrize("driver", [name for name in DRIVERS if "asyncpg" not in name])
def test_the_two_phases_of_a_transaction_are_told(servers: Servers, driver: str) -> None:
    call = run(servers, driver, "/case/{}/two_phases", **TRACED)
    assert call.json is None
    prepared = ["BEGIN", "INSERT order_lines", "PREPARE TRANSACTION"]
    after = ["BEGIN", "DELETE order_lines", "COMMIT"]
    assert names_of(call) == [
        *(*prepared, "COMMIT PREPARED", *after),
        *(*prepared, "ROLLBACK PREPARED", *after),
        *("BEGIN", "INSERT order_lines", "ROLLBACK"),
    ]
    assert {span.status for span in call.spans} == {"UNSET"}

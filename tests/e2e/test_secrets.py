# SPDX-License-Identifier: MIT
"""What leaves of statements, exceptions and URLs, by FAA_DB_QUERY_TEXT and FAA_REDACT_QUERY."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness import libraries
from harness.databases import DATABASE, PASSWORD, USER, MariaDB, PostgreSQL
from harness.process import Runner
from harness.receiver import HttpReceiver
from harness.target import Target
from harness.traced import Call, Traced, traced
from harness.tree import one, where

SECRET = "SELECT 'hush-7', 471147"


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    server = Target()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def serve(
    tmp_path_factory: pytest.TempPathFactory,
    build: Path,
    target: Target,
    postgresql: PostgreSQL,
    mariadb: MariaDB,
) -> Iterator[Callable[..., Traced]]:
    """Starts apps/secrets_app.py once for each set of variables."""
    login = f"{USER}:{PASSWORD}@127.0.0.1"
    peers = {
        "TARGET_URL": target.url,
        "POSTGRESQL": f"postgresql+psycopg://{login}:{postgresql.port}/{DATABASE}",
        "MARIADB": f"mysql+pymysql://{login}:{mariadb.port}/{DATABASE}",
    }
    python = libraries.python()
    started: dict[tuple[tuple[str, str], ...], Traced] = {}
    with ExitStack() as stack:

        def one_server(**env: str) -> Traced:
            key = tuple(sorted(env.items()))
            if key not in started:
                server = traced(
                    tmp_path_factory.mktemp("secrets"),
                    build,
                    python,
                    "secrets_app:app",
                    env={**peers, **env},
                )
                started[key] = stack.enter_context(server)
            return started[key]

        yield one_server


@pytest.fixture
def plain(serve: Callable[..., Traced]) -> Iterator[Traced]:
    """Without variables; nothing secret has left it when a test is over."""
    server = serve()
    yield server
    assert b"hush" not in server.sent and b"471147" not in server.sent
    assert PASSWORD.encode() not in server.sent


def execute(server: Traced, name: str, statement: str) -> Call:
    call = server.ask("POST", f"/execute/{name}", json=statement, params={"token": "hush"})
    for span in call.spans:
        assert (span.kind, span.parent_id) == ("CLIENT", call.server.span_id)
    return call


# FAA_DB_QUERY_TEXT


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        ("", "SELECT ?, ?"),
        ("sanitized", "SELECT ?, ?"),
        ("SANITIZED", "SELECT ?, ?"),
        ("raw", SECRET),
        ("off", None),
    ],
)
def test_the_text_is_told_as_the_variable_says(
    serve: Callable[..., Traced], mode: str, wanted: str | None
) -> None:
    # The server of a mode is asked twice, and a third time: then the text comes from a cache.
    server = serve(FAA_DB_QUERY_TEXT=mode)
    for _ in range(3):
        call = execute(server, "sqlite", SECRET)
        assert call.json == [["hush-7", 471147]]
        span = one(call.spans)
        assert span.attributes.get("db.query.text") == wanted
        assert (span.name, span.attributes["db.query.summary"]) == ("SELECT", "SELECT")
        assert span.attributes["db.operation.name"] == "SELECT"
    assert (b"hush-7" in server.sent) == (mode == "raw")


def test_another_value_gets_a_line_and_the_default(run: Runner, receiver: HttpReceiver) -> None:
    code = (
        "import sqlalchemy as s\n"
        "with s.create_engine('sqlite://').connect() as c:\n"
        "    c.execute(s.text(\"SELECT 'hush'\"))\n"
    )
    env = {**receiver.env, "FAA_DB_QUERY_TEXT": "none", "FAA_REDACT_QUERY": "a,b=c, d e,a[b],-"}
    script = run.run([run.python, "-c", code], env=env)
    assert script.status == 0
    text, *names = script.agent_lines
    assert "FAA_DB_QUERY_TEXT=none cannot be used" in text and "using sanitized" in text
    told = [re.search(r"FAA_REDACT_QUERY: (.*) can be no parameter's name", n) for n in names]
    assert [match and match.group(1) for match in told] == ["b=c", "d e", "a[b]", "-"]
    assert one(receiver.wait(1)).attributes["db.query.text"] == "SELECT ?"


@pytest.mark.parametrize("mode", ["", "off"])
@pytest.mark.parametrize("name", ["sqlite", "postgresql", "mariadb"])
def test_messages_of_drivers_tell_no_value(
    serve: Callable[..., Traced], mode: str, name: str
) -> None:
    server = serve(FAA_DB_QUERY_TEXT=mode)
    execute(server, name, "CREATE TABLE IF NOT EXISTS names (name VARCHAR(80) UNIQUE)")
    statements = [
        "INSERT INTO names VALUES ('it''s hush-8'), ('it''s hush-8')",
        "SELECT a FROM names WHERE a = 'hush-9' SELEC 'hush-10'",
        "SELECT CAST('hush-11' AS integer) + nothing('hush-12')",
    ]
    for statement in statements:
        call = execute(server, name, statement)
        assert "hush" in call.json  # The application sees all of it.
        span = one(call.spans)
        assert (span.status, bool(span.status_message)) == ("ERROR", True)
        call = server.ask("POST", f"/unhandled/{name}", json=statement)
        assert call.response.status_code == 500
        event = one(call.server.events)
        assert event.name == "exception"
        assert re.match(r"\(\w+(\.\w+)+\) ", event.attributes["exception.message"])
    assert b"hush" not in server.sent


def test_mariadbs_number_and_text_are_told(plain: Traced) -> None:
    call = execute(plain, "mariadb", "SELECT 1 FROM nowhere WHERE a = 'hush'")
    assert one(call.spans).status_message.startswith("(1146) Table ?")
    execute(plain, "mariadb", "CREATE TABLE IF NOT EXISTS entries (name VARCHAR(80) UNIQUE)")
    call = execute(plain, "mariadb", "INSERT INTO entries VALUES ('hush'), ('hush')")
    assert one(call.spans).status_message == "(1062) Duplicate entry ?"


def test_raw_shows_the_messages_of_drivers(serve: Callable[..., Traced]) -> None:
    server = serve(FAA_DB_QUERY_TEXT="raw")
    call = execute(server, "postgresql", "SELECT CAST('hush-13' AS integer)")
    span = one(call.spans)
    assert span.attributes["db.query.text"] == "SELECT CAST('hush-13' AS integer)"
    assert span.status_message == 'invalid input syntax for type integer: "hush-13"'


# Statements that are not SELECT, INSERT, UPDATE or DELETE


def test_procedures_are_told_by_their_name(plain: Traced) -> None:
    execute(
        plain,
        "postgresql",
        "CREATE OR REPLACE PROCEDURE note(what text) LANGUAGE sql AS 'SELECT 471147'",
    )
    call = execute(plain, "postgresql", "CALL public.note('hush')")
    span = one(call.spans)
    told = {key: value for key, value in span.attributes.items() if key.startswith("db.")}
    assert span.name == "CALL public.note" and span.status == "UNSET"
    assert told == {
        "db.system.name": "postgresql",
        "db.namespace": DATABASE,
        "db.operation.name": "CALL",
        "db.query.summary": "CALL public.note",
        "db.query.text": "CALL public.note(?)",
        "db.stored_procedure.name": "public.note",
    }


@pytest.mark.parametrize(
    ("name", "statement", "summary", "text"),
    [
        (
            "postgresql",
            "DO $do$ BEGIN PERFORM 'hush'; END $do$",
            "DO",
            "DO ?",
        ),
        (
            "postgresql",
            'SELECT "n" FROM (VALUES (471147, $x$hush$x$), (2, E\'hu\\\'sh\')) AS v ("n", t)',
            "SELECT",
            'SELECT "n" FROM (VALUES (?, ?)) AS v ("n", t)',
        ),
        ("postgresql", "SET application_name TO hush", "SET", "SET application_name TO ?"),
        (
            "postgresql",
            "CREATE ROLE hasher PASSWORD 'hush'; DROP ROLE hasher",
            "CREATE ROLE DROP ROLE",
            "CREATE ROLE hasher PASSWORD ?; DROP ROLE hasher",
        ),
        (
            "mariadb",
            'SELECT "hush", `name` FROM (SELECT \'hu\\\'sh\' AS name) t # hush\n WHERE 1 = 1',
            "SELECT SELECT",
            "SELECT ?, `name` FROM (SELECT ?",
        ),
        (
            "mariadb",
            "CREATE OR REPLACE USER hasher IDENTIFIED BY 'hush'",
            "CREATE USER",
            "CREATE OR REPLACE USER hasher IDENTIFIED BY ?",
        ),
    ],
)
def test_statements_that_servers_know_are_told_without_values(
    plain: Traced, name: str, statement: str, summary: str, text: str
) -> None:
    call = execute(plain, name, statement)
    assert isinstance(call.json, list), call.json
    span = one(call.spans)
    assert (span.name, span.attributes["db.query.text"]) == (summary, text)


# URLs and exceptions


def test_names_of_ones_own_are_redacted(serve: Callable[..., Traced], target: Target) -> None:
    server = serve(FAA_REDACT_QUERY=" ssn,cardNumber,")
    target.seen.clear()
    call = server.get("/call", params={"SSN": "hush-14", "card_number": "hush-15", "b": "2"})
    assert call.json == 200
    assert call.server.attributes["url.query"] == "SSN=REDACTED&card_number=REDACTED&b=2"
    span = one(where(call.spans, kind="CLIENT"))
    query = "a=1&Card-Number=REDACTED&ssn=REDACTED&token=REDACTED"
    assert span.attributes["url.full"] == f"{target.url}/echo?{query}"
    assert target.seen[0]["path"].endswith("Card-Number=hush-4&ssn=hush-5&token=hush-6")
    event = one(server.get("/raises").server.events)
    message = "no answer from host=h password=REDACTED {'token': REDACTED} ssn=REDACTED"
    assert event.attributes["exception.message"] == message
    assert b"hush" not in server.sent


def test_without_the_variable_other_names_are_told(serve: Callable[..., Traced]) -> None:
    call = serve(FAA_DB_QUERY_TEXT="raw").get("/raises", params={"ssn": "1"})
    assert call.server.attributes["url.query"] == "ssn=1"
    message = "no answer from host=h password=REDACTED {'token': REDACTED} ssn=hush-3"
    assert one(call.server.events).attributes["exception.message"] == message

# SPDX-License-Identifier: MIT
"""redis-py, sync and asyncio: one CLIENT span for each command and pipeline, without values."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import libraries
from harness.databases import Redis, served
from harness.otlp import Span
from harness.process import Runner
from harness.receiver import HttpReceiver
from harness.redis_servers import Cluster, Sentinel
from harness.traced import Call, Traced, traced
from harness.tree import one

KINDS = ["sync", "async"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A real cluster of two nodes."""
    with served(Cluster) as servers:
        yield servers


@pytest.fixture(scope="module")
def sentinel(redis_server: Redis) -> Iterator[Sentinel]:
    """A real sentinel that watches `redis_server`."""
    with served(Sentinel, redis_server) as server:
        yield server


@pytest.fixture(scope="module")
def cases(
    tmp_path_factory: pytest.TempPathFactory,
    build: Path,
    python: str,
    redis_server: Redis,
    cluster: Cluster,
    sentinel: Sentinel,
) -> Iterator[Traced]:
    """apps/redis_cases.py; nothing secret has left it when its tests are over."""
    env = {
        "REDIS_PORT": str(redis_server.port),
        "REDIS_SOCKET": redis_server.socket,
        "CLUSTER_PORT": str(cluster.nodes[0].port),
        "SENTINEL_PORT": str(sentinel.port),
    }
    directory = tmp_path_factory.mktemp("redis-cases")
    with traced(directory, build, python, "redis_cases:app", env=env) as server:
        yield server
        for secret in (b"hush", b"HUSH"):
            assert secret not in server.sent


@pytest.fixture(scope="module")
def python() -> str:
    """The default interpreter, for fixtures of the module."""
    return libraries.python()


def told(spans: list[Span]) -> list[tuple[str, str | None]]:
    return [(span.name, span.attributes.get("db.query.text")) for span in spans]


def errors(spans: list[Span]) -> list[tuple[str, str | None, str | None]]:
    """Status message, type and code of the failed ones."""
    return [
        (
            span.status_message,
            span.attributes.get("error.type"),
            span.attributes.get("db.response.status_code"),
        )
        for span in spans
        if span.status == "ERROR"
    ]


def children(call: Call) -> list[Span]:
    """The spans of a call, all of them CLIENT spans of redis right under its SERVER span."""
    for span in call.spans:
        assert (span.kind, span.parent_id) == ("CLIENT", call.server.span_id), span
        assert (span.scope_name, span.attributes["db.system.name"]) == ("redis", "redis")
        assert call.server.start_ns <= span.start_ns <= span.end_ns
        assert (span.events, span.links) == ([], [])
    return call.spans


# Commands.


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_is_a_client_span_with_the_attributes_of_the_conventions(
    cases: Traced, redis_server: Redis, kind: str
) -> None:
    call = cases.get(f"/{kind}/commands")
    assert call.json == "value-hush"
    spans = children(call)
    assert told(spans) == [
        ("SET", "SET ? ?"),
        ("GET", "GET ?"),
        ("HSET", "HSET ? ? ? ? ?"),
        ("CONFIG GET", "CONFIG GET ?"),
        ("PUBLISH", "PUBLISH ? ?"),
        ("SET", "SET ? ?"),
        ("GET", "GET ?"),
        ("OBJECT ENCODING", "OBJECT ENCODING ?"),
        ("GET", "GET ?"),
    ]
    for span in spans:
        expected: dict[str, Any] = {
            "db.system.name": "redis",
            "db.namespace": "0",
            "db.operation.name": span.name,
            "db.query.text": span.attributes["db.query.text"],
            "server.address": "127.0.0.1",
            "server.port": redis_server.port,
        }
        if kind == "sync":  # On the thread of the loop.
            expected["faa.event_loop.blocking"] = True
        ours = {k: v for k, v in span.attributes.items() if not k.startswith("code.")}
        assert (span.status, ours) == ("UNSET", expected)
        assert span.end_ns <= call.server.end_ns


def test_a_command_in_a_thread_does_not_block_the_loop(cases: Traced) -> None:
    call = cases.get("/in-thread")
    assert call.json is True
    span = one(children(call), name="PING")
    assert "faa.event_loop.blocking" not in span.attributes


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_shows_some_of_many_values(cases: Traced, kind: str) -> None:
    call = cases.get(f"/{kind}/many_values")
    assert call.json == 1000
    assert told(children(call)) == [("MGET", "MGET" + " ?" * 16 + " ...")]


@pytest.mark.parametrize("kind", KINDS)
def test_what_looks_like_no_command_is_not_told(cases: Traced, kind: str) -> None:
    call = cases.get(f"/{kind}/odd_command")
    assert "key:hush" in call.json[1]
    span = one(children(call))
    assert (span.name, span.status) == ("redis", "ERROR")
    assert not {"db.operation.name", "db.query.text"} & span.attributes.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_decoded_as_without_us(cases: Traced, kind: str) -> None:
    call = cases.get(f"/{kind}/decoded")
    assert call.json == "ä"
    assert [span.name for span in children(call)] == ["SET", "GET"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_script_is_told_by_its_digest(cases: Traced, kind: str) -> None:
    call = cases.get(f"/{kind}/scripts")
    assert call.json == "hush"
    spans = children(call)
    assert told(spans) == [
        ("SCRIPT FLUSH", "SCRIPT FLUSH"),
        ("EVAL", "EVAL ? ? ?"),
        ("EVALSHA", "EVALSHA ? ? ?"),
        ("SCRIPT LOAD", "SCRIPT LOAD ?"),
        ("EVALSHA", "EVALSHA ? ? ?"),
    ]
    names = [span.attributes.get("db.stored_procedure.name") for span in spans]
    assert names[:2] == [None, None] and names[2] == names[4] and len(names[2]) == 40
    assert errors(spans) == [
        ("NOSCRIPT", "redis.exceptions.NoScriptError", "NOSCRIPT"),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_function_is_told_by_its_name(cases: Traced, kind: str) -> None:
    call = cases.get(f"/{kind}/functions")
    assert call.json == "hush"
    spans = children(call)
    assert [span.name for span in spans] == ["FUNCTION LOAD", "FCALL"]
    assert spans[1].attributes["db.stored_procedure.name"] == "faa_f"
    assert spans[1].attributes["db.query.text"] == "FCALL ? ? ?"


@pytest.mark.parametrize("kind", KINDS)
def test_a_lock_is_the_commands_that_it_sends(cases: Traced, kind: str) -> None:
    call = cases.get(f"/{kind}/lock")
    assert call.json == "released"
    names = [span.name for span in children(call)]
    assert names[0] == "SET" and names[-1] == "EVALSHA"


@pytest.mark.parametrize("kind", KINDS)
def test_overlapping_commands_are_children_of_the_same_request(cases: Traced, kind: str) -> None:
    call = cases.get(f"/{kind}/gathered")
    assert call.json == 5
    assert [span.name for span in children(call)] == ["PING"] * 5


@pytest.mark.parametrize("kind", KINDS)
def test_publishing_is_a_command_and_receiving_none(cases: Traced, kind: str) -> None:
    call = cases.get(f"/{kind}/subscribing")
    assert call.json == ["subscribe", "message"]
    assert [span.name for span in children(call)] == ["PUBLISH"]


@pytest.mark.parametrize(("choice", "text"), [("off", None), ("raw", "SET ? ?")])
def test_the_text_can_be_left_out_and_never_has_values(
    run: Runner, receiver: HttpReceiver, redis_server: Redis, choice: str, text: str | None
) -> None:
    env = {"REDIS_PORT": str(redis_server.port), "REDIS_SOCKET": redis_server.socket}
    env |= {"FAA_DB_QUERY_TEXT": choice, **receiver.env}
    app = Traced(run.uvicorn("redis_cases:app", env=env), receiver)
    assert told(children(app.get("/sync/commands")))[0] == ("SET", text)
    assert told(children(app.get("/async/pipelines")))[0] == ("PIPELINE SET", text)
    assert b"hush" not in app.sent


# Pipelines.


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipeline_is_one_span(cases: Traced, kind: str) -> None:
    call = cases.get(f"/{kind}/pipelines")
    assert call.json == [[True, True], [True], 3, [True, True], [True], 3, []]
    spans = children(call)
    mixed = "SET ? ?; GET ?; MGET ? ?"
    assert told(spans) == [
        ("PIPELINE SET", "SET ? ?"),
        ("PIPELINE SET", "SET ? ?"),
        ("PIPELINE", mixed),
        ("MULTI SET", "SET ? ?"),
        ("MULTI SET", "SET ? ?"),
        ("MULTI", mixed),
    ]
    assert [span.attributes.get("db.operation.batch.size") for span in spans] == [
        *(2, None, 3),
        *(2, None, 3),
    ]
    assert all(span.attributes["db.operation.name"] == span.name for span in spans)


@pytest.mark.parametrize("kind", KINDS)
def test_the_text_of_a_pipeline_is_limited(cases: Traced, kind: str) -> None:
    call = cases.get(f"/{kind}/long_pipeline")
    assert call.json == [1000, 1001, 201]
    same, mixed, several = children(call)
    assert (same.name, same.attributes["db.query.text"]) == ("MULTI SET", "SET ? ?")
    assert (mixed.name, mixed.attributes["db.operation.batch.size"]) == ("MULTI", 1001)
    text = mixed.attributes["db.query.text"]
    assert text.startswith("SET ? ?; SET ? ?; ") and text.endswith("; ...")
    assert 900 < len(text) < 1100
    assert several.name == "PIPELINE"  # Of two commands with the same first word.


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_pipeline_does_for_its_scripts_is_a_part_of_it(cases: Traced, kind: str) -> None:
    call = cases.get(f"/{kind}/pipeline_with_script")
    assert call.json == ["hush"]
    assert told(children(call)) == [("SCRIPT FLUSH", "SCRIPT FLUSH"), ("MULTI EVALSHA", "EVALSHA ? ?")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_race_for_a_watched_key_is_no_error(cases: Traced, kind: str) -> None:
    call = cases.get(f"/{kind}/watched")
    assert call.json == [[True], ["redis.exceptions.WatchError", "Watched variable changed."]]
    spans = children(call)
    assert told(spans) == [
        ("WATCH", "WATCH ?"),
        ("GET", "GET ?"),
        ("MULTI SET", "SET ? ?"),
        ("WATCH", "WATCH ?"),
        ("GET", "GET ?"),
        ("SET", "SET ? ?"),
        ("MULTI SET", "SET ? ?"),
    ]
    assert errors(spans) == []
    assert all("error.type" not in span.attributes for span in spans)


@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_pipeline_tells_the_code_and_not_the_command(cases: Traced, kind: str) -> None:
    call = cases.get(f"/{kind}/failing_pipeline")
    error = "redis.exceptions.ResponseError"
    assert call.json == [error, error, "ResponseError"]
    spans = children(call)
    assert [span.name for span in spans] == ["SET", "PIPELINE", "MULTI", "MULTI LPUSH"]
    found = errors(spans)
    assert [(type_, code) for _, type_, code in found] == [(error, "WRONGTYPE")] * 2
    for message, _, _ in found:
        assert message.startswith("WRONGTYPE Operation against a key")
    assert spans[3].status == "UNSET"  # The application has asked for the errors as answers.


# Errors.


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_the_server_has_its_code(cases: Traced, kind: str) -> None:
    call = cases.get(f"/{kind}/wrong_type")
    assert call.json[0] == "redis.exceptions.ResponseError"
    spans = children(call)
    words = "WRONGTYPE Operation against a key holding the wrong kind of value"
    assert errors(spans) == [(words, "redis.exceptions.ResponseError", "WRONGTYPE")]
    assert (spans[0].status, call.server.status) == ("UNSET", "UNSET")


@pytest.mark.parametrize("kind", KINDS)
def test_errors_do_not_repeat_the_words_of_the_application(cases: Traced, kind: str) -> None:
    call = cases.get(f"/{kind}/server_errors")
    words = [text for _, text in call.json]
    assert "hush" in words[0] and "hush" in words[3]  # The application sees them.
    error = "redis.exceptions.ResponseError"
    own = call.json[3][1].partition(" ")[0]
    assert errors(children(call)) == [
        ("ERR unknown command ?", error, "ERR"),
        ("ERR value is not an integer or out of range", error, "ERR"),
        ("NOSCRIPT", "redis.exceptions.NoScriptError", "NOSCRIPT"),
        (own, error, own),
        ("ERR", error, "ERR"),
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("case", "error", "message"),
    [
        ("client_error", "redis.exceptions.DataError", "Invalid input of type: ?"),
        ("undecodable", "UnicodeDecodeError", None),
        ("refused", "redis.exceptions.ConnectionError", None),
        ("timeout", "redis.exceptions.TimeoutError", None),
    ],
)
def test_a_command_that_was_not_answered_is_an_error(
    cases: Traced, kind: str, case: str, error: str, message: str | None
) -> None:
    call = cases.get(f"/{kind}/{case}")
    assert call.json == (f"builtins.{error}" if "." not in error else error)
    found = errors(children(call))
    assert [type_ for _, type_, _ in found] == [error]
    assert found[0][0] == message if message else found[0][0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_that_is_refused_a_password_fails_the_command(
    cases: Traced, kind: str
) -> None:
    call = cases.get(f"/{kind}/wrong_password")
    assert call.json in ("redis.exceptions.AuthenticationError", "redis.exceptions.ResponseError")
    (found,) = errors(children(call))
    assert found[0].endswith("invalid username-password pair or user is disabled.")
    assert found[1] == call.json


@pytest.mark.parametrize("kind", KINDS)
def test_retries_are_a_part_of_the_command(cases: Traced, kind: str) -> None:
    call = cases.get(f"/{kind}/retried")
    retries, version = call.json
    assert retries >= (3 if int(version.partition(".")[0]) >= 6 else 0)
    span = one(children(call), name="GET", status="ERROR")
    assert "Connect call failed" in span.status_message or "111" in span.status_message
    assert (span.attributes["db.namespace"], span.attributes["server.port"]) == ("2", 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_handshake_has_no_spans_and_tells_nothing(cases: Traced, kind: str) -> None:
    call = cases.get(f"/{kind}/right_password")
    assert call.json is True
    assert told(children(call)) == [
        ("ACL SETUSER", "ACL SETUSER ? ? ? ? ?"),
        ("PING", "PING"),
        ("ACL DELUSER", "ACL DELUSER ?"),
    ]
    assert b"hush" not in cases.sent


def test_a_server_that_goes_and_comes_back(run: Runner, receiver: HttpReceiver) -> None:
    with served(Redis) as server:
        env = {"REDIS_PORT": str(server.port), "REDIS_SOCKET": server.socket, **receiver.env}
        app = Traced(run.uvicorn("redis_cases:app", env=env), receiver)
        for kind in KINDS:
            assert app.get(f"/{kind}/still_there").json is True
        server.stop()
        for kind in KINDS:
            call = app.get(f"/{kind}/still_there")
            assert call.json[0] == "redis.exceptions.ConnectionError"
            assert len(errors(children(call))) == len(call.spans) == 1
        server.start()
        for kind in KINDS:
            call = app.get(f"/{kind}/still_there")
            assert call.json is True
            assert one(children(call), name="PING").status == "UNSET"


# Waiting.


@pytest.mark.parametrize("kind", KINDS)
def test_a_blocking_command_lasts_as_long_as_it_blocks(cases: Traced, kind: str) -> None:
    call = cases.get(f"/{kind}/blocking")
    assert call.json is None
    span = one(children(call), name="BLPOP", status="UNSET")
    assert span.end_ns - span.start_ns > 0.9e9


def test_a_cancelled_command_is_no_error(cases: Traced) -> None:
    call = cases.get("/async/cancelled")
    assert call.json is True
    spans = children(call)
    assert [span.name for span in spans] == ["BLPOP", "BLPOP", "PING"]
    assert errors(spans) == []
    assert all("error.type" not in span.attributes for span in spans)


def test_a_command_that_is_never_awaited_has_no_span(cases: Traced) -> None:
    call = cases.get("/async/never_awaited")
    assert call.json is True
    assert [span.name for span in children(call)] == ["PING"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_tells_how_long_it_waits_for_a_connection(cases: Traced, kind: str) -> None:
    call = cases.get(f"/{kind}/pool_wait")
    assert call.json == "done"
    assert [span.name for span in children(call)] == ["BLPOP", "PING"]
    assert call.server.attributes["faa.db.pool.wait_us"] > 500_000
    assert "faa.db.pool.wait_us" not in cases.get(f"/{kind}/blocking").server.attributes


# Servers.


@pytest.mark.parametrize("kind", KINDS)
def test_the_server_is_the_one_of_the_client(
    cases: Traced, redis_server: Redis, kind: str
) -> None:
    call = cases.get(f"/{kind}/servers")
    assert call.json == [True] * 5
    keys = ("db.namespace", "server.address", "server.port")
    assert [tuple(span.attributes.get(key) for key in keys) for span in children(call)] == [
        ("0", "127.0.0.1", redis_server.port),
        ("3", "127.0.0.1", redis_server.port),
        ("1", redis_server.socket, None),
        ("4", "127.0.0.1", redis_server.port),
        ("5", redis_server.socket, None),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_the_server_of_a_sentinel_is_the_one_that_it_named(
    cases: Traced, redis_server: Redis, kind: str
) -> None:
    call = cases.get(f"/{kind}/sentinels")
    assert call.json is True
    span = one(children(call), name="PING")  # Asking the sentinel is a part of it.
    assert span.attributes["server.address"] == "127.0.0.1"
    assert span.attributes["server.port"] == redis_server.port
    assert span.attributes["db.namespace"] == "2"


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_to_a_cluster_is_one_span(cases: Traced, cluster: Cluster, kind: str) -> None:
    call = cases.get(f"/{kind}/clusters")
    assert call.json == [2, call.json[1], "redis.exceptions.ResponseError"]
    spans = children(call)
    used = [span for span in spans if span.name in ("SET", "MULTI", "PIPELINE", "DBSIZE", "LPUSH")]
    assert told(used) == [
        ("SET", "SET ? ?"),
        ("PIPELINE", "SET ? ?; GET ?"),
        ("DBSIZE", "DBSIZE"),
        ("LPUSH", "LPUSH ? ?"),
    ]
    assert {span.attributes["db.namespace"] for span in used} == {"0"}
    slot = cluster.nodes[0].ask("CLUSTER KEYSLOT", "key-hush")
    node = cluster.nodes[slot >= 8192]
    assert used[0].attributes["server.address"] == "127.0.0.1"
    assert used[3].attributes["server.address"] == "127.0.0.1"
    assert used[3].attributes["server.port"] == node.port
    assert used[3].attributes["db.response.status_code"] == "WRONGTYPE"


# Nothing else changes.


@pytest.mark.parametrize("kind", KINDS)
def test_answers_and_errors_are_the_same_without_the_agent(
    same_with_and_without: Callable[..., Any], redis_server: Redis, kind: str
) -> None:
    env = {"REDIS_PORT": str(redis_server.port), "REDIS_SOCKET": redis_server.socket}
    names = ["commands", "scripts", "pipelines", "watched", "failing_pipeline", "wrong_type"]
    names += ["server_errors", "client_error", "undecodable", "refused", "wrong_password"]
    same_with_and_without(
        "redis_cases:app",
        lambda server: [server.get(f"/{kind}/{name}").json() for name in names],
        env=env,
    )

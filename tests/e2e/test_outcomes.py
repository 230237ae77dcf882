# SPDX-License-Identifier: MIT
"""How a request ended: finished, left by its client, cancelled, failed; and what its span tells of
bodies, exceptions and calls within the process."""

import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.otlp import Span
from harness.process import APPS, Runner
from harness.receiver import HttpReceiver
from harness.serving import PARENT, Serve, Served, new_trace, serving
from harness.tree import assert_tree, one, where

OUTCOME = "faa.request.outcome"


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory, build: Path) -> Iterator[Serve]:
    with serving(tmp_path_factory.mktemp("outcomes"), build) as start_once:
        yield start_once


@pytest.fixture(params=["h11", "httptools", "hypercorn"])
def each(request: pytest.FixtureRequest, serve: Serve) -> Served:
    """The application under each server."""
    return serve("outcomes:app", request.param)


@pytest.fixture(params=["app", "middled"])
def either(request: pytest.FixtureRequest, serve: Serve) -> Served:
    """The application as it is, and behind BaseHTTPMiddleware."""
    return serve(f"outcomes:{request.param}")


@pytest.fixture
def served(serve: Serve) -> Served:
    return serve("outcomes:app")


@pytest.fixture
def bare(serve: Serve) -> Served:
    return serve("outcomes:bare")


def is_hypercorn(served: Served) -> bool:
    return "hypercorn" in served.server.command


def exceptions(span: Span) -> list[str]:
    """Returns the types of the recorded exceptions."""
    return [e.attributes["exception.type"] for e in span.events if e.name == "exception"]


def leave(connection: socket.socket, manner: str) -> None:
    """Goes away without reading on."""
    if manner == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def gone(served: Served, request: str, manner: str, until: bytes = b"") -> Span:
    """Sends a request, reads until those bytes have come, goes away; returns the span."""
    trace_id, headers = new_trace()
    connection = served.connect()
    head = f"{request} HTTP/1.1\r\nHost: a\r\ntraceparent: {headers['traceparent']}\r\n"
    connection.sendall(f"{head}\r\n".encode() if request.startswith("GET") else head.encode())
    if not request.startswith("GET"):
        connection.sendall(b"Content-Length: 100\r\n\r\nten bytes.")
    answer = b""
    while until not in answer:
        answer += connection.recv(65536)
    if not until:  # What is reset before it was read has never come.
        name = "polls" if request.startswith("GET") else "reads"
        served.server.wait_log(f"^{name}: {headers['traceparent']}$")
    leave(connection, manner)
    return served.edge(trace_id)


# A client that goes away.


@pytest.mark.parametrize("manner", ["close", "reset"])
def test_client_that_leaves_while_the_response_streams(each: Served, manner: str) -> None:
    span = gone(each, "GET /endless", manner, until=b"more|")
    assert span.attributes[OUTCOME] == "client_disconnected"
    assert (span.status, exceptions(span)) == ("UNSET", [])
    assert "error.type" not in span.attributes
    assert span.attributes["http.response.status_code"] == 200


def test_client_that_leaves_behind_middleware(serve: Serve) -> None:
    span = gone(serve("outcomes:middled"), "GET /endless", "close", until=b"more|")
    assert span.attributes[OUTCOME] == "client_disconnected"
    assert (span.status, exceptions(span)) == ("UNSET", [])


def test_client_that_leaves_before_the_response(each: Served) -> None:
    span = gone(each, "GET /polls", "close")
    assert (span.status, exceptions(span)) == ("UNSET", [])
    assert "error.type" not in span.attributes


@pytest.mark.parametrize("manner", ["close", "reset"])
def test_client_that_leaves_in_its_own_body(each: Served, manner: str) -> None:
    span = gone(each, "POST /reads", manner)
    assert span.attributes[OUTCOME] == "client_disconnected"
    assert (span.status, exceptions(span)) == ("UNSET", [])
    assert "error.type" not in span.attributes
    assert "http.response.status_code" not in span.attributes
    assert span.attributes["http.request.body.size"] == 100


# Cancellation, and applications that do not finish.


def test_cancellation_is_no_error(serve: Serve) -> None:
    served = serve("outcomes:app")
    trace_id, headers = new_trace()
    with served.connect() as connection:
        request = f"GET /cancelled HTTP/1.1\r\nHost: a\r\ntraceparent: {headers['traceparent']}"
        connection.sendall(f"{request}\r\nConnection: close\r\n\r\n".encode())
        connection.recv(65536)
    span = served.edge(trace_id)
    assert span.attributes[OUTCOME] == "cancelled"
    assert (span.status, span.events) == ("UNSET", [])
    assert "error.type" not in span.attributes


@pytest.mark.parametrize("manner", ["h11", "httptools", "hypercorn"])
def test_application_without_an_answer_is_a_server_error(serve: Serve, manner: str) -> None:
    response, span = serve("outcomes:bare", manner).get("/silent")
    assert response.status_code == 500
    assert span.attributes["http.response.status_code"] == 500
    assert (span.status, span.attributes["error.type"]) == ("ERROR", "incomplete_response")
    assert OUTCOME not in span.attributes
    assert span.events == []


@pytest.mark.parametrize("manner", ["h11", "httptools", "hypercorn"])
@pytest.mark.parametrize("path", ["/raises", "/raises-base"])
def test_application_that_raises_before_its_answer(serve: Serve, path: str, manner: str) -> None:
    if path == "/raises-base" and manner == "hypercorn":
        pytest.skip("it ends hypercorn")
    response, span = serve("outcomes:bare", manner).get(path)
    assert response.status_code == 500
    assert span.attributes["http.response.status_code"] == 500
    expected = "ValueError" if path == "/raises" else "BaseException"
    assert (span.status, span.attributes["error.type"]) == ("ERROR", expected)
    assert exceptions(span) == [expected]
    assert OUTCOME not in span.attributes


@pytest.mark.parametrize("path", ["/half", "/raises-halfway"])
def test_answer_that_breaks_off(bare: Served, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: a\r\ntraceparent: {{traceparent}}\r\n\r\n"
    answer, span = bare.raw(request.encode())
    assert answer.endswith(b"half\r\n")
    assert span.attributes["http.response.status_code"] == 200
    expected = "incomplete_response" if path == "/half" else "ValueError"
    assert (span.status, span.attributes["error.type"]) == ("ERROR", expected)
    assert OUTCOME not in span.attributes
    assert "http.response.body.size" not in span.attributes


def test_answer_that_breaks_off_where_nobody_tells_why(served: Served) -> None:
    """A caller within the process is no server that knows whether the client is there."""
    trace_id, headers = new_trace()
    served.server.get("/in-process/half", headers={"inner-parent": headers["traceparent"]})
    span = served.edge(trace_id)
    assert (span.name, span.attributes[OUTCOME]) == ("GET /half", "incomplete")
    assert (span.status, span.attributes["http.response.status_code"]) == ("UNSET", 200)
    assert "http.response.body.size" not in span.attributes


# Bodies.


@pytest.mark.parametrize(
    ("path", "size"),
    [("/no-body", 0), ("/no-body-at-last", 5), ("/bytearray", None), ("/other", 4)],
)
def test_size_of_a_plain_body(bare: Served, path: str, size: int | None) -> None:
    response, span = bare.get(path)
    assert span.attributes.get("http.response.body.size") == size
    assert size in (None, len(response.content))
    assert span.status == "UNSET"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/sized/0"), ("GET", "/sized/70000"), ("GET", "/file"), ("GET", "/events"),
     ("HEAD", "/sized/70000"), ("HEAD", "/file")],
)  # fmt: skip
def test_size_is_what_the_client_got(each: Served, method: str, path: str) -> None:
    response, span = each.ask(method, path)
    assert span.attributes["http.response.body.size"] == len(response.content)
    assert span.attributes["http.response.status_code"] == 200
    assert (span.status, OUTCOME in span.attributes) == ("UNSET", False)


@pytest.mark.parametrize("status", [204, 304])
def test_answer_without_a_body(each: Served, status: int) -> None:
    response, span = each.get(f"/status/{status}")
    assert (response.status_code, response.content) == (status, b"")
    assert span.attributes["http.response.status_code"] == status
    assert span.attributes["http.response.body.size"] == 0
    assert (span.status, span.events) == ("UNSET", [])


@pytest.mark.parametrize("path", ["/reads", "/ignores"])
def test_size_of_the_request(each: Served, path: str) -> None:
    _, span = each.ask("POST", path, content=b"x" * 1234)
    assert span.attributes["http.request.body.size"] == 1234
    _, span = each.ask("POST", path, content=iter([b"of unknown length"]))
    assert "http.request.body.size" not in span.attributes


@pytest.mark.parametrize("size", ["-1", "+5", "0x10", "1e3", "9" * 30, "", " "])
def test_length_that_is_no_number_is_not_told(served: Served, size: str) -> None:
    request = f"GET /sized/1 HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\nConnection: close\r\n"
    trace_id, headers = new_trace()
    with served.connect() as connection:
        connection.sendall(f"{request}traceparent: {headers['traceparent']}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b" 400 " in answer.partition(b"\r\n")[0]  # No application sees it: neither do we.
    _, span = served.get("/sized/1")
    assert "http.request.body.size" not in span.attributes


def test_expectation_is_met(each: Served) -> None:
    trace_id, headers = new_trace()
    with each.connect() as connection:
        connection.sendall(
            f"POST /reads HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n"
            f"Connection: close\r\ntraceparent: {headers['traceparent']}\r\n\r\n".encode()
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"hello")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    span = each.edge(trace_id)
    assert span.attributes["http.response.status_code"] == 200
    assert span.attributes["http.request.body.size"] == 5


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "odd/1"])
def test_upgrade_that_is_refused(served: Served, protocol: str) -> None:
    """What is no WebSocket handshake stays a request."""
    request = "GET /sized/3 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: "
    answer, span = (
        served.raw(f"{request}{protocol}\r\ntraceparent: {{traceparent}}\r\n\r\n".encode())
        if protocol != "websocket"
        else served.raw(
            b"POST /reads HTTP/1.1\r\nHost: a\r\nConnection: close\r\nUpgrade: websocket\r\n"
            b"Content-Length: 0\r\ntraceparent: {traceparent}\r\n\r\n"
        )
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert span.attributes["http.response.status_code"] == 200
    assert "network.protocol.name" not in span.attributes


def test_first_byte_of_a_stream_is_an_event(each: Served) -> None:
    trace_id, headers = new_trace()
    name = trace_id
    with each.server.client.stream("GET", f"/stream/{name}", headers=headers) as response:
        chunks = response.iter_raw()
        assert next(chunks) == b"first|"
        assert where(each.receiver.spans, trace_id=trace_id) == []
        _, gate = each.get(f"/gate/{name}")
        assert b"".join(chunks) == b"last"
    span = each.edge(trace_id)
    (event,) = span.events
    assert (event.name, event.attributes) == ("first byte", {})
    # It came before the gate was opened, the end after it.
    assert span.start_ns <= event.time_ns < gate.start_ns < span.end_ns
    assert span.attributes["http.response.body.size"] == len(b"first|last")


def test_events_stream_is_one_span(each: Served) -> None:
    response, span = each.get("/events")
    assert response.text.count("data: ") == 3
    assert [event.name for event in span.events] == ["first byte"]
    assert span.end_ns - span.events[0].time_ns > 0


@pytest.mark.parametrize("path", ["/sized/5", "/status/204"])
def test_whole_body_has_no_first_byte(served: Served, path: str) -> None:
    _, span = served.get(path)
    assert span.events == []


def test_stream_that_fails(each: Served) -> None:
    trace_id, headers = new_trace()
    with each.connect() as connection:
        request = f"GET /stream-fails HTTP/1.1\r\nHost: a\r\ntraceparent: {headers['traceparent']}"
        connection.sendall(f"{request}\r\nConnection: close\r\n\r\n".encode())
        while connection.recv(65536):
            pass
    span = each.edge(trace_id)
    assert (span.status, span.attributes["error.type"]) == ("ERROR", "ValueError")
    assert [event.name for event in span.events] == ["first byte", "exception"]
    assert span.attributes["http.response.status_code"] == 200


def test_trailers_end_the_request(bare: Served) -> None:
    """uvicorn refuses them, which is the application's failure."""
    request = b"GET /trailers HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    answer, span = bare.raw(request + b"traceparent: {traceparent}\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert span.end_ns - span.start_ns > 50_000_000
    assert span.attributes["http.response.status_code"] == 200


# Exceptions.


@pytest.mark.parametrize("path", ["/raises", "/raises-sync"])
@pytest.mark.parametrize(
    ("kind", "status", "types"),
    [
        ("handled-async", 409, ["outcomes.HandledAsync"]),
        ("handled-sync", 410, ["outcomes.HandledSync"]),
        ("handled-as-error", 503, ["outcomes.HandledAsError"]),
        ("teapot", 418, ["fastapi.exceptions.HTTPException"]),
        ("not-found", 404, ["fastapi.exceptions.HTTPException"]),
    ],
)
def test_exception_with_a_handler(
    served: Served, path: str, kind: str, status: int, types: list[str]
) -> None:
    response, span = served.get(f"{path}/{kind}")
    assert response.status_code == span.attributes["http.response.status_code"] == status
    assert exceptions(span) == types
    assert span.status == ("ERROR" if status >= 500 else "UNSET")
    assert span.attributes.get("error.type") == (types[0] if status >= 500 else None)
    assert OUTCOME not in span.attributes


def test_handler_that_raises(either: Served) -> None:
    if "outcomes:middled" in either.server.command:
        pytest.skip("its handlers are the other application's")
    response, span = either.get("/raises/handled-badly")
    assert response.status_code == span.attributes["http.response.status_code"] == 500
    assert exceptions(span) == ["outcomes.HandledBadly", "LookupError"]
    assert (span.status, span.attributes["error.type"]) == ("ERROR", "LookupError")


def test_exception_that_its_handler_raises_again_is_told_once(served: Served) -> None:
    response, span = served.get("/raises/raised-again")
    assert response.status_code == 500
    assert exceptions(span) == ["outcomes.RaisedAgain"]
    assert (span.status, span.attributes["error.type"]) == ("ERROR", "outcomes.RaisedAgain")
    assert span.status_message == "four"


def test_last_resort_answers_and_the_exception_is_told(serve: Serve) -> None:
    response, span = serve("outcomes:middled").get("/raises/handled-async")
    assert (response.status_code, response.json()) == (500, "sorry")
    assert exceptions(span) == ["outcomes.HandledAsync"]
    assert (span.status, span.attributes["error.type"]) == ("ERROR", "outcomes.HandledAsync")


def test_members_of_a_group_are_told(either: Served) -> None:
    response, span = either.get("/raises/group")
    assert response.status_code == 500
    types = [name.rpartition(".")[2] for name in exceptions(span)]
    assert types == [
        "ExceptionGroup", "ValueError", "TypeError", "ExceptionGroup", "KeyError"
    ]  # fmt: skip
    assert span.attributes["error.type"].endswith("ExceptionGroup")
    messages = [event.attributes["exception.message"] for event in span.events]
    assert messages[1:3] == ["first", "second"]


def test_chained_exception_tells_its_effect(either: Served) -> None:
    _, span = either.get("/raises/chained")
    assert exceptions(span)[0] == "RuntimeError"
    assert (span.attributes["error.type"], span.status_message) == ("RuntimeError", "effect")
    assert "in explode\n" in span.events[0].attributes["exception.stacktrace"]


BAD_CARDS = [
    '{"number": "hush-1", "limit": {"hush": "hush-2"}, "pin": ["hush-3"]}',
    '{"number": "hush-1\\n, input_type=hush-2", "limit": "hush\\n  {\'type\': hush"}',
    '{"hush-4": "hush-5"}',
    '"hush-6"',
    "hush-7",
    '{"number": "' + "hush" * 3000 + '"}',
]


@pytest.mark.parametrize("body", BAD_CARDS, ids=range(len(BAD_CARDS)))
def test_failed_validation_tells_no_input(served: Served, body: str) -> None:
    response, span = served.ask(
        "POST", "/cards", content=body, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 422
    assert exceptions(span) == ["fastapi.exceptions.RequestValidationError"]
    assert span.status == "UNSET"
    for event in span.events:
        assert re.match(r"\d+ validation errors?|$", event.attributes.get("exception.message", ""))
    assert b"hush" not in served.sent


def test_failed_validation_of_a_response_tells_no_output(served: Served) -> None:
    response, span = served.get("/cards/4711", headers={"x-hush": "hush"})
    assert response.status_code == 500
    assert exceptions(span) == ["fastapi.exceptions.ResponseValidationError"]
    assert (span.status, span.attributes["error.type"]) == (
        "ERROR", "fastapi.exceptions.ResponseValidationError"
    )  # fmt: skip
    assert b"hush" not in served.sent


# Calls within the process.


@pytest.mark.parametrize(
    "path", ["/in-process/transport", "/in-process/testclient", "/in-process-sync"]
)
def test_call_within_a_request_is_a_request_of_its_own(served: Served, path: str) -> None:
    trace_id, headers = new_trace()
    inner_id, inner_headers = new_trace()
    own = {**headers, "inner-parent": inner_headers["traceparent"]}
    assert served.server.get(path, headers=own).status_code == 200
    spans = served.trace(trace_id, 3)
    route = "/in-process-sync" if path.endswith("sync") else "/in-process/{how}"
    within = [("GET", "CLIENT"), ("SELECT", "CLIENT")]
    assert_tree(spans, (f"GET {route}", "SERVER", within))
    inner = served.trace(inner_id, 2)
    assert_tree(inner, ("GET /inner/{item}", "SERVER", [("SELECT", "CLIENT")]))
    assert one(inner, kind="SERVER").parent_id == PARENT


def test_call_without_a_trace_of_its_own_is_the_requests(served: Served) -> None:
    trace_id, headers = new_trace()
    assert served.server.get("/in-process/transport", headers=headers).status_code == 200
    spans = served.trace(trace_id, 5, servers=2)
    inner = ("GET /inner/{item}", "SERVER", [("SELECT", "CLIENT")])
    within = [("GET", "CLIENT", [inner]), ("SELECT", "CLIENT")]
    assert_tree(spans, ("GET /in-process/{how}", "SERVER", within))


def test_call_that_fails_within_a_request_is_not_its_failure(served: Served) -> None:
    trace_id, headers = new_trace()
    inner_id, inner_headers = new_trace()
    own = {**headers, "inner-parent": inner_headers["traceparent"]}
    assert served.server.get("/in-process/transport-fails", headers=own).status_code == 200
    outer = one(served.trace(trace_id, 3), kind="SERVER")
    assert (outer.status, outer.events) == ("UNSET", [])
    inner = one(served.trace(inner_id))
    assert (inner.name, inner.status) == ("GET /fails", "ERROR")
    assert exceptions(inner) == ["ValueError"]


def test_calls_of_a_script(run: Runner, receiver: HttpReceiver, python: str) -> None:
    trace_id, headers = new_trace()
    script = [python, APPS / "outcomes.py", headers["traceparent"]]
    assert run.run(script, env=receiver.env).status == 0
    first = where(receiver.spans, trace_id=trace_id)
    assert_tree(first, ("GET /inner/{item}", "SERVER", [("SELECT", "CLIENT")]))
    others = [span for span in receiver.spans if span.trace_id != trace_id]
    request = ("GET /inner/{item}", "SERVER", [("SELECT", "CLIENT")])
    calls = ("GET", "CLIENT"), ("GET", "CLIENT", [request])  # The first tells a trace of its own.
    assert_tree(others, *calls, ("SELECT", "CLIENT"))  # After the calls nothing is current.


# The event loop.


def test_loop_is_busy_while_the_endpoint_computes(either: Served) -> None:
    _, span = either.get("/loop/busy")
    busy, longest = (span.attributes[f"faa.event_loop.{k}_us"] for k in ("busy", "longest"))
    duration = (span.end_ns - span.start_ns) // 1000
    assert duration > 240_000
    assert 50_000 <= longest <= busy
    # It slept for at least 200 ms, whatever else happened.
    assert busy <= duration - 190_000


def test_loop_is_free_while_the_endpoint_sleeps(either: Served) -> None:
    _, span = either.get("/loop/idle")
    duration = (span.end_ns - span.start_ns) // 1000
    assert duration > 240_000
    assert span.attributes["faa.event_loop.busy_us"] <= duration - 240_000


def test_longest_step_is_one_of_several(either: Served) -> None:
    _, span = either.get("/loop/parts")
    busy, longest = (span.attributes[f"faa.event_loop.{k}_us"] for k in ("busy", "longest"))
    assert busy >= 50_000
    assert 10_000 <= longest <= busy - 40_000


def test_loop_is_free_while_a_thread_computes(either: Served) -> None:
    _, span = either.get("/loop/threaded")
    duration = (span.end_ns - span.start_ns) // 1000
    assert duration >= 50_000
    assert span.attributes["faa.event_loop.longest_us"] < duration


def test_steps_after_the_end_are_not_counted(serve: Serve) -> None:
    _, span = serve("outcomes:error_by_a_task").get("/")
    duration = (span.end_ns - span.start_ns) // 1000 + 1
    assert span.attributes["faa.event_loop.longest_us"] <= duration
    assert span.attributes["faa.event_loop.busy_us"] <= duration

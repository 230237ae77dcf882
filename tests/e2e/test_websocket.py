# SPDX-License-Identifier: MIT
"""One SERVER span for a WebSocket connection, from the handshake to the close."""

import signal
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from harness.otlp import Span
from harness.process import Runner
from harness.receiver import HttpReceiver
from harness.serving import PARENT, SERVERS, Serve, Served, new_trace, serving, start
from harness.tree import one, where

UVICORN = ["websockets", "sansio", "wsproto"]
ALL = [*UVICORN, "hypercorn"]
COUNTS = [
    f"faa.websocket.{what}_{way}" for what in ("messages", "bytes") for way in ("received", "sent")
]


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory, build: Path) -> Iterator[Serve]:
    with serving(tmp_path_factory.mktemp("websocket"), build) as start_once:
        yield start_once


@pytest.fixture(params=ALL)
def served(request: pytest.FixtureRequest, serve: Serve) -> Served:
    """The application under each server."""
    return serve("sockets:app", request.param)


@pytest.fixture
def sansio(serve: Serve) -> Served:
    return serve("sockets:app", "sansio")


def counts(span: Span) -> list[int]:
    """Returns messages received and sent, then bytes received and sent."""
    return [span.attributes[key] for key in COUNTS]


def told(served: Served, code: int) -> int:
    """What an application learns of the client's close code: under hypercorn nothing."""
    return 1005 if "hypercorn" in served.server.command else code


def refusal(served: Served, path: str) -> tuple[int, Span]:
    """Returns the status with which a handshake is refused, and its span."""
    trace_id, headers = new_trace()
    with pytest.raises(InvalidStatus) as refused:
        served.websocket(path, headers)
    return refused.value.response.status_code, served.edge(trace_id)


def reset(sock: socket.socket) -> None:
    """Ends a connection without a word."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.shutdown(socket.SHUT_RDWR)


def test_connection_is_one_span(served: Served) -> None:
    trace_id, headers = new_trace()
    with served.websocket("/echo/a?room=1", headers) as client:
        port = client.local_address[1]
        client.send("hello")
        assert client.recv() == "hello"
    span = served.edge(trace_id)
    assert (span.name, span.kind, span.status) == ("GET /echo/{room}", "SERVER", "UNSET")
    assert (span.scope_name, span.events, span.links) == ("fastapi", [], [])
    longest, busy = (span.attributes.pop(f"faa.event_loop.{k}_us") for k in ("longest", "busy"))
    assert 0 < longest <= busy <= (span.end_ns - span.start_ns) // 1000 + 1
    agent = span.attributes.pop("user_agent.original")
    assert agent.startswith("Python/")
    assert span.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 101,
        "http.route": "/echo/{room}",
        "url.scheme": "ws",
        "url.path": "/echo/a",
        "url.query": "room=1",
        "server.address": "127.0.0.1",
        "server.port": served.server.port,
        "client.address": "127.0.0.1",
        "network.peer.address": "127.0.0.1",
        "network.peer.port": port,
        "network.protocol.name": "websocket",
        "network.protocol.version": "1.1",
        "faa.websocket.close_code": told(served, 1000),
        "faa.websocket.messages_received": 1,
        "faa.websocket.messages_sent": 1,
        "faa.websocket.bytes_received": 5,
        "faa.websocket.bytes_sent": 5,
    }


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/api/rooms/a/chat", "/api/rooms/{room}/chat"),
        ("/sub/me/plain/a", "/sub/{tenant}/plain/{x}"),
        ("/sub/me/deep/a", "/sub/{tenant}/deep/{y}"),
    ],
)
def test_name_is_the_route(sansio: Served, path: str, route: str) -> None:
    trace_id, headers = new_trace()
    with sansio.websocket(path, headers):
        pass
    span = sansio.edge(trace_id)
    assert (span.name, span.attributes["http.route"]) == (f"GET {route}", route)


def test_messages_are_counted_each_way(served: Served) -> None:
    trace_id, headers = new_trace()
    text, binary = "grüße ☃ 🎈", bytes(range(256))
    with served.websocket("/echo/a", headers) as client:
        for message in (text, binary, "", b"", text):
            client.send(message)
            assert client.recv() == message
    size = 2 * len(text.encode()) + len(binary)
    assert counts(served.edge(trace_id)) == [5, 5, size, size]


def test_fragments_are_one_message(served: Served) -> None:
    trace_id, headers = new_trace()
    with served.websocket("/echo/a", headers) as client:
        client.send(["ab", "cd", "e"])
        assert client.recv() == "abcde"
    assert counts(served.edge(trace_id)) == [1, 1, 5, 5]


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
def test_close_code_of_the_client(served: Served, code: int) -> None:
    trace_id, headers = new_trace()
    with served.websocket("/echo/a", headers) as client:
        client.close(code, "bye")
    span = served.edge(trace_id)
    assert span.attributes["faa.websocket.close_code"] == told(served, code)
    assert (span.status, span.attributes.get("faa.request.outcome")) == ("UNSET", None)


@pytest.mark.parametrize("code", [1000, 1003, 4000])
def test_close_code_of_the_server(served: Served, code: int) -> None:
    trace_id, headers = new_trace()
    with served.websocket(f"/closes/{code}", headers) as client:
        assert client.recv() == "bye"
        with pytest.raises(ConnectionClosed):
            client.recv()
    span = served.edge(trace_id)
    assert span.attributes["faa.websocket.close_code"] == code
    assert counts(span) == [0, 1, 0, 3]
    assert (span.status, span.attributes.get("faa.request.outcome")) == ("UNSET", None)
    # What comes after the close is not counted as the connection's.
    length = (span.end_ns - span.start_ns) // 1000 + 1
    assert 0 < span.attributes["faa.event_loop.longest_us"] <= length
    assert span.attributes["faa.event_loop.busy_us"] <= length


def test_server_error_code_is_an_error(served: Served) -> None:
    trace_id, headers = new_trace()
    with served.websocket("/closes/1011", headers) as client:
        client.recv()
    span = served.edge(trace_id)
    assert (span.status, span.attributes["error.type"]) == ("ERROR", "1011")
    assert span.attributes["http.response.status_code"] == 101


@pytest.mark.parametrize("path", ["/echo/a", "/waits", "/talks"])
def test_client_that_vanishes(served: Served, path: str) -> None:
    if path == "/talks" and "hypercorn" in served.server.command:
        pytest.skip("hypercorn lets its application talk to nobody for ever")
    trace_id, headers = new_trace()
    with served.websocket(path, headers) as client:
        if path != "/echo/a":
            client.recv()
        reset(client.socket)
    span = served.edge(trace_id)
    # Two of uvicorn's implementations say 1005 to the application.
    assert span.attributes.get("faa.websocket.close_code") in (1005, 1006, None)
    if span.attributes.get("faa.websocket.close_code") != 1005:
        assert span.attributes["faa.request.outcome"] == "client_disconnected"
    assert (span.status, span.events) == ("UNSET", [])
    assert "error.type" not in span.attributes
    assert span.attributes["http.response.status_code"] == 101


def test_disconnect_that_leaves_the_endpoint_is_no_error(served: Served) -> None:
    trace_id, headers = new_trace()
    with served.websocket("/waits", headers) as client:
        assert client.recv() == "ready"
    span = served.edge(trace_id)
    assert (span.status, span.events) == ("UNSET", [])
    assert span.attributes["faa.websocket.close_code"] == told(served, 1000)
    assert "faa.request.outcome" not in span.attributes


@pytest.mark.parametrize(
    ("path", "status", "route"),
    [
        ("/refused/close", 403, "/refused/{how}"),
        ("/refused/exception", 403, "/refused/{how}"),
        ("/refused/401", 401, "/refused/{how}"),
        ("/refused/503", 503, "/refused/{how}"),
        ("/guarded", 403, "/guarded"),
        ("/typed/seven", 403, "/typed/{number}"),
        ("/raw/refuses", 403, None),
        ("/nowhere", None, None),
        ("/sub/me/nowhere", None, None),
    ],
)
def test_handshake_that_is_refused(
    served: Served, path: str, status: int | None, route: str | None
) -> None:
    code, span = refusal(served, path)
    assert status in (code, None)
    assert span.attributes["http.response.status_code"] == code
    assert span.name == (f"GET {route}" if route else "GET")
    assert span.attributes.get("http.route") == route
    assert span.status == ("ERROR" if code >= 500 else "UNSET")
    assert not [key for key in span.attributes if key.startswith("faa.websocket.messages")]
    assert "faa.request.outcome" not in span.attributes


def test_handshake_refused_by_an_exception_tells_it(served: Served) -> None:
    _, span = refusal(served, "/refused/exception")
    (event,) = span.events
    assert event.attributes["exception.type"] == "starlette.exceptions.WebSocketException"


def test_handshake_refused_by_an_http_exception(sansio: Served) -> None:
    status, span = refusal(sansio, "/refused/http")
    assert span.attributes["http.response.status_code"] == status


@pytest.mark.parametrize("path", ["/fails/before", "/returns"])
def test_endpoint_that_leaves_before_the_handshake_is_a_server_error(
    served: Served, path: str
) -> None:
    status, span = refusal(served, path)
    assert status == 500
    assert (span.status, span.attributes["http.response.status_code"]) == ("ERROR", 500)
    if path == "/returns":
        assert (span.attributes["error.type"], span.events) == ("incomplete_response", [])
    else:
        assert span.attributes["error.type"] == "ValueError"
        assert [event.name for event in span.events] == ["exception"]


def test_endpoint_that_raises(served: Served) -> None:
    trace_id, headers = new_trace()
    with served.websocket("/fails/after", headers) as client:
        assert client.recv() == "ready"
        with pytest.raises(ConnectionClosed):
            client.recv()
    span = served.edge(trace_id)
    assert (span.status, span.status_message) == ("ERROR", "in the connection")
    assert span.attributes["error.type"] == "ValueError"
    assert span.attributes["http.response.status_code"] == 101
    (event,) = span.events
    assert "in fails\n" in event.attributes["exception.stacktrace"]


def test_endpoint_that_ends_by_a_websocket_exception(served: Served) -> None:
    trace_id, headers = new_trace()
    with served.websocket("/fails/policy", headers) as client:
        client.recv()
        with pytest.raises(ConnectionClosed):
            client.recv()
    span = served.edge(trace_id)
    assert (span.status, span.attributes["faa.websocket.close_code"]) == ("UNSET", 1008)
    assert [event.attributes["exception.type"] for event in span.events] == [
        "starlette.exceptions.WebSocketException"
    ]


def test_calls_hang_on_the_connection(served: Served) -> None:
    trace_id, headers = new_trace()
    with served.websocket("/works/3", headers) as client, pytest.raises(ConnectionClosed):
        client.recv()
    spans = served.trace(trace_id, 7)
    edge = one(spans, kind="SERVER")
    children = where(spans, kind="CLIENT")
    assert {span.parent_id for span in children} == {edge.span_id}
    assert sorted(span.name for span in children) == ["GET"] * 3 + ["SELECT"] * 3


def test_many_connections_at_once(served: Served) -> None:
    """Each keeps its own trace and its own counts."""

    def converse(number: int) -> str:
        trace_id, headers = new_trace()
        with served.websocket(f"/echo/{number}", headers) as client:
            for _ in range(number):
                client.send("x" * number)
                client.recv()
        return trace_id

    with ThreadPoolExecutor(16) as pool:
        traces = list(pool.map(converse, range(40)))
    for number, trace_id in enumerate(traces):
        span = served.edge(trace_id)
        assert span.attributes["url.path"] == f"/echo/{number}"
        assert counts(span) == [number, number, number**2, number**2]


def test_connection_without_a_caller_is_a_root(sansio: Served) -> None:
    with sansio.websocket("/echo/a?lonely", {}):
        pass
    lonely = {"url.query": "lonely"}
    spans = sansio.receiver.wait(lambda spans: where(spans, attributes=lonely))
    assert one(spans, attributes=lonely).parent_id == ""


@pytest.mark.parametrize("manner", ALL)
def test_server_that_stops_with_open_connections(
    run: Runner, receiver: HttpReceiver, manner: str
) -> None:
    args = ("--graceful-timeout", "1") if SERVERS[manner][0] == "hypercorn" else ()
    server = start(run, "sockets:app", manner, *args, env=receiver.env)
    served = Served(server, receiver)
    trace_id, headers = new_trace()
    with served.websocket("/echo/a", headers) as client:
        client.send("hello")
        assert client.recv() == "hello"
        assert server.stop() in (0, -signal.SIGTERM)
    span = one(receiver.spans, trace_id=trace_id)
    assert (span.parent_id, span.attributes["http.response.status_code"]) == (PARENT, 101)
    assert (span.status, span.events) == ("UNSET", [])
    assert counts(span) == [1, 1, 5, 5]

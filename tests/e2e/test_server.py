# SPDX-License-Identifier: MIT
"""The SERVER span: name, attributes, status, exceptions, and when it ends."""

import os
import signal
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness import libraries
from harness.deadline import scaled
from harness.otlp import Span
from harness.process import Runner, Server
from harness.receiver import HttpReceiver
from harness.tree import assert_tree, one, where

LOOPS = {"asyncio": ("asyncio", "h11"), "uvloop": ("uvloop", "httptools")}
PARENT = "00f067aa0ba902b7"


class Served:
    """An application under uvicorn with the agent. Every request is found by its own trace id."""

    def __init__(self, server: Server, receiver: HttpReceiver) -> None:
        self.server, self.receiver = server, receiver

    def spans(self, trace_id: str, count: int = 1) -> list[Span]:
        """Returns a trace once it has its SERVER span and `count` spans in all."""

        def complete(spans: list[Span]) -> bool:
            mine = where(spans, trace_id=trace_id)
            return len(mine) >= count and bool(where(mine, kind="SERVER"))

        return where(self.receiver.wait(complete), trace_id=trace_id)

    def ask(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> tuple[httpx.Response, Span]:
        """Sends a request and returns the response and its SERVER span."""
        trace_id, own = new_trace()
        response = self.server.client.request(
            method, path, headers={**own, **(headers or {})}, **options
        )
        return response, one(self.spans(trace_id), kind="SERVER")

    def get(self, path: str, **options: Any) -> tuple[httpx.Response, Span]:
        return self.ask("GET", path, **options)

    def raw(self, request: bytes, trace_id: str) -> tuple[bytes, Span]:
        """Sends bytes; {traceparent} in them is the header's value."""
        with self.connect() as connection:
            value = f"00-{trace_id}-{PARENT}-01".encode()
            connection.sendall(request.replace(b"{traceparent}", value))
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        return answer, one(self.spans(trace_id), kind="SERVER")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=scaled(20))


def new_trace() -> tuple[str, dict[str, str]]:
    trace_id = os.urandom(16).hex()
    return trace_id, {"traceparent": f"00-{trace_id}-{PARENT}-01"}


Serve = Callable[..., Served]


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory, build: Path) -> Iterator[Serve]:
    """serve("basic_fastapi:app", *args): one server for the whole module.

    With at_framework=True only the framework's edge is hooked, as under a server that is not known.
    """
    python = libraries.python()
    runner = Runner(tmp_path_factory.mktemp("server"), build, python)
    receiver = HttpReceiver()
    served: dict[tuple[Any, ...], Served] = {}

    def start(app: str, *args: str, at_framework: bool = False) -> Served:
        key = (app, at_framework, *args)
        if key not in served:
            env = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "uvicorn"} if at_framework else {}
            server = runner.uvicorn(app, *args, env={**receiver.env, **env})
            served[key] = Served(server, receiver)
        return served[key]

    yield start
    try:
        for one_served in served.values():
            assert one_served.server.stop() == -signal.SIGTERM
            assert one_served.server.agent_lines == []
        receiver.check()
        traces = [span.trace_id for span in receiver.spans if span.kind == "SERVER"]
        assert len(traces) == len(set(traces)), "a request has two SERVER spans"
    finally:
        runner.kill_all()
        receiver.stop()


@pytest.fixture
def basic(serve: Serve) -> Served:
    return serve("basic_fastapi:app", "--loop", "asyncio", "--http", "h11")


@pytest.fixture
def cases(serve: Serve) -> Served:
    return serve("server_cases:app", "--loop", "asyncio", "--http", "h11")


@pytest.fixture(params=list(LOOPS))
def each_loop(request: pytest.FixtureRequest, serve: Serve) -> Served:
    """The cases on asyncio with h11, then on uvloop with httptools."""
    loop, http = LOOPS[request.param]
    return serve("server_cases:app", "--loop", loop, "--http", http)


def test_one_server_span_for_each_request(run: Runner, receiver: HttpReceiver) -> None:
    server = run.uvicorn("basic_fastapi:app", env=receiver.env)
    paths = ["/async", "/sync", "/items/1", "/nowhere", "/sub/things/x", "/stream", "/background"]
    for path in paths:
        server.get(path)
    assert server.stop() == -signal.SIGTERM
    names = ["/async", "/sync", "/items/{item_id}", "", "/sub/things/{thing}", *paths[5:]]
    served = where(receiver.spans, kind="SERVER")  # The background task has its own span.
    assert_tree(served, *((f"GET {name}".rstrip(), "SERVER") for name in names))
    assert len({span.trace_id for span in receiver.spans}) == len(paths)
    assert {span.parent_id for span in served} == {""}


# Names and routes.

NAMES = [
    ("basic_fastapi:app", "GET", "/async", "/async", 200),
    ("basic_fastapi:app", "GET", "/sync", "/sync", 200),
    ("basic_fastapi:app", "GET", "/items/17", "/items/{item_id}", 200),
    ("basic_fastapi:app", "GET", "/items/17?verbose=1", "/items/{item_id}", 200),
    ("basic_fastapi:app", "GET", "/items/1/reviews/2", "/items/{item_id}/reviews/{review_id}", 200),
    ("basic_fastapi:app", "GET", "/api/v1/items/17", "/api/v1/items/{item_id}", 200),
    (
        "basic_fastapi:app",
        "GET",
        "/api/v1/items/1/reviews/2",
        "/api/v1/items/{item_id}/reviews/{review_id}",
        200,
    ),
    ("basic_fastapi:app", "GET", "/files/a/b/c", "/files/{path:path}", 200),
    ("basic_fastapi:app", "GET", "/sub/things/x", "/sub/things/{thing}", 200),
    ("basic_fastapi:app", "GET", "/mount/x", "/mount/{name}", 200),
    ("basic_fastapi:app", "GET", "/docs", "/docs", 200),
    ("basic_fastapi:app", "GET", "/openapi.json", "/openapi.json", 200),
    ("basic_fastapi:app", "GET", "/missing", "/missing", 404),
    ("basic_fastapi:app", "GET", "/nowhere", None, 404),
    ("basic_fastapi:app", "GET", "/sub/nowhere", None, 404),
    ("basic_fastapi:app", "GET", "/mount/no/where", None, 404),
    ("basic_fastapi:app", "POST", "/async", "/async", 405),
    ("basic_fastapi:app", "DELETE", "/items/17", "/items/{item_id}", 405),
    ("basic_fastapi:app", "DELETE", "/api/v1/items/17", "/api/v1/items/{item_id}", 405),
    ("basic_fastapi:app", "GET", "/items/seventeen", "/items/{item_id}", 422),
    ("basic_fastapi:app", "GET", "/api/v1/items/seventeen", "/api/v1/items/{item_id}", 422),
    ("basic_fastapi:app", "POST", "/items", "/items", 422),
    ("basic_fastapi:app", "GET", "/async/", None, 307),
    ("basic_fastapi:app", "GET", "/raises", "/raises", 500),
    ("basic_fastapi:app", "GET", "/raises-sync", "/raises-sync", 500),
    ("basic_fastapi:app", "GET", "/unavailable", "/unavailable", 503),
    ("plain_starlette:app", "GET", "/", "/", 200),
    ("plain_starlette:app", "GET", "/items/3", "/items/{item_id:int}", 200),
    ("plain_starlette:app", "GET", "/items/x", None, 404),
    ("plain_starlette:app", "GET", "/threaded", "/threaded", 200),
    ("plain_starlette:app", "HEAD", "/threaded", "/threaded", 200),
    ("plain_starlette:app", "PUT", "/echo", "/echo", 200),
    ("plain_starlette:app", "GET", "/echo", "/echo", 405),
    ("plain_starlette:app", "GET", "/raises", "/raises", 500),
    ("plain_starlette:app", "GET", "/shop/a/items/b", "/shop/{shop}/items/{item_id}", 200),
    ("plain_starlette:app", "GET", "/shop/a/inner/home", "/shop/{shop}/inner/home", 200),
    ("plain_starlette:app", "GET", "/shop/a/nowhere", None, 404),
    ("plain_starlette:app", "GET", "/sub/", "/sub/", 200),
    ("plain_starlette:app", "GET", "/sub/items/b", "/sub/items/{item_id}", 200),
    ("server_cases:app", "GET", "/api/shops/of/a/", "/api/shops/of/{shop}/", 200),
    ("server_cases:app", "GET", "/api/shops/of/a", None, 307),
    (
        "server_cases:app",
        "POST",
        "/api/shops/of/a/orders/1",
        "/api/shops/of/{shop}/orders/{order_id}",
        200,
    ),
    (
        "server_cases:app",
        "POST",
        "/sub/me/api/shops/of/a/orders/1",
        "/sub/{tenant}/api/shops/of/{shop}/orders/{order_id}",
        200,
    ),
    ("server_cases:app", "GET", "/sub/me/statement", "/sub/{tenant}/statement", 200),
    ("server_cases:app", "GET", "/sub/me/nowhere", None, 404),
    ("server_cases:app", "GET", "/plain/x", "/plain/{name}", 200),
    ("server_cases:app", "GET", "/thing/x", "/thing/{thing}", 200),
    ("server_cases:app", "POST", "/thing/x", "/thing/{thing}", 405),
    ("server_cases:app", "GET", "/router/deep/x", "/router/deep/{name}", 200),
    ("server_cases:app", "GET", "/raw/any/thing", "/raw", 200),
    ("server_cases:app", "HEAD", "/coffee", "/coffee", 200),
    ("server_cases:app", "GET", "/file", "/file", 200),
    ("server_cases:app", "GET", "/status/204", "/status/{status}", 204),
    ("server_cases:app", "GET", "/status/304", "/status/{status}", 304),
    ("server_cases:app", "GET", "/status/418", "/status/{status}", 418),
    ("server_cases:app", "GET", "/status/500", "/status/{status}", 500),
    ("server_cases:app", "GET", "/status/599", "/status/{status}", 599),
    ("server_cases:middled", "GET", "/statement", "/statement", 200),
    ("server_cases:middled", "GET", "/nowhere", None, 404),
    ("server_cases:middled", "DELETE", "/statement", "/statement", 405),
    ("server_cases:middled", "GET", "/fails/qualified", "/fails/{kind}", 501),
    ("server_cases:middled", "GET", "/api/shops/of/a/", "/api/shops/of/{shop}/", 200),
]


@pytest.mark.parametrize(
    ("app", "method", "path", "route", "status"),
    NAMES,
    ids=[f"{app.partition('_')[0]}-{method}-{path}" for app, method, path, *_ in NAMES],
)
def test_name_route_and_status(
    serve: Serve, app: str, method: str, path: str, route: str | None, status: int
) -> None:
    response, span = serve(app, "--loop", "asyncio", "--http", "h11").ask(method, path)
    assert response.status_code == status
    assert span.name == (f"{method} {route}" if route else method)
    assert span.kind == "SERVER"
    assert span.attributes.get("http.route") == route
    assert span.attributes["http.response.status_code"] == status
    assert span.attributes["http.request.method"] == method
    assert "http.request.method_original" not in span.attributes
    assert span.status == ("ERROR" if status >= 500 else "UNSET")
    assert ("error.type" in span.attributes) == (status >= 500)


def test_host_route_needs_no_path_of_its_own(cases: Served) -> None:
    response, span = cases.get("/hosted/x", headers={"Host": "shop.example"})
    assert (response.status_code, span.name) == (200, "GET /hosted/{name}")
    assert span.attributes["server.address"] == "shop.example"


def test_route_includes_the_applications_root(serve: Serve) -> None:
    served = serve("basic_fastapi:app", "--root-path", "/api", "--loop", "asyncio")
    _, span = served.get("/items/3")
    assert span.name == "GET /api/items/{item_id}"
    _, span = served.get("/sub/things/3")
    assert span.name == "GET /api/sub/things/{thing}"
    _, span = served.get("/nowhere")
    assert (span.name, span.attributes.get("http.route")) == ("GET", None)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("BREW", "/coffee", 200),
        ("BREW", "/file", 405),
        ("get", "/file", 405),
        ("X" * 900, "/", 404),
    ],
    ids=["handled", "refused", "lower case", "long"],
)
def test_unknown_method(cases: Served, method: str, path: str, status: int) -> None:
    trace_id, _ = new_trace()
    request = f"{method} {path} HTTP/1.1\r\nHost: a\r\nTraceparent: {{traceparent}}\r\n"
    answer, span = cases.raw(f"{request}Connection: close\r\n\r\n".encode(), trace_id)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert span.name == ("HTTP" if status == 404 else f"HTTP {path}")
    assert span.attributes["http.request.method"] == "_OTHER"
    original = span.attributes["http.request.method_original"]
    assert original and method.startswith(original)
    assert len(method) > 100 or original == method


# Attributes.


def test_all_attributes_and_their_types(basic: Served) -> None:
    trace_id, headers = new_trace()
    with socket.create_connection(("127.0.0.1", basic.server.port)) as connection:
        port = connection.getsockname()[1]
        connection.sendall(
            f"GET /items/3?verbose=true HTTP/1.1\r\nHost: shop.example:8443\r\n"
            f"User-Agent: test/1 (ü)\r\nTraceparent: {headers['traceparent']}\r\n"
            f"Cookie: hush\r\nAuthorization: hush\r\nConnection: close\r\n\r\n".encode()
        )
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200 ")
    span = one(basic.spans(trace_id))
    held = [span.attributes.pop(f"faa.event_loop.{kind}_us") for kind in ("longest", "busy")]
    assert 0 < held[0] <= held[1] <= (span.end_ns - span.start_ns) // 1000 + 1
    assert span.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/items/{item_id}",
        "url.scheme": "http",
        "url.path": "/items/3",
        "url.query": "verbose=true",
        "server.address": "shop.example",
        "server.port": 8443,
        "client.address": "127.0.0.1",
        "network.peer.address": "127.0.0.1",
        "network.peer.port": port,
        "network.protocol.version": "1.1",
        "user_agent.original": "test/1 (ü)",
        "http.response.body.size": len(answer.partition(b"\r\n\r\n")[2]),
    }
    assert {key: type(value) for key, value in span.attributes.items() if type(value) is not str} \
        == {
            "http.response.status_code": int,
            "http.response.body.size": int,
            "server.port": int,
            "network.peer.port": int,
        }
    assert (span.status_message, span.events, span.links) == ("", [], [])
    assert span.flags & 1
    assert span.start_ns < span.end_ns


def test_no_secret_of_the_query_is_sent(basic: Served) -> None:
    keys = [
        "X-Amz-Signature",
        "X-Amz-Credential",
        "X-Amz-Security-Token",
        "AWSAccessKeyId",
        "Signature",
        "sig",
        "X-Goog-Signature",
    ]
    query = "&".join(["a=1", *(f"{key}=hush-{n}" for n, key in enumerate(keys)), "b=%20two", "c"])
    _, span = basic.get(f"/async?{query}")
    assert "hush" not in str(span)
    expected = "&".join(["a=1", *(f"{key}=REDACTED" for key in keys), "b=%20two", "c"])
    assert span.attributes["url.query"] == expected


def test_no_credentials_of_a_whole_url_are_sent(each_loop: Served) -> None:
    """A proxy's form of the request line, which h11 passes on as the path."""
    trace_id, _ = new_trace()
    _, span = each_loop.raw(
        b"GET http://user:hush@shop.example/file?sig=hush HTTP/1.1\r\nHost: shop.example\r\n"
        b"Connection: close\r\ntraceparent: {traceparent}\r\n\r\n",
        trace_id,
    )
    assert "hush" not in str(span)


@pytest.mark.parametrize("query", ["", "?"])
def test_no_query_no_attribute(basic: Served, query: str) -> None:
    trace_id, _ = new_trace()
    _, span = basic.raw(
        f"GET /async{query} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        "traceparent: {traceparent}\r\n\r\n".encode(),
        trace_id,
    )
    assert "url.query" not in span.attributes
    assert span.attributes["url.path"] == "/async"


def test_path_is_the_one_that_was_sent(basic: Served) -> None:
    response, span = basic.get("/files/a%20b%2Fc%3Fd")
    assert response.json() == "a b/c?d"
    assert span.attributes["url.path"] == "/files/a%20b%2Fc%3Fd"
    assert "url.query" not in span.attributes


@pytest.mark.parametrize(
    ("line", "address", "port"),
    [
        ("Host: shop.example\r\n", "shop.example", 80),
        ("Host: 10.0.0.1:81\r\n", "10.0.0.1", 81),
        ("Host: [::1]:8000\r\n", "::1", 8000),
        ("Host: [::1]\r\n", "::1", 80),
        ("", "127.0.0.1", None),
    ],
)
def test_server_address(basic: Served, line: str, address: str, port: int | None) -> None:
    trace_id, _ = new_trace()
    request = f"GET /async HTTP/1.0\r\n{line}traceparent: {{traceparent}}\r\n\r\n"
    _, span = basic.raw(request.encode(), trace_id)
    assert span.attributes["server.address"] == address
    assert span.attributes["server.port"] == (port or basic.server.port)
    assert span.attributes["network.protocol.version"] == "1.0"


def test_scheme_and_client_of_a_trusted_proxy(basic: Served) -> None:
    """uvicorn trusts X-Forwarded-* from loopback and puts them into the scope."""
    headers = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "Host": "a.example"}
    _, span = basic.get("/async", headers=headers)
    assert span.attributes["url.scheme"] == "https"
    assert span.attributes["client.address"] == "203.0.113.7"
    assert span.attributes["server.port"] == 443


# Failures.


@pytest.mark.parametrize("how", ["sync", "async"])
def test_unhandled_exception(each_loop: Served, how: str) -> None:
    response, span = each_loop.get(f"/fails/{how}/qualified")
    assert response.status_code == 500
    assert (span.status, span.status_message) == ("ERROR", "closed on purpose")
    assert span.attributes["error.type"] == "server_cases.Shop.Closed"
    event = one_event(span)
    assert event["exception.type"] == "server_cases.Shop.Closed"
    assert event["exception.message"] == "closed on purpose"
    stack = event["exception.stacktrace"]
    assert f"in fails_{how}" in stack
    assert "in explode" in stack
    assert stack.index(f"fails_{how}") < stack.index("explode") < stack.index("closed on purpose")


def one_event(span: Span) -> dict[str, Any]:
    """The exception's attributes; a failed validation has an event of its own beside it."""
    events = [event for event in span.events if event.name != "validation failed"]
    assert [event.name for event in events] == ["exception"]
    assert span.start_ns <= events[0].time_ns
    return events[0].attributes


def test_builtin_exception_has_a_bare_name(basic: Served) -> None:
    _, span = basic.get("/raises")
    assert span.attributes["error.type"] == "ValueError"
    assert one_event(span)["exception.type"] == "ValueError"


def test_exception_of_a_dependency(cases: Served) -> None:
    _, span = cases.get("/fails-in-dependency")
    assert span.name == "GET /fails-in-dependency"
    assert span.attributes["error.type"] == "server_cases.Shop.Closed"
    assert "in failing_dependency" in one_event(span)["exception.stacktrace"]


def test_exception_behind_middleware_with_a_last_resort(serve: Serve) -> None:
    served = serve("server_cases:middled", "--loop", "asyncio", "--http", "h11")
    response, span = served.get("/fails/qualified")
    assert (response.status_code, span.status) == (501, "ERROR")
    assert span.attributes["error.type"] == "server_cases.Shop.Closed"
    assert "in fails_async" in one_event(span)["exception.stacktrace"]


@pytest.mark.parametrize(
    ("path", "kind", "message"),
    [
        ("/missing", "fastapi.exceptions.HTTPException", "404: no such thing"),
        ("/items/x", "fastapi.exceptions.RequestValidationError", "1 validation error:"),
        ("/nowhere", "starlette.exceptions.HTTPException", "404: Not Found"),
    ],
)
def test_exception_that_is_an_answer_is_no_error(
    basic: Served, path: str, kind: str, message: str
) -> None:
    """It is told in short: where it was raised says nothing, and inputs are the client's."""
    _, span = basic.get(path)
    assert (span.status, span.status_message) == ("UNSET", "")
    assert one_event(span) == {"exception.type": kind, "exception.message": message}
    assert "error.type" not in span.attributes


def test_handled_exception_is_recorded_and_no_error(cases: Served) -> None:
    response, span = cases.get("/fails/async/handled")
    assert (response.status_code, span.status) == (400, "UNSET")
    assert one_event(span)["exception.type"] == "server_cases.Refused"
    assert "in fails_async" in one_event(span)["exception.stacktrace"]
    assert "error.type" not in span.attributes


def test_error_answer_without_exception(cases: Served) -> None:
    response, span = cases.get("/status/500")
    assert response.status_code == 500
    assert (span.status, span.status_message, span.events) == ("ERROR", "", [])
    assert span.attributes["error.type"] == "500"


def test_error_answer_by_an_http_exception(cases: Served) -> None:
    response, span = cases.get("/fails/sync/unavailable")
    assert response.status_code == 503
    assert (span.status, span.attributes["error.type"]) == ("ERROR", "503")
    assert one_event(span)["exception.message"] == "503: Service Unavailable"


@pytest.mark.parametrize(
    ("kind", "error_type"),
    [
        ("mute", "server_cases.Mute"),
        ("surrogate", "ValueError"),
        ("huge", "ValueError"),
        ("deep", "RecursionError"),
        ("empty", "KeyError"),
    ],
)
def test_exception_that_is_hard_to_tell(cases: Served, kind: str, error_type: str) -> None:
    response, span = cases.get(f"/fails/sync/{kind}")
    assert response.status_code == 500
    assert (span.status, span.attributes["error.type"]) == ("ERROR", error_type)
    event = one_event(span)
    assert event["exception.type"] == error_type
    assert "explode" in event["exception.stacktrace"]
    assert len(str(span)) + len(str(event)) < 100_000


@pytest.mark.parametrize("kind", ["database", "database-wrapped"])
def test_exception_tells_no_parameters(cases: Served, kind: str) -> None:
    trace_id, headers = new_trace()
    assert cases.server.get(f"/fails/sync/{kind}", headers=headers).status_code == 500
    cases.server.wait_log("hush-4711")  # The application's own log shows them.
    spans = cases.spans(trace_id, 2)
    assert "hush" not in repr(spans)
    event = one_event(one(spans, kind="SERVER"))
    assert "no such table: nowhere" in event["exception.message"]


def test_exception_in_the_middle_of_the_body(basic: Served) -> None:
    trace_id, headers = new_trace()
    with pytest.raises(httpx.RemoteProtocolError):
        basic.server.get("/stream-raises", headers=headers)
    span = one(basic.spans(trace_id))
    assert (span.name, span.status) == ("GET /stream-raises", "ERROR")
    assert span.attributes["http.response.status_code"] == 200
    assert span.attributes["error.type"] == "ValueError"
    first_byte, exception = span.events
    assert first_byte.name == "first byte"
    assert "chunks" in exception.attributes["exception.stacktrace"]


# When the span ends. All times are the agent's own, so that they can be compared.


@pytest.mark.parametrize("app", ["server_cases:app", "server_cases:middled"])
@pytest.mark.parametrize("loop", LOOPS)
def test_stream_ends_with_its_last_chunk(serve: Serve, app: str, loop: str) -> None:
    served = serve(app, "--loop", LOOPS[loop][0], "--http", LOOPS[loop][1])
    gate = os.urandom(4).hex()
    trace_id, headers = new_trace()
    headers["Accept-Encoding"] = "identity"
    with served.server.client.stream("GET", f"/stream/{gate}", headers=headers) as response:
        chunks = response.iter_raw()
        assert next(chunks) == b"first|"
        _, opening = served.get(f"/gate/{gate}")
        assert b"".join(chunks) == b"last"
    span = one(served.spans(trace_id))  # The background task is still at work.
    _, closing = served.get(f"/gate/{gate}-after")
    assert span.name == "GET /stream/{name}"
    assert span.start_ns < opening.start_ns < span.end_ns < closing.start_ns
    assert (span.status, span.attributes["http.response.status_code"]) == ("UNSET", 200)


def test_background_task_does_not_stretch_the_request(each_loop: Served) -> None:
    gate = os.urandom(4).hex()
    response, span = each_loop.get(f"/background/{gate}")
    assert response.json() == "later"
    _, closing = each_loop.get(f"/gate/{gate}")
    assert span.end_ns < closing.start_ns


def test_background_task_that_fails_does_not_fail_the_request(cases: Served) -> None:
    response, span = cases.get("/background-fails")
    cases.server.wait_log("^ValueError: behind the response")
    assert (response.status_code, span.status, span.events) == (200, "UNSET", [])


@pytest.mark.parametrize("app", ["server_cases:app", "server_cases:middled"])
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("manner", ["close", "reset"])
def test_client_that_goes_away_is_no_error(
    serve: Serve, app: str, loop: str, manner: str
) -> None:
    served = serve(app, "--loop", LOOPS[loop][0], "--http", LOOPS[loop][1])
    trace_id, headers = new_trace()
    with served.connect() as connection:
        begin(connection, "GET /endless", headers)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        leave(connection, manner)
    span = one(served.spans(trace_id))
    assert (span.name, span.status) == ("GET /endless", "UNSET")
    assert [event.name for event in span.events] == ["first byte"]
    assert span.attributes["http.response.status_code"] == 200
    assert span.attributes["faa.request.outcome"] == "client_disconnected"


def test_client_that_goes_away_before_the_response(each_loop: Served) -> None:
    trace_id, headers = new_trace()
    with each_loop.connect() as connection:
        begin(connection, "GET /polls", headers)
        each_loop.server.wait_log("^polls: begun")
    span = one(each_loop.spans(trace_id))
    assert (span.name, span.status, span.events) == ("GET /polls", "UNSET", [])


def test_client_that_goes_away_in_its_own_body(each_loop: Served) -> None:
    """Starlette raises ClientDisconnect in the endpoint; nobody gets the 500 that it answers."""
    trace_id, headers = new_trace()
    with each_loop.connect() as connection:
        begin(connection, "POST /reads", {**headers, "Content-Length": "10"})
        each_loop.server.wait_log("^reads: begun")
    span = one(each_loop.spans(trace_id))
    assert (span.name, span.status) == ("POST /reads", "UNSET")
    assert "error.type" not in span.attributes
    assert "http.response.status_code" not in span.attributes


def begin(connection: socket.socket, target: str, headers: Mapping[str, str]) -> None:
    fields = (f"{name}: {value}" for name, value in headers.items())
    lines = [f"{target} HTTP/1.1", "Host: a", *fields]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())


def leave(connection: socket.socket, manner: str) -> None:
    if manner == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


CANCELLED = {
    "/cancelled_before_response": None,
    "/cancelled_midway": 200,
    "/wait_for_timeout": None,
    "/cancel_scope": None,
    "/closed_unfinished": None,
    "/catches_cancelled": 200,
}


@pytest.mark.parametrize("path", CANCELLED)
def test_cancellation_is_no_error(serve: Serve, path: str) -> None:
    _, span = serve("odd_asgi:app", at_framework=True).get(path)
    assert span.status == "UNSET"
    assert "exception" not in {event.name for event in span.events}
    assert span.attributes.get("http.response.status_code") == CANCELLED[path]
    caught = path == "/catches_cancelled"
    assert span.attributes.get("faa.request.outcome") == (None if caught else "cancelled")


@pytest.mark.parametrize(
    ("path", "name", "status"),
    [
        ("/one_in_another", "GET /base-http", 200),
        ("/raises_after", "GET /inside", 200),
        ("/base_http_middleware", "GET /base-http", 200),
        ("/sends_before_receive", "GET /raw-first", 200),
        ("/sends_from_a_task", "GET /raw-task", 200),
        ("/keywords", "GET /inside", 200),
        ("/unbound", "GET /inside", 200),
        ("/task", "GET /inside", 200),
        ("/shielded", "GET /inside", 200),
        ("/returns_without_response", "GET /raw-silent", None),
        ("/send_gives_future", "GET /raw-changing", 200),
        ("/message_is_the_same_object", "GET /raw-changing", 200),
        ("/returns_halfway", "GET /raw-half", 200),
    ],
)
def test_odd_call_is_one_span(serve: Serve, path: str, name: str, status: int | None) -> None:
    served = serve("odd_asgi:app", at_framework=True)
    trace_id, headers = new_trace()
    try:
        served.server.get(path, headers=headers)
    except httpx.RemoteProtocolError:
        assert path == "/returns_halfway"
    span = one(served.spans(trace_id))
    incomplete = path in ("/returns_halfway", "/returns_without_response")
    assert (span.name, span.status) == (name, "ERROR" if incomplete else "UNSET")
    assert span.attributes.get("error.type") == ("incomplete_response" if incomplete else None)
    assert span.attributes.get("http.response.status_code") == status


@pytest.mark.parametrize(
    ("path", "name", "status"),
    [
        ("/cancelled_before_response", "GET /forever", 200),
        ("/wait_for_timeout", "GET /forever", 504),
        ("/endpoint_raises_base_exception", "GET /fails-hard", 200),
        ("/never_awaited", "GET", 200),
    ],
)
def test_server_edge_tells_what_the_client_got(
    serve: Serve, path: str, name: str, status: int
) -> None:
    """What happens to the framework's application inside is the outer application's affair."""
    _, span = serve("odd_asgi:app").get(path)
    assert (span.name, span.attributes["http.response.status_code"]) == (name, status)
    assert span.status == ("ERROR" if status >= 500 else "UNSET")
    assert "faa.request.outcome" not in span.attributes


def test_exception_that_is_no_exception_class(serve: Serve) -> None:
    _, span = serve("odd_asgi:app", at_framework=True).get("/endpoint_raises_base_exception")
    assert (span.status, span.attributes["error.type"]) == ("ERROR", "odd_inner.Custom")
    assert "in fails_hard" in one_event(span)["exception.stacktrace"]


def test_server_that_stops_in_the_middle_cancels_without_error(
    run: Runner, receiver: HttpReceiver
) -> None:
    server = run.uvicorn(
        "server_cases:app", "--timeout-graceful-shutdown", "1", env=receiver.env
    )
    trace_id, headers = new_trace()
    with socket.create_connection(("127.0.0.1", server.port), timeout=scaled(20)) as connection:
        begin(connection, "GET /polls", headers)
        server.wait_log("^polls: begun")
        assert server.stop() == -signal.SIGTERM
    span = one(receiver.spans, trace_id=trace_id)
    assert (span.name, span.status, span.events) == ("GET /polls", "UNSET", [])


def test_request_after_reload_of_the_libraries(run: Runner, receiver: HttpReceiver) -> None:
    """A module that is executed a second time is instrumented again, and only once."""
    server = run.uvicorn("reloaded:app", env=receiver.env)
    assert server.get("/items/3").json() == 3
    assert server.stop() == -signal.SIGTERM
    assert_tree(receiver.spans, ("GET /items/{item_id}", "SERVER", [("SELECT", "CLIENT")]))

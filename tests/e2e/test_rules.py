# SPDX-License-Identifier: MIT
"""The user's rules: URLs that are not traced, headers and messages that are recorded, methods."""

import itertools
import json
import os
import re
from collections.abc import Iterator
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from harness import libraries
from harness.deadline import scaled
from harness.jaeger import Jaeger
from harness.otlp import Span
from harness.process import Process, Runner, Server
from harness.receiver import HttpReceiver
from harness.served import Context, new_context
from harness.target import Target
from harness.traced import Traced, traced
from harness.tree import assert_tree, one, where

EXCLUDED = "OTEL_PYTHON_EXCLUDED_URLS"
FASTAPI_EXCLUDED = "OTEL_PYTHON_FASTAPI_EXCLUDED_URLS"
STARLETTE_EXCLUDED = "OTEL_PYTHON_STARLETTE_EXCLUDED_URLS"
REQUEST = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST"
RESPONSE = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE"
SANITIZE = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS"
METHODS = "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS"
DISABLED = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
RULES = [EXCLUDED, FASTAPI_EXCLUDED, STARLETTE_EXCLUDED, REQUEST, RESPONSE, SANITIZE, METHODS]
REDACTED = ["[REDACTED]"]


def headers_of(span: Span, side: str) -> dict[str, Any]:
    """The headers that a span tells; side: request or response."""
    prefix = f"http.{side}.header."
    return {
        key.removeprefix(prefix): value
        for key, value in span.attributes.items()
        if key.startswith(prefix)
    }


def span_of(server: Traced, trace: Context) -> Span:
    """The only span of a trace, once it has come."""
    spans = server.receiver.wait(lambda spans: where(spans, trace_id=trace.trace_id))
    return one(spans, trace_id=trace.trace_id)


def complaints(process: Process, name: str) -> int:
    """How many of the agent's lines name this variable; there are no others."""
    lines = process.agent_lines
    assert all(re.search(rf" faa warning: {name}\b", line) for line in lines), process.stderr
    return len(lines)


def talk(server: Server, path: str, *messages: str | bytes, **options: Any) -> None:
    """A WebSocket conversation with an echo."""
    url = server.url.replace("http:", "ws:") + path
    with connect(url, proxy=None, open_timeout=scaled(20), **options) as socket:
        for message in messages:
            socket.send(message)
            assert socket.recv(timeout=scaled(20)) == message


# Excluded URLs: which


def called(run: Runner, receiver: HttpReceiver, **env: str) -> tuple[list[str], Process]:
    """Calls three paths of a plain Starlette application; returns the names of their spans."""
    script = "import selfcall\nfor path in ('/pid', '/items/7', '/items/x'): selfcall.request(path)"
    process = run.run([run.python, "-c", script], env=receiver.env | env)
    assert (process.status, process.own_stderr) == (0, ""), process.describe()
    return sorted(span.attributes["url.path"] for span in receiver.spans), process


ALL = ["/items/7", "/items/x", "/pid"]


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        ("pid", ALL[:2]),
        ("/pid$", ALL[:2]),
        ("^http://127.0.0.1:8000/pid$", ALL[:2]),
        (r"items/\d+", ALL[1:]),
        ("nothing, pid ,items/x", ["/items/7"]),
        ("^/pid", ALL),
        ("PID", ALL),
        ("(?i)PID", ALL[:2]),
        ("it[e]ms/.", ["/pid"]),
        (",", ALL),
        ("pid,", ALL[:2]),
        ("", ALL),
        (".*", []),
    ],
)
def test_excluded_urls_are_expressions_searched_in_the_whole_url(
    run: Runner, receiver: HttpReceiver, value: str, paths: list[str]
) -> None:
    found, process = called(run, receiver, **{EXCLUDED: value})
    assert found == paths
    assert process.agent_lines == []


@pytest.mark.parametrize("name", [EXCLUDED, STARLETTE_EXCLUDED])
@pytest.mark.parametrize("value", ["(", "pid,(", "[", "*"])
def test_a_list_that_is_no_expression_gets_one_line_and_excludes_nothing(
    run: Runner, receiver: HttpReceiver, name: str, value: str
) -> None:
    found, process = called(run, receiver, **{name: value})
    assert found == ALL
    assert complaints(process, name) == 1


def test_the_frameworks_own_list_goes_before_the_one_for_all(
    run: Runner, receiver: HttpReceiver
) -> None:
    found, _ = called(run, receiver, **{EXCLUDED: "pid", STARLETTE_EXCLUDED: "items"})
    assert found == ["/pid"]


def test_the_list_of_another_framework_means_nothing(run: Runner, receiver: HttpReceiver) -> None:
    found, _ = called(run, receiver, **{EXCLUDED: "pid", FASTAPI_EXCLUDED: "items"})
    assert found == ALL[:2]


def test_fastapis_list_goes_before_the_others(run: Runner, receiver: HttpReceiver) -> None:
    lists = {FASTAPI_EXCLUDED: "/missing", STARLETTE_EXCLUDED: "/stream", EXCLUDED: "/answer"}
    server = run.uvicorn("rules:app", env=receiver.env | lists)
    for path in ("/missing", "/stream", "/answer"):
        server.get(path)
    server.stop()
    assert sorted(span.name for span in receiver.spans) == ["GET /answer", "GET /stream"]


def test_a_host_header_cannot_pass_for_a_path(run: Runner, receiver: HttpReceiver) -> None:
    server = run.uvicorn("rules:app", "--http", "h11", env=receiver.env | {EXCLUDED: "/healthz"})
    for host in ("shop/healthz", "shop?/healthz", "shop#/healthz", "/healthz"):
        assert server.get("/stream", headers={"host": host}).status_code == 200
    server.stop()
    assert len(receiver.spans) == 4


def test_a_request_without_host_is_known_by_the_servers_address(
    run: Runner, receiver: HttpReceiver
) -> None:
    script = (
        "import selfcall\nclass App:\n"
        "    async def __call__(self, scope, receive, send):\n"
        "        await original(dict(scope, headers=[]), receive, send)\n"
        "original, selfcall.app = selfcall.app, App()\n"
        "selfcall.request('/pid'); selfcall.request()"
    )
    env = receiver.env | {EXCLUDED: "^http://127.0.0.1:8000/pid$"}
    process = run.run([run.python, "-c", script], env=env)
    assert process.status == 0, process.describe()
    assert one(receiver.spans).name == "GET /items/{item_id}"


# Excluded URLs: everything about them


def work(client: httpx.Client, path: str) -> int:
    """A request in a trace of its own; returns the port that it came from."""
    response = client.get(path, headers=new_context().headers | {"baggage": "who=me"})
    assert response.status_code == 200, response.text
    return response.json()["port"]


def sent_by(target: Target, word: str) -> dict[str, str]:
    """The headers with which the outgoing request of this word came."""
    (found,) = [seen for seen in target.seen if seen["path"].endswith(f"by={word}")]
    return found["headers"]


@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize("disabled", ["", "uvicorn", "fastapi,starlette"])
def test_an_excluded_request_leaves_nothing_and_the_next_on_its_connection_is_traced(
    run: Runner, receiver: HttpReceiver, target: Target, http: str, disabled: str
) -> None:
    env = {
        EXCLUDED: "/healthz/,/sub/hidden/,^ws://[^/]+/ws/quiet$",
        "FAA_FASTAPI_SPANS": "all",
        "FAA_WEBSOCKET_MESSAGES": "true",
        "TARGET_URL": target.url,
        DISABLED: disabled,
    }
    server = run.uvicorn("rules:app", "--http", http, env=receiver.env | env)
    hidden, shown = ("a", "c", "e"), ("b", "d", "f")
    with httpx.Client(base_url=server.url, trust_env=False, timeout=scaled(20)) as client:
        ports = {work(client, f"/healthz/{hidden[0]}"), work(client, f"/jobs/{shown[0]}")}
        ports |= {work(client, f"/sub/hidden/{hidden[1]}"), work(client, f"/sub/shown/{shown[1]}")}
        ports |= {work(client, f"/healthz/{hidden[2]}"), work(client, f"/jobs/{shown[2]}")}
        assert len(ports) == 1
        talk(server, "/ws/quiet", "one", b"two")
        assert client.get("/late").json() == 6
    assert server.stop() == -15
    assert server.agent_lines == []

    for word in hidden:
        for by in (word, f"background-{word}", f"late-{word}"):
            assert not {"traceparent", "tracestate", "baggage"} & set(sent_by(target, by))
    edges = where(receiver.spans, kind="SERVER")
    urls = [span.attributes["url.path"] for span in edges]
    assert urls == ["/jobs/b", "/sub/shown/d", "/jobs/f", "/late"]
    traces = {span.trace_id for span in edges}
    assert {span.trace_id for span in receiver.spans} == traces
    for word, edge in zip(shown, edges, strict=False):
        inside = where(receiver.spans, trace_id=edge.trace_id)
        assert len(where(inside, name="SELECT")) == (4 if word in "bf" else 3)
        calls = {span.span_id for span in where(inside, name="GET", kind="CLIENT")}
        words = (word, f"background-{word}", f"late-{word}")
        told = {sent_by(target, by)["traceparent"].split("-")[2] for by in words}
        assert calls == told and len(calls) == 3
    assert not any(headers_of(span, "request") or headers_of(span, "response") for span in edges)


def test_an_excluded_connection_is_quiet_and_another_is_told(
    run: Runner, receiver: HttpReceiver
) -> None:
    env = receiver.env | {EXCLUDED: "/ws/quiet"}
    server = run.uvicorn("rules:app", env=env)
    talk(server, "/ws/quiet", "one", "two")
    talk(server, "/ws/loud", "three")
    server.stop()
    select = ("SELECT", "CLIENT")
    assert_tree(receiver.spans, ("GET /ws/{word}", "SERVER", [select]))
    assert one(receiver.spans, kind="SERVER").attributes["url.path"] == "/ws/loud"


# Recorded headers

CAPTURE = {
    REQUEST: "X-Tenant, x-multi ,X-BIN-.*,authorization,proxy-authorization,cookie,x-secret-.*,"
    "x-empty,x-session-(id|token)",
    RESPONSE: "x-multi,x-latin,x-secret-key,set-cookie,Content-Type,x-accepted",
    SANITIZE: "SECRET,token$",
}
PLANTED = {
    "Authorization": "Bearer PLANTED-1",
    "Proxy-Authorization": "Basic PLANTED-2",
    "Cookie": "session=PLANTED-3",
    "X-Secret-One": "PLANTED-4",
    "X-Session-Token": "PLANTED-5",
    "X-Not-Asked-For": "PLANTED-6",
}


def serve(factory: pytest.TempPathFactory, build: Path, **env: str) -> Iterator[Traced]:
    python = libraries.python()
    with traced(factory.mktemp("rules"), build, python, "rules:app", env=env) as server:
        # The client keeps no cookies: each test sends its own.
        server.server.client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        yield server
        assert b"PLANTED" not in server.sent


@pytest.fixture(scope="module")
def capturing(tmp_path_factory: pytest.TempPathFactory, build: Path) -> Iterator[Traced]:
    """A server that records some headers."""
    yield from serve(tmp_path_factory, build, **CAPTURE)


@pytest.fixture(scope="module")
def greedy(tmp_path_factory: pytest.TempPathFactory, build: Path) -> Iterator[Traced]:
    """A server that records every header, and those of no secrets by accident."""
    yield from serve(
        tmp_path_factory, build, **{REQUEST: ".*", RESPONSE: ".*", SANITIZE: "secret|token|asked"}
    )


def test_headers_are_recorded_by_name_in_any_case(capturing: Traced) -> None:
    sent = {"x-tENANT": "shop", "X-Tenant-Id": "7", "X-Bin-A": "a", "X-Session-Id": "s"}
    sent |= {"X-Empty": ""}
    call = capturing.get("/stream", headers=sent)
    assert headers_of(call.server, "request") == {
        "x-tenant": ["shop"],
        "x-bin-a": ["a"],
        "x-session-id": ["s"],
        "x-empty": [""],
    }


def test_a_header_that_comes_again_has_all_its_values_in_order(capturing: Traced) -> None:
    pairs = [("X-Multi", "b"), ("X-Tenant", "t"), ("x-multi", "a"), ("X-MULTI", "b, c")]
    trace = new_context()
    response = capturing.server.client.get("/answer", headers=[*trace.headers.items(), *pairs])
    assert response.status_code == 200
    span = span_of(capturing, trace)
    assert headers_of(span, "request") == {"x-multi": ["b", "a", "b, c"], "x-tenant": ["t"]}
    assert headers_of(span, "response") == {
        "content-type": ["text/plain; charset=utf-8"],
        "x-multi": ["one", "two"],
        "x-latin": ["caf\ufffd"],
        "x-secret-key": REDACTED,
        "set-cookie": REDACTED * 2,
    }


def test_secrets_are_redacted_whatever_is_set(capturing: Traced, greedy: Traced) -> None:
    for server in (capturing, greedy):
        call = server.get("/answer", headers=PLANTED)
        told = headers_of(call.server, "request")
        for name in ("authorization", "proxy-authorization", "cookie", "x-secret-one"):
            assert told[name] == REDACTED
        assert told["x-session-token"] == REDACTED
        assert told.get("x-not-asked-for") == (REDACTED if server is greedy else None)
        assert headers_of(call.server, "response")["set-cookie"] == REDACTED * 2
        assert b"PLANTED" not in server.sent
        assert b"[REDACTED]" in server.sent  # What is searched holds what is looked for.


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"caf\xe9", "caf\ufffd"),
        ("café".encode(), "café"),
        (b"\xff\xfe\xc3", "\ufffd" * 3),
        (b"a\tb", "a\tb"),
    ],
)
def test_a_value_in_any_bytes_is_a_text(capturing: Traced, value: bytes, told: str) -> None:
    call = capturing.get("/stream", headers={"X-Bin-Value": value})
    assert headers_of(call.server, "request") == {"x-bin-value": [told]}


@pytest.mark.parametrize(
    ("path", "status", "value"),
    [("/stream", 200, ["stream"]), ("/missing", 404, ["missing"]), ("/raises", 500, None)],
)
def test_headers_of_streams_and_errors(
    capturing: Traced, path: str, status: int, value: list[str] | None
) -> None:
    call = capturing.get(path)
    assert call.response.status_code == status
    told = headers_of(call.server, "response")
    assert told.get("x-multi") == value
    assert told.get("content-type") == (
        None if path == "/stream" else [call.response.headers["content-type"]]
    )


def test_a_response_that_begins_twice_is_told_once(capturing: Traced) -> None:
    trace = new_context()
    with pytest.raises(httpx.RemoteProtocolError):
        capturing.server.get("/again", headers=trace.headers)
    span = span_of(capturing, trace)
    assert headers_of(span, "response") == {"x-multi": ["first"]}


def test_headers_of_a_websocket_handshake(capturing: Traced) -> None:
    sent = PLANTED | {"X-Tenant": "ws"}
    for path in ("/ws/open", "/ws/refused"):
        trace = new_context()
        try:
            talk(capturing.server, path, additional_headers=sent | trace.headers)
        except InvalidStatus as refusal:
            assert path == "/ws/refused" and refusal.response.status_code == 403
        span = span_of(capturing, trace)
        told = headers_of(span, "request")
        assert told["x-tenant"] == ["ws"]
        assert told["cookie"] == told["authorization"] == REDACTED
        if path == "/ws/open":
            assert headers_of(span, "response") == {"x-accepted": ["yes"], "set-cookie": REDACTED}


def test_a_thousand_headers_leave_the_rest_of_the_span_its_room(greedy: Traced) -> None:
    headers = {f"x-made-up-{number}": str(number) for number in range(900)}
    call = greedy.get("/raises", headers=headers)
    _check_bounded(call.server)
    assert len(headers_of(call.server, "request")) == 40


def test_large_headers_leave_the_rest_of_the_span_its_room(greedy: Traced) -> None:
    headers = {f"x-large-{number}": "x" * 6000 for number in range(9)}
    call = greedy.get("/raises", headers=headers)
    _check_bounded(call.server)
    assert headers_of(call.server, "request")["x-large-0"] == ["x" * 6000]


def _check_bounded(span: Span) -> None:
    assert span.dropped_attributes > 0
    assert span.name == "GET /raises"
    assert span.attributes["http.response.status_code"] == 500
    assert span.attributes["http.route"] == "/raises"
    (event,) = span.events
    assert event.attributes["exception.type"] == "ValueError"
    assert "in raises" in event.attributes["exception.stacktrace"]
    assert headers_of(span, "response")["content-type"] == ["text/plain; charset=utf-8"]


def test_names_that_clients_make_up_do_not_hide_known_ones(capturing: Traced) -> None:
    for turn in range(3):  # More than are remembered.
        capturing.get("/stream", headers={f"y-{turn}-{number}": "" for number in range(300)})
    call = capturing.get("/stream", headers={"x-bin-new": "shop", "x-secret-new": "PLANTED-7"})
    told = headers_of(call.server, "request")
    assert told == {"x-bin-new": ["shop"], "x-secret-new": REDACTED}


WRECKING = """\
import re, selfcall

def anew(value):
    if isinstance(value, bytes):
        return bytes(bytearray(value))
    if isinstance(value, str):
        return "".join(list(value))
    return type(value)(map(anew, value)) if isinstance(value, (list, tuple)) else value

scope = {}

class Expression:
    def __init__(self, expression):
        self.expression = expression
    def run(self, text):
        if "headers" in scope:
            for key in ("scheme", "method", "path", "raw_path", "query_string", "http_version"):
                scope[key] = anew(scope[key])
            scope["headers"][:] = anew(scope["headers"])
            scope["headers"] = anew(scope["headers"])
        return self.expression.search(text)
    search = fullmatch = run

class App:
    async def __call__(self, given, receive, send):
        names = [f"x-name-{number}" for number in range(20)]
        headers = [(b"host", b"shop.example")] + [(n.encode(), n.upper().encode()) for n in names]
        scope.update(given, path="/items/with-a-long-name", raw_path=b"/items/with-a-long-name")
        scope.update(headers=anew(headers), query_string=anew(b"query=something"))
        await original(scope, receive, send)

compile = re.compile
re.compile = lambda *args: Expression(compile(*args))
original, selfcall.app = selfcall.app, App()
for _ in range(3):
    selfcall.request()
"""


@pytest.mark.parametrize("malloc", ["debug", "malloc_debug"])
def test_what_changes_while_an_expression_runs_is_not_read_after_it_is_gone(
    run: Runner, receiver: HttpReceiver, malloc: str
) -> None:
    env = receiver.env | {EXCLUDED: "nothing", REQUEST: "x-name", SANITIZE: "1"}
    env["PYTHONMALLOC"] = malloc  # What is freed is overwritten.
    process = run.run([run.python, "-c", WRECKING], env=env)
    assert (process.status, process.stderr) == (0, "")
    assert len(receiver.spans) == 3
    for span in receiver.spans:
        assert span.attributes["url.path"] == "/items/with-a-long-name"
        assert span.attributes["url.query"] == "query=something"
        assert span.attributes["http.request.method"] == "GET"
        assert span.attributes["server.address"] == "shop.example"
        names = [f"x-name-{number}" for number in range(20)]
        assert headers_of(span, "request") == {
            name: REDACTED if "1" in name else [name.upper()] for name in names
        }


FAILING = """\
import re, selfcall

class Expression:
    def __init__(self, expression):
        self.expression = expression
        self.fullmatch = expression.fullmatch
    def search(self, text):
        raise MemoryError if "x-" in text else ValueError

compile = re.compile
re.compile = lambda *args: Expression(compile(*args))
class App:
    async def __call__(self, scope, receive, send):
        await original(dict(scope, headers=[(b"x-secret", b"PLANTED")]), receive, send)
original, selfcall.app = selfcall.app, App()
assert [selfcall.request(), selfcall.request("/raises")] == [200, 500]
"""


def test_an_expression_that_fails_excludes_nothing_and_shows_nothing(
    run: Runner, receiver: HttpReceiver
) -> None:
    env = receiver.env | {EXCLUDED: "items", REQUEST: "x-.*", SANITIZE: "nothing"}
    process = run.run([run.python, "-c", FAILING], env=env)
    assert (process.status, process.stderr) == (0, ""), process.describe()
    assert sorted(span.name for span in receiver.spans) == ["GET /items/{item_id}", "GET /raises"]
    for span in receiver.spans:
        assert headers_of(span, "request") == {"x-secret": REDACTED}


def test_a_list_to_sanitize_that_is_no_expression_redacts_all(
    run: Runner, receiver: HttpReceiver
) -> None:
    env = receiver.env | {REQUEST: "x-tenant", RESPONSE: "x-multi", SANITIZE: "tenant,("}
    server = run.uvicorn("rules:app", env=env)
    for _ in range(2):
        server.get("/stream", headers={"x-tenant": "shop"})
    server.stop()
    for span in receiver.spans:
        assert headers_of(span, "request") == {"x-tenant": REDACTED}
        assert headers_of(span, "response") == {"x-multi": REDACTED}
    assert len(receiver.spans) == 2
    assert complaints(server, SANITIZE) == 1


@pytest.mark.parametrize("name", [REQUEST, RESPONSE])
def test_a_list_of_headers_that_is_no_expression_gets_one_line_and_records_none(
    run: Runner, receiver: HttpReceiver, name: str
) -> None:
    server = run.uvicorn("rules:app", env=receiver.env | {name: "x-tenant,("})
    for _ in range(2):
        server.get("/stream", headers={"x-tenant": "shop"})
    server.stop()
    for span in receiver.spans:
        assert headers_of(span, "request") == headers_of(span, "response") == {}
    assert len(receiver.spans) == 2
    assert complaints(server, name) == 1


def test_limits_hold_for_headers_too(run: Runner, receiver: HttpReceiver) -> None:
    env = receiver.env | {
        REQUEST: "x-.*",
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "3",
        EXCLUDED: "",
    }
    server = run.uvicorn("rules:app", env=env)
    headers = [(b"x-multi", b"abcdef"), (b"x-multi", b"\xff\xff\xff\xff"), (b"x-multi", b"ab")]
    server.get("/stream", headers=headers)
    server.stop()
    told = headers_of(one(receiver.spans), "request")
    assert told["x-multi"] == ["abc", "\ufffd" * 3, "ab"]


def test_rules_leave_nothing_behind(run: Runner, receiver: HttpReceiver, target: Target) -> None:
    """Objects, bytes and references to our types do not grow with the requests; see leaks.py."""
    times, rounds = 150, 5
    env = {
        **receiver.env,
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "64",
        "PYTHONMALLOC": "malloc",
        "TARGET_URL": target.url,
        "FAA_FASTAPI_SPANS": "all",
        "FAA_WEBSOCKET_MESSAGES": "true",
        EXCLUDED: "/sql/",
        REQUEST: ".*",
        RESPONSE: ".*",
        SANITIZE: "type",
    }
    process = run.run([run.python, "leaks.py", str(times), str(rounds)], env=env, timeout=60)
    assert (process.status, process.stderr) == (0, "")
    told = [json.loads(line) for line in process.stdout.splitlines()]
    assert told[0]["ours"] == told[-1]["ours"]
    for what, limit in (("objects", times // 2), ("bytes", times * 64)):
        growth = [after[what] - before[what] for before, after in itertools.pairwise(told)]
        assert min(growth) < limit, (what, growth)
    edges = where(receiver.spans, kind="SERVER")
    assert not [span for span in edges if "/sql/" in span.attributes["url.path"]]
    assert REDACTED in [headers_of(span, "response").get("content-type") for span in edges]


def test_a_recorded_header_is_seen_in_jaeger(run: Runner, jaeger: Jaeger) -> None:
    service = f"rules-{os.urandom(4).hex()}"
    env = {"OTEL_BSP_SCHEDULE_DELAY": "50", EXCLUDED: "/missing", **CAPTURE}
    options = ["--service-name", service, "--jaeger-endpoint", jaeger.grpc_endpoint]
    server = run.uvicorn("rules:app", agent="launcher", options=options, env=env)
    server.get("/missing")
    server.get("/answer", headers=PLANTED | {"X-Tenant": "shop"})
    assert server.stop() == -15
    (trace,) = jaeger.traces(service)
    (span,) = trace["spans"]
    told = {tag["key"]: tag["value"] for tag in span["tags"]}
    assert not span["warnings"]
    assert told["http.request.header.x-tenant"] == '["shop"]'
    assert told["http.response.header.x-multi"] == '["one","two"]'
    assert told["http.request.header.authorization"] == '["[REDACTED]"]'
    assert "PLANTED" not in str(trace)


# Messages of WebSocket connections


@pytest.mark.parametrize("value", [None, "false", "true"])
def test_websocket_messages_are_spans_on_request(
    run: Runner, receiver: HttpReceiver, value: str | None
) -> None:
    env = {} if value is None else {"FAA_WEBSOCKET_MESSAGES": value}
    server = run.uvicorn("rules:app", env=receiver.env | env)
    talk(server, "/ws/open", "héllo", b"\x00\x01")
    server.stop()
    connection = one(receiver.spans, kind="SERVER")
    messages = where(receiver.spans, kind="INTERNAL")
    assert connection.attributes["faa.websocket.bytes_received"] == 8
    if value != "true":
        assert messages == []
        return
    messages.sort(key=lambda span: span.start_ns)
    told = [(span.name, span.attributes["faa.websocket.message_size"]) for span in messages]
    assert told == [
        ("websocket receive", 6),
        ("websocket send", 6),
        ("websocket receive", 2),
        ("websocket send", 2),
    ]
    for span in messages:
        assert (span.trace_id, span.parent_id) == (connection.trace_id, connection.span_id)
        assert connection.start_ns <= span.start_ns <= span.end_ns <= connection.end_ns
        assert span.status == "UNSET"
    # What is done for a message is not part of its span.
    parents = {span.parent_id for span in where(receiver.spans, name="SELECT")}
    assert parents == {connection.span_id}


# Known methods


@pytest.mark.parametrize(
    ("value", "server", "client"),
    [
        (None, {"POST": "POST", "PURGE": None}, {"POST": "POST", "PURGE": None}),
        ("PURGE, GET", {"POST": None, "PURGE": "PURGE"}, {"POST": None, "PURGE": "PURGE"}),
        ("purge,post", {"POST": None, "PURGE": None}, {"POST": None, "PURGE": None}),
        (",", {"POST": "POST", "PURGE": None}, {"POST": "POST", "PURGE": None}),
    ],
)
def test_known_methods_replace_the_standards(
    run: Runner,
    receiver: HttpReceiver,
    target: Target,
    value: str | None,
    server: dict[str, str | None],
    client: dict[str, str | None],
) -> None:
    env = {"TARGET_URL": target.url} | ({} if value is None else {METHODS: value})
    process = run.uvicorn("rules:app", env=receiver.env | env)
    for method in server:
        assert process.client.request(method, "/methods").status_code == 200
    process.stop()
    assert process.agent_lines == []
    for kind, methods, suffix in (("SERVER", server, " /methods"), ("CLIENT", client, "")):
        spans = where(receiver.spans, kind=kind)
        told = {
            (
                span.name,
                span.attributes["http.request.method"],
                span.attributes.get("http.request.method_original"),
            )
            for span in spans
        }
        assert told == {
            (method + suffix, method, None) if known else ("HTTP" + suffix, "_OTHER", method)
            for method, known in methods.items()
        }


def test_more_methods_than_there_is_room_for_get_a_line(
    run: Runner, receiver: HttpReceiver
) -> None:
    value = ",".join(["GET", *(f"M{number}" for number in range(100))])
    process = run.run([run.python, "selfcall.py", "1"], env=receiver.env | {METHODS: value})
    assert complaints(process, METHODS) == 1
    assert one(receiver.spans).attributes["http.request.method"] == "GET"


def test_rules_that_are_empty_are_unset(run: Runner, receiver: HttpReceiver) -> None:
    process = run.run([run.python, "selfcall.py", "1"], env=receiver.env | dict.fromkeys(RULES, ""))
    assert process.agent_lines == []
    span = one(receiver.spans)
    assert headers_of(span, "request") == headers_of(span, "response") == {}
    assert span.attributes["http.request.method"] == "GET"

# SPDX-License-Identifier: MIT
"""aiohttp's client: one CLIENT span for each exchange on the wire, which ends with its body."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import libraries
from harness.compare import seen
from harness.http_peers import (
    AsyncPeers,
    assert_on_the_wire,
    assert_unanswered,
    async_peers,
    fresh,
)
from harness.libraries import Libraries
from harness.process import Runner, Server
from harness.receiver import HttpReceiver
from harness.target import RAW
from harness.traced import Call, Traced, traced
from harness.tree import one, where

__all__ = ["async_peers", "fresh"]

OWN = f"00-{'a' * 32}-{'b' * 16}-01"
STATUS, RESEND, URL = "http.response.status_code", "http.request.resend_count", "url.full"


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def cases(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    build: Path,
    peers: AsyncPeers,
) -> Iterator[Traced]:
    """apps/aiohttp_cases.py; nothing secret has left it when its tests are over."""
    with served(tmp_path_factory, build, peers, "--loop", request.param) as server:
        yield server
        assert b"hush" not in server.sent


def served(
    factory: pytest.TempPathFactory, build: Path, peers: AsyncPeers, *args: str, **env: str
) -> Any:
    python = libraries.python()
    env = {**peers.env, **env}
    return traced(factory.mktemp("app"), build, python, "aiohttp_cases:app", *args, env=env)


def run_case(server: Traced, case: str, spans: int = 1, **query: str) -> Call:
    """Runs a case; all its spans but the server's are CLIENT spans and the server's children."""
    call = server.get(f"/case/{case}", params=query, until=lambda found: len(found) > spans)
    assert call.response.status_code == 200, call.response.text
    assert len(call.spans) == spans
    for span in call.spans:
        assert (span.kind, span.parent_id) == ("CLIENT", call.server.span_id)
        assert span.scope_name == "aiohttp-client"
    return call


def told(call: Call, *names: str) -> list[Any]:
    """Returns these attributes of each span, None for one that is not there."""
    return [tuple(span.attributes.get(name) for name in names) for span in call.spans]


# What a span tells.


def test_an_exchange_is_a_client_span_with_the_attributes_of_the_conventions(
    cases: Traced, peers: AsyncPeers
) -> None:
    call = run_case(cases, "get")
    assert call.json["status"][0] == 200
    span = one(call.spans)
    assert (span.name, span.status, span.events, span.links) == ("GET", "UNSET", [], [])
    assert span.attributes == {
        "http.request.method": "GET",
        "url.full": f"{peers.target.url}/echo",
        "server.address": "127.0.0.1",
        "server.port": peers.target.port,
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
    }
    assert call.server.start_ns <= span.start_ns <= span.end_ns <= call.server.end_ns
    assert_on_the_wire(peers.target, call.spans)


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "BREW"])
def test_the_name_is_a_known_method(cases: Traced, method: str) -> None:
    path = "/raw/old" if method == "BREW" else "/echo"
    if method == "BREW":
        call = cases.get("/case/get", params={"path": path, "method": method})
        assert one(call.spans).name == "HTTP"
        assert one(call.spans).attributes["http.request.method_original"] == "BREW"
    else:
        span = one(run_case(cases, "get", method=method).spans)
        assert (span.name, span.attributes["http.request.method"]) == (method, method)


@pytest.mark.parametrize("status", [201, 301, 404, 503])
def test_status_from_400_on_is_an_error(cases: Traced, status: int) -> None:
    span = one(run_case(cases, "get", path=f"/status/{status}").spans)
    bad = status >= 400
    assert span.attributes[STATUS] == status
    assert (span.status, span.status_message) == ("ERROR" if bad else "UNSET", "")
    assert (span.attributes.get("error.type"), span.events) == (str(status) if bad else None, [])


def test_the_url_is_the_whole_one(cases: Traced, peers: AsyncPeers) -> None:
    call = run_case(cases, "based")
    assert told(call, URL) == [(f"{peers.target.url}/echo?page=7",)]
    assert call.json[1] == [["X-Own", "1"]]
    assert_on_the_wire(peers.target, call.spans)


@pytest.mark.parametrize("case", ["function", "post"])
def test_each_way_to_call_is_one_span(cases: Traced, peers: AsyncPeers, case: str) -> None:
    call = run_case(cases, case)
    assert told(call, STATUS) == [(200,)]
    assert_on_the_wire(peers.target, call.spans)


def test_tls(cases: Traced, peers: AsyncPeers) -> None:
    call = run_case(cases, "tls")
    assert told(call, URL, STATUS) == [(f"{peers.tls.url}/echo", 200)]
    assert_on_the_wire(peers.tls, call.spans)


def test_credentials_and_secret_query_values_stay_home(cases: Traced, peers: AsyncPeers) -> None:
    call = run_case(cases, "secrets")
    request = one(peers.target.seen)
    assert request["path"] == "/echo?sig=hush-2&page=7"
    assert request["headers"]["authorization"].startswith("Basic ")
    assert one(call.spans).attributes[URL] == f"{peers.target.url}/echo?sig=REDACTED&page=7#part"
    assert request["headers"]["authorization"].split()[1].encode() not in cases.sent


# Several exchanges in one call.


def test_each_redirect_is_a_span_of_its_own(cases: Traced, peers: AsyncPeers) -> None:
    call = run_case(cases, "get", 3, path="/redirect/2")
    assert call.json["history"] == [302, 302]
    url = peers.target.url
    assert told(call, URL, STATUS, RESEND) == [
        (f"{url}/redirect/2", 302, None),
        (f"{url}/redirect/1", 302, 1),
        (f"{url}/echo", 200, 2),
    ]
    assert {span.status for span in call.spans} == {"UNSET"}
    assert_on_the_wire(peers.target, call.spans)


def test_what_the_call_raises_about_an_answer_is_no_failure_of_the_exchange(cases: Traced) -> None:
    call = run_case(cases, "too-many", 3)
    assert call.json[0][0] == "TooManyRedirects"
    assert told(call, STATUS, "error.type") == [(302, None)] * 3
    call = run_case(cases, "astray", answer="astray")
    assert told(call, STATUS, "error.type") == [(302, None)]
    call = run_case(cases, "raise-for-status")
    assert call.json[0][0] == "ClientResponseError"
    assert told(call, STATUS, "error.type") == [(404, "404")]
    assert {span.status for span in call.spans} == {"ERROR"} and call.spans[0].events == []


@pytest.mark.needs("aiohttp", "3.10")  # An older one asks once.
def test_a_connection_that_was_closed_meanwhile_is_tried_again(cases: Traced, peers: AsyncPeers) -> None:
    call = run_case(cases, "retry", 3, key=os.urandom(4).hex())
    assert call.json == 200
    assert told(call, STATUS, RESEND) == [(200, None), (None, None), (200, 1)]
    assert_unanswered(call.spans[1], "aiohttp.client_exceptions.ServerDisconnectedError")
    assert_on_the_wire(peers.target, call.spans)


@pytest.mark.needs("aiohttp", "3.12")  # An older one has no middlewares.
def test_what_middlewares_send_are_spans(cases: Traced, peers: AsyncPeers) -> None:
    call = run_case(cases, "middlewares", 4, key=os.urandom(4).hex())
    assert call.json[0] == 200
    assert "traceparent" not in str(call.json[1]).lower()
    assert told(call, STATUS, RESEND) == [(200, None), (503, None), (503, 1), (200, 2)]
    assert call.spans[0].attributes[URL] == f"{peers.target.url}/token"
    assert_on_the_wire(peers.target, call.spans)
    peers.forget()
    call = run_case(cases, "digest", 2)
    assert told(call, STATUS, RESEND) == [(401, None), (200, 1)]
    assert_on_the_wire(peers.target, call.spans)


def test_an_own_trace_is_respected(cases: Traced, peers: AsyncPeers) -> None:
    call = run_case(cases, "own", 2)
    first, second = (request["headers"] for request in peers.target.seen)
    assert first["traceparent"] == OWN
    assert "tracestate" not in first
    span = call.spans[1]
    assert second["traceparent"] == f"00-{span.trace_id}-{span.span_id}-01"
    assert second["tracestate"] == "mine=1"


# Failures.


MODULE = "aiohttp.client_exceptions."


def timeout(packages: Libraries) -> str:
    """The type of asyncio's own timeouts."""
    return ("" if packages.has("python", "3.11") else "asyncio.exceptions.") + "TimeoutError"


def expected_error(how: str, packages: Libraries) -> str:
    """The type of what /case/fails raises."""
    dns, sock = packages.has("aiohttp", "3.10.10"), packages.has("aiohttp", "3.10")
    return {
        "refused": MODULE + "ClientConnectorError",
        "tls": MODULE + "ClientConnectorCertificateError",
        "name": MODULE + ("ClientConnectorDNSError" if dns else "ClientConnectorError"),
        "timeout": timeout(packages),
        "sock-read": MODULE + ("SocketTimeoutError" if sock else "ServerTimeoutError"),
        "garbage": MODULE + "ClientResponseError",
        "empty": MODULE + "ServerDisconnectedError",
    }[how]


@pytest.mark.parametrize(
    "how", ["refused", "tls", "name", "timeout", "sock-read", "garbage", "empty"]
)
def test_an_exception_is_told_without_the_secrets_in_it(
    cases: Traced, packages: Libraries, how: str
) -> None:
    error = expected_error(how, packages)
    # It asks once more where nobody has answered, from 3.10 on.
    attempts = 2 if how == "empty" and packages.has("aiohttp", "3.10") else 1
    call = run_case(cases, "fails", attempts, how=how)
    assert call.json[0][0] == error.rpartition(".")[2]
    span = call.spans[-1]
    assert_unanswered(span, error, says_nothing=how == "timeout")
    assert span.attributes[URL].endswith("?sig=REDACTED&page=7")
    assert call.server.status == "UNSET"


def test_a_url_that_cannot_be_called_is_no_exchange(cases: Traced, packages: Libraries) -> None:
    error = "InvalidUrlClientError" if packages.has("aiohttp", "3.10") else "InvalidURL"
    assert run_case(cases, "invalid", 0).json[0][0] == error


@pytest.mark.parametrize("how", ["wait-for", "task"])
def test_a_cancelled_call_has_not_failed(cases: Traced, peers: AsyncPeers, how: str) -> None:
    call = run_case(cases, "cancel", how=how)
    assert call.json == ("timeout" if how == "wait-for" else "CancelledError")
    span = one(call.spans)
    assert (span.status, span.events) == ("UNSET", [])
    assert "error.type" not in span.attributes and STATUS not in span.attributes
    assert_on_the_wire(peers.target, call.spans)


# Bodies.


def test_a_span_ends_when_the_body_has_been_read(cases: Traced, peers: AsyncPeers) -> None:
    call = run_case(cases, "gated", 2, key=os.urandom(4).hex())
    assert call.json == "first secon"
    streamed, other = call.spans
    assert streamed.start_ns < other.start_ns < streamed.end_ns
    assert told(call, STATUS, "error.type") == [(200, None), (200, None)]
    assert_on_the_wire(peers.target, call.spans)


@pytest.mark.parametrize("how", ["closed", "released", "context", "dropped"])
def test_a_span_ends_when_the_answer_is_left_unread(cases: Traced, how: str) -> None:
    call = run_case(cases, "left", 2, how=how)
    first, second = call.spans
    assert first.end_ns <= second.start_ns
    assert told(call, STATUS, "error.type") == [(200, None), (200, None)]
    assert first.status == "UNSET"


@pytest.mark.parametrize("how", ["whole", "pieces"])
@pytest.mark.parametrize("answer", ["short", "chunks-short"])
def test_a_body_that_breaks_is_an_error(cases: Traced, answer: str, how: str) -> None:
    call = run_case(cases, "broken", 2, answer=answer, how=how)
    assert call.json[0][0] == "ClientPayloadError"
    first, second = call.spans
    assert (first.status, first.attributes["error.type"]) == ("ERROR", MODULE + "ClientPayloadError")
    assert first.attributes[STATUS] == 200
    assert first.end_ns <= second.start_ns


@pytest.mark.parametrize("how", ["whole", "pieces"])
def test_a_timeout_within_a_body_is_an_error_of_this_exchange_alone(
    cases: Traced, packages: Libraries, how: str
) -> None:
    call = run_case(cases, "slow", 2, how=how)
    assert call.json[0][0] == "TimeoutError"
    assert told(call, STATUS, "error.type") == [(200, None), (200, timeout(packages))]


# Ways over the wire.


@pytest.mark.parametrize("how", ["plain", "tunnel"])
def test_a_proxy_is_not_the_server(cases: Traced, peers: AsyncPeers, how: str) -> None:
    call = run_case(cases, "proxy", how=how)
    assert call.json == 200
    scheme, port = ("http", 80) if how == "plain" else ("https", 443)
    assert told(call, URL, "server.address", "server.port") == [
        (f"{scheme}://shop.invalid/echo", "shop.invalid", port)
    ]
    proxy = peers.proxy if how == "plain" else peers.tunnel
    assert [request[0] for request in proxy.seen] == ["GET" if how == "plain" else "CONNECT"]
    assert ("traceparent" in proxy.seen[0][2]) == (how == "plain")
    assert_on_the_wire(peers.target if how == "plain" else peers.tls, call.spans)


def test_the_handshake_of_a_websocket_is_an_exchange(cases: Traced, peers: AsyncPeers) -> None:
    call = cases.get("/ws-connect", until=lambda spans: len(spans) == 5)
    handshake, echo, refused = where(call.spans, kind="CLIENT")
    socket = one(call.spans, kind="SERVER")
    assert {span.parent_id for span in (handshake, echo, refused)} == {call.server.span_id}
    assert socket.parent_id == handshake.span_id
    assert call.json[0] == f"00-{handshake.trace_id}-{handshake.span_id}-01"
    attributes = handshake.attributes
    assert (handshake.name, handshake.status, attributes[STATUS]) == ("GET", "UNSET", 101)
    assert re.fullmatch(r"ws://127\.0\.0\.1:\d+/ws", attributes[URL])
    assert attributes["server.port"] == int(attributes[URL].split(":")[2].removesuffix("/ws"))
    assert handshake.end_ns <= echo.start_ns
    assert (refused.status, refused.attributes["error.type"]) == ("ERROR", "404")


def test_many_calls_at_once_have_each_their_span(cases: Traced, peers: AsyncPeers) -> None:
    call = run_case(cases, "many", 80, calls="80")
    assert call.json == [200] * 80
    parents = {request["path"]: request["headers"]["traceparent"] for request in peers.target.seen}
    assert parents == {
        span.attributes[URL].removeprefix(peers.target.url): f"00-{span.trace_id}-{span.span_id}-01"
        for span in call.spans
    }


# What the application sees.


def test_the_applications_objects_are_as_they_were(cases: Traced, peers: AsyncPeers) -> None:
    call = run_case(cases, "unchanged", 2)
    assert "traceparent" not in call.response.text and "faa" not in call.response.text
    assert call.json[1] == {"X-Own": "1"}
    assert_on_the_wire(peers.target, call.spans)


UNCHANGED = """get?path=/redirect/2 get?path=/headers get?path=/status/404 unchanged own too-many
    secrets tls post function raise-for-status astray?answer=astray left?how=closed left?how=dropped
    broken?answer=short&how=whole broken?answer=short&how=pieces slow?how=whole proxy?how=plain
    fails?how=refused fails?how=timeout fails?how=tls cancel?how=task invalid""".split()


def test_answers_and_exceptions_are_the_same_without_the_agent(
    same_with_and_without: Callable[..., Any],
    receiver: HttpReceiver,
    peers: AsyncPeers,
    packages: Libraries,
) -> None:
    paths = [*(f"raw?answer={name}" for name in RAW), *UNCHANGED]
    if packages.has("aiohttp", "3.12"):
        paths.append("digest")

    def visit(server: Server) -> dict[str, Any]:
        return {path: masked(seen(server.get(f"/case/{path}"))) for path in paths}

    env = {**peers.env, **receiver.env}
    results = same_with_and_without("aiohttp_cases:app", visit, env=env)
    assert {result[0] for path, result in results.items()} == {200}
    assert len(where(receiver.spans, kind="CLIENT")) > len(paths)


def masked(answer: tuple[int, list[tuple[str, str]], bytes]) -> Any:
    """Returns it without the lengths of what the target saw of the trace, without addresses, and
    without how much of a header that is too long had come when aiohttp looked."""
    status, _, body = answer
    body = re.sub(rb"8190 bytes \(\d+\)", b"8190 bytes", body)
    body = re.sub(rb'\["Content-Length","\d+"\]', b"[length]", body)
    return status, re.sub(rb"0x[0-9a-f]+", b"0x", body)


# Settings.


def test_excluded_urls_have_no_span_and_tell_no_trace(
    tmp_path_factory: pytest.TempPathFactory, build: Path, peers: AsyncPeers
) -> None:
    env = {"OTEL_PYTHON_AIOHTTP_CLIENT_EXCLUDED_URLS": "/echo,/status/2.."}
    with served(tmp_path_factory, build, peers, **env) as server:
        run_case(server, "get", 0)
        run_case(server, "get", 2, path="/redirect/2")
        run_case(server, "get", 1, path="/status/404")
    silent = peers.target.headers("/echo")
    assert len(silent) == 2
    assert not any({"traceparent", "tracestate", "baggage"} & set(headers) for headers in silent)
    assert all("traceparent" in headers for headers in peers.target.headers("/redirect/1"))


def test_headers_are_captured_where_asked_for(
    tmp_path_factory: pytest.TempPathFactory, build: Path, peers: AsyncPeers
) -> None:
    env = {
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST": "user-agent,authorization",
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_RESPONSE": "x-many,set-cookie",
    }
    with served(tmp_path_factory, build, peers, **env) as server:
        span = one(run_case(server, "get", path="/headers").spans)
        assert "aiohttp" in span.attributes["http.request.header.user-agent"][0]
        assert span.attributes["http.response.header.x-many"] == ["one", "two"]
        assert set(span.attributes["http.response.header.set-cookie"]) == {"[REDACTED]"}
        span = one(run_case(server, "secrets").spans)
        assert span.attributes["http.request.header.authorization"] == ["[REDACTED]"]
        assert b"hush" not in server.sent


def test_the_trace_goes_out_in_the_chosen_formats(
    tmp_path_factory: pytest.TempPathFactory, build: Path, peers: AsyncPeers
) -> None:
    env = {"OTEL_PROPAGATORS": "b3multi,jaeger,baggage"}
    with served(tmp_path_factory, build, peers, **env) as server:
        server.server.client.get("/case/get", headers={"baggage": "shop=1"})
    headers = one(peers.target.seen)["headers"]
    assert headers["x-b3-traceid"] == headers["uber-trace-id"].split(":")[0]
    assert headers["baggage"] == "shop=1"
    assert "traceparent" not in headers


def test_turned_off_it_leaves_aiohttp_alone(
    tmp_path_factory: pytest.TempPathFactory, build: Path, peers: AsyncPeers
) -> None:
    env = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "aiohttp-client"}
    with served(tmp_path_factory, build, peers, **env) as server:
        run_case(server, "get", 0)
    assert "traceparent" not in one(peers.target.seen)["headers"]


def test_a_call_outside_of_a_request_begins_a_trace(
    run: Runner, receiver: HttpReceiver, peers: AsyncPeers
) -> None:
    code = f"""
import asyncio, aiohttp
async def main():
    async with aiohttp.ClientSession() as session, session.get("{peers.target.url}/echo") as r:
        print(r.status)
asyncio.run(main())
"""
    script = run.run([run.python, "-X", "dev", "-c", code], env=receiver.env)
    assert (script.status, script.stdout, script.stderr) == (0, "200\n", "")
    span = one(receiver.wait(1))
    assert (span.name, span.kind, span.parent_id) == ("GET", "CLIENT", "")
    assert one(peers.target.seen)["headers"]["traceparent"] == f"00-{span.trace_id}-{span.span_id}-01"

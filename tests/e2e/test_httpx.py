# SPDX-License-Identifier: MIT
"""httpx, sync and async: one CLIENT span for each exchange on the wire, which ends with its body."""

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
from harness.tree import assert_tree, one, where

__all__ = ["async_peers", "fresh"]

WAYS = ["sync", "async"]
# Before, a transport was given the parts of a request.
TRANSPORTS = pytest.mark.needs("httpx", "0.20")
OWN = f"00-{'a' * 32}-{'b' * 16}-01"


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def cases(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    build: Path,
    peers: AsyncPeers,
) -> Iterator[Traced]:
    """apps/httpx_cases.py; nothing secret has left it when its tests are over."""
    with served(tmp_path_factory, build, peers, "--loop", request.param) as server:
        yield server
        assert b"hush" not in server.sent


def served(
    factory: pytest.TempPathFactory, build: Path, peers: AsyncPeers, *args: str, **env: str
) -> Any:
    python = libraries.python()
    env = {**peers.env, **env}
    return traced(factory.mktemp("app"), build, python, "httpx_cases:app", *args, env=env)


def run_case(server: Traced, way: str, name: str, count: int = 1, **query: str) -> Call:
    """Runs a case; all its spans but the server's are CLIENT spans and the server's children."""
    text = "&".join(f"{key}={value}" for key, value in query.items())
    call = server.get(
        f"/{way}/{name}", params={"query": text}, until=lambda spans: len(spans) > count
    )
    assert call.response.status_code == 200, call.response.text
    assert len(call.spans) == count
    for span in call.spans:
        assert (span.kind, span.parent_id) == ("CLIENT", call.server.span_id)
        assert span.scope_name == "httpx"
    return call


def told(call: Call, *names: str) -> list[Any]:
    """Returns these attributes of each span, None for one that is not there."""
    return [tuple(span.attributes.get(name) for name in names) for span in call.spans]


STATUS, RESEND, URL = "http.response.status_code", "http.request.resend_count", "url.full"


# What a span tells.


@pytest.mark.parametrize("way", WAYS)
def test_an_exchange_is_a_client_span_with_the_attributes_of_the_conventions(
    cases: Traced, peers: AsyncPeers, way: str
) -> None:
    call = run_case(cases, way, "get")
    assert call.json["status"] == 200
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


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "BREW"])
def test_the_name_is_a_known_method(cases: Traced, peers: AsyncPeers, way: str, method: str) -> None:
    if method == "BREW":
        call = run_case(cases, way, "get", path="/status/200", method=method)
        span = one(call.spans)
        assert (span.name, span.attributes["http.request.method_original"]) == ("HTTP", "BREW")
    else:
        span = one(run_case(cases, way, "get", method=method).spans)
        assert (span.name, span.attributes["http.request.method"]) == (method, method)
        assert "http.request.method_original" not in span.attributes


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("status", [204, 304, 404, 503])
def test_status_from_400_on_is_an_error(cases: Traced, way: str, status: int) -> None:
    span = one(run_case(cases, way, "get", path=f"/status/{status}").spans)
    bad = status >= 400
    assert span.attributes[STATUS] == status
    assert (span.status, span.status_message) == ("ERROR" if bad else "UNSET", "")
    assert (span.attributes.get("error.type"), span.events) == (str(status) if bad else None, [])


@pytest.mark.parametrize("way", WAYS)
def test_credentials_and_secret_query_values_stay_home(
    cases: Traced, peers: AsyncPeers, way: str
) -> None:
    call = run_case(cases, way, "secrets")
    request = one(peers.target.seen)
    assert request["path"] == "/echo?sig=hush-2&page=7"
    address = peers.target.url.removeprefix("http://")
    url = one(call.spans).attributes[URL]
    assert url == f"http://REDACTED:REDACTED@{address}/echo?sig=REDACTED&page=7#part"
    assert request["headers"]["authorization"].split()[1].encode() not in cases.sent


@pytest.mark.parametrize("way", WAYS)
def test_tls_and_a_call_without_client(cases: Traced, peers: AsyncPeers, way: str) -> None:
    call = run_case(cases, way, "tls-get")
    assert one(call.spans).attributes[URL] == f"{peers.tls.url}/echo"
    assert_on_the_wire(peers.tls, call.spans)
    peers.forget()
    call = cases.get("/module")
    assert_tree([call.server, *call.spans], ("GET /module", "SERVER", [("GET", "CLIENT")]))
    assert_on_the_wire(peers.target, call.spans)


# Several exchanges in one call.


@pytest.mark.parametrize("way", WAYS)
def test_each_redirect_is_a_span_of_its_own(cases: Traced, peers: AsyncPeers, way: str) -> None:
    call = run_case(cases, way, "get", 3, path="/redirect/2")
    assert call.json["history"] == [302, 302]
    url = peers.target.url
    assert told(call, URL, STATUS, RESEND) == [
        (f"{url}/redirect/2", 302, None),
        (f"{url}/redirect/1", 302, 1),
        (f"{url}/echo", 200, 2),
    ]
    assert {span.status for span in call.spans} == {"UNSET"}
    assert_on_the_wire(peers.target, call.spans)


@pytest.mark.parametrize("way", WAYS)
def test_redirects_followed_by_hand_and_without_end(cases: Traced, way: str) -> None:
    call = run_case(cases, way, "redirect-manual", 2)
    assert call.json == [302, 200]
    assert told(call, STATUS, RESEND) == [(302, None), (200, 1)]
    call = run_case(cases, way, "too-many", 4)
    assert call.json[0][0] == "TooManyRedirects"
    assert told(call, STATUS, RESEND) == [(302, None), (302, 1), (302, 2), (302, 3)]
    assert {span.status for span in call.spans} == {"UNSET"}


@pytest.mark.parametrize("way", WAYS)
def test_steps_of_an_authentication_are_spans(cases: Traced, peers: AsyncPeers, way: str) -> None:
    call = run_case(cases, way, "digest", 2)
    assert call.json == [200, [401]]
    assert told(call, STATUS, RESEND, "error.type") == [(401, None, "401"), (200, 1, None)]
    assert_on_the_wire(peers.target, call.spans)
    peers.forget()
    call = run_case(cases, way, "digest", 4, path=f"/redirect-to?url={peers.target.url}/digest")
    assert [status for (status,) in told(call, STATUS)] == [302, 401, 302, 200]
    assert told(call, RESEND)[:2] == [(None,), (1,)]
    assert_on_the_wire(peers.target, call.spans)


@TRANSPORTS
@pytest.mark.parametrize("way", WAYS)
def test_retries_of_a_transport_are_spans(cases: Traced, peers: AsyncPeers, way: str) -> None:
    call = run_case(cases, way, "retry", 3, path=f"/fail/{os.urandom(4).hex()}/2/503")
    assert call.json["status"] == 200
    assert told(call, STATUS, RESEND, "error.type") == [
        (503, None, "503"),
        (503, 1, "503"),
        (200, 2, None),
    ]
    assert_on_the_wire(peers.target, call.spans)
    assert "traceparent" not in str(call.json)
    peers.forget()
    call = run_case(cases, way, "retry", 2, path=f"/drop/{os.urandom(4).hex()}/1")
    assert told(call, STATUS, RESEND) == [(None, None), (200, 1)]
    assert_unanswered(call.spans[0], "httpx.RemoteProtocolError")
    assert_on_the_wire(peers.target, call.spans)


@pytest.mark.parametrize("way", WAYS)
def test_an_own_trace_is_respected(cases: Traced, peers: AsyncPeers, way: str) -> None:
    call = run_case(cases, way, "own", 2)
    first, second = (request["headers"] for request in peers.target.seen)
    assert first["traceparent"] == OWN
    assert "tracestate" not in first
    span = call.spans[1]
    assert second["traceparent"] == f"00-{span.trace_id}-{span.span_id}-01"
    assert run_case(cases, way, "http2-own", own=OWN).json == OWN


@TRANSPORTS
@pytest.mark.parametrize("way", WAYS)
def test_an_own_trace_is_respected_by_retries(cases: Traced, peers: AsyncPeers, way: str) -> None:
    run_case(cases, way, "retry", 2, path=f"/fail/{os.urandom(4).hex()}/1/503", own=OWN)
    assert [request["headers"]["traceparent"] for request in peers.target.seen] == [OWN, OWN]


# Failures.


ERRORS = {
    "refused": "httpx.ConnectError",
    "tls": "httpx.ConnectError",
    "name": "httpx.ConnectError",
    "timeout": "httpx.ReadTimeout",
    "garbage": "httpx.RemoteProtocolError",
    "empty": "httpx.RemoteProtocolError",
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", ERRORS)
def test_an_exception_is_told_without_the_secrets_in_it(cases: Traced, way: str, how: str) -> None:
    call = run_case(cases, way, "fails", how=how)
    assert call.json[0][0] == ERRORS[how].removeprefix("httpx.")
    assert "hush" in call.response.text and "traceparent" not in call.response.text
    span = one(call.spans)
    silent = (how, way) == ("timeout", "async")
    assert_unanswered(span, ERRORS[how], says_nothing=silent)
    assert span.attributes[URL].endswith("?sig=REDACTED&page=7")
    assert call.server.status == "UNSET"


@pytest.mark.parametrize("how", ["wait-for", "task"])
def test_a_cancelled_call_has_not_failed(cases: Traced, peers: AsyncPeers, how: str) -> None:
    call = cases.get(f"/cancel/{how}")
    assert call.json == ("timeout" if how == "wait-for" else "CancelledError")
    span = one(call.spans)
    assert (span.status, span.events, span.parent_id) == ("UNSET", [], call.server.span_id)
    assert "error.type" not in span.attributes and STATUS not in span.attributes
    assert_on_the_wire(peers.target, call.spans)


# Bodies.


@pytest.mark.parametrize("way", WAYS)
def test_a_span_ends_when_the_body_has_been_read(cases: Traced, peers: AsyncPeers, way: str) -> None:
    call = run_case(cases, way, "gated", 2, key=os.urandom(4).hex())
    assert call.json == "first secon"
    streamed, other = call.spans
    assert streamed.start_ns < other.start_ns < other.end_ns < streamed.end_ns
    assert told(call, STATUS, "error.type") == [(200, None), (200, None)]
    assert_on_the_wire(peers.target, call.spans)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", ["closed", "partly", "raised", "dropped"])
def test_a_span_ends_when_the_answer_is_left_unread(cases: Traced, way: str, how: str) -> None:
    call = run_case(cases, way, "left", 2, how=how)
    first, second = call.spans
    assert first.end_ns <= second.start_ns
    assert told(call, STATUS, "error.type") == [(200, None), (200, None)]
    assert first.status == "UNSET"


@pytest.mark.parametrize("way", WAYS)
def test_a_body_that_breaks_is_an_error_at_that_moment(cases: Traced, way: str) -> None:
    call = run_case(cases, way, "broken", 2, answer="chunks-short")
    assert call.json[0][0][0] == "RemoteProtocolError"
    first, second = call.spans
    assert (first.status, first.attributes["error.type"]) == ("ERROR", "httpx.RemoteProtocolError")
    assert first.attributes[STATUS] == 200
    assert one(first.events).attributes["exception.type"] == "httpx.RemoteProtocolError"
    assert first.end_ns <= second.start_ns
    span = one(run_case(cases, way, "raw", answer="short").spans)
    assert span.attributes["error.type"] == "httpx.RemoteProtocolError"


@pytest.mark.parametrize("way", WAYS)
def test_many_chunks_are_one_span(cases: Traced, way: str) -> None:
    call = run_case(cases, way, "chunks")
    assert call.json == sum(len(f"chunk {i}\n") for i in range(50))


# Ways over the wire.


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", ["plain", "tunnel"])
def test_a_proxy_is_not_the_server(cases: Traced, peers: AsyncPeers, way: str, how: str) -> None:
    call = run_case(cases, way, "proxy", how=how)
    assert call.json == 200
    scheme, port = ("http", 80) if how == "plain" else ("https", 443)
    assert told(call, URL, "server.address", "server.port") == [
        (f"{scheme}://shop.invalid/echo", "shop.invalid", port)
    ]
    proxy = peers.proxy if how == "plain" else peers.tunnel
    assert [request[0] for request in proxy.seen] == ["GET" if how == "plain" else "CONNECT"]
    assert ("traceparent" in proxy.seen[0][2]) == (how == "plain")
    assert_on_the_wire(peers.target if how == "plain" else peers.tls, call.spans)


@pytest.mark.parametrize("way", WAYS)
def test_many_streams_of_one_http2_connection(cases: Traced, way: str) -> None:
    call = run_case(cases, way, "http2", 20, streams="20")
    assert {answer[0] for answer in call.json} == {"HTTP/2"}
    assert {span.attributes["network.protocol.version"] for span in call.spans} == {"2"}
    by_number = {int(span.attributes[URL].split("n=")[1]): span for span in call.spans}
    for _, number, traceparent in call.json:
        span = by_number.pop(number)
        assert traceparent == f"00-{span.trace_id}-{span.span_id}-01"
    assert by_number == {}


@pytest.mark.parametrize("way", WAYS)
def test_many_calls_at_once_have_each_their_span(cases: Traced, peers: AsyncPeers, way: str) -> None:
    call = run_case(cases, way, "many", 60, calls="60")
    assert call.json == [200] * 60
    parents = {request["path"]: request["headers"]["traceparent"] for request in peers.target.seen}
    assert parents == {
        span.attributes[URL].removeprefix(peers.target.url): f"00-{span.trace_id}-{span.span_id}-01"
        for span in call.spans
    }


def test_a_call_of_the_application_itself_is_two_spans(cases: Traced) -> None:
    call = cases.get("/asgi")
    assert call.json == "inside"
    inside = [("GET", "CLIENT", [("GET /inner", "SERVER")])]
    assert_tree([call.server, *call.spans], ("GET /asgi", "SERVER", inside))
    assert "network.protocol.version" not in one(call.spans, kind="CLIENT").attributes


@TRANSPORTS
def test_a_transport_that_calls_somebody_else_first(cases: Traced, peers: AsyncPeers) -> None:
    call = cases.get("/nested")
    assert call.json == ["200"]
    inside = [("GET", "CLIENT", [("GET", "CLIENT")])]
    assert_tree([call.server, *call.spans], ("GET /nested", "SERVER", inside))
    assert told(call, URL, RESEND) == [
        (f"{peers.target.url}/echo", None),
        (f"{peers.target.url}/token", None),
    ]
    outer, inner = call.spans
    traces = [request["headers"]["traceparent"] for request in peers.target.seen]
    assert traces == [f"00-{s.trace_id}-{s.span_id}-01" for s in (inner, outer)]


# What the application sees.


@pytest.mark.parametrize("way", WAYS)
def test_the_applications_objects_are_as_they_were(cases: Traced, peers: AsyncPeers, way: str) -> None:
    call = run_case(cases, way, "unchanged")
    facts = call.json
    assert facts["same"] == [True, True]
    before, after, pickled = facts["headers"]
    assert before == after == pickled
    assert "traceparent" not in str(facts) and "faa" not in str(facts)
    assert_on_the_wire(peers.target, call.spans)


@TRANSPORTS
@pytest.mark.parametrize("way", WAYS)
def test_what_a_transport_does_to_the_headers_stays(cases: Traced, peers: AsyncPeers, way: str) -> None:
    call = run_case(cases, way, "signing")
    headers = call.json["request"][2]
    assert ["x-signed", "1"] in headers and ["accept", "text/plain"] in headers
    assert "traceparent" not in str(headers)
    assert_on_the_wire(peers.target, call.spans)
    assert one(peers.target.seen)["headers"]["x-signed"] == "1"


@pytest.mark.parametrize("way", WAYS)
def test_a_request_sent_again_or_at_once_is_as_it_was(
    cases: Traced, peers: AsyncPeers, way: str
) -> None:
    run_case(cases, way, "twice", 2)
    assert len({request["headers"]["traceparent"] for request in peers.target.seen}) == 2
    peers.forget()
    call = run_case(cases, way, "shared", 4)
    assert call.json == [[200] * 4, True]
    own = {f"00-{span.trace_id}-{span.span_id}-01" for span in call.spans}
    on_the_wire = [request["headers"]["traceparent"] for request in peers.target.seen]
    assert set(on_the_wire) <= own
    if way == "async":
        assert sorted(on_the_wire) == sorted(own)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", ["mock", "mounted", pytest.param("replaced", marks=TRANSPORTS)])
def test_a_transport_without_wire_sees_the_trace(cases: Traced, way: str, how: str) -> None:
    call = run_case(cases, way, how)
    span = one(call.spans)
    assert call.json["traceparent"] == f"00-{span.trace_id}-{span.span_id}-01"
    assert told(call, STATUS, "network.protocol.version") == [(200, None)]


HOSTILE = [f"{way}/raw?query=answer={name}" for way in WAYS for name in RAW]
UNCHANGED = """get?query=path=/redirect/2 get?query=path=/headers get?query=path=/status/404 digest
    redirect-manual unchanged twice own left?query=how=partly left?query=how=dropped
    broken?query=answer=short chunks mock mounted proxy?query=how=plain too-many secrets tls-get
    fails?query=how=refused fails?query=how=timeout fails?query=how=tls""".split()


def test_answers_and_exceptions_are_the_same_without_the_agent(
    same_with_and_without: Callable[..., Any],
    receiver: HttpReceiver,
    peers: AsyncPeers,
    packages: Libraries,
) -> None:
    transports = ["signing", "replaced"] if packages.has("httpx", "0.20") else []
    paths = [*HOSTILE, *(f"{way}/{path}" for way in WAYS for path in [*UNCHANGED, *transports])]

    def visit(server: Server) -> dict[str, Any]:
        return {path: masked(seen(server.get(f"/{path}"))) for path in paths}

    env = {**peers.env, **receiver.env}
    results = same_with_and_without("httpx_cases:app", visit, env=env)
    assert {result[0] for path, result in results.items()} == {200}
    assert len(where(receiver.spans, kind="CLIENT")) > len(paths)


def masked(answer: tuple[int, list[tuple[str, str]], bytes]) -> Any:
    """Returns it without what the target saw of the trace, and without addresses in memory."""
    status, _, body = answer
    body = re.sub(rb'\["content-length","\d+"\]|,?"traceparent":"[^"]*"', b"", body)
    return status, re.sub(rb"cancel scope [0-9a-f]+", b"cancel scope", body)


# Settings.


def test_excluded_urls_have_no_span_and_tell_no_trace(
    tmp_path_factory: pytest.TempPathFactory, build: Path, peers: AsyncPeers
) -> None:
    env = {"OTEL_PYTHON_HTTPX_EXCLUDED_URLS": "/echo,/status/2.."}
    with served(tmp_path_factory, build, peers, **env) as server:
        for way in WAYS:
            run_case(server, way, "get", 0)
            run_case(server, way, "get", 2, path="/redirect/2")
            run_case(server, way, "get", 1, path="/status/404")
    silent = peers.target.headers("/echo")
    assert len(silent) == 4
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
        for way in WAYS:
            span = one(run_case(server, way, "get", path="/headers").spans)
            assert span.attributes["http.request.header.user-agent"][0].startswith("python-httpx")
            assert span.attributes["http.response.header.x-many"] == ["one", "two"]
            assert set(span.attributes["http.response.header.set-cookie"]) == {"[REDACTED]"}
            span = one(run_case(server, way, "secrets").spans)
            assert span.attributes["http.request.header.authorization"] == ["[REDACTED]"]
        assert b"hush" not in server.sent


def test_the_trace_goes_out_in_the_chosen_formats(
    tmp_path_factory: pytest.TempPathFactory, build: Path, peers: AsyncPeers
) -> None:
    env = {"OTEL_PROPAGATORS": "b3multi,jaeger,baggage"}
    with served(tmp_path_factory, build, peers, **env) as server:
        for way in WAYS:
            peers.forget()
            server.server.client.get(f"/{way}/get", headers={"baggage": "shop=1"})
            headers = one(peers.target.seen)["headers"]
            assert headers["x-b3-traceid"] == headers["uber-trace-id"].split(":")[0]
            assert headers["baggage"] == "shop=1"
            assert "traceparent" not in headers


def test_turned_off_it_leaves_httpx_alone(
    tmp_path_factory: pytest.TempPathFactory, build: Path, peers: AsyncPeers
) -> None:
    env = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "httpx"}
    with served(tmp_path_factory, build, peers, **env) as server:
        run_case(server, "sync", "get", 0)
        run_case(server, "async", "get", 0)
    assert not any("traceparent" in request["headers"] for request in peers.target.seen)


TRIO = """
import httpx, trio
async def main():
    async with httpx.AsyncClient(trust_env=False) as client:
        print((await client.get("{url}/echo")).status_code)
        async with client.stream("GET", "{url}/chunks/3") as response:
            print(len([piece async for piece in response.aiter_lines()]))
        with trio.move_on_after(0.2) as scope:
            await client.get("{url}/hang")
        print(scope.cancelled_caught)
trio.run(main)
"""


def test_under_trio_it_is_the_same(run: Runner, receiver: HttpReceiver, peers: AsyncPeers) -> None:
    code = TRIO.format(url=peers.target.url)
    script = run.run([run.python, "-c", code], env=receiver.env)
    assert (script.status, script.stdout, script.stderr) == (0, "200\n3\nTrue\n", "")
    spans = sorted(receiver.wait(3), key=lambda span: span.start_ns)
    assert [span.attributes.get(STATUS) for span in spans] == [200, 200, None]
    assert {(span.status, span.parent_id) for span in spans} == {("UNSET", "")}
    parents = [request["headers"]["traceparent"] for request in peers.target.seen]
    assert parents == [f"00-{span.trace_id}-{span.span_id}-01" for span in spans]

# SPDX-License-Identifier: MIT
"""requests: one CLIENT span for each HTTP exchange, the trace on the wire, and no secrets."""

import os
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from harness import http_peers, libraries
from harness.compare import seen
from harness.http_peers import assert_unanswered, fresh, told
from harness.jaeger import Jaeger
from harness.process import Runner, Server
from harness.raw import RawServer
from harness.receiver import HttpReceiver
from harness.target import Target
from harness.traced import Call, Traced, traced
from harness.tree import assert_tree, one, where
from http_client_cases import HttpClientCases, codes, rules, serve

__all__ = ["fresh"]


class Peers(http_peers.Peers):
    """The servers that the applications call."""

    def __init__(self) -> None:
        super().__init__()
        self.garbage = RawServer("talk", b"no HTTP at all\r\n\r\n")
        self.old = RawServer("talk", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        self.env = {
            "TARGET_URL": self.target.url,
            "RAW_URL": self.garbage.endpoint,
            "OLD_URL": self.old.endpoint,
            "CLOSED_URL": self.closed.endpoint,
        }

    def stop(self) -> None:
        super().stop()
        for server in (self.garbage, self.old):
            server.stop()


@pytest.fixture(scope="module")
def peers() -> Iterator[Peers]:
    servers = Peers()
    yield servers
    servers.stop()


def served(factory: pytest.TempPathFactory, build: Path, app: str, peers: Peers) -> Any:
    python = libraries.python()
    return traced(factory.mktemp("app"), build, python, app, env=peers.env)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, build: Path) -> Iterator[Traced]:
    """apps/calling_requests.py, which makes any call."""
    with serve(tmp_path_factory, build, "calling_requests:app", rules("REQUESTS")) as server:
        yield server


class TestRequests(HttpClientCases):
    app = "calling_requests:app"
    scope = "requests"
    redirects_max = 31
    errors = {
        "redirects": "requests.exceptions.TooManyRedirects",
        "refused": "requests.exceptions.ConnectionError",
        "timeout": "requests.exceptions.ReadTimeout",
        "garbage": "requests.exceptions.ConnectionError",
        "empty": "requests.exceptions.ConnectionError",
        "name": "requests.exceptions.ConnectionError",
        "tls": "requests.exceptions.SSLError",
        "proxy-refused": "requests.exceptions.ProxyError",
        "proxy-407": "requests.exceptions.ProxyError",
        "body-short": "urllib3.exceptions.ProtocolError",
        "body-chunks-short": "urllib3.exceptions.ProtocolError",
        "body-chunks-bad": "urllib3.exceptions.ProtocolError",
    }
    # The exchange has failed in urllib3's hands; requests gives its own names to that.
    raised = dict.fromkeys(
        ["body-short", "body-chunks-short", "body-chunks-bad"],
        "requests.exceptions.ChunkedEncodingError",
    )

    @property
    def turned_off(self) -> str:
        return "requests,urllib3"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, build: Path, peers: Peers) -> Iterator[Traced]:
    """apps/client.py, what most applications do."""
    with served(tmp_path_factory, build, "client:app", peers) as server:
        yield server
        assert b"hush" not in server.sent


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory, build: Path, peers: Peers) -> Iterator[Traced]:
    """apps/http_cases.py; nothing secret has left it when its tests are over."""
    with served(tmp_path_factory, build, "http_cases:app", peers) as server:
        yield server
        assert b"hush" not in server.sent


def assert_on_the_wire(call: Call, target: Target, state: str | None = None) -> None:
    """Asserts that the target saw each CLIENT span of a call as its parent, in their order."""
    parents = [request["headers"].get("traceparent") for request in target.seen]
    assert parents == [f"00-{span.trace_id}-{span.span_id}-01" for span in call.spans]
    assert {request["headers"].get("tracestate") for request in target.seen} == {state}


# What a span tells.


@pytest.mark.parametrize("path", ["/sync", "/async", "/pooled", "/module", "/headers-none"])
def test_each_way_to_call_is_one_span(plain: Traced, peers: Peers, path: str) -> None:
    call = plain.get(path)
    assert call.json
    assert_tree(
        [call.server, *call.spans],
        (f"GET {call.server.attributes['http.route']}", "SERVER", [("GET", "CLIENT")]),
    )
    assert_on_the_wire(call, peers.target)


def test_the_protocols_version_is_the_answers(cases: Traced) -> None:
    call = cases.get("/old")
    assert call.json["body"] == "hi"
    assert one(call.spans).attributes["network.protocol.version"] == "1.0"


# Redirects and other exchanges behind one call.


def test_redirects_followed_by_hand_are_spans(cases: Traced, peers: Peers) -> None:
    call = cases.get("/redirect/manual")
    assert call.json == [302, 200]
    assert codes(call.spans) == [(302, None), (302, None), (200, None)]  # Three calls.
    assert_on_the_wire(call, peers.target)


def test_a_request_sent_again_by_a_hook_is_two_spans(cases: Traced, peers: Peers) -> None:
    call = cases.get("/resend")
    assert call.json == [401, 1]
    assert codes(call.spans) == [(401, None), (401, 1)]
    assert {span.parent_id for span in call.spans} == {call.server.span_id}
    assert_on_the_wire(call, peers.target)


def test_retries_inside_urllib3_are_spans_of_their_own(cases: Traced, peers: Peers) -> None:
    call = cases.get("/retry")
    assert call.json == 503
    assert codes(call.spans) == [(503, None), (503, 1), (503, 2)]
    assert {(span.status, span.attributes["error.type"]) for span in call.spans} == {
        ("ERROR", "503")
    }
    assert {span.parent_id for span in call.spans} == {call.server.span_id}
    assert {span.scope_name for span in call.spans} == {"requests"}
    for earlier, later in pairwise(call.spans):
        assert earlier.end_ns <= later.start_ns
    assert_on_the_wire(call, peers.target)


def test_retries_that_end_in_an_exception(cases: Traced, peers: Peers) -> None:
    call = cases.get("/retry/raises")
    assert call.json == "RetryError"
    first, last = call.spans
    assert (first.attributes["error.type"], first.events) == ("503", [])
    error = "requests.exceptions.RetryError"
    assert (last.status, last.attributes["error.type"]) == ("ERROR", error)
    assert one(last.events).attributes["exception.type"] == error
    assert codes(call.spans) == [(503, None), (503, 1)]
    assert_on_the_wire(call, peers.target)


def test_a_pause_before_a_retry_belongs_to_no_exchange(cases: Traced, peers: Peers) -> None:
    call = cases.get("/retry/pauses")
    assert call.json == 200
    assert codes(call.spans) == [(503, None), (503, 1), (200, 2)]
    _, second, third = call.spans
    assert third.start_ns - second.end_ns >= 190_000_000  # The policy's 0.2 s.
    assert call.server.end_ns - call.server.start_ns >= 190_000_000


def test_an_exchange_that_broke_is_told_apart_from_its_retry(cases: Traced, peers: Peers) -> None:
    call = cases.get("/retry/dropped")
    assert call.json == 200
    assert codes(call.spans) == [(None, None), (200, 1)]
    first, second = call.spans
    assert first.attributes["error.type"] == "urllib3.exceptions.ProtocolError"
    assert one(first.events).attributes["exception.type"] == "urllib3.exceptions.ProtocolError"
    assert (second.status, second.events) == ("UNSET", [])
    assert_on_the_wire(call, peers.target)


def test_retries_and_redirects_are_counted_together(cases: Traced, peers: Peers) -> None:
    call = cases.get("/retry/redirected")
    assert call.json == 200
    assert codes(call.spans) == [(302, None), (503, 1), (503, 2), (200, 3)]
    assert_on_the_wire(call, peers.target)


@pytest.mark.parametrize("scheme", ["basic", "digest"])
def test_an_answer_to_a_challenge_is_counted(cases: Traced, peers: Peers, scheme: str) -> None:
    call = cases.get(f"/auth/{scheme}")
    assert call.json == 200
    expected = {"basic": [(200, None)], "digest": [(401, None), (200, 1)]}
    assert codes(call.spans) == expected[scheme]
    assert_on_the_wire(call, peers.target)


def test_each_call_counts_for_itself(cases: Traced, peers: Peers) -> None:
    """One session: a call in a hook of another one, and calls one after the other."""
    call = cases.get("/counted")
    assert call.json == [200, 200, 200]
    found = [
        (span.attributes["url.full"].rpartition("/")[2], *codes([span])[0]) for span in call.spans
    ]
    assert found == [
        ("1", 302, None),
        ("token", 200, None),
        ("echo", 200, 1),
        ("token", 200, None),
        ("last", 200, None),
    ]
    assert_on_the_wire(call, peers.target)


def test_what_the_application_sends_again_is_a_new_call(cases: Traced, peers: Peers) -> None:
    call = cases.get("/again")
    assert call.json == [503, 503, 503]
    assert codes(call.spans) == [(503, None)] * 3
    assert_on_the_wire(call, peers.target)


def test_a_request_that_is_sent_again_in_its_call_is_counted(cases: Traced, peers: Peers) -> None:
    call = cases.get("/persistent")
    assert call.json == [503, 401]
    assert codes(call.spans) == [(503, None), (503, 1), (401, None), (401, 1)]
    assert {span.parent_id for span in call.spans} == {call.server.span_id}
    assert_on_the_wire(call, peers.target)


def test_an_exchange_that_is_over_is_nobodys_parent(cases: Traced, peers: Peers) -> None:
    """Not even in a context that was copied while it was current."""
    call = cases.get("/copied")
    assert call.json == [200, 200, 200]
    assert [span.parent_id for span in call.spans] == [call.server.span_id] * 3
    assert_on_the_wire(call, peers.target)


def test_a_call_made_while_a_body_is_sent_is_an_exchange_of_its_own(
    cases: Traced, peers: Peers
) -> None:
    call = cases.get("/upload")
    assert call.json == [200, "bytes by requests, bytes by urllib3, "]
    spans = {span.attributes["url.full"].rpartition("/")[2]: span for span in call.spans}
    upload = spans.pop("upload")
    assert upload.parent_id == call.server.span_id
    assert {(span.scope_name, span.parent_id) for span in spans.values()} == {
        ("requests", upload.span_id),
        ("urllib3", upload.span_id),
    }
    for request in peers.target.seen:
        span = upload if request["path"] == "/upload" else spans[request["path"][1:]]
        assert request["headers"]["traceparent"] == told(span)


# Failures.


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/fails/refused", "requests.exceptions.ConnectionError"),
        ("/fails/timeout", "requests.exceptions.ReadTimeout"),
        ("/fails/tls", "requests.exceptions.SSLError"),
        ("/fails/invalid", "requests.exceptions.ConnectionError"),
        ("/fails/name", "requests.exceptions.ConnectionError"),
    ],
)
def test_an_exception_is_told_without_the_secrets_in_it(
    cases: Traced, path: str, error: str
) -> None:
    call = cases.get(path)
    assert "hush" in call.response.text  # The application sees them.
    span = one(call.spans)
    assert_unanswered(span, error)
    assert "REDACTED" in span.attributes["url.full"]
    assert span.attributes["server.port"] > 0
    assert call.server.status == "UNSET"
    assert b"hush" not in cases.sent


def test_an_exception_that_leaves_the_endpoint_tells_no_secret(cases: Traced) -> None:
    call = cases.get("/fails/unhandled")
    assert call.response.status_code == 500
    assert_unanswered(one(call.spans), "requests.exceptions.ConnectionError")
    assert call.server.attributes["error.type"] == "requests.exceptions.ConnectionError"
    assert b"hush" not in cases.sent


def test_a_url_that_cannot_be_called_is_no_exchange(plain: Traced) -> None:
    call = plain.get("/bad-url")
    assert call.json == {"error": "InvalidURL"}
    assert call.spans == []


def test_raise_for_status_is_the_applications(cases: Traced) -> None:
    call = cases.get("/raise-for-status")
    assert call.json == "404 Client Error: Not Found for url: TARGET/status/404"
    assert one(call.spans).events == []


# Secrets.


def test_credentials_and_secret_query_values_stay_home(plain: Traced, peers: Peers) -> None:
    call = plain.get("/secrets")
    request = one_request(peers)
    assert request["path"].endswith("X-Goog-Signature=hush-3&AWSAccessKeyId=hush-4")
    assert request["headers"]["authorization"].startswith("Basic ")
    query = "a=1&sig=REDACTED&Signature=REDACTED&X-Goog-Signature=REDACTED&AWSAccessKeyId=REDACTED"
    address = peers.target.url.removeprefix("http://")
    url = one(call.spans).attributes["url.full"]
    assert url == f"http://REDACTED:REDACTED@{address}/echo?{query}#part"
    assert b"hush" not in plain.sent
    assert request["headers"]["authorization"].split()[1].encode() not in plain.sent


# The trace on the wire.


def one_request(peers: Peers) -> dict[str, Any]:
    (request,) = peers.target.seen
    return request


def test_tracestate_goes_along(plain: Traced, peers: Peers) -> None:
    call = plain.get("/redirect/1", headers={"tracestate": "shop=1,other=x"})
    assert len(call.spans) == 2
    assert_on_the_wire(call, peers.target, state="shop=1,other=x")
    assert {span.trace_state for span in call.spans} == {"shop=1,other=x"}


def test_an_own_traceparent_is_respected(cases: Traced, peers: Peers) -> None:
    call = cases.get("/own", headers={"tracestate": "shop=1"})
    assert call.json == [200, 200]
    first, second = (request["headers"] for request in peers.target.seen)
    assert first["traceparent"] == f"00-{'a' * 32}-{'b' * 16}-01"
    assert "tracestate" not in first  # It belongs to another trace.
    span = call.spans[1]
    assert second["traceparent"] == f"00-{span.trace_id}-{span.span_id}-01"
    assert second["tracestate"] == "mine=1"


def test_a_call_outside_of_a_request_begins_a_trace(
    run: Runner, receiver: HttpReceiver, peers: Peers
) -> None:
    code = f"import requests; print(requests.get({peers.target.url!r}).status_code)"
    script = run.run([run.python, "-c", code], env=receiver.env)
    assert (script.status, script.stdout, script.stderr) == (0, "200\n", "")
    span = one(receiver.wait(1))
    assert (span.name, span.kind, span.parent_id) == ("GET", "CLIENT", "")
    sent = one_request(peers)["headers"]["traceparent"]
    assert sent == f"00-{span.trace_id}-{span.span_id}-01"


# Ways to use requests.


def test_the_applications_objects_are_as_they_were(cases: Traced, peers: Peers) -> None:
    call = cases.get("/unchanged", headers={"tracestate": "shop=1"})
    facts = call.json
    assert facts["same"] == [True, True]
    before, after = facts["headers"]
    assert before == after
    assert "traceparent" not in str(facts).lower() and "tracestate" not in str(facts).lower()
    assert_on_the_wire(call, peers.target, state="shop=1")


def test_a_prepared_request_sent_twice_has_two_spans_on_the_wire(
    cases: Traced, peers: Peers
) -> None:
    call = cases.get("/twice")
    assert call.json == [200, 200]
    assert len({span.span_id for span in call.spans}) == 2
    assert_on_the_wire(call, peers.target)


def test_a_prepared_request_that_two_threads_send_is_as_it_was(cases: Traced, peers: Peers) -> None:
    call = cases.get("/shared")
    assert call.json == ["ReadTimeout", "ReadTimeout", True]
    assert len(call.spans) == 2
    own = {f"00-{span.trace_id}-{span.span_id}-01" for span in call.spans}
    assert {request["headers"]["traceparent"] for request in peers.target.seen} <= own


@pytest.mark.parametrize(
    "path", ["/subclass", "/adapter/positional", "/adapter/keyword", "/adapter/unbound"]
)
def test_subclasses_are_traced_once(cases: Traced, peers: Peers, path: str) -> None:
    call = cases.get(path)
    assert call.json == 200
    assert len(call.spans) == 1
    assert_on_the_wire(call, peers.target)


def test_an_adapter_without_http_is_left_alone(cases: Traced) -> None:
    call = cases.get("/canned")
    assert (call.json, call.spans) == ("canned", [])


def test_a_streamed_answer_is_one_span(cases: Traced, peers: Peers) -> None:
    call = cases.get("/stream")
    assert call.json is True
    assert len(call.spans) == 1
    assert_on_the_wire(call, peers.target)


UNCHANGED = """fails/refused fails/timeout fails/tls fails/invalid fails/name fails/unhandled old
    twice subclass adapter/positional adapter/keyword adapter/unbound canned stream retry
    retry/raises proxy redirect/manual resend raise-for-status""".split()


def test_answers_and_exceptions_are_the_same_without_the_agent(
    same_with_and_without: Callable[..., Any], receiver: HttpReceiver, peers: Peers
) -> None:
    def visit(server: Server) -> dict[str, Any]:
        results = {path: seen(server.get(f"/{path}")) for path in UNCHANGED}
        unchanged = server.get("/unchanged").json()
        return {**results, "unchanged": unchanged, "redirect": without_trace(server)}

    def without_trace(server: Server) -> Any:
        answer = server.get("/redirect").json()
        answer.pop("body")  # What the target saw: there the trace belongs.
        return answer

    env = {**peers.env, **receiver.env}
    results = same_with_and_without("http_cases:app", visit, env=env)
    assert where(receiver.spans, kind="CLIENT")
    statuses = [result[0] for path, result in results.items() if path in UNCHANGED]
    assert sorted(statuses) == [200] * (len(UNCHANGED) - 1) + [500]


def test_each_of_the_two_can_be_turned_off(
    run: Runner, receiver: HttpReceiver, peers: Peers
) -> None:
    """Without urllib3's part retries are not told apart; without that of requests they all are."""
    found = {}
    for off in ("urllib3", "requests"):
        receiver.clear()
        peers.forget()
        env = {**receiver.env, **peers.env, "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": off}
        server = run.uvicorn("http_cases:app", env=env)
        assert server.get("/retry").json() == 503
        assert server.stop() == -15
        spans = where(receiver.spans, kind="CLIENT")
        found[off] = [(span.scope_name, *codes([span])[0]) for span in spans]
        own = {request["headers"]["traceparent"] for request in peers.target.seen}
        assert own == {told(span) for span in spans}
        assert len(peers.target.seen) == 3
    assert found == {
        "urllib3": [("requests", 503, None)],
        "requests": [("urllib3", 503, None), ("urllib3", 503, 1), ("urllib3", 503, 2)],
    }


def test_calls_are_seen_in_jaeger(run: Runner, jaeger: Jaeger, peers: Peers) -> None:
    service = f"http-{os.urandom(4).hex()}"
    env = {
        **peers.env,
        "OTEL_SERVICE_NAME": service,
        "OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.http_endpoint,
    }
    server = run.uvicorn("client:app", env=env)
    assert server.get("/redirect/1").status_code == 200
    assert server.get("/status/404").status_code == 200
    assert server.stop() == -15
    ids = {
        span["operationName"]: trace["traceID"]
        for trace in jaeger.traces(service)
        for span in trace["spans"]
        if not span["references"]
    }
    spans = jaeger.wait(ids["GET /redirect/{count}"], 3)
    children = [("GET", "CLIENT"), ("GET", "CLIENT")]
    assert_tree(spans, ("GET /redirect/{count}", "SERVER", children))
    assert [span for span in spans if "@jaeger@warnings" in span.attributes] == []
    failed = where(jaeger.wait(ids["GET /status/{status}"], 2), kind="CLIENT")
    assert one(failed).attributes["error.type"] == "404"

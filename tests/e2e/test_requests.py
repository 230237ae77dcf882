# SPDX-License-Identifier: MIT
"""requests: one CLIENT span for each HTTP exchange, the trace on the wire, and no secrets."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.compare import seen
from harness.jaeger import Jaeger
from harness.otlp import Span
from harness.process import Runner, Server
from harness.raw import RawServer
from harness.receiver import HttpReceiver
from harness.target import Target
from harness.traced import Call, Traced, traced
from harness.tree import assert_tree, one, where


class Peers:
    """The servers that the applications call."""

    def __init__(self) -> None:
        self.target = Target()
        self.garbage = RawServer("talk", b"no HTTP at all\r\n\r\n")
        self.old = RawServer("talk", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        self.closed = RawServer("refuse")
        self.env = {
            "TARGET_URL": self.target.url,
            "RAW_URL": self.garbage.endpoint,
            "OLD_URL": self.old.endpoint,
            "CLOSED_URL": self.closed.endpoint,
        }

    def stop(self) -> None:
        for server in (self.target, self.garbage, self.old, self.closed):
            server.stop()


@pytest.fixture(scope="module")
def peers() -> Iterator[Peers]:
    servers = Peers()
    yield servers
    servers.stop()


@pytest.fixture(autouse=True)
def _fresh(peers: Peers) -> None:
    peers.target.seen.clear()


def served(factory: pytest.TempPathFactory, build: Path, app: str, peers: Peers) -> Any:
    python = os.environ.get("FAA_TEST_PYTHON") or sys.executable
    return traced(factory.mktemp("app"), build, python, app, env=peers.env)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, build: Path, peers: Peers) -> Iterator[Traced]:
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


def assert_failed(span: Span, error: str) -> None:
    """Asserts that a span tells an exception, in the three places where that belongs."""
    assert (span.status, span.attributes["error.type"]) == ("ERROR", error)
    assert "http.response.status_code" not in span.attributes
    event = one(span.events)
    assert (event.name, event.attributes["exception.type"]) == ("exception", error)
    assert event.attributes["exception.message"] == span.status_message != ""
    assert event.attributes["exception.stacktrace"].startswith("Traceback")


# What a span tells.


def test_an_exchange_is_a_client_span_with_the_attributes_of_the_conventions(
    client: Traced, peers: Peers
) -> None:
    call = client.get("/sync")
    assert call.json["status"] == 200
    span = one(call.spans)
    assert (span.name, span.kind, span.status) == ("GET", "CLIENT", "UNSET")
    assert (span.parent_id, span.events, span.links) == (call.server.span_id, [], [])
    assert span.attributes == {
        "http.request.method": "GET",
        "url.full": f"{peers.target.url}/echo",
        "server.address": "127.0.0.1",
        "server.port": peers.target.port,
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
    }
    assert span.scope_name == "requests"
    assert call.server.start_ns <= span.start_ns <= span.end_ns <= call.server.end_ns
    assert_on_the_wire(call, peers.target)


@pytest.mark.parametrize("path", ["/sync", "/async", "/pooled", "/module", "/headers-none"])
def test_each_way_to_call_is_one_span(client: Traced, peers: Peers, path: str) -> None:
    call = client.get(path)
    assert call.json
    assert_tree(
        [call.server, *call.spans],
        (f"GET {call.server.attributes['http.route']}", "SERVER", [("GET", "CLIENT")]),
    )
    assert_on_the_wire(call, peers.target)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
def test_the_name_is_the_method(client: Traced, peers: Peers, method: str) -> None:
    call = client.get(f"/method/{method}")
    span = one(call.spans)
    assert (span.name, span.attributes["http.request.method"]) == (method, method)
    assert "http.request.method_original" not in span.attributes
    assert_on_the_wire(call, peers.target)


def test_an_unknown_method_has_a_name_of_low_cardinality(client: Traced) -> None:
    span = one(client.get("/method/BREW").spans)
    assert span.name == "HTTP"
    assert span.attributes["http.request.method"] == "_OTHER"
    assert span.attributes["http.request.method_original"] == "BREW"


@pytest.mark.parametrize("status", [200, 204, 304, 400, 404, 418, 500, 503])
def test_status_from_400_on_is_an_error(client: Traced, status: int) -> None:
    call = client.get(f"/status/{status}")
    span = one(call.spans)
    assert span.attributes["http.response.status_code"] == status
    bad = status >= 400
    assert (span.status, span.status_message) == ("ERROR" if bad else "UNSET", "")
    assert span.attributes.get("error.type") == (str(status) if bad else None)
    assert (span.events, call.server.status) == ([], "UNSET")


def test_the_protocols_version_is_the_answers(cases: Traced) -> None:
    call = cases.get("/old")
    assert call.json["body"] == "hi"
    assert one(call.spans).attributes["network.protocol.version"] == "1.0"


def test_the_schemes_usual_port_is_told_and_a_proxy_is_not_the_server(
    cases: Traced, peers: Peers
) -> None:
    call = cases.get("/proxy")
    assert call.json == 200
    span = one(call.spans)
    assert span.attributes["url.full"] == "http://shop.invalid/echo"
    assert span.attributes["server.address"] == "shop.invalid"
    assert span.attributes["server.port"] == 80
    assert_on_the_wire(call, peers.target)


# Redirects and other exchanges behind one call.


def test_each_redirect_is_a_span_of_its_own(client: Traced, peers: Peers) -> None:
    call = client.get("/redirect/2")
    assert call.json["redirects"] == 2
    found = [
        (span.attributes["url.full"], span.attributes["http.response.status_code"], span.status)
        for span in call.spans
    ]
    url = peers.target.url
    assert found == [
        (f"{url}/redirect/2", 302, "UNSET"),
        (f"{url}/redirect/1", 302, "UNSET"),
        (f"{url}/echo", 200, "UNSET"),
    ]
    assert {span.parent_id for span in call.spans} == {call.server.span_id}
    assert_on_the_wire(call, peers.target)


def test_too_many_redirects_are_an_error_of_the_application_only(client: Traced) -> None:
    call = client.get("/redirect-loop")
    assert call.json == {"error": "TooManyRedirects"}
    assert len(call.spans) == 31
    assert {span.status for span in call.spans} == {"UNSET"}


def test_redirects_followed_by_hand_are_spans(cases: Traced, peers: Peers) -> None:
    call = cases.get("/redirect/manual")
    assert call.json == [302, 200]
    assert len(call.spans) == 3
    assert_on_the_wire(call, peers.target)


def test_a_request_sent_again_by_a_hook_is_two_spans(cases: Traced, peers: Peers) -> None:
    call = cases.get("/resend")
    assert call.json == [401, 1]
    assert [span.attributes["http.response.status_code"] for span in call.spans] == [401, 401]
    assert {span.parent_id for span in call.spans} == {call.server.span_id}
    assert_on_the_wire(call, peers.target)


def test_retries_inside_urllib3_are_one_span(cases: Traced, peers: Peers) -> None:
    call = cases.get("/retry")
    assert call.json == 503
    span = one(call.spans)
    assert (span.status, span.attributes["error.type"]) == ("ERROR", "503")
    assert len(peers.target.seen) == 3
    assert {request["headers"]["traceparent"] for request in peers.target.seen} == {
        f"00-{span.trace_id}-{span.span_id}-01"
    }


def test_retries_that_end_in_an_exception(cases: Traced) -> None:
    call = cases.get("/retry/raises")
    assert call.json == "RetryError"
    assert_failed(one(call.spans), "requests.exceptions.RetryError")


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
    assert_failed(span, error)
    assert "REDACTED" in span.attributes["url.full"]
    assert span.attributes["server.port"] > 0
    assert call.server.status == "UNSET"
    assert b"hush" not in cases.sent


def test_an_exception_that_leaves_the_endpoint_tells_no_secret(cases: Traced) -> None:
    call = cases.get("/fails/unhandled")
    assert call.response.status_code == 500
    assert_failed(one(call.spans), "requests.exceptions.ConnectionError")
    assert call.server.attributes["error.type"] == "requests.exceptions.ConnectionError"
    assert b"hush" not in cases.sent


def test_a_url_that_cannot_be_called_is_no_exchange(client: Traced) -> None:
    call = client.get("/bad-url")
    assert call.json == {"error": "InvalidURL"}
    assert call.spans == []


def test_raise_for_status_is_the_applications(cases: Traced) -> None:
    call = cases.get("/raise-for-status")
    assert call.json == "404 Client Error: Not Found for url: TARGET/status/404"
    assert one(call.spans).events == []


# Secrets.


def test_credentials_and_secret_query_values_stay_home(client: Traced, peers: Peers) -> None:
    call = client.get("/secrets")
    request = one_request(peers)
    assert request["path"].endswith("X-Goog-Signature=hush-3&AWSAccessKeyId=hush-4")
    assert request["headers"]["authorization"].startswith("Basic ")
    query = "a=1&sig=REDACTED&Signature=REDACTED&X-Goog-Signature=REDACTED&AWSAccessKeyId=REDACTED"
    address = peers.target.url.removeprefix("http://")
    url = one(call.spans).attributes["url.full"]
    assert url == f"http://REDACTED:REDACTED@{address}/echo?{query}#part"
    assert b"hush" not in client.sent
    assert request["headers"]["authorization"].split()[1].encode() not in client.sent


# The trace on the wire.


def one_request(peers: Peers) -> dict[str, Any]:
    (request,) = peers.target.seen
    return request


def test_tracestate_goes_along(client: Traced, peers: Peers) -> None:
    call = client.get("/redirect/1", headers={"tracestate": "shop=1,other=x"})
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


def test_a_trace_that_is_not_sampled_goes_on_unsampled(
    run: Runner, receiver: HttpReceiver, peers: Peers
) -> None:
    server = run.uvicorn("client:app", env={**receiver.env, **peers.env})
    trace_id = "ab" * 16
    headers = {"traceparent": f"00-{trace_id}-{'cd' * 8}-00"}
    assert server.get("/sync", headers=headers).status_code == 200
    assert server.stop() == -15
    version, trace, parent, flags = one_request(peers)["headers"]["traceparent"].split("-")
    assert (version, trace, flags) == ("00", trace_id, "00")
    assert parent != "cd" * 8 and int(parent, 16)
    assert receiver.spans == []


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

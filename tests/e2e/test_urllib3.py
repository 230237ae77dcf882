# SPDX-License-Identifier: MIT
"""urllib3: one CLIENT span for each attempt to have a request answered."""

import socket
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from harness import http_peers
from harness.compare import seen
from harness.http_peers import assert_failed, assert_on_the_wire, fresh, told
from harness.libraries import Libraries
from harness.otlp import Span
from harness.process import Server
from harness.receiver import HttpReceiver
from harness.target import Target
from harness.traced import Call, Traced
from harness.tree import one, where
from http_client_cases import HttpClientCases, codes, rules, serve

__all__ = ["fresh"]


def _has_ipv6() -> bool:
    """True when this machine has the address ::1."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


class Peers(http_peers.Peers):
    """The servers that the applications call."""

    def __init__(self) -> None:
        super().__init__()
        self.other = Target()
        self.six = Target(family=socket.AF_INET6) if _has_ipv6() else Target()
        self.env = {
            "TARGET_URL": self.target.url,
            "OTHER_URL": self.other.url,
            "IPV6_URL": self.six.url,
            "CLOSED_URL": self.closed.endpoint,
        }

    def forget(self) -> None:
        super().forget()
        for server in (self.other, self.six):
            server.seen.clear()
            server.counts.clear()

    def stop(self) -> None:
        super().stop()
        self.other.stop()
        self.six.stop()


@pytest.fixture(scope="module")
def peers() -> Iterator[Peers]:
    servers = Peers()
    yield servers
    servers.stop()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, build: Path) -> Iterator[Traced]:
    with serve(tmp_path_factory, build, "calling_urllib3:app", rules("URLLIB3")) as server:
        yield server


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory, build: Path, peers: Peers) -> Iterator[Traced]:
    """apps/urllib3_cases.py."""
    with serve(tmp_path_factory, build, "urllib3_cases:app", peers.env) as server:
        yield server


class TestUrllib3(HttpClientCases):
    app = "calling_urllib3:app"
    scope = "urllib3"
    redirects_max = 31
    reads_first = True
    errors = {
        "redirects": "urllib3.exceptions.MaxRetryError",
        "refused": "urllib3.exceptions.NewConnectionError",
        "timeout": "urllib3.exceptions.ReadTimeoutError",
        "garbage": "urllib3.exceptions.ProtocolError",
        "empty": "urllib3.exceptions.ProtocolError",
        "name": "urllib3.exceptions.NameResolutionError",
        "tls": "urllib3.exceptions.SSLError",
        "proxy-refused": "urllib3.exceptions.ProxyError",
        "proxy-407": "urllib3.exceptions.ProxyError",
        "body-short": "urllib3.exceptions.ProtocolError",
        "body-chunks-short": "urllib3.exceptions.ProtocolError",
        "body-chunks-bad": "urllib3.exceptions.ProtocolError",
    }
    # What says that there is no other attempt, where there might have been one.
    raised = dict.fromkeys(
        [*(kind for kind in errors if not kind.startswith("body-")), "body"],
        "urllib3.exceptions.MaxRetryError",
    )

    @pytest.fixture(autouse=True)
    def _errors_of_the_version(self, packages: Libraries) -> None:
        """A name that does not resolve has an exception of its own since 2.0."""
        if not packages.has("urllib3", "2"):
            self.errors = {**self.errors, "name": "urllib3.exceptions.NewConnectionError"}


def ask(cases: Traced, name: str) -> Call:
    """Runs a case; all its spans are under the request's, one beside the other."""
    call = cases.get(f"/case/{name}")
    for span in call.spans:
        assert (span.kind, span.scope_name) == ("CLIENT", "urllib3")
        assert span.parent_id == call.server.span_id
    return call


def paths(spans: list[Span]) -> list[str]:
    """The paths that spans were to."""
    return ["/" + span.attributes["url.full"].split("/", 3)[3] for span in spans]


# Attempts.


def test_each_retry_is_a_span(cases: Traced, peers: Peers) -> None:
    call = ask(cases, "retried")
    assert call.json == 200
    assert codes(call.spans) == [(503, None), (503, 1), (200, 2)]
    assert [span.status for span in call.spans] == ["ERROR", "ERROR", "UNSET"]
    for earlier, later in pairwise(call.spans):
        assert earlier.end_ns <= later.start_ns
    assert_on_the_wire(peers.target, call.spans)


def test_a_pause_belongs_to_no_exchange(cases: Traced, peers: Peers) -> None:
    call = ask(cases, "paused")
    assert codes(call.spans) == [(503, None), (503, 1), (200, 2)]
    _, second, third = call.spans
    assert third.start_ns - second.end_ns >= 190_000_000  # The policy's 0.2 s.


def test_a_broken_connection_is_the_first_attempts_failure(cases: Traced, peers: Peers) -> None:
    call = ask(cases, "module")
    assert call.json == 200
    first, second = call.spans
    assert_failed(first, "urllib3.exceptions.ProtocolError")
    assert codes(call.spans) == [(None, None), (200, 1)]
    assert second.status == "UNSET"
    assert_on_the_wire(peers.target, call.spans)


def test_too_many_attempts_tell_what_each_was_answered(cases: Traced, peers: Peers) -> None:
    for name, answer in (("exhausted", "urllib3.exceptions.MaxRetryError"), ("answered", 503)):
        peers.forget()
        call = ask(cases, name)
        assert call.json == answer
        assert codes(call.spans) == [(503, None), (503, 1)]
        for span in call.spans:
            assert (span.status, span.events) == ("ERROR", [])
            assert span.attributes["error.type"] == "503"
        assert_on_the_wire(peers.target, call.spans)


def test_each_refused_connection_is_an_attempt(cases: Traced) -> None:
    call = ask(cases, "refused")
    assert call.json == "urllib3.exceptions.MaxRetryError"
    assert codes(call.spans) == [(None, None), (None, 1), (None, 2)]
    for span in call.spans:
        assert_failed(span, "urllib3.exceptions.NewConnectionError")
    call = ask(cases, "at_once")
    assert call.json == "urllib3.exceptions.NewConnectionError"
    assert_failed(one(call.spans), "urllib3.exceptions.NewConnectionError")


def test_a_redirect_to_another_server_and_a_retry_there(cases: Traced, peers: Peers) -> None:
    call = ask(cases, "moved")
    assert call.json == 200
    assert codes(call.spans) == [(302, None), (503, 1), (200, 2)]
    ports = [span.attributes["server.port"] for span in call.spans]
    assert ports == [peers.target.port, peers.other.port, peers.other.port]
    assert_on_the_wire(peers.target, call.spans[:1])
    assert_on_the_wire(peers.other, call.spans[1:])


def test_a_redirect_may_change_the_method(cases: Traced, peers: Peers) -> None:
    call = ask(cases, "moved_303")
    assert [span.name for span in call.spans] == ["POST", "GET"]
    assert codes(call.spans) == [(303, None), (200, 1)]
    assert_on_the_wire(peers.target, call.spans)


def test_a_pool_by_itself(cases: Traced, peers: Peers) -> None:
    call = ask(cases, "pooled")
    assert call.json == [200, 200, 200]
    assert paths(call.spans) == ["/redirect/1", "/echo", "/bytes/2", "/bytes/3"]
    assert codes(call.spans) == [(302, None), (200, 1), (200, None), (200, None)]
    assert {s.attributes["server.address"] for s in call.spans} == {"127.0.0.1"}
    assert peers.target.seen[0]["headers"]["x-own"] == "1"
    assert_on_the_wire(peers.target, call.spans)


def test_an_ipv6_address_is_told_as_a_url_has_it(cases: Traced, peers: Peers) -> None:
    call = ask(cases, "ipv6")
    span = one(call.spans)
    assert span.attributes["url.full"] == f"{peers.six.url}/echo"
    assert span.attributes["server.port"] == peers.six.port
    assert_on_the_wire(peers.six, call.spans)


def test_a_wait_for_a_connection_that_ends_in_vain_is_told(cases: Traced) -> None:
    call = ask(cases, "full")
    assert call.json == "urllib3.exceptions.EmptyPoolError"
    held, failed = call.spans
    assert_failed(failed, "urllib3.exceptions.EmptyPoolError")
    assert (held.status, held.end_ns >= failed.end_ns) == ("UNSET", True)


# Bodies.


def test_a_response_is_what_it_was_when_it_has_been_read(cases: Traced, peers: Peers) -> None:
    call = ask(cases, "streamed")
    kind, status, part, attributes, closed = call.json
    assert (kind, status, part, closed) == ("HTTPResponse", 200, "xx", True)
    assert "_faa_span" not in attributes
    assert one(call.spans).attributes["http.response.body.size"] == 6


def test_a_connection_that_is_given_back_unread_ends_the_span(cases: Traced) -> None:
    call = ask(cases, "released")
    first, second = call.spans
    assert first.end_ns <= second.start_ns
    assert "http.response.body.size" not in first.attributes


def test_another_failure_that_is_being_handled_is_not_this_ones(cases: Traced) -> None:
    call = ask(cases, "fallback")
    assert call.json == 200
    failed, read, closed = call.spans
    assert_failed(failed, "urllib3.exceptions.ProtocolError")
    assert (read.status, read.attributes["http.response.body.size"]) == ("UNSET", 7)
    assert (closed.status, closed.events) == ("UNSET", [])


def test_an_iteration_that_is_left_is_no_failure(cases: Traced) -> None:
    span = one(ask(cases, "left").spans)
    assert (span.status, span.events) == ("UNSET", [])


def test_a_call_made_while_a_body_is_sent_is_an_exchange_of_its_own(
    cases: Traced, peers: Peers
) -> None:
    call = cases.get("/case/uploaded")
    assert call.json == 200
    upload, inner = call.spans
    assert (upload.name, upload.parent_id) == ("POST", call.server.span_id)
    assert (inner.name, inner.parent_id) == ("GET", upload.span_id)
    assert codes(call.spans) == [(200, None), (200, None)]
    seen = {request["path"]: request["headers"]["traceparent"] for request in peers.target.seen}
    assert seen == {"/upload": told(upload), "/bytes/3": told(inner)}


CASES = """module retried exhausted answered refused at_once moved moved_303 pooled ipv6 streamed
    released fallback left uploaded full""".split()


def test_the_application_sees_no_difference(
    same_with_and_without: Callable[..., Any], receiver: HttpReceiver, peers: Peers
) -> None:
    def visit(server: Server) -> dict[str, Any]:
        peers.forget()
        return {name: seen(server.get(f"/case/{name}")) for name in CASES}

    results = same_with_and_without("urllib3_cases:app", visit, env={**peers.env, **receiver.env})
    assert {status for status, _, _ in results.values()} == {200}
    assert len(where(receiver.spans, kind="CLIENT")) > len(CASES)

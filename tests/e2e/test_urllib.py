# SPDX-License-Identifier: MIT
"""urllib.request: one CLIENT span for each HTTP exchange."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.compare import seen
from harness.http_peers import Peers, assert_on_the_wire, fresh, told
from harness.process import Server
from harness.receiver import HttpReceiver
from harness.traced import Call, Traced
from harness.tree import one, where
from http_client_cases import HttpClientCases, codes, peers, rules, serve

__all__ = ["fresh", "peers"]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, build: Path) -> Iterator[Traced]:
    with serve(tmp_path_factory, build, "calling_urllib:app", rules("URLLIB")) as server:
        yield server


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory, build: Path, peers: Peers) -> Iterator[Traced]:
    """apps/urllib_cases.py."""
    env = {"TARGET_URL": peers.target.url, "no_proxy": "*"}
    with serve(tmp_path_factory, build, "urllib_cases:app", env) as server:
        yield server


class TestUrllib(HttpClientCases):
    app = "calling_urllib:app"
    scope = "urllib"
    redirects_max = 11
    errors = {
        "redirects": "urllib.error.HTTPError",
        "refused": "urllib.error.URLError",
        "timeout": "TimeoutError",
        "garbage": "http.client.BadStatusLine",
        "empty": "http.client.RemoteDisconnected",
        "name": "urllib.error.URLError",
        "tls": "urllib.error.URLError",
        "proxy-refused": "urllib.error.URLError",
        "proxy-407": "urllib.error.URLError",
        "body-short": "http.client.IncompleteRead",
        "body-chunks-short": "http.client.IncompleteRead",
        "body-chunks-bad": "http.client.IncompleteRead",
    }


def ask(cases: Traced, name: str, peers: Peers) -> Call:
    """Runs a case; its spans are under the request's, and the target saw each of them."""
    call = cases.get(f"/case/{name}")
    for span in call.spans:
        assert (span.kind, span.scope_name) == ("CLIENT", "urllib")
        assert span.parent_id == call.server.span_id
    assert_on_the_wire(peers.target, call.spans)
    return call


def test_the_modules_functions_are_traced(cases: Traced, peers: Peers) -> None:
    call = ask(cases, "module", peers)
    assert call.json == ["xxxx", "xxxxx"]
    sizes = [span.attributes["http.response.body.size"] for span in call.spans]
    assert (sizes, codes(call.spans)) == ([4, 5], [(200, None), (200, None)])


def test_data_makes_it_a_post(cases: Traced, peers: Peers) -> None:
    assert one(ask(cases, "posted", peers).spans).name == "POST"


def test_an_error_is_a_response(cases: Traced, peers: Peers) -> None:
    call = ask(cases, "error", peers)
    assert call.json == [404, True]
    span = one(call.spans)
    assert (span.status, span.attributes["error.type"], span.events) == ("ERROR", "404", [])
    assert span.attributes["http.response.body.size"] > 0


@pytest.mark.parametrize("scheme", ["basic", "digest"])
def test_an_answer_to_a_challenge_is_counted(cases: Traced, peers: Peers, scheme: str) -> None:
    call = ask(cases, scheme, peers)
    assert call.json == 200
    assert codes(call.spans) == [(401, None), (200, 1)]


def test_redirects_and_challenges_are_counted_together(cases: Traced, peers: Peers) -> None:
    call = ask(cases, "moved_and_asked", peers)
    assert codes(call.spans) == [(302, None), (401, 1), (200, 2)]


def test_all_ways_to_read_lead_to_the_end(cases: Traced, peers: Peers) -> None:
    call = ask(cases, "lines", peers)
    assert call.json == ["chunk 0\n", "chunk 1\n", "chunk 2\n"]
    assert one(call.spans).end_ns <= call.server.end_ns
    peers.forget()
    call = ask(cases, "pieces", peers)
    *read, attributes, kind, name = call.json
    assert (read, kind, name) == ([3, 4, 5, 4, 4, True], "HTTPResponse", "HTTPResponse.read")
    assert "_faa_span" not in attributes
    assert one(call.spans).attributes["http.response.body.size"] == 20


def test_a_wrong_argument_is_no_failure_of_the_exchange(cases: Traced, peers: Peers) -> None:
    call = ask(cases, "wrong", peers)
    assert call.json == ["TypeError", 6]
    span = one(call.spans)
    assert (span.status, span.events) == ("UNSET", [])
    assert span.attributes["http.response.body.size"] == 6


def test_other_schemes_are_no_exchanges(cases: Traced, peers: Peers) -> None:
    call = ask(cases, "other_schemes", peers)
    assert call.json[0] == "hi"
    assert call.spans == []


def test_a_request_is_as_it_was(cases: Traced, peers: Peers) -> None:
    call = ask(cases, "reused", peers)
    assert call.json[:2] == [200, 200]
    assert not re.search("trace", str(call.json[2]), re.IGNORECASE)
    assert codes(call.spans) == [(200, None), (200, None)]


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


CASES = """module posted error basic digest moved_and_asked lines pieces wrong other_schemes
    uploaded reused""".split()


def test_the_application_sees_no_difference(
    same_with_and_without: Callable[..., Any], receiver: HttpReceiver, peers: Peers
) -> None:
    def visit(server: Server) -> dict[str, Any]:
        return {name: seen(server.get(f"/case/{name}")) for name in CASES}

    env = {"TARGET_URL": peers.target.url, "no_proxy": "*", **receiver.env}
    results = same_with_and_without("urllib_cases:app", visit, env=env)
    assert {status for status, _, _ in results.values()} == {200}
    assert len(where(receiver.spans, kind="CLIENT")) > len(CASES)

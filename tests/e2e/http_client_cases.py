# SPDX-License-Identifier: MIT
"""What holds for every HTTP client: each of them has a test class made of these checks.

A test module defines the module's fixture `client`, made by `serve` with an application that serves
the paths of apps/calling.py, the fixture `peers`, and a class derived from HttpClientCases.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from harness import libraries
from harness.compare import seen
from harness.http_peers import Peers, assert_failed, assert_on_the_wire
from harness.otlp import Span
from harness.process import Runner, Server
from harness.receiver import HttpReceiver
from harness.target import RAW
from harness.traced import Call, Traced, traced
from harness.tree import one, where

CAPTURE = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_"


@pytest.fixture(scope="module")
def peers() -> Iterator[Peers]:
    servers = Peers()
    yield servers
    servers.stop()


def rules(name: str) -> dict[str, str]:
    """The rules for URLs and headers under which the application of a client's checks runs."""
    return {
        f"OTEL_PYTHON_{name}_EXCLUDED_URLS": "/excluded",
        "OTEL_PYTHON_EXCLUDED_URLS": "/echo",  # The client's own list goes before it.
        CAPTURE + "CLIENT_REQUEST": "x-sent.*,authorization,traceparent-of-nobody",
        CAPTURE + "CLIENT_RESPONSE": "x-many,set-cookie,x-bytes",
        CAPTURE + "SANITIZE_FIELDS": ".*secret.*",
    }


@contextmanager
def serve(
    factory: pytest.TempPathFactory, build: Path, app: str, env: dict[str, str]
) -> Iterator[Traced]:
    """Serves an application; nothing secret has left it when its tests are over."""
    python = libraries.python()
    with traced(factory.mktemp("app"), build, python, app, env=env) as server:
        yield server
        assert b"hush" not in server.sent


def asking(**params: Any) -> dict[str, str]:
    """The header that tells apps/calling.py what to call."""
    return {"X-Ask": urlencode(params, doseq=True)}


def codes(spans: list[Span]) -> list[tuple[int | None, int | None]]:
    """The status codes of spans, and how often the request had been sent before."""
    return [
        (
            span.attributes.get("http.response.status_code"),
            span.attributes.get("http.request.resend_count"),
        )
        for span in spans
    ]


class HttpClientCases:
    """The checks. `errors` maps a kind of failure to the exception that its span tells; `raised` to
    what the application gets where that is another one."""

    app = ""
    scope = ""
    errors: dict[str, str] = {}
    raised: dict[str, str] = {}
    reads_first = False  # A call answers when it has read the body, and fails without a response.
    follows = True  # Redirects.
    redirects_max = 0  # How many exchanges a call makes before it gives up.

    @pytest.fixture(autouse=True)
    def _fresh(self, peers: Peers) -> None:
        peers.forget()

    def error(self, kind: str) -> str:
        """What the application gets at such a failure."""
        return self.raised.get(kind) or self.errors[kind]

    def ask(self, client: Traced, url: str, path: str = "/call", **params: Any) -> Call:
        """Makes the application call a URL."""
        headers = params.pop("headers", {})
        call = client.get(path, headers={**asking(url=url, **params), **headers})
        for span in call.spans:
            assert (span.kind, span.parent_id) == ("CLIENT", call.server.span_id)
            assert span.scope_name == self.scope
            assert call.server.start_ns <= span.start_ns <= span.end_ns
        return call

    def test_an_exchange_is_a_client_span(self, client: Traced, peers: Peers) -> None:
        call = self.ask(client, f"{peers.target.url}/bytes/7?a=1")
        assert call.json == {"status": 200, "body": "xxxxxxx"}
        span = one(call.spans)
        assert (span.name, span.status, span.events, span.links) == ("GET", "UNSET", [], [])
        assert span.attributes == {
            "http.request.method": "GET",
            "url.full": f"{peers.target.url}/bytes/7?a=1",
            "server.address": "127.0.0.1",
            "server.port": peers.target.port,
            "http.response.status_code": 200,
            "http.response.body.size": 7,
            "network.protocol.version": "1.1",
        }
        assert span.end_ns <= call.server.end_ns
        assert_on_the_wire(peers.target, call.spans)

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"])
    def test_the_name_is_the_method(self, client: Traced, peers: Peers, method: str) -> None:
        body = {"body": "hello"} if method in ("POST", "PUT", "PATCH") else {}
        call = self.ask(client, f"{peers.target.url}/echo", method=method, **body)
        assert call.json["status"] == 200
        span = one(call.spans)
        assert (span.name, span.attributes["http.request.method"]) == (method, method)
        assert_on_the_wire(peers.target, call.spans)

    def test_an_unknown_method_has_a_name_of_low_cardinality(
        self, client: Traced, peers: Peers
    ) -> None:
        call = self.ask(client, f"{peers.target.url}/echo", method="BREW")
        span = one(call.spans)
        assert (span.name, span.attributes["http.request.method"]) == ("HTTP", "_OTHER")
        assert span.attributes["http.request.method_original"] == "BREW"

    @pytest.mark.parametrize("status", [204, 304, 400, 404, 418, 500, 503])
    def test_status_from_400_on_is_an_error(
        self, client: Traced, peers: Peers, status: int
    ) -> None:
        call = self.ask(client, f"{peers.target.url}/status/{status}")
        assert call.json["status"] == status
        span = one(call.spans)
        assert span.attributes["http.response.status_code"] == status
        bad = status >= 400
        assert (span.status, span.status_message) == ("ERROR" if bad else "UNSET", "")
        assert span.attributes.get("error.type") == (str(status) if bad else None)
        assert (span.events, call.server.status) == ([], "UNSET")

    def test_each_redirect_is_a_span_that_tells_how_many_came_before(
        self, client: Traced, peers: Peers
    ) -> None:
        if not self.follows:
            pytest.skip("this client follows no redirects")
        call = self.ask(client, f"{peers.target.url}/redirect/2")
        assert call.json["status"] == 200
        assert codes(call.spans) == [(302, None), (302, 1), (200, 2)]
        paths = [span.attributes["url.full"].rsplit("/", 2)[-1] for span in call.spans]
        assert paths == ["2", "1", "echo"]
        assert {span.status for span in call.spans} == {"UNSET"}
        assert_on_the_wire(peers.target, call.spans)

    def test_redirects_without_end_are_no_failure_of_an_exchange(
        self, client: Traced, peers: Peers
    ) -> None:
        call = self.ask(client, f"{peers.target.url}/redirect/99")
        assert call.json["error"] == self.error("redirects")
        found = codes(call.spans)
        assert found == [(302, count or None) for count in range(self.redirects_max)]
        assert {span.status for span in call.spans} == {"UNSET"}

    @pytest.mark.parametrize("failure", ["refused", "timeout", "garbage", "empty", "name"])
    def test_a_failed_exchange_tells_the_exception(
        self, client: Traced, peers: Peers, failure: str
    ) -> None:
        closed = peers.closed.endpoint.removeprefix("http://")
        url = {
            "refused": f"http://bob:hush-1@{closed}/path",
            "timeout": f"{peers.target.url}/hang",
            "garbage": f"{peers.target.url}/raw/garbage",
            "empty": f"{peers.target.url}/raw/empty",
            "name": "http://no.such.host.invalid/",
        }[failure]
        call = self.ask(client, f"{url}?sig=hush-2", timeout=0.3 if failure == "timeout" else 20)
        assert call.json["error"] == self.error(failure)
        span = one(call.spans)
        assert_failed(span, self.errors[failure])
        assert "sig=REDACTED" in span.attributes["url.full"]
        assert "http.response.status_code" not in span.attributes
        assert call.server.status == "UNSET"

    def test_tls_is_spoken_and_told(self, client: Traced, peers: Peers) -> None:
        call = self.ask(client, f"{peers.tls.url}/bytes/3", ca=peers.tls.ca)
        assert call.json["status"] == 200
        span = one(call.spans)
        assert span.attributes["url.full"] == f"{peers.tls.url}/bytes/3"
        assert span.attributes["server.port"] == peers.tls.port
        assert_on_the_wire(peers.tls, call.spans)

    def test_a_certificate_that_nobody_trusts_fails_the_exchange(
        self, client: Traced, peers: Peers
    ) -> None:
        call = self.ask(client, f"{peers.tls.url}/echo?sig=hush-3")
        assert call.json["error"] == self.error("tls")
        assert_failed(one(call.spans), self.errors["tls"])
        assert peers.tls.seen == []

    def test_a_proxy_is_not_the_server(self, client: Traced, peers: Peers) -> None:
        url = "http://shop.invalid/bytes/4?a=1"
        call = self.ask(client, url, proxy=peers.proxy.url)
        assert call.json == {"status": 200, "body": "xxxx"}
        span = one(call.spans)
        assert span.attributes["url.full"] == url
        assert span.attributes["server.address"] == "shop.invalid"
        assert span.attributes["server.port"] == 80
        assert [seen[:2] for seen in peers.proxy.seen] == [("GET", url)]
        assert_on_the_wire(peers.target, call.spans)

    def test_a_tunnel_is_no_exchange(self, client: Traced, peers: Peers) -> None:
        url = "https://shop.invalid/bytes/4?a=1"
        call = self.ask(client, url, proxy=peers.tunnel.url, ca=peers.tls.ca)
        assert call.json == {"status": 200, "body": "xxxx"}
        span = one(call.spans)
        assert (span.name, span.attributes["url.full"]) == ("GET", url)
        assert span.attributes["server.address"] == "shop.invalid"
        assert span.attributes["server.port"] == 443
        method, where_to, headers = one_of(peers.tunnel.seen)
        assert (method, where_to) == ("CONNECT", "shop.invalid:443")
        assert "traceparent" not in headers
        assert_on_the_wire(peers.tls, call.spans)

    @pytest.mark.parametrize("failure", ["proxy-refused", "proxy-407"])
    def test_a_proxy_that_fails_fails_the_exchange(
        self, client: Traced, peers: Peers, failure: str
    ) -> None:
        proxy = peers.closed.endpoint if failure == "proxy-refused" else peers.guarded.url
        call = self.ask(client, "https://shop.invalid/", proxy=proxy)
        assert call.json["error"] == self.error(failure)
        span = one(call.spans)
        assert_failed(span, self.errors[failure])
        assert span.attributes["server.address"] == "shop.invalid"

    def test_chosen_headers_are_recorded_without_secrets(
        self, client: Traced, peers: Peers
    ) -> None:
        header = ["X-Sent:one", "X-Sent-Secret:hush-4", "Authorization:hush-5", "X-Other:1"]
        call = self.ask(client, f"{peers.target.url}/headers", header=header)
        attributes = one(call.spans).attributes
        recorded = {key: value for key, value in attributes.items() if ".header." in key}
        assert recorded == {
            "http.request.header.x-sent": ["one"],
            "http.request.header.x-sent-secret": ["[REDACTED]"],
            "http.request.header.authorization": ["[REDACTED]"],
            "http.response.header.x-many": ["one", "two"],
            "http.response.header.set-cookie": ["[REDACTED]", "[REDACTED]"],
        }
        assert peers.target.seen[0]["headers"]["authorization"].strip() == "hush-5"

    def test_an_own_traceparent_is_respected(self, client: Traced, peers: Peers) -> None:
        own = f"00-{'a' * 32}-{'b' * 16}-01"
        trace = {"tracestate": "shop=1"}
        call = self.ask(
            client, f"{peers.target.url}/echo", header=f"Traceparent:{own}", headers=trace
        )
        assert call.json["status"] == 200 and len(call.spans) == 1
        headers = one_of(peers.target.seen)["headers"]
        assert headers["traceparent"].strip() == own
        assert "tracestate" not in headers  # It belongs to another trace.

    def test_tracestate_goes_along(self, client: Traced, peers: Peers) -> None:
        trace = {"tracestate": "shop=1,other=x"}
        call = self.ask(client, f"{peers.target.url}/redirect/1", headers=trace)
        assert {s["headers"].get("tracestate") for s in peers.target.seen} == {"shop=1,other=x"}
        assert_on_the_wire(peers.target, call.spans)

    def test_an_excluded_url_is_neither_recorded_nor_told(
        self, client: Traced, peers: Peers
    ) -> None:
        call = self.ask(client, f"{peers.target.url}/excluded")
        assert (call.json["status"], call.spans) == (200, [])
        assert "traceparent" not in one_of(peers.target.seen)["headers"]

    def test_a_trace_that_is_not_sampled_goes_on_unsampled(
        self, client: Traced, peers: Peers
    ) -> None:
        trace_id = os.urandom(15).hex() + "01"
        trace = {"traceparent": f"00-{trace_id}-{'cd' * 8}-00"}
        headers = asking(url=f"{peers.target.url}/redirect/1")
        answer = client.server.client.get("/call", headers={**headers, **trace})
        assert answer.json()["status"] == 200
        told = [s["headers"]["traceparent"].split("-") for s in peers.target.seen]
        assert [(trace, flags) for _, trace, _, flags in told] == [(trace_id, "00")] * len(told)
        assert told and "cd" * 8 not in {parent for _, _, parent, _ in told}
        self.ask(client, f"{peers.target.url}/echo")  # What was sent before has arrived.
        assert where(client.receiver.spans, trace_id=trace_id) == []

    # Bodies.

    def test_a_span_lasts_until_its_body_has_been_read(self, client: Traced, peers: Peers) -> None:
        key = os.urandom(4).hex()
        url = peers.target.url
        call = self.ask(client, f"{url}/gated/{key}", "/parts", other=f"{url}/open/{key}")
        assert call.json == {"status": 200, "body": "first secon"}
        body, other = call.spans
        assert body.start_ns <= other.start_ns <= other.end_ns <= body.end_ns
        assert body.end_ns <= call.server.end_ns
        assert body.attributes["http.response.body.size"] == 11

    def test_a_body_in_chunks_is_read_to_its_end(self, client: Traced, peers: Peers) -> None:
        url = peers.target.url
        call = self.ask(client, f"{url}/chunks/3", "/parts", other=f"{url}/echo")
        assert call.json["body"] == "chunk 0\nchunk 1\nchunk 2\n"
        body, other = call.spans
        assert other.end_ns <= body.end_ns <= call.server.end_ns
        assert (body.status, body.attributes["http.response.status_code"]) == ("UNSET", 200)

    @pytest.mark.parametrize("path", ["/closed", "/dropped"])
    def test_a_body_that_nobody_reads_ends_its_span_when_it_is_given_up(
        self, client: Traced, peers: Peers, path: str
    ) -> None:
        url = peers.target.url
        call = self.ask(client, f"{url}/bytes/500000", path, other=f"{url}/echo")
        assert call.json["status"] == 200
        body, other = call.spans
        assert body.end_ns <= other.start_ns
        assert (body.status, body.attributes["http.response.status_code"]) == ("UNSET", 200)
        assert "http.response.body.size" not in body.attributes

    @pytest.mark.parametrize("name", ["short", "chunks-short", "chunks-bad"])
    @pytest.mark.parametrize("path", ["/call", "/parts"])
    def test_a_body_that_breaks_off_is_a_failure(
        self, client: Traced, peers: Peers, path: str, name: str
    ) -> None:
        url = peers.target.url
        other = {"other": f"{url}/echo"} if path == "/parts" else {}
        call = self.ask(client, f"{url}/raw/{name}", path, **other)
        span = call.spans[0]
        unseen = self.reads_first and path == "/call"
        status = None if unseen else 200
        assert span.attributes.get("http.response.status_code") == status
        if "error" in call.json:
            error = self.error("body") if unseen else self.error(f"body-{name}")
            assert call.json["error"] == error
            assert_failed(span, self.errors[f"body-{name}"])
        else:
            assert span.status == "UNSET"  # The client has not noticed, and gave what there was.
        assert "http.response.body.size" not in span.attributes

    # Whatever the other side does.

    def test_answers_and_exceptions_are_the_same_without_the_agent(
        self,
        same_with_and_without: Callable[..., Any],
        receiver: HttpReceiver,
        peers: Peers,
    ) -> None:
        target, closed = peers.target.url, peers.closed.endpoint
        # A number that a path begins with keeps each request apart from the others.
        cases = [
            *(("/call", {"url": f"{target}/raw/{name}"}) for name in RAW),
            *(
                ("/parts", {"url": f"{target}/raw/{name}", "other": f"{target}/echo"})
                for name in ("short", "long", "both", "chunks-short", "chunks-bad", "gzip-bad")
            ),
            ("/call", {"url": closed}),
            ("/call", {"url": f"{target}/hang", "timeout": "0.2"}),
            ("/call", {"url": f"{peers.tls.url}/bytes/3"}),
            ("/call", {"url": f"{peers.tls.url}/bytes/3", "ca": peers.tls.ca}),
            ("/call", {"url": "http://shop.invalid/bytes/3", "proxy": peers.proxy.url}),
            ("/call", {"url": "https://shop.invalid/", "proxy": peers.guarded.url}),
            ("/call", {"url": "https://shop.invalid/", "proxy": closed}),
            ("/call", {"url": f"{target}/redirect/99"}),
            ("/call", {"url": f"{target}/status/304"}),
            ("/call", {"url": "http://"}),
            ("/call", {"url": "no url"}),
            ("/call", {"url": f"{target}/bytes/3", "header": "X-Bad: a\nb"}),
        ]

        def visit(server: Server) -> list[Any]:
            return [seen(server.get(path, headers=asking(**params))) for path, params in cases]

        env = {**receiver.env, **rules(self.scope.upper())}
        results = same_with_and_without(self.app, visit, env=env)
        assert {status for status, _, _ in results} <= {200, 500}
        assert len(where(receiver.spans, kind="CLIENT")) > len(RAW)
        assert not {s["headers"].get("traceparent") for s in peers.target.seen} <= {None}

    def test_the_agents_own_calls_are_none(
        self, run: Runner, receiver: HttpReceiver, peers: Peers
    ) -> None:
        """Nor does it send more than the headers that are told, in the chosen format."""
        env = {**receiver.env, "OTEL_PROPAGATORS": "b3,baggage"}
        server = run.uvicorn(self.app, env=env)
        header = {"b3": f"{'ab' * 16}-{'cd' * 8}-1", "baggage": "shop=1"}
        header.update(asking(url=f"{peers.target.url}/echo"))
        answer = server.get("/call", headers=header)
        assert answer.json()["status"] == 200
        assert server.stop() == -15
        span = one(where(receiver.spans, kind="CLIENT"))
        assert span.trace_id == "ab" * 16
        headers = one_of(peers.target.seen)["headers"]
        assert headers["b3"] == f"{span.trace_id}-{span.span_id}-1"
        assert headers["baggage"] == "shop=1"
        assert "traceparent" not in headers
        assert len(receiver.spans) == 2
        for request in receiver.requests:
            assert not {"b3", "baggage", "traceparent"} & {n.lower() for n in request.headers}

    def test_it_can_be_turned_off(self, run: Runner, receiver: HttpReceiver, peers: Peers) -> None:
        off = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": self.turned_off}
        server = run.uvicorn(self.app, env={**receiver.env, **off})
        answer = server.get("/call", headers=asking(url=f"{peers.target.url}/echo"))
        assert answer.json()["status"] == 200
        assert server.stop() == -15
        assert [span.kind for span in receiver.spans] == ["SERVER"]
        assert "traceparent" not in one_of(peers.target.seen)["headers"]

    @property
    def turned_off(self) -> str:
        """The names of this client's instrumentation and of those that it is built on."""
        return self.scope


def one_of(items: list[Any]) -> Any:
    """Returns the only item. Raises AssertionError else."""
    assert len(items) == 1, items
    return items[0]

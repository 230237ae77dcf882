# SPDX-License-Identifier: MIT
"""The servers that applications with HTTP clients call, and what such calls have in common."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .otlp import Span
from .process import Runner
from .proxy import Proxy
from .raw import RawServer
from .target import Target


class Peers:
    """A target, one with TLS, a proxy to each of them and one that refuses, a closed port."""

    def __init__(self) -> None:
        self.target = Target()
        self.tls = Target(tls=True)
        self.proxy = Proxy(("127.0.0.1", self.target.port))
        self.tunnel = Proxy(("127.0.0.1", self.tls.port))
        self.guarded = Proxy(("127.0.0.1", self.tls.port), refuse=407)
        self.closed = RawServer("refuse")

    def forget(self) -> None:
        """Forgets what the servers have seen."""
        for server in (self.target, self.tls, self.proxy, self.tunnel, self.guarded):
            server.seen.clear()
        self.target.counts.clear()

    def stop(self) -> None:
        """Ends them all."""
        for server in (self.proxy, self.tunnel, self.guarded, self.target, self.tls, self.closed):
            server.stop()


class AsyncPeers(Peers):
    """The same, and a server of HTTP/2; `env` tells an application where they are."""

    def __init__(self, runner: Runner) -> None:
        command = [sys.executable, "-m", "hypercorn", "http2_target:app", "--bind", "127.0.0.1:0"]
        h2_url = runner.serve(command, agent="none").url
        super().__init__()
        self.env = {
            "TARGET_URL": self.target.url,
            "TLS_URL": self.tls.url,
            "TLS_CA": self.tls.ca,
            "PROXY_URL": self.proxy.url,
            "TUNNEL_URL": self.tunnel.url,
            "H2_URL": h2_url,
            "CLOSED_URL": self.closed.endpoint,
        }


@pytest.fixture(scope="module", name="peers")
def async_peers(tmp_path_factory: pytest.TempPathFactory, build: Path) -> Iterator[AsyncPeers]:
    """For a module that imports it, with `fresh`."""
    runner = Runner(tmp_path_factory.mktemp("peers"), build, sys.executable)
    try:
        servers = AsyncPeers(runner)
        yield servers
        servers.stop()
    finally:
        runner.kill_all()


@pytest.fixture(autouse=True)
def fresh(peers: Peers) -> None:
    """In a module that imports it, each test begins with peers that have seen nothing."""
    peers.forget()


def told(span: Span) -> str:
    """The value of the traceparent header that tells this span."""
    return f"00-{span.trace_id}-{span.span_id}-01"


def assert_on_the_wire(target: Target, spans: list[Span]) -> None:
    """Asserts that the target saw each of these spans as its parent, in their order."""
    assert [seen["headers"].get("traceparent") for seen in target.seen] == [*map(told, spans)]


def assert_failed(span: Span, error: str, *, says_nothing: bool = False) -> None:
    """Asserts that a span tells an exception, in the three places where that belongs.

    `says_nothing`: it has no message.
    """
    assert (span.status, span.attributes["error.type"]) == ("ERROR", error)
    (event,) = span.events
    assert (event.name, event.attributes["exception.type"]) == ("exception", error)
    assert event.attributes["exception.message"] == span.status_message
    assert (span.status_message == "") == says_nothing
    assert event.attributes["exception.stacktrace"].startswith("Traceback")


def assert_unanswered(span: Span, error: str, *, says_nothing: bool = False) -> None:
    """The same of an exchange that got no answer."""
    assert_failed(span, error, says_nothing=says_nothing)
    assert "http.response.status_code" not in span.attributes

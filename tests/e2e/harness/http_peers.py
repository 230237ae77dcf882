# SPDX-License-Identifier: MIT
"""The servers that applications with HTTP clients call, and what such calls have in common."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .otlp import Span
from .process import Runner
from .proxy import Proxy
from .raw import RawServer
from .target import Target
from .traced import Call


class Peers:
    """A target, one with TLS, a proxy to each of them, a server of HTTP/2, a closed port."""

    def __init__(self, h2_url: str) -> None:
        self.target = Target()
        self.tls = Target(tls=True)
        self.proxy = Proxy(("127.0.0.1", self.target.port))
        self.tunnel = Proxy(("127.0.0.1", self.tls.port))
        self.closed = RawServer("refuse")
        self.env = {
            "TARGET_URL": self.target.url,
            "TLS_URL": self.tls.url,
            "TLS_CA": self.tls.ca,
            "PROXY_URL": self.proxy.url,
            "TUNNEL_URL": self.tunnel.url,
            "H2_URL": h2_url,
            "CLOSED_URL": self.closed.endpoint,
        }

    def clear(self) -> None:
        """Forgets what was seen."""
        for server in (self.target, self.tls, self.proxy, self.tunnel):
            server.seen.clear()

    @classmethod
    @contextmanager
    def serving(cls, directory: Path, build: Path) -> Iterator["Peers"]:
        """Runs them all."""
        runner = Runner(directory, build, sys.executable)
        command = [sys.executable, "-m", "hypercorn", "http2_target:app", "--bind", "127.0.0.1:0"]
        servers = None
        try:
            servers = cls(runner.serve(command, agent="none").url)
            yield servers
        finally:
            runner.kill_all()
            if servers:
                for server in (servers.proxy, servers.tunnel, servers.target, servers.tls):
                    server.stop()
                servers.closed.stop()


def assert_on_the_wire(call: Call, target: Target) -> None:
    """Asserts that the target saw each CLIENT span of a call as its parent, in their order."""
    parents = [request["headers"].get("traceparent") for request in target.seen]
    spans = [span for span in call.spans if span.kind == "CLIENT"]
    assert parents == [f"00-{span.trace_id}-{span.span_id}-01" for span in spans]


def assert_failed(span: Span, error: str) -> None:
    """Asserts that a span without answer tells an exception, in the three places for that."""
    assert (span.status, span.attributes["error.type"]) == ("ERROR", error)
    assert "http.response.status_code" not in span.attributes
    (event,) = span.events
    assert (event.name, event.attributes["exception.type"]) == ("exception", error)
    assert event.attributes["exception.message"] == span.status_message
    assert event.attributes["exception.stacktrace"].startswith("Traceback")

# SPDX-License-Identifier: MIT
"""A traced server whose requests, of any method and in any bytes, are found by their trace ids."""

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from .deadline import scaled
from .otlp import Span
from .process import Server
from .receiver import HttpReceiver
from .tree import one, where


@dataclass(frozen=True)
class Context:
    """What a client's header says: a trace, and the client's own span in it."""

    trace_id: str
    parent_id: str

    @property
    def value(self) -> str:
        """The value of the traceparent header, sampled."""
        return f"00-{self.trace_id}-{self.parent_id}-01"

    @property
    def headers(self) -> dict[str, str]:
        """The header for an HTTP client."""
        return {"traceparent": self.value}


def new_context() -> Context:
    """Returns a new trace's context."""
    return Context(os.urandom(15).hex() + "01", os.urandom(7).hex() + "01")


class Served:
    """A server under the agent, and the receiver of its spans, which others may share."""

    def __init__(self, server: Server, receiver: HttpReceiver) -> None:
        self.server, self.receiver = server, receiver

    def connect(self) -> socket.socket:
        """Returns a connection to the server, which gives up after a while."""
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=scaled(20))

    def edge(self, context: Context, until: Callable[[list[Span]], object] | None = None) -> Span:
        """Returns the only SERVER span of a trace once it has come, a child of the client's span.

        Waits until `until(spans of the trace)` is true, if given.
        """

        def complete(spans: list[Span]) -> object:
            mine = where(spans, trace_id=context.trace_id)
            return where(mine, kind="SERVER") and (until is None or until(mine))

        mine = where(self.receiver.wait(complete), trace_id=context.trace_id)
        span = one(mine, kind="SERVER")
        assert span.parent_id == context.parent_id
        return span

    def ask(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> tuple[httpx.Response, Span]:
        """Sends a request in a trace of its own and returns the response and its SERVER span."""
        context = new_context()
        response = self.server.client.request(
            method, path, headers={**context.headers, **(headers or {})}, **options
        )
        return response, self.edge(context)

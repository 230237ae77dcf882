# SPDX-License-Identifier: MIT
"""Applications under any server with the agent, shared by the tests of one module: every request
is found again by its own trace id."""

import gzip
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from . import libraries
from .deadline import scaled
from .otlp import Span
from .process import Runner, Server
from .receiver import HttpReceiver
from .tree import one, where

PARENT = "00f067aa0ba902b7"

SERVERS: dict[str, tuple[str, ...]] = {
    "h11": ("uvicorn", "--loop", "asyncio", "--http", "h11"),
    "httptools": ("uvicorn", "--loop", "uvloop", "--http", "httptools"),
    "gunicorn": ("gunicorn",),
    "hypercorn": ("hypercorn",),
    "websockets": ("uvicorn", "--ws", "websockets"),
    "sansio": ("uvicorn", "--ws", "websockets-sansio"),
    "wsproto": ("uvicorn", "--ws", "wsproto"),
}


def new_trace() -> tuple[str, dict[str, str]]:
    """Returns a fresh trace id and the header that makes PARENT of it the caller."""
    trace_id = os.urandom(16).hex()
    return trace_id, {"traceparent": f"00-{trace_id}-{PARENT}-01"}


class Served:
    """An application under a server with the agent."""

    def __init__(self, server: Server, receiver: HttpReceiver) -> None:
        self.server, self.receiver = server, receiver

    def trace(self, trace_id: str, count: int = 1, servers: int = 1) -> list[Span]:
        """Returns a trace once it has `servers` SERVER spans and `count` spans in all."""

        def complete(spans: list[Span]) -> bool:
            mine = where(spans, trace_id=trace_id)
            return len(mine) >= count and len(where(mine, kind="SERVER")) >= servers

        return where(self.receiver.wait(complete), trace_id=trace_id)

    def edge(self, trace_id: str) -> Span:
        """Returns the trace's only SERVER span, whose parent is the caller."""
        span = one(self.trace(trace_id), kind="SERVER")
        assert span.parent_id == PARENT, span
        return span

    def ask(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> tuple[httpx.Response, Span]:
        """Sends a request and returns the response and its SERVER span."""
        trace_id, own = new_trace()
        response = self.server.client.request(
            method, path, headers={**own, **(headers or {})}, **options
        )
        return response, self.edge(trace_id)

    def get(self, path: str, **options: Any) -> tuple[httpx.Response, Span]:
        return self.ask("GET", path, **options)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=scaled(20))

    def raw(self, request: bytes) -> tuple[bytes, Span]:
        """Sends bytes and reads to the end; {traceparent} in them is the header's value."""
        trace_id, headers = new_trace()
        with self.connect() as connection:
            connection.sendall(request.replace(b"{traceparent}", headers["traceparent"].encode()))
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        return answer, self.edge(trace_id)

    def websocket(self, path: str, headers: Mapping[str, str]) -> ClientConnection:
        """Opens a WebSocket connection. Raises InvalidStatus when the handshake is refused."""
        return connect(
            f"ws://127.0.0.1:{self.server.port}{path}",
            additional_headers=headers,
            compression=None,
            proxy=None,
            open_timeout=scaled(20),
            close_timeout=scaled(20),
        )

    @property
    def sent(self) -> bytes:
        """All that the agent has sent so far, uncompressed."""
        return b"".join(
            gzip.decompress(request.body)
            if request.headers.get("content-encoding") == "gzip"
            else request.body
            for request in self.receiver.requests
        )


Serve = Callable[..., Served]


def start(runner: Runner, app: str, manner: str, *args: str, **options: Any) -> Server:
    """Starts `app` under one of SERVERS; options as for Runner.start()."""
    name, *own = SERVERS[manner]
    if name == "hypercorn":
        command = [runner.python, "-m", "hypercorn", app, "--bind", "127.0.0.1:0", *own, *args]
        return runner.serve(command, **options)
    serve: Callable[..., Server] = getattr(runner, name)
    return serve(app, *own, *args, **options)


@contextmanager
def serving(directory: Path, build: Path) -> Iterator[Serve]:
    """Hands out serve(app, manner="h11", *args, env={}): each kind of server runs once.

    At the end all of them must stop as they should, without a line of the agent, and no trace may
    have two SERVER spans with the same parent: that would be one request, told twice.
    """
    python = libraries.python()
    runner = Runner(directory, build, python)
    receiver = HttpReceiver()
    served: dict[tuple[Any, ...], Served] = {}

    def serve(
        app: str, manner: str = "h11", *args: str, env: Mapping[str, str] | None = None
    ) -> Served:
        key = (app, manner, *args, *sorted((env or {}).items()))
        if key not in served:
            server = start(runner, app, manner, *args, env={**receiver.env, **(env or {})})
            served[key] = Served(server, receiver)
        return served[key]

    try:
        yield serve
        for one_served in served.values():
            status = one_served.server.stop()
            assert status in (0, -signal.SIGTERM), one_served.server.describe()
            assert one_served.server.agent_lines == []
        receiver.check()
        edges = [(s.trace_id, s.parent_id) for s in receiver.spans if s.kind == "SERVER"]
        twice = {edge for edge in edges if edges.count(edge) > 1}
        assert not twice, f"requests with two SERVER spans: {twice}"
    finally:
        runner.kill_all()
        receiver.stop()

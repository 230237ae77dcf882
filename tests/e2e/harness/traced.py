# SPDX-License-Identifier: MIT
"""A traced server of which every call is a trace of its own, so that many tests can share it."""

import gzip
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from .otlp import Span
from .process import Runner, Server
from .receiver import HttpReceiver
from .tree import one


@dataclass(frozen=True)
class Call:
    """What came of one request: the answer, its SERVER span, and the trace's other spans in order
    of start."""

    response: httpx.Response
    server: Span
    spans: list[Span]

    @property
    def json(self) -> Any:
        """The answer's body. Raises AssertionError when the answer is no success."""
        assert self.response.status_code == 200, self.response.text
        return self.response.json()


class Traced:
    """A server under the agent, and the receiver of its spans."""

    def __init__(self, server: Server, receiver: HttpReceiver) -> None:
        self.server = server
        self.receiver = receiver

    def get(self, path: str, **options: Any) -> Call:
        """GETs a path as ask() does."""
        return self.ask("GET", path, **options)

    def ask(
        self,
        method: str,
        path: str,
        *,
        until: Callable[[list[Span]], object] = lambda spans: True,
        flags: str = "01",
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> Call:
        """Sends a request as part of a new trace; returns when its SERVER span has come.

        Spans that ended before the SERVER span have come by then; `until(spans)` waits for more.
        """
        trace_id, caller = os.urandom(16).hex(), os.urandom(8).hex()
        trace = {"traceparent": f"00-{trace_id}-{caller}-{flags}"}
        headers = {**trace, **(headers or {})}
        response = self.server.client.request(method, path, headers=headers, **options)

        def mine(spans: list[Span]) -> list[Span]:
            return [span for span in spans if span.trace_id == trace_id]

        def complete(spans: list[Span]) -> object:
            found = mine(spans)
            return any(span.parent_id == caller for span in found) and until(found)

        found = mine(self.receiver.wait(complete))
        server = one(found, parent_id=caller)
        assert server.kind == "SERVER"
        others = sorted((s for s in found if s is not server), key=lambda span: span.start_ns)
        return Call(response, server, others)

    @property
    def sent(self) -> bytes:
        """All that the agent has sent so far, uncompressed."""
        return b"".join(
            gzip.decompress(request.body)
            if request.headers.get("content-encoding") == "gzip"
            else request.body
            for request in self.receiver.requests
        )


@contextmanager
def traced(
    directory: Path, build: Path, python: str, app: str, *args: str, **options: Any
) -> Iterator[Traced]:
    """Serves `app` under uvicorn with the agent; arguments as for Runner.uvicorn.

    Raises AssertionError at the end when the server did not end by SIGTERM as it should, has
    written lines of the agent, or has sent something invalid.
    """
    receiver = HttpReceiver()
    runner = Runner(directory, build, python)
    try:
        env = {**receiver.env, **options.pop("env", {})}
        server = runner.uvicorn(app, *args, env=env, **options)
        yield Traced(server, receiver)
        assert server.stop() == -15, server.describe()
        assert server.agent_lines == []
    finally:
        runner.kill_all()
        receiver.stop()
    receiver.check()

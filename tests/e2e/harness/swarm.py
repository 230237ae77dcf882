# SPDX-License-Identifier: MIT
"""Many clients at once on raw sockets, and the judge of whose trace their requests are in.

The application is apps/right_trace.py, however it is traced.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .deadline import scaled
from .otlp import Span
from .served import Context, new_context

LARGE = 400_000
_NUMBER = re.compile(r"\bnumber_(\d+)\b")
_PATH = re.compile(r"/(?:number|threaded)/(\d+)$")


@dataclass(frozen=True)
class Ask:
    """One request: its number, its context (None: it has no header), and the size of its body."""

    number: int
    context: Context | None
    size: int

    def bytes(self, version: str, connection: str) -> bytes:
        """The request as it goes over the wire."""
        threaded = not self.size and self.number % 5 == 4
        path = f"/{'threaded' if threaded else 'number'}/{self.number}"
        lines = [
            f"{'POST' if self.size else 'GET'} {path} HTTP/{version}",
            "Host: a",
            f"Connection: {connection}",
        ]
        if self.size:
            lines.append(f"Content-Length: {self.size}")
        if self.context:
            lines.append(f"traceparent: {self.context.value}")
        return "\r\n".join([*lines, "", ""]).encode() + b"x" * self.size


def asks(first: int, count: int) -> list[Ask]:
    """Returns requests from this number on: one in four without a header, one in sixteen large."""
    return [
        Ask(
            number,
            None if number % 4 == 3 else new_context(),
            LARGE if number % 16 == 5 else (number % 3) * 100,
        )
        for number in range(first, first + count)
    ]


class Swarm:
    """Clients of four manners: keep-alive, pipelining, HTTP/1.0, a connection for each request."""

    def __init__(self, port: int) -> None:
        self.port = port

    def run(self, clients: int, each: int) -> list[Ask]:
        """Lets `clients` clients at once send `each` requests, and returns all requests.

        Raises AssertionError when an answer is not the request's own, TimeoutError when one is
        missing for long.
        """
        groups = [asks(client * each, each) for client in range(clients)]
        manners = [self._keep_alive, self._pipelined, self._old, self._single]

        async def all_of_them() -> None:
            work = (manners[n % len(manners)](group) for n, group in enumerate(groups))
            await asyncio.wait_for(asyncio.gather(*work), scaled(90))

        asyncio.run(all_of_them())
        return [ask for group in groups for ask in group]

    async def _keep_alive(self, group: Sequence[Ask]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for ask in group:
            writer.write(ask.bytes("1.1", "keep-alive"))
            await writer.drain()
            await _answered(reader, ask)
        writer.close()

    async def _pipelined(self, group: Sequence[Ask]) -> None:
        """Five requests are on their way before the first answer is read."""
        for start in range(0, len(group), 5):
            batch = group[start : start + 5]
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(b"".join(ask.bytes("1.1", "keep-alive") for ask in batch))
            await asyncio.gather(writer.drain(), _all_answered(reader, batch))
            writer.close()

    async def _old(self, group: Sequence[Ask]) -> None:
        for ask in group:
            await self._alone(ask, "1.0")

    async def _single(self, group: Sequence[Ask]) -> None:
        for ask in group:
            await self._alone(ask, "1.1")

    async def _alone(self, ask: Ask, version: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(ask.bytes(version, "close"))
        await writer.drain()
        await _answered(reader, ask)
        assert await reader.read() == b""
        writer.close()


async def _all_answered(reader: asyncio.StreamReader, batch: Sequence[Ask]) -> None:
    for ask in batch:
        await _answered(reader, ask)


async def _answered(reader: asyncio.StreamReader, ask: Ask) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    length = re.search(r"(?im)^content-length: (\d+)", head)
    assert " 200 OK" in head.splitlines()[0] and length, head
    body = json.loads(await reader.readexactly(int(length[1])))
    assert body == [ask.number, ask.size]


def number_of(span: Span) -> int | None:
    """Returns the number of the request whose SERVER or CLIENT span this is; None for others."""
    if span.kind == "SERVER":
        keys, pattern = ("url.path", "http.target"), _PATH
    else:
        keys, pattern = ("db.query.text", "db.statement"), _NUMBER
    for key in keys:
        match = pattern.search(str(span.attributes.get(key, "")))
        if match:
            return int(match[1])
    return None


def complaints(asked: Sequence[Ask], spans: Iterable[Span]) -> list[str]:
    """Returns what is wrong, one sentence a span; an empty list when every request has exactly its
    SERVER span, in its own trace under its own parent, and its statement exactly below that."""
    found = []
    edges: dict[int, Span] = {}
    children: dict[int, Span] = {}
    for span in spans:
        kept = {"SERVER": edges, "CLIENT": children}.get(span.kind)
        if kept is None:
            continue
        number = number_of(span)
        if number is None:
            found.append(f"nobody's span: {span}")
        elif number in kept:
            found.append(f"request {number} has two {span.kind} spans")
        else:
            kept[number] = span
    theirs = {ask.context.trace_id for ask in asked if ask.context}
    own = Counter(span.trace_id for span in edges.values())
    for ask in asked:
        edge, child = edges.get(ask.number), children.get(ask.number)
        if edge is None:
            found.append(f"request {ask.number} has no SERVER span")
            continue
        if ask.context and (edge.trace_id, edge.parent_id) != (
            ask.context.trace_id,
            ask.context.parent_id,
        ):
            found.append(f"request {ask.number} is not below its own header: {edge}")
        if not ask.context and (edge.parent_id or edge.trace_id in theirs):
            found.append(f"request {ask.number} had no header and is no root: {edge}")
        if own[edge.trace_id] != 1:
            found.append(f"request {ask.number} shares its trace with {own[edge.trace_id] - 1}")
        if child is None:
            found.append(f"request {ask.number} has no statement")
        elif (child.trace_id, child.parent_id) != (edge.trace_id, edge.span_id):
            found.append(f"the statement of request {ask.number} is elsewhere: {child}")
    known = {ask.number for ask in asked}
    found += [f"a span of an unknown request {number}" for number in set(edges) - known]
    return found

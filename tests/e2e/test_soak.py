# SPDX-License-Identifier: MIT
"""Thousands of interleaved requests: every child is under its own request.

FAA_SOAK_REQUESTS sets how many there are on each event loop.
"""

import asyncio
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from harness.deadline import scaled
from harness.otlp import Span
from harness.process import Runner
from harness.receiver import HttpReceiver
from harness.target import Target

REQUESTS = int(os.environ.get("FAA_SOAK_REQUESTS") or 1000)
CONNECTIONS = 40
PIPELINED = 3

# How much work each kind of request does; /http comes less often: the target is slow.
KINDS = {
    "tasks": 3,
    "threads": 5,
    "stream": 3,
    "background": 3,
    "def": 4,
    "database": 3,
    "failing": 1,
    "http": 2,
}
ORDER = [*KINDS, *(kind for kind in KINDS if kind != "http")]


def path_of(number: int) -> str:
    return f"/{ORDER[number % len(ORDER)]}/{number}"


def trace_of(number: int) -> str:
    return f"{number + 1:032x}"


async def visit(port: int, numbers: list[int]) -> None:
    """Asks for these one after another, a few at a time on one connection."""
    while numbers:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        group, numbers = numbers[:PIPELINED], numbers[PIPELINED:]
        if any("/failing/" in path_of(number) for number in group):  # It costs the connection.
            group, numbers = group[:1], group[1:] + numbers
        text = "".join(
            f"GET {path_of(number)} HTTP/1.1\r\nHost: x\r\n"
            f"traceparent: 00-{trace_of(number)}-{'cd' * 8}-01\r\n"
            + ("Connection: close\r\n" if number == group[-1] else "")
            + "\r\n"
            for number in group
        )
        writer.write(text.encode())
        answers = re.findall(rb"HTTP/1\.1 (\d+) ", await reader.read())
        assert len(answers) == len(group), (group, answers)
        writer.close()


async def visit_all(port: int) -> None:
    numbers = list(range(REQUESTS))
    async with asyncio.timeout(scaled(60 + REQUESTS / 20)):
        await asyncio.gather(*(visit(port, numbers[n::CONNECTIONS]) for n in range(CONNECTIONS)))


def owner_of(span: Span) -> str:
    """The number in a span's statement or URL."""
    where = span.attributes.get("db.query.text") or span.attributes.get("url.full") or ""
    match = re.search(r"(?: FROM r|/echo/)(\w+)$", str(where))
    assert match, span
    return match[1]


@pytest.mark.timeout(scaled(180 + REQUESTS / 10))
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_every_child_is_under_its_own_request(
    run: Runner, receiver: HttpReceiver, target: Target, tmp_path: Path, loop: str
) -> None:
    env = receiver.env | {
        "TARGET_URL": target.url,
        "DATABASE": str(tmp_path / "soak.db"),
        "FAA_SQLALCHEMY_SPANS": "none",  # A busy machine is slow to connect.
    }
    options = ("--loop", loop, "--no-access-log", "--log-level", "critical", "--backlog", "500")
    server = run.uvicorn("soak:app", *options, env=env)
    asyncio.run(visit_all(server.port))
    assert server.stop(timeout=60) == -15, server.describe()
    assert server.agent_lines == []

    spans = receiver.spans
    served = {span.trace_id: span for span in spans if span.kind == "SERVER"}
    assert served.keys() == {trace_of(number) for number in range(REQUESTS)}
    by_id = {(span.trace_id, span.span_id): span for span in spans}
    assert len(by_id) == len(spans)
    work: Counter[str] = Counter()
    nobodys = 0
    for span in spans:
        if span.kind != "CLIENT":
            continue
        owner = owner_of(span)
        if owner == "_nobody":
            nobodys += 1
            assert span.parent_id == "" and span.trace_id not in served
            continue
        request = served[span.trace_id]
        assert request.attributes["url.path"] == path_of(int(owner)), (span, request)
        assert span.trace_id == trace_of(int(owner))
        parent = by_id[span.trace_id, span.parent_id]
        if parent is not request:  # A background task, or a dependency that took its time.
            assert (parent.kind, parent.parent_id) == ("INTERNAL", request.span_id)
        work[owner] += 1
    for number in range(REQUESTS):
        kind = path_of(number).split("/")[1]
        assert work[str(number)] == KINDS[kind], path_of(number)
    assert nobodys > 10
    told = Counter(request["headers"]["traceparent"].split("-")[1] for request in target.seen)
    assert told == {trace_of(n): 2 for n in range(REQUESTS) if path_of(n).startswith("/http/")}

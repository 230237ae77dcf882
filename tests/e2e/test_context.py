# SPDX-License-Identifier: MIT
"""Statements and calls are children of their request, wherever they are made."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from harness import libraries
from harness.deadline import scaled
from harness.jaeger import Jaeger
from harness.otlp import Span
from harness.process import Runner
from harness.receiver import HttpReceiver
from harness.target import Target
from harness.traced import Call, Traced, traced
from harness.tree import assert_tree, one, tree, where

LOOPS = ("asyncio", "uvloop")
WORK = [("SELECT", "CLIENT"), ("GET", "CLIENT")]


@pytest.fixture(scope="module")
def peer() -> Iterator[Target]:
    server = Target()
    yield server
    server.stop()


@pytest.fixture(scope="module", params=LOOPS)
def app(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    build: Path,
    peer: Target,
) -> Iterator[Traced]:
    """apps/nesting.py on each event loop."""
    directory = tmp_path_factory.mktemp("nesting")
    python = libraries.python()
    env = {"TARGET_URL": peer.url, "DATABASE": str(directory / "nesting.db")}
    arguments = ("--loop", request.param)
    with traced(directory, build, python, "nesting:app", *arguments, env=env) as server:
        yield server


def assert_on_the_wire(call: Call, peer: Target) -> None:
    """Asserts that the peer saw the trace's GET spans as its parents."""
    sent = {f"00-{s.trace_id}-{s.span_id}-01" for s in where(call.spans, name="GET")}
    assert sent
    assert sent <= {request["headers"]["traceparent"] for request in peer.seen}


@pytest.mark.parametrize(
    "path",
    """/async-def /def /async-engine /create-task /task-of-a-task /wait-for /run-in-threadpool
    /to-thread /thread /from-thread /copy-context /executor /call-soon /async-stream /stream
    /exception-handler /middleware""".split(),
)
def test_work_is_a_child_of_its_request(app: Traced, peer: Target, path: str) -> None:
    call = app.get(path)
    assert call.response.status_code == 200
    assert_tree([call.server, *call.spans], (f"GET {path}", "SERVER", WORK))
    assert_on_the_wire(call, peer)


@pytest.mark.parametrize("path", ["/gather", "/anyio-task-group", "/dependencies"])
def test_work_in_several_tasks_is_children_of_the_same_request(
    app: Traced, peer: Target, path: str
) -> None:
    call = app.get(path)
    assert call.response.status_code == 200
    assert_tree([call.server, *call.spans], (f"GET {path}", "SERVER", [*WORK, *WORK]))
    assert_on_the_wire(call, peer)


@pytest.mark.parametrize("path", ["/background", "/background-def", "/late-task"])
def test_work_after_the_response_is_in_the_trace_of_its_request(
    app: Traced, peer: Target, path: str
) -> None:
    call = app.get(path, until=lambda spans: where(spans, name="GET"))
    root = one([node.span for node in tree([call.server, *call.spans])])
    assert root is call.server
    work = where(call.spans, kind="CLIENT")
    assert sorted(span.name for span in work) == ["GET", "SELECT"]
    assert_on_the_wire(call, peer)


# Many requests at once.


def visits(server: Traced, paths: list[str]) -> dict[str, str]:
    """GETs the paths at the same time over few connections; returns the trace id of each."""
    ids = {path: os.urandom(16).hex() for path in paths}

    async def visit() -> None:
        limits = httpx.Limits(max_connections=24)
        async with httpx.AsyncClient(
            base_url=server.server.url, trust_env=False, timeout=scaled(60), limits=limits
        ) as client:
            answers = await asyncio.gather(
                *(
                    client.get(path, headers={"traceparent": f"00-{trace_id}-{'ab' * 8}-01"})
                    for path, trace_id in ids.items()
                )
            )
        assert {answer.status_code for answer in answers} == {200}

    asyncio.run(visit())
    return ids


def test_hundreds_of_interleaved_requests_keep_their_children(app: Traced, peer: Target) -> None:
    seen = len(peer.seen)
    counts = {"mixed": 6, "mixed-def": 4}  # Spans of each request.
    paths = [f"/{kind}/{number}" for number in range(150) for kind in counts]
    ids = visits(app, paths)
    wanted = set(ids.values())

    def complete(spans: list[Span]) -> bool:
        done = [span for span in spans if span.kind == "SERVER" and span.trace_id in wanted]
        return len(done) == len(paths)

    traces: dict[str, list[Span]] = {trace_id: [] for trace_id in wanted}
    for span in app.receiver.wait(complete, timeout=30):
        if span.trace_id in traces:
            traces[span.trace_id].append(span)
    for path, trace_id in ids.items():
        _, kind, number = path.split("/")
        table = f"SELECT table_{int(number) % 7}"
        first, *others = {
            "mixed": [table, table, "first", "thread", "pool"],
            "mixed-def": [table, "first", "last"],
        }[kind]
        spans = traces[trace_id]
        server = one(spans, kind="SERVER")
        assert server.attributes["url.path"] == path
        children = where(spans, kind="CLIENT", parent_id=server.span_id)
        assert len(children) == len(spans) - 1 == counts[kind] - 1
        found = [
            span.name
            if span.name != "GET"
            else span.attributes["url.full"].removeprefix(f"{peer.url}/echo/{number}/")
            for span in children
        ]
        assert sorted(found) == sorted([first, *others])
    parents = {
        (span.trace_id, span.span_id): span.attributes["url.full"]
        for spans in traces.values()
        for span in where(spans, name="GET")
    }
    requests = peer.seen[seen:]
    assert len(requests) == len(parents)
    for request in requests:
        _, trace_id, span_id, _ = request["headers"]["traceparent"].split("-")
        assert parents[trace_id, span_id] == f"{peer.url}{request['path']}"


# Two services.

SHOP = (
    "GET /buy/{number}",
    "SERVER",
    [
        ("SELECT table_3", "CLIENT"),
        ("GET", "CLIENT", [("GET /price/{number}", "SERVER", [("SELECT table_3", "CLIENT")])]),
    ],
)


def two_services(run: Runner, tmp_path: Path, env: dict[str, str], names: list[str]) -> None:
    """Buys once in a shop that asks another process for the price, and ends both."""
    servers = []
    target = "http://127.0.0.1:9"
    for name in reversed(names):
        own = {"OTEL_SERVICE_NAME": name, "TARGET_URL": target, "DATABASE": str(tmp_path / name)}
        servers.append(run.uvicorn("nesting:app", env={**env, **own}))
        target = servers[-1].url
    assert servers[-1].get("/buy/3").json() == "bought"
    for server in reversed(servers):
        assert server.stop() == -15


def test_two_services_make_one_trace(run: Runner, receiver: HttpReceiver, tmp_path: Path) -> None:
    two_services(run, tmp_path, receiver.env, ["shop", "pricing"])
    root = one(receiver.spans, name="GET /buy/{number}")
    spans = where(receiver.spans, trace_id=root.trace_id)
    assert root.parent_id == ""
    assert_tree(spans, SHOP)
    assert one(spans, name="GET /price/{number}").service == "pricing"
    assert [span.service for span in where(spans, kind="CLIENT")].count("shop") == 2
    call, served = one(spans, name="GET"), one(spans, name="GET /price/{number}")
    assert call.start_ns <= served.start_ns <= served.end_ns
    assert call.attributes["server.port"] == served.attributes["server.port"]


def test_two_services_are_one_trace_in_jaeger(run: Runner, jaeger: Jaeger, tmp_path: Path) -> None:
    mark = os.urandom(4).hex()
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.grpc_endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    }
    two_services(run, tmp_path, env, [f"shop-{mark}", f"pricing-{mark}"])
    assert {f"shop-{mark}", f"pricing-{mark}"} <= set(jaeger.services())
    ids = {
        trace["traceID"]
        for trace in jaeger.traces(f"shop-{mark}")
        for span in trace["spans"]
        if span["operationName"] == "GET /buy/{number}"
    }
    (trace_id,) = ids
    spans = jaeger.wait(trace_id, 5)
    assert_tree(spans, SHOP)
    assert [span for span in spans if "@jaeger@warnings" in span.attributes] == []

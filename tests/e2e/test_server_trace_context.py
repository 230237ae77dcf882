# SPDX-License-Identifier: MIT
"""W3C trace context of incoming requests: every request belongs to its own headers alone."""

import asyncio
import http.client
import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx
import pytest

from harness import libraries
from harness.deadline import scaled
from harness.otlp import Span, describe
from harness.process import Runner, Server
from harness.receiver import HttpReceiver
from harness.tree import one, where

LARGE = b"x" * 400_000
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
Context = tuple[str, str]


class Served:
    def __init__(self, server: Server, receiver: HttpReceiver) -> None:
        self.server, self.receiver = server, receiver

    def spans(self, trace_id: str, count: int) -> list[Span]:
        found = self.receiver.wait(lambda spans: len(where(spans, trace_id=trace_id)) >= count)
        return where(found, trace_id=trace_id)


@pytest.fixture(
    scope="module", params=[("asyncio", "h11"), ("uvloop", "httptools")], ids=lambda pair: pair[0]
)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, build: Path
) -> Iterator[Served]:
    """The cases, served on each loop, one server for the whole module."""
    python = libraries.python()
    runner = Runner(tmp_path_factory.mktemp("context"), build, python)
    receiver = HttpReceiver()
    loop, protocol = request.param
    try:
        args = ("--loop", loop, "--http", protocol)
        server = runner.uvicorn("server_cases:app", *args, env=receiver.env)
        yield Served(server, receiver)
        assert server.stop() == -signal.SIGTERM
        assert server.agent_lines == []
        receiver.check()
    finally:
        runner.kill_all()
        receiver.stop()


def contexts(count: int) -> list[Context]:
    return [(os.urandom(16).hex(), os.urandom(8).hex()) for _ in range(count)]


def header(context: Context, flags: str = "01") -> dict[str, str]:
    return {"traceparent": f"00-{context[0]}-{context[1]}-{flags}"}


def assert_own_trace(served: Served, context: Context, children: int) -> Span:
    """The request with this context made one SERVER span, child of its own parent."""
    trace_id, parent_id = context
    spans = served.spans(trace_id, 1 + children)
    server = one(spans, kind="SERVER")
    assert server.parent_id == parent_id
    parents = [span.parent_id for span in spans if span is not server]
    assert parents == [server.span_id] * children, describe(spans)
    return server


# The parent.


def test_request_is_a_child_of_its_header(served: Served) -> None:
    (context,) = contexts(1)
    served.server.get("/statement/async", headers=header(context))
    span = assert_own_trace(served, context, 1)
    assert (span.trace_state, span.flags & 0xFF) == ("", 1)


@pytest.mark.parametrize(
    ("states", "kept"),
    [
        (["a=1"], "a=1"),
        (["a=1,b@v=x y,c=!~"], "a=1,b@v=x y,c=!~"),
        (["a=1", "b=2"], "a=1,b=2"),
        (["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"], "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        ([",".join(f"k{n}=v" for n in range(32))], ",".join(f"k{n}=v" for n in range(32))),
        ([""], ""),
    ],
)
def test_tracestate_is_kept(served: Served, states: Sequence[str], kept: str) -> None:
    (context,) = contexts(1)
    fields = [*header(context).items(), *(("tracestate", state) for state in states)]
    served.server.get("/statement/sync", headers=fields)
    span = assert_own_trace(served, context, 1)
    assert span.trace_state == kept
    assert {span.trace_state for span in served.spans(context[0], 2)} == {kept}


@pytest.mark.parametrize(
    "state",
    [
        "no equals sign",
        "A=1",
        "a=1,a=2",
        "=x",
        "a=" + "x" * 300,
        ",".join(["a=1"] * 40),
        "ünï=cødé",
        "a=1\tb",
        "a=" + "x" * 30_000,
    ],
    ids=lambda state: state[:20],
)
def test_bad_tracestate_does_not_spoil_the_parent(served: Served, state: str) -> None:
    """It may be passed on or dropped as a whole; what is sent on is valid in any case."""
    (context,) = contexts(1)
    send(served, f"traceparent: {header(context)['traceparent']}", f"tracestate: {state}")
    span = assert_own_trace(served, context, 0)
    assert span.trace_state in (state, "")
    assert span.trace_state.isascii()
    assert len(span.trace_state) <= 512 or len(state) < 512


@pytest.mark.parametrize(
    "value",
    [
        "00-{trace}-{parent}-01",
        "  00-{trace}-{parent}-01 ",
        "00-{trace}-{parent}-03",
        "00-{trace}-{parent}-ff",
        "01-{trace}-{parent}-01",
        "cc-{trace}-{parent}-01-what-the-future-brings",
    ],
)
def test_good_traceparent(served: Served, value: str) -> None:
    (context,) = contexts(1)
    value = value.format(trace=context[0], parent=context[1])
    send(served, f"traceparent: {value}")
    assert_own_trace(served, context, 0)


BAD = {
    "empty": "",
    "nonsense": "nonsense",
    "no flags": f"00-{TRACE}-{PARENT}",
    "short flags": f"00-{TRACE}-{PARENT}-1",
    "long flags": f"00-{TRACE}-{PARENT}-011",
    "more in version 00": f"00-{TRACE}-{PARENT}-01-more",
    "dash at the end": f"00-{TRACE}-{PARENT}-01-",
    "version ff": f"ff-{TRACE}-{PARENT}-01",
    "short version": f"0-{TRACE}-{PARENT}-01",
    "no hex in version": f"0x-{TRACE}-{PARENT}-01",
    "no hex in flags": f"00-{TRACE}-{PARENT}-0x",
    "upper case": f"00-{TRACE.upper()}-{PARENT}-01",
    "upper case parent": f"00-{TRACE}-{PARENT.upper()}-01",
    "zero trace": f"00-{'0' * 32}-{PARENT}-01",
    "zero parent": f"00-{TRACE}-{'0' * 16}-01",
    "short trace": f"00-{TRACE[1:]}-{PARENT}-01",
    "long trace": f"00-{TRACE}0-{PARENT}-01",
    "short parent": f"00-{TRACE}-{PARENT[1:]}-01",
    "underscores": f"00_{TRACE}_{PARENT}_01",
    "future without dash": f"01-{TRACE}-{PARENT}-01x",
    "no hex": f"00-{'g' * 32}-{PARENT}-01",
    "blank inside": f"00-{TRACE}- {PARENT[1:]}-01",
    "two in one": f"00-{TRACE}-{PARENT}-01,00-{TRACE}-{PARENT}-01",
    "endless": "00-" + "a" * 30_000,
    "not ASCII": "00-ünï-çødé-01",
}


@pytest.mark.parametrize("what", BAD)
def test_bad_traceparent_starts_a_new_trace(served: Served, what: str) -> None:
    mark = os.urandom(4).hex()
    send(served, f"traceparent: {BAD[what]}", "tracestate: a=1", path=f"/gate/{mark}")
    assert_root(served, mark)


def test_two_traceparents_start_a_new_trace(served: Served) -> None:
    mark = os.urandom(4).hex()
    value = f"traceparent: 00-{TRACE}-{PARENT}-01"
    send(served, value, value, path=f"/gate/{mark}")
    assert_root(served, mark)


def test_tracestate_alone_is_ignored(served: Served) -> None:
    mark = os.urandom(4).hex()
    send(served, "tracestate: a=1", path=f"/gate/{mark}")
    assert_root(served, mark)


def assert_root(served: Served, mark: str) -> None:
    part = {"url.path": f"/gate/{mark}"}
    span = one(served.receiver.wait(lambda spans: where(spans, attributes=part)), attributes=part)
    assert (span.parent_id, span.trace_state) == ("", "")
    assert span.trace_id not in (TRACE, "0" * 32)


def send(served: Served, *lines: str, path: str = "/gate/x") -> bytes:
    """Sends a request with these header lines, byte by byte as they are."""
    text = "\r\n".join([f"GET {path} HTTP/1.1", "Host: a", "Connection: close", *lines, "", ""])
    with connect(served) as connection:
        connection.sendall(text.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    return answer


def connect(served: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.server.port), timeout=scaled(20))


@pytest.mark.parametrize("flags", ["00", "02"])
def test_unsampled_request_leaves_nothing(run: Runner, receiver: HttpReceiver, flags: str) -> None:
    server = run.uvicorn("server_cases:app", env=receiver.env)
    for path in ("/statement/async", "/statement/sync", "/interleaved/3", "/fails/sync/database"):
        server.get(path, headers=header((TRACE, PARENT), flags))
    with server.client.stream(
        "GET", "/stream/gate", headers=header((TRACE, PARENT), flags)
    ) as response:
        chunks = response.iter_raw()
        next(chunks)
        server.get("/gate/gate", headers=header((TRACE, PARENT), flags))
        assert b"".join(chunks) == b"last"
    server.get("/gate/gate-after", headers=header((TRACE, PARENT), flags))
    server.get("/statement/sync")  # Not sampled out by the ones before.
    assert server.stop() == -signal.SIGTERM
    assert {span.name for span in receiver.spans} == {"GET /statement/sync", "SELECT"}
    assert len(receiver.spans) == 2
    assert TRACE not in {span.trace_id for span in receiver.spans}


# One connection, many traces: the context that the server's tasks inherit is stale.


@pytest.mark.parametrize("body", [b"", b"small", LARGE], ids=["empty", "small", "400 kB"])
def test_keep_alive_requests_belong_to_their_own_traces(served: Served, body: bytes) -> None:
    connection = http.client.HTTPConnection(
        "127.0.0.1", served.server.port, timeout=scaled(20)
    )
    three = contexts(3)
    for context in three:
        connection.request("POST", "/swallow", body=body, headers=header(context))
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, str(len(body)).encode())
    connection.close()
    for context in three:
        assert_own_trace(served, context, 1)


def test_request_without_traceparent_after_one_with_it_is_a_root(served: Served) -> None:
    connection = http.client.HTTPConnection(
        "127.0.0.1", served.server.port, timeout=scaled(20)
    )
    mark = os.urandom(4).hex()
    (context,) = contexts(1)
    headers: Mapping[str, str]
    for path, headers in (("/statement/async", header(context)), (f"/gate/{mark}", {})):
        connection.request("GET", path, headers=headers)
        connection.getresponse().read()
    connection.close()
    assert_own_trace(served, context, 1)
    assert_root(served, mark)


@pytest.mark.parametrize("body", [b"", LARGE], ids=["empty", "400 kB"])
def test_pipelined_requests_belong_to_their_own_traces(served: Served, body: bytes) -> None:
    five = contexts(5)
    requests = []
    for number, context in enumerate(five):
        ends = "close" if number == 4 else "keep-alive"
        lines = [
            "POST /swallow HTTP/1.1",
            "Host: a",
            f"Connection: {ends}",
            f"Content-Length: {len(body)}",
            f"traceparent: {header(context)['traceparent']}",
        ]
        requests.append("\r\n".join([*lines, "", ""]).encode() + body)
    with connect(served) as connection:
        connection.sendall(b"".join(requests))
        answers = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answers.count(b"HTTP/1.1 200 OK") == 5
    spans = [assert_own_trace(served, context, 1) for context in five]
    times = [(span.start_ns, span.end_ns) for span in spans]
    assert times == sorted(times)


def test_interleaved_requests_belong_to_their_own_traces(served: Served) -> None:
    all_contexts = contexts(200)

    async def ask() -> list[int]:
        limits = httpx.Limits(max_connections=25)
        async with httpx.AsyncClient(
            base_url=served.server.url, trust_env=False, timeout=scaled(30), limits=limits
        ) as client:
            answers = await asyncio.gather(
                *(
                    client.get(f"/interleaved/{number}", headers=header(context))
                    for number, context in enumerate(all_contexts)
                )
            )
        return [answer.json() for answer in answers]

    assert asyncio.run(ask()) == list(range(200))
    for number, context in enumerate(all_contexts):
        span = assert_own_trace(served, context, 2)
        assert span.attributes["url.path"] == f"/interleaved/{number}"


def test_new_traces_have_ids_of_their_own(served: Served) -> None:
    marks = {os.urandom(4).hex() for _ in range(20)}
    for mark in marks:
        served.server.get(f"/gate/{mark}")
    paths = {f"/gate/{mark}" for mark in marks}

    def mine(spans: list[Span]) -> list[Span]:
        return [span for span in spans if span.attributes.get("url.path") in paths]

    spans = mine(served.receiver.wait(lambda spans: len(mine(spans)) >= 20))
    assert len({span.trace_id for span in spans}) == 20
    assert len({span.span_id for span in spans}) == 20

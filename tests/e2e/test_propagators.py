# SPDX-License-Identifier: MIT
"""OTEL_PROPAGATORS: what comes in with a request in each format, and goes out with its calls."""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.b3 import B3MultiFormat, B3SingleFormat
from opentelemetry.propagators.jaeger import JaegerPropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from harness import libraries
from harness.deadline import scaled, until
from harness.otlp import Span
from harness.process import Runner
from harness.receiver import HttpReceiver
from harness.target import Target
from harness.traced import Traced, traced
from harness.tree import one, where

Headers = Sequence[tuple[str, str]]

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SHORT = TRACE[16:]
OTHER = "0af7651916cd43dd8448eb211c80319c"
PARENT = "05e3ac9a4f6e3b90"
ALL = "jaeger,b3multi,b3,tracecontext,baggage"
OURS = {
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "uber-trace-id",
}
PUBLISHED: dict[str, TextMapPropagator] = {
    "tracecontext": TraceContextTextMapPropagator(),
    "b3": B3SingleFormat(),
    "b3multi": B3MultiFormat(),
    "jaeger": JaegerPropagator(),
}


class Servers:
    """apps/propagate.py, once for each value of OTEL_PROPAGATORS, and the target that it calls."""

    def __init__(self, factory: pytest.TempPathFactory, build: Path) -> None:
        self.stack = ExitStack()
        self.target = Target()
        self.stack.callback(self.target.stop)
        self._factory, self._build = factory, build
        self._servers: dict[str | None, Traced] = {}

    def using(self, value: str | None) -> Traced:
        """The server with this value; None for the default."""
        if value not in self._servers:
            env = {"TARGET_URL": self.target.url}
            if value is not None:
                env["OTEL_PROPAGATORS"] = value
            python = libraries.python()
            directory = self._factory.mktemp("propagate")
            self._servers[value] = self.stack.enter_context(
                traced(directory, self._build, python, "propagate:app", env=env)
            )
        return self._servers[value]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, build: Path) -> Iterator[Servers]:
    made = Servers(tmp_path_factory, build)
    with made.stack:
        yield made


def server_span(server: Traced, path: str) -> Span:
    """Waits for the SERVER span of a path."""
    part = {"url.path": path}
    found = server.receiver.wait(lambda spans: where(spans, kind="SERVER", attributes=part))
    return one(found, kind="SERVER", attributes=part)


def call(server: Traced, headers: Headers, query: str = "") -> tuple[Span, Span, dict[str, str]]:
    """Has the server make a call. Returns its SERVER and CLIENT span, and which headers of the
    propagators the target saw."""
    path = f"/call/{os.urandom(4).hex()}"
    response = server.server.get(path + query, headers=list(headers))
    assert response.status_code == 200, response.text
    parent = server_span(server, path)
    # It ended before its parent, so it has come by now.
    client = one(server.receiver.spans, kind="CLIENT", parent_id=parent.span_id)
    assert client.trace_id == parent.trace_id
    sent = {name: value for name, value in response.json().items() if name in OURS}
    return parent, client, sent


# The parent of the SERVER span, and the headers of the call.


def outgoing(format: str, span: Span, debug: bool = False) -> dict[str, str]:
    """What a call under this sampled CLIENT span has to carry."""
    ids = f"{span.trace_id}-{span.span_id}"
    return {
        "tracecontext": {"traceparent": f"00-{ids}-01"},
        "b3": {"b3": f"{ids}-{'d' if debug else '1'}"},
        "b3multi": {
            "x-b3-traceid": span.trace_id,
            "x-b3-spanid": span.span_id,
            **({"x-b3-flags": "1"} if debug else {"x-b3-sampled": "1"}),
        },
        "jaeger": {
            "uber-trace-id": f"{span.trace_id}:{span.span_id}:0:{'3' if debug else '1'}"
        },
    }[format]


MULTI = [("X-B3-TraceId", TRACE), ("X-B3-SpanId", SPAN)]
GOOD: dict[str, tuple[str, Headers, str]] = {
    "w3c": ("tracecontext", [("traceparent", f"00-{TRACE}-{SPAN}-01")], TRACE),
    "b3": ("b3", [("b3", f"{TRACE}-{SPAN}-1")], TRACE),
    "b3 with parent": ("b3", [("B3", f"{TRACE}-{SPAN}-1-{PARENT}")], TRACE),
    "b3 deferred": ("b3", [("b3", f"{TRACE}-{SPAN}")], TRACE),
    "b3 of 64 bits": ("b3", [("b3", f"{SHORT}-{SPAN}-1")], SHORT.rjust(32, "0")),
    "b3 upper case": ("b3", [("b3", f"{TRACE.upper()}-{SPAN.upper()}-1")], TRACE),
    "b3 reads several": ("b3", [*MULTI, ("X-B3-Sampled", "1")], TRACE),
    "b3 goes first": ("b3", [("X-B3-TraceId", OTHER), ("b3", f"{TRACE}-{SPAN}-1")], TRACE),
    "b3multi": ("b3multi", [*MULTI, ("X-B3-Sampled", "1")], TRACE),
    "b3multi with parent": ("b3multi", [*MULTI, ("X-B3-ParentSpanId", PARENT)], TRACE),
    "b3multi true": ("b3multi", [*MULTI, ("X-B3-Sampled", "true")], TRACE),
    "b3multi reads one": ("b3multi", [("b3", f"{TRACE}-{SPAN}-1")], TRACE),
    "jaeger": ("jaeger", [("uber-trace-id", f"{TRACE}:{SPAN}:0:1")], TRACE),
    "jaeger with parent": ("jaeger", [("Uber-Trace-Id", f"{TRACE}:{SPAN}:{PARENT}:1")], TRACE),
    "jaeger encoded": ("jaeger", [("uber-trace-id", f"{TRACE}%3A{SPAN}%3a0%3A1")], TRACE),
    "jaeger short": ("jaeger", [("uber-trace-id", f"{SHORT}:{SPAN[2:]}:0:1")], f"{SHORT:0>32}"),
}


@pytest.mark.parametrize("case", GOOD)
def test_the_trace_goes_on_in_the_same_format(servers: Servers, case: str) -> None:
    format, headers, trace_id = GOOD[case]
    parent, client, sent = call(servers.using(format), headers)
    assert (parent.trace_id, parent.parent_id) == (trace_id, SPAN)
    assert sent == outgoing(format, client)


@pytest.mark.parametrize(
    ("format", "headers"),
    [
        ("b3", [("b3", f"{TRACE}-{SPAN}-d")]),
        ("b3", [*MULTI, ("X-B3-Flags", "1")]),
        ("b3multi", [*MULTI, ("X-B3-Flags", "1")]),
        ("jaeger", [("uber-trace-id", f"{TRACE}:{SPAN}:0:3")]),
    ],
)
def test_debug_is_told_to_the_next(servers: Servers, format: str, headers: Headers) -> None:
    parent, client, sent = call(servers.using(format), headers)
    assert (parent.trace_id, parent.parent_id) == (TRACE, SPAN)
    assert sent == outgoing(format, client, debug=True)


@pytest.mark.parametrize("format", PUBLISHED)
def test_other_formats_are_neither_read_nor_written(servers: Servers, format: str) -> None:
    foreign = [
        header
        for name, headers, _ in GOOD.values()
        for header in headers
        if name.removesuffix("multi") != format.removesuffix("multi")
    ]
    assert len(foreign) > 3
    parent, client, sent = call(servers.using(format), foreign)
    assert parent.parent_id == ""
    assert parent.trace_id not in (TRACE, OTHER)
    assert sent == outgoing(format, client)


def test_the_default_is_w3c_trace_context_and_baggage(servers: Servers) -> None:
    headers = [
        *GOOD["w3c"][1],
        ("tracestate", "shop=1"),
        ("baggage", "userId=alice"),
        ("b3", f"{OTHER}-{SPAN}-1"),
        ("uber-trace-id", f"{OTHER}:{SPAN}:0:1"),
    ]
    parent, client, sent = call(servers.using(None), headers)
    assert (parent.trace_id, parent.parent_id) == (TRACE, SPAN)
    assert sent == {
        **outgoing("tracecontext", client),
        "tracestate": "shop=1",
        "baggage": "userId=alice",
    }


def everything() -> Headers:
    return [
        ("traceparent", f"00-{'a' * 32}-{SPAN}-01"),
        ("tracestate", "shop=1"),
        ("b3", f"{'b' * 32}-{SPAN}-1"),
        ("uber-trace-id", f"{'c' * 32}:{SPAN}:0:1"),
        ("baggage", "a=1"),
    ]


def test_none_neither_reads_nor_writes(servers: Servers) -> None:
    parent, _, sent = call(servers.using("none"), everything())
    assert (parent.parent_id, parent.trace_state, sent) == ("", "", {})


@pytest.mark.parametrize(
    ("value", "wins"),
    [
        ("tracecontext,b3,jaeger", "c"),
        ("jaeger,b3,tracecontext", "a"),
        ("jaeger, tracecontext ,b3,jaeger", "b"),
        (ALL, "a"),
    ],
)
def test_the_last_format_of_the_list_that_finds_a_trace_wins(
    servers: Servers, value: str, wins: str
) -> None:
    parent, client, sent = call(servers.using(value), everything())
    assert (parent.trace_id, parent.parent_id) == (wins * 32, SPAN)
    # What tracestate says belongs to traceparent's trace.
    assert parent.trace_state == ("shop=1" if wins == "a" else "")
    assert sent.get("tracestate", "") == parent.trace_state
    formats = {name.strip() for name in value.split(",")} - {"baggage"}
    for format in formats:
        assert outgoing(format, client).items() <= sent.items()


@pytest.mark.parametrize("value", ["xray", "xray,ottrace"])
def test_a_list_of_unknown_names_is_as_good_as_none_given(
    run: Runner, receiver: HttpReceiver, servers: Servers, value: str
) -> None:
    assert_complaints(run, receiver, servers, value, {"traceparent"})


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("b3,xray,jaeger", {"b3", "uber-trace-id"}),
        (" B3 ,,TraceContext,\tb3,", {"b3", "traceparent"}),
        ("baggage", set()),
        ("NONE", set()),
        ("b3, none,tracecontext", set()),
        ("", {"traceparent"}),
    ],
)
def test_the_list_is_read_leniently(
    run: Runner, receiver: HttpReceiver, servers: Servers, value: str, sent: set[str]
) -> None:
    """Blanks, empty and doubled names, any case; an unknown name is left out."""
    assert_complaints(run, receiver, servers, value, sent)


def assert_complaints(
    run: Runner, receiver: HttpReceiver, servers: Servers, value: str, sent: set[str]
) -> None:
    """One line for each unknown name, and these headers on the wire."""
    code = f"import requests; print(*requests.get({servers.target.url!r}).json()['headers'])"
    env = {**receiver.env, "OTEL_PROPAGATORS": value}
    script = run.run([run.python, "-c", code], env=env)
    assert (script.status, script.own_stderr) == (0, "")
    unknown = [name for name in value.split(",") if name in ("xray", "ottrace")]
    assert len(script.agent_lines) == len(unknown)
    for name, line in zip(unknown, script.agent_lines):
        assert f"faa warning: OTEL_PROPAGATORS: {name} is not known" in line
    assert OURS & set(script.stdout.split()) == sent
    receiver.wait(1)


# The published propagators agree.


@pytest.mark.parametrize("format", PUBLISHED)
@pytest.mark.parametrize("flags", [0, 1])
def test_published_propagators_and_ours_understand_each_other(
    servers: Servers, format: str, flags: int
) -> None:
    server = servers.using(format)
    trace_id = int.from_bytes(os.urandom(16), "big") | 1
    context = trace.SpanContext(trace_id, int(SPAN, 16), True, trace.TraceFlags(flags))
    headers: dict[str, str] = {}
    PUBLISHED[format].inject(
        headers, trace.set_span_in_context(trace.NonRecordingSpan(context))
    )
    mark = os.urandom(4).hex()
    sent = server.server.get(f"/call/{mark}", headers=headers).json()
    theirs = trace.get_current_span(PUBLISHED[format].extract(sent)).get_span_context()
    assert theirs.is_valid and theirs.is_remote
    assert (theirs.trace_id, int(theirs.trace_flags)) == (trace_id, flags)
    if flags:
        parent = server_span(server, f"/call/{mark}")
        assert (parent.trace_id, parent.parent_id) == (f"{trace_id:032x}", SPAN)
        client = one(server.receiver.spans, kind="CLIENT", parent_id=parent.span_id)
        assert f"{theirs.span_id:016x}" == client.span_id
    else:
        assert_nothing_recorded(server, f"/call/{mark}")


def test_published_baggage_and_ours_understand_each_other(servers: Servers) -> None:
    headers: dict[str, str] = {}
    entries = {"userId": "alice", "name": "Amélie, \"Zoë\" & co; 50 %", "empty": ""}
    context = None
    for key, value in entries.items():
        context = baggage.set_baggage(key, value, context)
    W3CBaggagePropagator().inject(headers, context)
    _, _, sent = call(servers.using(None), list(headers.items()))
    assert sent["baggage"] == headers["baggage"]
    assert baggage.get_all(W3CBaggagePropagator().extract(sent)) == entries


# The sampling decision.


def assert_nothing_recorded(server: Traced, path: str) -> None:
    """A later request's span has come, and none of this one."""
    later = f"/plain/{os.urandom(4).hex()}"
    server.server.get(later)
    server_span(server, later)
    assert where(server.receiver.spans, attributes={"url.path": path}) == []


@pytest.mark.parametrize(
    ("format", "headers"),
    [
        ("b3", [("b3", f"{TRACE}-{SPAN}-0")]),
        ("b3", [("b3", "0")]),
        ("b3multi", [*MULTI, ("X-B3-Sampled", "0")]),
        ("b3multi", [("X-B3-Sampled", "0")]),
        ("b3multi", [("X-B3-Sampled", "false")]),
        ("jaeger", [("uber-trace-id", f"{TRACE}:{SPAN}:0:0")]),
        ("jaeger", [("uber-trace-id", f"{TRACE}:{SPAN}:0:2")]),
    ],
)
def test_a_denied_request_leaves_nothing_and_says_so_to_the_next(
    servers: Servers, format: str, headers: Headers
) -> None:
    server = servers.using(format)
    path = f"/call/{os.urandom(4).hex()}"
    sent = server.server.get(path, headers=list(headers)).json()
    assert_nothing_recorded(server, path)
    context = trace.get_current_span(PUBLISHED[format].extract(sent)).get_span_context()
    assert context.is_valid and not context.trace_flags.sampled
    has_ids = TRACE in str(headers)
    assert (f"{context.trace_id:032x}" == TRACE) == has_ids


@pytest.mark.parametrize(
    ("format", "headers", "debug"),
    [
        ("b3", [("b3", "1")], False),
        ("b3", [("b3", "d")], True),
        ("b3multi", [("X-B3-Sampled", "1")], False),
        ("b3multi", [("X-B3-Flags", "1")], True),
    ],
)
def test_an_ordered_request_begins_a_trace(
    servers: Servers, format: str, headers: Headers, debug: bool
) -> None:
    parent, client, sent = call(servers.using(format), headers)
    assert parent.parent_id == ""
    assert sent == outgoing(format, client, debug)


# Malformed headers.

BAD: dict[str, Sequence[str]] = {
    "b3": (
        "",
        "-",
        "---",
        "2",
        "true",
        TRACE,
        f"{TRACE}-",
        f"{TRACE}-{SPAN}-",
        f"{TRACE}-{SPAN}-2",
        f"{TRACE}-{SPAN}-1-",
        f"{TRACE}-{SPAN}-1-{PARENT[1:]}",
        f"{TRACE}-{SPAN}-1-{PARENT}-1",
        f"{'0' * 32}-{SPAN}-1",
        f"{TRACE}-{'0' * 16}-1",
        f"{TRACE[1:]}-{SPAN}-1",
        f"{TRACE}0-{SPAN}-1",
        f"{TRACE}-{SPAN[1:]}-1",
        f"{'g' * 32}-{SPAN}-1",
        f"{TRACE}-{SPAN}-1,{TRACE}-{SPAN}-1",
        "a" * 30_000,
        "ünï-çødé-1",
    ),
    "uber-trace-id": (
        "",
        ":::",
        TRACE,
        f"{TRACE}:{SPAN}:0",
        f"{TRACE}:{SPAN}:0:1:",
        f"{TRACE}:{SPAN}::1",
        f"0:{SPAN}:0:1",
        f"{TRACE}:0:0:1",
        f"{TRACE}0:{SPAN}:0:1",
        f"{TRACE}:{SPAN}0:0:1",
        f"{TRACE}:{SPAN}:0:100",
        f"{TRACE}:{SPAN}:0:x",
        f"{TRACE}:{SPAN}:0:-1",
        f"{TRACE}%3B{SPAN}%3B0%3B1",
        f"{TRACE}%3{SPAN}:0:1",
        f"{TRACE}-{SPAN}-0-1",
        ":" * 30_000,
        "ünï:çødé:0:1",
    ),
    "baggage": ("", ",,,", "a", "=1", "a=1 2", 'a="1"', "a=ü", "a=1;", "=" * 30_000),
}
BAD_LINES: dict[str, Sequence[str]] = {
    **{
        f"{name} {value[:40]!r}": [f"{name}: {value}"]
        for name, values in BAD.items()
        for value in values
    },
    "b3 twice": [f"b3: {TRACE}-{SPAN}-1"] * 2,
    "uber-trace-id twice": [f"uber-trace-id: {TRACE}:{SPAN}:0:1"] * 2,
    "no span id": [f"X-B3-TraceId: {TRACE}", "X-B3-Sampled: 1"],
    "no trace id": [f"X-B3-SpanId: {SPAN}", "X-B3-Sampled: 1"],
    "two trace ids": [f"X-B3-TraceId: {TRACE}"] * 2 + [f"X-B3-SpanId: {SPAN}"],
    "bad decision": [f"X-B3-TraceId: {TRACE}", f"X-B3-SpanId: {SPAN}", "X-B3-Sampled: maybe"],
    "bad parent": [f"X-B3-TraceId: {TRACE}", f"X-B3-SpanId: {SPAN}", "X-B3-ParentSpanId: x"],
    "short trace id": [f"X-B3-TraceId: {TRACE[20:]}", f"X-B3-SpanId: {SPAN}"],
    "hundreds of each": [
        f"{name}: {value[:20]}"
        for _ in range(20)
        for name, values in BAD.items()
        for value in values
        if value.isascii() and value.isprintable()
    ],
}


@pytest.mark.parametrize("what", BAD_LINES)
def test_malformed_headers_start_a_new_trace_and_cost_no_request(
    servers: Servers, what: str
) -> None:
    server = servers.using(ALL)
    mark = os.urandom(4).hex()
    assert send(server, f"/call/{mark}", BAD_LINES[what]).startswith(b"HTTP/1.1 200 ")
    parent = server_span(server, f"/call/{mark}")
    assert parent.parent_id == ""
    assert parent.trace_id not in (TRACE, "0" * 32)
    client = one(server.receiver.spans, kind="CLIENT", parent_id=parent.span_id)
    seen = one([r for r in servers.target.seen if r["path"] == f"/echo/{mark}"])["headers"]
    # What we send on is ours alone.
    assert "baggage" not in seen
    assert seen["b3"] == f"{client.trace_id}-{client.span_id}-1"


def send(server: Traced, path: str, lines: Sequence[str]) -> bytes:
    """Sends a request with these header lines, byte by byte as they are; returns the answer."""
    text = "\r\n".join([f"GET {path} HTTP/1.1", "Host: a", "Connection: close", *lines, "", ""])
    address = ("127.0.0.1", server.server.port)
    with socket.create_connection(address, timeout=scaled(20)) as connection:
        connection.sendall(text.encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


# Baggage.

MANY = ",".join(f"key{number}=value{number}" for number in range(64))
LONGEST = "k=" + "v" * 8190


@pytest.mark.parametrize(
    ("lines", "sent"),
    [
        (["a=1"], "a=1"),
        (["a=1, node = DF%2028 ;p;q=2,x="], "a=1, node = DF%2028 ;p;q=2,x="),
        (["a=1", "b=2", "a=3"], "a=1,b=2,a=3"),
        (["a=1,bad,b=2,c=\"x\""], "a=1,b=2"),
        ([MANY], MANY),
        ([LONGEST], LONGEST),
        (["a=1", LONGEST, "b=2"], "a=1,b=2"),
        ([LONGEST + "v", "b=2"], "b=2"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_baggage_is_carried_on(servers: Servers, lines: Sequence[str], sent: str) -> None:
    """With a trace and without one; byte by byte where it is valid."""
    for others in ([], GOOD["w3c"][1]):
        server = servers.using(None)
        parent, _, got = call(server, [*others, *(("Baggage", line) for line in lines)])
        assert got["baggage"] == sent
        assert parent.parent_id == (SPAN if others else "")


def test_baggage_goes_with_every_call_of_its_request_and_no_other(servers: Servers) -> None:
    server = servers.using(None)
    mark = os.urandom(4).hex()
    for path in (f"/calls/{mark}", f"/later/{mark}"):
        server.server.get(path, headers={"baggage": f"mark={mark}"}).raise_for_status()

    def seen() -> list[dict[str, Any]]:
        return [r["headers"] for r in servers.target.seen if r["path"] == f"/echo/{mark}"]

    until(lambda: len(seen()) == 3, 20, lambda: f"only {seen()}")
    assert {headers["baggage"] for headers in seen()} == {f"mark={mark}"}
    _, _, sent = call(server, [])
    assert "baggage" not in sent


def test_baggage_is_told_to_no_span(servers: Servers) -> None:
    server = servers.using(None)
    secret = os.urandom(8).hex()
    _, _, sent = call(server, [("baggage", f"token={secret}")])
    assert sent["baggage"] == f"token={secret}"
    assert secret.encode() not in server.sent


def test_baggage_travels_with_a_request_that_is_not_sampled(servers: Servers) -> None:
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-00", "baggage": "a=1"}
    sent = servers.using(None).server.get("/call/unsampled", headers=headers).json()
    assert sent["baggage"] == "a=1"
    assert sent["traceparent"].startswith(f"00-{TRACE}-") and sent["traceparent"].endswith("-00")


def test_baggage_that_is_left_out_is_counted_in_the_debug_log(
    run: Runner, receiver: HttpReceiver, servers: Servers
) -> None:
    env = {**receiver.env, "TARGET_URL": servers.target.url, "FAA_LOG_LEVEL": "debug"}
    server = run.uvicorn("propagate:app", env=env)
    for value in ("a=1,bad", "a b=1", "a=1"):
        assert server.get("/plain/x", headers={"baggage": value}).status_code == 200
    assert server.stop() == -15
    counted = [line for line in server.agent_lines if "baggage" in line]
    assert counted and all(line.endswith("not passed on: 2 members") for line in counted)


# What the application sets itself.


@pytest.mark.parametrize(
    ("value", "own"),
    [
        (None, {"traceparent": f"00-{OTHER}-{SPAN}-01"}),
        ("b3", {"b3": f"{OTHER}-{SPAN}-1"}),
        ("b3", {"X-B3-TraceId": OTHER, "X-B3-SpanId": SPAN}),
        ("b3multi", {"X-B3-TraceId": OTHER, "X-B3-SpanId": SPAN}),
        ("b3multi", {"X-B3-Sampled": "0"}),
        ("b3multi", {"b3": "0"}),
        ("jaeger", {"Uber-Trace-Id": f"{OTHER}:{SPAN}:0:1"}),
        (ALL, {"traceparent": f"00-{OTHER}-{SPAN}-01"}),
    ],
)
def test_a_trace_that_the_application_sets_is_respected(
    servers: Servers, value: str | None, own: dict[str, str]
) -> None:
    query = "?" + "&".join(f"{name}={value}" for name, value in own.items())
    _, _, sent = call(servers.using(value), [("baggage", "a=1")], query)
    assert sent == {name.lower(): value for name, value in own.items()}


def test_baggage_and_tracestate_of_the_application_stay_beside_our_trace(servers: Servers) -> None:
    headers = [*GOOD["w3c"][1], ("tracestate", "a=1"), ("baggage", "a=1")]
    _, client, sent = call(servers.using(None), headers, "?Baggage=own%3D2&tracestate=own%3D3")
    assert sent == {
        **outgoing("tracecontext", client),
        "baggage": "own=2",
        "tracestate": "own=3",
    }

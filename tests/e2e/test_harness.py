# SPDX-License-Identifier: MIT
"""The receivers, their misbehaviours, and span trees."""

import gzip
import socket
import time
from collections.abc import Callable

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from harness import otlp
from harness import receiver as receivers
from harness.otlp import Span
from harness.raw import RawServer
from harness.receiver import Answer, GrpcReceiver, HttpReceiver, Receiver
from harness.sender import AGENT_NAME, HEADERS, batch, channel, first_span, post, send
from harness.tree import assert_tree, one, tree, where


def cleared(to: Receiver) -> list[str]:
    """Returns the violations and forgives them."""
    found = list(to.violations)
    to.clear()
    return found


# Receivers.


def test_receiver_returns_spans_as_python_values(any_receiver: Receiver) -> None:
    request = batch("GET /a")
    span = first_span(request)
    for key, kind, value in (
        ("text", "string_value", "ü"),
        ("yes", "bool_value", True),
        ("number", "int_value", -7),
        ("half", "double_value", 0.5),
        ("raw", "bytes_value", b"\0\xff"),
    ):
        setattr(span.attributes.add(key=key).value, kind, value)
    span.attributes.add(key="list").value.array_value.values.add().string_value = "one"
    span.attributes.add(key="map").value.kvlist_value.values.add(key="k").value.int_value = 1
    span.status.code, span.status.message = 2, "broken"
    span.trace_state, span.flags, span.parent_span_id = "a=b", 0x101, b"12345678"
    span.events.add(name="exception", time_unix_nano=5).attributes.add(
        key="exception.type"
    ).value.string_value = "ValueError"
    span.events[0].dropped_attributes_count = 3
    span.dropped_attributes_count, span.dropped_events_count = 1, 2
    span.links.add(trace_id=b"t" * 16, span_id=b"s" * 8, trace_state="c=d")
    assert send(any_receiver, request)[0] in (0, 200)
    assert any_receiver.wait(1) == [
        Span(
            name="GET /a",
            kind="SERVER",
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=b"12345678".hex(),
            start_ns=span.start_time_unix_nano,
            end_ns=span.end_time_unix_nano,
            attributes={
                "text": "ü",
                "yes": True,
                "number": -7,
                "half": 0.5,
                "raw": b"\0\xff",
                "list": ["one"],
                "map": {"k": 1},
            },
            status="ERROR",
            status_message="broken",
            events=[otlp.Event("exception", 5, {"exception.type": "ValueError"}, 3)],
            links=[otlp.Link((b"t" * 16).hex(), (b"s" * 8).hex(), "c=d", {})],
            flags=0x101,
            trace_state="a=b",
            resource={"service.name": "shop"},
            scope_name="tests",
            scope_version="1",
            dropped_attributes=1,
            dropped_events=2,
        )
    ]
    assert any_receiver.requests[0].headers["user-agent"].startswith(AGENT_NAME)


def test_wait_takes_a_predicate_and_tells_what_came(any_receiver: Receiver) -> None:
    send(any_receiver, batch("GET /a"))
    found = any_receiver.wait(lambda spans: where(spans, name="GET /a"))
    assert [span.service for span in found] == ["shop"]
    with pytest.raises(AssertionError, match=r"for 2 spans; 1 requests brought\n  SERVER 'GET /a'"):
        any_receiver.wait(2, timeout=0.05)
    with pytest.raises(AssertionError, match="for 2 requests, got 1"):
        any_receiver.wait_requests(2, timeout=0.05)


def test_gzip_is_read_and_the_raw_request_kept(receiver: HttpReceiver) -> None:
    data = gzip.compress(batch("GET /a").SerializeToString())
    headers = {**HEADERS, "Content-Encoding": "gzip"}
    assert post(f"{receiver.endpoint}/v1/traces", data, headers).status_code == 200
    assert one(receiver.wait(1)).name == "GET /a"
    assert receiver.requests[0].body == data
    assert receiver.requests[0].headers["content-encoding"] == "gzip"


def _spoil(change: str) -> ExportTraceServiceRequest | bytes:
    request = batch("GET /a")
    span = first_span(request)
    match change:
        case "zero trace id":
            span.trace_id = bytes(16)
        case "short span id":
            span.span_id = b"1234567"
        case "zero parent":
            span.parent_span_id = bytes(8)
        case "ends before it starts":
            span.end_time_unix_nano = span.start_time_unix_nano - 1
        case "no name":
            span.name = ""
        case "no kind":
            span.kind = 0
        case "attribute twice":
            span.attributes.add(key="k").value.int_value = 1
            span.attributes.add(key="k").value.int_value = 2
        case "attribute without value":
            span.attributes.add(key="k")
        case "event attribute twice":
            event = span.events.add(name="e", time_unix_nano=1)
            event.attributes.add(key="k").value.int_value = 1
            event.attributes.add(key="k").value.int_value = 2
        case "link without ids":
            span.links.add()
        case "span id twice":
            request.resource_spans[0].scope_spans[0].spans.add().CopyFrom(span)
        case "empty request":
            return b""
        case "empty resource":
            request.resource_spans.add()
        case "empty scope":
            request.resource_spans[0].scope_spans.add()
        case "unknown field":
            return request.SerializeToString() + b"\xfa\x01\x02hi"
        case "not utf-8":
            span.name = "NAME"
            return request.SerializeToString().replace(b"NAME", b"\xff\xfe\xff\xfe")
        case "cut":
            return request.SerializeToString()[:-3]
    return request


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("zero trace id", "trace id"),
        ("short span id", "span id"),
        ("zero parent", "parent id"),
        ("ends before it starts", "time runs"),
        ("no name", "no name"),
        ("no kind", "kind 0"),
        ("attribute twice", "span: attribute 'k' is there twice"),
        ("attribute without value", "no value"),
        ("event attribute twice", "event 'e': attribute 'k' is there twice"),
        ("link without ids", "link"),
        ("span id twice", "came twice"),
        ("empty request", "no resource_spans"),
        ("empty resource", "no scope_spans"),
        ("empty scope", "no spans"),
        ("unknown field", "does not know"),
        ("not utf-8", "not an ExportTraceServiceRequest"),
        ("cut", "not an ExportTraceServiceRequest"),
    ],
)
def test_receiver_notices_a_bad_batch(any_receiver: Receiver, change: str, complaint: str) -> None:
    send(any_receiver, _spoil(change))
    with pytest.raises(AssertionError, match=complaint):
        any_receiver.wait(1)
    assert len(cleared(any_receiver)) == 1


@pytest.mark.parametrize(
    ("path", "headers", "complaint"),
    [
        ("/v1/trace", {}, "path '/v1/trace'"),
        ("/v1/traces", {"Content-Type": "application/json"}, "content type"),
        ("/v1/traces", {"Content-Encoding": "br"}, "content encoding"),
        ("/v1/traces", {"Content-Encoding": "gzip"}, "not gzip"),
        ("/v1/traces", {"User-Agent": "curl/8"}, "user agent 'curl/8'"),
    ],
)
def test_http_receiver_notices_a_bad_request(
    receiver: HttpReceiver, path: str, headers: dict[str, str], complaint: str
) -> None:
    data = batch("GET /a").SerializeToString()
    post(f"{receiver.endpoint}{path}", data, {**HEADERS, **headers})
    with pytest.raises(AssertionError, match=complaint):
        receiver.check()
    cleared(receiver)


def test_grpc_receiver_notices_a_wrong_method(grpc_receiver: GrpcReceiver) -> None:
    with channel(grpc_receiver) as open_channel, pytest.raises(grpc.RpcError) as error:
        open_channel.unary_unary("/wrong.Service/Export")(b"", timeout=5)
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert cleared(grpc_receiver) == ["method '/wrong.Service/Export'"]


def test_grpc_receiver_speaks_to_the_published_stub(grpc_receiver: GrpcReceiver) -> None:
    with channel(grpc_receiver) as open_channel:
        answer = TraceServiceStub(open_channel).Export(
            batch("GET /a"), timeout=5, compression=grpc.Compression.Gzip
        )
    assert answer == ExportTraceServiceResponse()
    assert one(grpc_receiver.wait(1)).name == "GET /a"


# Misbehaviours.


@pytest.mark.parametrize("status", [400, 429, 503, 301])
def test_http_status_on_order_with_headers(receiver: HttpReceiver, status: int) -> None:
    receiver.behave(Answer(status, {"Retry-After": "1"}, b"busy"), receivers.GOOD)
    data = batch("GET /a").SerializeToString()
    refused = post(f"{receiver.endpoint}/v1/traces", data)
    assert (refused.status_code, refused.headers["retry-after"]) == (status, "1")
    assert refused.content == b"busy"
    assert receiver.spans == []
    assert one(receiver.requests[0].spans).name == "GET /a"
    assert post(f"{receiver.endpoint}/v1/traces", data).status_code == 200
    assert post(f"{receiver.endpoint}/v1/traces", batch("GET /b").SerializeToString())
    assert [span.name for span in receiver.wait(2)] == ["GET /a", "GET /b"]


def test_grpc_status_on_order_with_metadata(grpc_receiver: GrpcReceiver) -> None:
    grpc_receiver.behave(Answer(14, {"grpc-retry-pushback-ms": "5"}))
    with channel(grpc_receiver) as open_channel, pytest.raises(grpc.RpcError) as error:
        TraceServiceStub(open_channel).Export(batch("GET /a"), timeout=5)
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    assert dict(error.value.trailing_metadata())["grpc-retry-pushback-ms"] == "5"
    assert grpc_receiver.spans == []


def test_garbage_and_partial_success_count_as_delivered(any_receiver: Receiver) -> None:
    any_receiver.behave(receivers.GARBAGE, receivers.partial_success(3, "too old"))
    assert send(any_receiver, batch("GET /a"))[1] == receivers.GARBAGE.body
    response = ExportTraceServiceResponse.FromString(send(any_receiver, batch("GET /b"))[1])
    assert response.partial_success.rejected_spans == 3
    assert response.partial_success.error_message == "too old"
    assert len(any_receiver.spans) == 2


def test_hang_never_answers(any_receiver: Receiver) -> None:
    any_receiver.behave(receivers.HANG)
    data = batch("GET /a").SerializeToString()
    if isinstance(any_receiver, HttpReceiver):
        with pytest.raises(httpx.ReadTimeout):
            post(f"{any_receiver.endpoint}/v1/traces", data, timeout=1)
    else:
        with channel(any_receiver) as open_channel, pytest.raises(grpc.RpcError) as error:
            open_channel.unary_unary(receivers.GRPC_METHOD)(data, timeout=1)
        assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(any_receiver.wait_requests(1)) == 1
    assert any_receiver.spans == []


def test_close_reads_the_request_and_gives_no_answer(receiver: HttpReceiver) -> None:
    receiver.behave(receivers.CLOSE)
    with pytest.raises(httpx.RemoteProtocolError):
        send(receiver, batch("GET /a"))
    assert len(receiver.requests) == 1


def test_grpc_receiver_cannot_be_told_to_close(grpc_receiver: GrpcReceiver) -> None:
    with pytest.raises(ValueError, match="cannot close"):
        grpc_receiver.behave(receivers.CLOSE)


def test_refuse_and_accept_on_the_same_port(any_receiver: Receiver) -> None:
    assert isinstance(any_receiver, HttpReceiver | GrpcReceiver)
    for _ in range(3):
        any_receiver.refuse()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", any_receiver.port))
        any_receiver.accept()
        assert send(any_receiver, batch("GET /a"))[0] in (0, 200)
    assert len(any_receiver.spans) == 3


def test_refuse_closes_open_connections(receiver: HttpReceiver) -> None:
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as idle:
        idle.sendall(b"POST /v1/tra")
        while receiver.connections == 0:
            time.sleep(0.01)
        receiver.refuse()
        assert idle.recv(1) == b""


def test_receivers_do_not_understand_the_other_protocol(
    receiver: HttpReceiver, grpc_receiver: GrpcReceiver
) -> None:
    with pytest.raises(httpx.HTTPError):
        post(f"{grpc_receiver.endpoint}/v1/traces", batch("GET /a").SerializeToString())
    with channel(receiver) as open_channel, pytest.raises(grpc.RpcError):
        open_channel.unary_unary(receivers.GRPC_METHOD)(b"", timeout=5)
    assert receiver.strangers[0].startswith(b"PRI * HTTP/2.0")
    assert receiver.requests == grpc_receiver.requests == []


@pytest.mark.parametrize("manner", ["refuse", "close", "reset", "silent", "talk"])
def test_raw_server(raw_server: Callable[..., RawServer], manner: str) -> None:
    server = raw_server(manner, b"220 ready\r\n\r\n")
    expected = {
        "refuse": httpx.ConnectError,
        "close": (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError),
        "reset": (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError, httpx.ConnectError),
        "silent": httpx.ReadTimeout,
        "talk": httpx.RemoteProtocolError,
    }
    with pytest.raises(expected[manner]):
        post(f"{server.endpoint}/v1/traces", b"x", timeout=1 if manner == "silent" else 10)
    assert server.connections == (manner != "refuse")


# Trees.


def _spans(*names: str, **parents: str) -> list[Span]:
    return otlp.flatten(batch(*names, parents=parents).resource_spans)


def test_tree_nests_by_parent_in_order_of_start() -> None:
    root, other = tree(_spans("a", "b", "c", "d", b="a", c="a"))
    assert [node.span.name for node in root.children] == ["b", "c"]
    assert (other.span.name, other.children) == ("d", [])


def test_assert_tree_accepts_siblings_in_any_order_unless_told() -> None:
    spans = _spans("a", "b", "c", "d", b="a", c="a", d="c")
    reverse = ("a", "SERVER", [("c", "CLIENT", [("d", "CLIENT")]), ("b", "CLIENT")])
    assert_tree(spans, reverse)
    with pytest.raises(AssertionError):
        assert_tree(spans, reverse, ordered=True)


def test_assert_tree_shows_the_difference() -> None:
    with pytest.raises(AssertionError, match=r"\+     b \[CLIENT\]") as error:
        assert_tree(_spans("a", "b", b="a"), ("a", "SERVER", [("x", "CLIENT")]))
    assert "-     x [CLIENT]" in str(error.value)
    with pytest.raises(AssertionError):
        assert_tree(_spans("a", "b"), ("a", "SERVER"))


def test_one_wants_exactly_one() -> None:
    spans = _spans("a", "b", b="a")
    assert one(spans, kind="CLIENT").name == "b"
    with pytest.raises(AssertionError, match="2 spans with {}, not 1"):
        one(spans)
    with pytest.raises(AssertionError, match="0 spans"):
        one(spans, attributes={"http.route": "/"})

# SPDX-License-Identifier: MIT
"""The harness's Jaeger: a real one, asked through its API."""

import os
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from harness import otlp
from harness.jaeger import _PORTS, Jaeger, _free_ports
from harness.sender import batch, first_span, post
from harness.tree import assert_tree, one


def test_jaeger_takes_spans_and_gives_them_back(jaeger: Jaeger) -> None:
    request = batch("GET /a", "SELECT users", parents={"SELECT users": "GET /a"})
    resource = request.resource_spans[0].resource
    resource.attributes[0].value.string_value = service = f"shop-{os.urandom(4).hex()}"
    data = request.SerializeToString()
    assert post(f"{jaeger.http_endpoint}/v1/traces", data).status_code == 200
    sent = otlp.flatten(request.resource_spans)
    found = jaeger.wait(sent[0].trace_id, 2)
    assert sorted(found, key=lambda span: span.start_ns) == sent
    assert_tree(found, ("GET /a", "SERVER", [("SELECT users", "CLIENT")]))
    assert service in jaeger.services()
    (trace,) = jaeger.traces(service)
    assert {span["operationName"] for span in trace["spans"]} == {"GET /a", "SELECT users"}


def test_jaeger_takes_spans_by_grpc(jaeger: Jaeger) -> None:
    request = batch("GET /a")
    with grpc.insecure_channel(jaeger.grpc_endpoint.removeprefix("http://")) as open_channel:
        TraceServiceStub(open_channel).Export(request, timeout=10)
    assert one(jaeger.wait(first_span(request).trace_id.hex(), 1)).name == "GET /a"


def test_jaeger_knows_nothing_of_an_unknown_trace(jaeger: Jaeger) -> None:
    assert jaeger.spans("ab" * 16) == []


def test_jaeger_takes_other_ports_when_one_is_taken(
    jaeger: Jaeger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = int(jaeger.http_endpoint.rpartition(":")[2])
    others = len(_PORTS) - 1
    choices = [_free_ports(others) + [taken], [taken] + _free_ports(others)]
    choices.append(_free_ports(others + 1))
    monkeypatch.setattr("harness.jaeger._free_ports", lambda _: choices.pop(0))
    second = Jaeger(os.environ["FAA_TEST_JAEGER"], tmp_path)
    try:
        assert choices == []
        assert second.services() == []
    finally:
        second.stop()

# SPDX-License-Identifier: MIT
"""Makes and sends OTLP with the published packages, to test the harness and collectors."""

import os
import time
from collections.abc import Mapping
from typing import Any

import grpc
import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from .receiver import GRPC_METHOD, HttpReceiver, Receiver

AGENT_NAME = "test/1.0 OTel-OTLP-Exporter-Test/1.0"
HEADERS = {"Content-Type": "application/x-protobuf", "User-Agent": AGENT_NAME}


def batch(*names: str, parents: dict[str, str] | None = None) -> ExportTraceServiceRequest:
    """Returns a valid request: one SERVER span per name in one new trace, children CLIENT."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope = resource.scope_spans.add()
    scope.scope.name, scope.scope.version = "tests", "1"
    trace_id = os.urandom(15) + b"\1"
    ids = {name: os.urandom(7) + b"\1" for name in names}
    now = time.time_ns()
    for index, name in enumerate(names):
        span = scope.spans.add(name=name, trace_id=trace_id, span_id=ids[name], kind=2)
        span.start_time_unix_nano, span.end_time_unix_nano = now + index, now + 1000 - index
        parent = (parents or {}).get(name)
        if parent:
            span.parent_span_id, span.kind = ids[parent], 3
    return request


def first_span(request: ExportTraceServiceRequest) -> Any:
    return request.resource_spans[0].scope_spans[0].spans[0]


def send(to: Receiver, request: ExportTraceServiceRequest | bytes) -> tuple[int, bytes]:
    """Sends by the receiver's protocol; returns its status code (gRPC: 0 is good) and answer."""
    data = request if isinstance(request, bytes) else request.SerializeToString()
    if isinstance(to, HttpReceiver):
        reply = post(f"{to.endpoint}{to.path}", data)
        return reply.status_code, reply.content
    with channel(to) as open_channel:
        call = open_channel.unary_unary(GRPC_METHOD)
        try:
            return 0, call(data, timeout=5)
        except grpc.RpcError as error:
            return error.code().value[0], b""


def post(url: str, data: bytes, headers: Mapping[str, str] = HEADERS, timeout: float = 10) -> Any:
    with httpx.Client(trust_env=False, timeout=timeout) as client:
        return client.post(url, content=data, headers=headers)


def channel(to: Receiver) -> grpc.Channel:
    options = [("grpc.primary_user_agent", AGENT_NAME), ("grpc.enable_http_proxy", 0)]
    return grpc.insecure_channel(to.endpoint.removeprefix("http://"), options=options)

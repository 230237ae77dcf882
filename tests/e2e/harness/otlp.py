# SPDX-License-Identifier: MIT
"""OTLP trace data as plain Python values, and the rules that every batch must keep."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

_STATUS = {0: "UNSET", 1: "OK", 2: "ERROR"}


@dataclass(frozen=True)
class Event:
    """A span event."""

    name: str
    time_ns: int
    attributes: dict[str, Any]
    dropped_attributes: int = 0


@dataclass(frozen=True)
class Link:
    """A span link; ids in hex."""

    trace_id: str
    span_id: str
    trace_state: str
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Span:
    """One span with everything around it; ids in hex, `parent_id` empty for a root."""

    name: str
    kind: str  # INTERNAL SERVER CLIENT PRODUCER CONSUMER
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    status: str  # UNSET OK ERROR
    status_message: str
    events: list[Event]
    links: list[Link]
    flags: int
    trace_state: str
    resource: dict[str, Any]
    scope_name: str
    scope_version: str
    dropped_attributes: int = 0
    dropped_events: int = 0

    @property
    def service(self) -> Any:
        """The resource's service.name, or None."""
        return self.resource.get("service.name")

    def __str__(self) -> str:
        status = self.status + (f" {self.status_message!r}" if self.status_message else "")
        return (
            f"{self.kind} {self.name!r} {self.trace_id}/{self.span_id}"
            f" parent={self.parent_id or '-'} {status} {self.attributes}"
        )


def describe(spans: Iterable[Span]) -> str:
    """Returns the spans as lines for a person to read."""
    return "\n".join(f"  {span}" for span in spans) or "  (no spans)"


def python_value(value: AnyValue) -> Any:
    """Returns an OTLP value as str, bool, int, float, bytes, list, dict or None."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [python_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return attributes(value.kvlist_value.values)
    return getattr(value, kind)


def attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    """Returns OTLP attributes as a dictionary; the last of equal keys wins."""
    return {pair.key: python_value(pair.value) for pair in pairs}


def flatten(resource_spans: Iterable[trace_pb2.ResourceSpans]) -> list[Span]:
    """Returns the spans in the order in which they were sent."""
    spans = []
    for resource, scope, span in _walk(resource_spans):
        spans.append(
            Span(
                name=span.name,
                kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                trace_id=span.trace_id.hex(),
                span_id=span.span_id.hex(),
                parent_id=span.parent_span_id.hex(),
                start_ns=span.start_time_unix_nano,
                end_ns=span.end_time_unix_nano,
                attributes=attributes(span.attributes),
                status=_STATUS.get(span.status.code, str(span.status.code)),
                status_message=span.status.message,
                events=[
                    Event(
                        event.name,
                        event.time_unix_nano,
                        attributes(event.attributes),
                        event.dropped_attributes_count,
                    )
                    for event in span.events
                ],
                links=[
                    Link(
                        link.trace_id.hex(),
                        link.span_id.hex(),
                        link.trace_state,
                        attributes(link.attributes),
                    )
                    for link in span.links
                ],
                flags=span.flags,
                trace_state=span.trace_state,
                resource=attributes(resource.resource.attributes),
                scope_name=scope.scope.name,
                scope_version=scope.scope.version,
                dropped_attributes=span.dropped_attributes_count,
                dropped_events=span.dropped_events_count,
            )
        )
    return spans


def faults(request: ExportTraceServiceRequest) -> list[str]:
    """Returns what is wrong with a batch, one sentence each; an empty list for a good one."""
    found = []
    if not request.resource_spans:
        found.append("the request has no resource_spans")
    for resource in request.resource_spans:
        found += _attribute_faults("resource", resource.resource.attributes)
        if not resource.scope_spans:
            found.append("a resource_spans has no scope_spans")
        for scope in resource.scope_spans:
            found += _attribute_faults("scope", scope.scope.attributes)
            if not scope.spans:
                found.append("a scope_spans has no spans")
            for span in scope.spans:
                found += [f"span {span.name!r}: {fault}" for fault in _span_faults(span)]
    copy = ExportTraceServiceRequest()
    copy.CopyFrom(request)
    copy.DiscardUnknownFields()
    if copy.ByteSize() != request.ByteSize():
        found.append("the request has fields that OTLP does not know")
    return found


def _walk(
    resource_spans: Iterable[trace_pb2.ResourceSpans],
) -> Iterator[tuple[trace_pb2.ResourceSpans, trace_pb2.ScopeSpans, trace_pb2.Span]]:
    for resource in resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield resource, scope, span


def _span_faults(span: trace_pb2.Span) -> list[str]:
    found = []
    if not _is_id(span.trace_id, 16):
        found.append(f"trace id {span.trace_id.hex()!r} is not 16 non-zero bytes")
    if not _is_id(span.span_id, 8):
        found.append(f"span id {span.span_id.hex()!r} is not 8 non-zero bytes")
    if span.parent_span_id and not _is_id(span.parent_span_id, 8):
        found.append(f"parent id {span.parent_span_id.hex()!r} is not 8 non-zero bytes")
    if span.parent_span_id == span.span_id:
        found.append("the span is its own parent")
    if not span.name:
        found.append("the span has no name")
    if not trace_pb2.Span.SPAN_KIND_INTERNAL <= span.kind <= trace_pb2.Span.SPAN_KIND_CONSUMER:
        found.append(f"kind {span.kind} is not one")
    if not 0 < span.start_time_unix_nano <= span.end_time_unix_nano:
        found.append(f"time runs from {span.start_time_unix_nano} to {span.end_time_unix_nano}")
    if span.status.code not in _STATUS:
        found.append(f"status code {span.status.code} is not one")
    if span.status.message and span.status.code != trace_pb2.Status.STATUS_CODE_ERROR:
        found.append("a status that is no error has a message")
    found += _attribute_faults("span", span.attributes)
    for event in span.events:
        found += _attribute_faults(f"event {event.name!r}", event.attributes)
        if not event.time_unix_nano:
            found.append(f"event {event.name!r} has no time")
    for link in span.links:
        found += _attribute_faults("link", link.attributes)
        if not (_is_id(link.trace_id, 16) and _is_id(link.span_id, 8)):
            found.append("a link has no valid ids")
    return found


def _is_id(value: bytes, size: int) -> bool:
    return len(value) == size and any(value)


def _attribute_faults(owner: str, pairs: Iterable[KeyValue]) -> list[str]:
    found = []
    seen = set()
    for pair in pairs:
        if not pair.key:
            found.append(f"{owner}: an attribute has no key")
        if pair.key in seen:
            found.append(f"{owner}: attribute {pair.key!r} is there twice")
        if pair.value.WhichOneof("value") is None:
            found.append(f"{owner}: attribute {pair.key!r} has no value")
        seen.add(pair.key)
    return found

# SPDX-License-Identifier: MIT
"""The batch processor of OpenTelemetry's Python SDK at what tests/bench/exporter.c measures: spans
of a request with the same attributes, at the defaults, to the same sink. Usage: exporter.py URL

The spans are ready: making them is not measured, and they come from one thread at the same rate.
"""

import logging
import sys
import threading
import time
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import SpanKind

RATE = 300_000
SECONDS = 3
ATTRIBUTES = {
    "http.request.method": "GET",
    "url.path": "/items/4711",
    "url.scheme": "http",
    "http.route": "/items/{item_id}",
    "server.address": "shop.example",
    "server.port": 8000,
    "client.address": "10.1.2.3",
    "network.protocol.version": "1.1",
    "user_agent.original": "python-httpx/0.28.1",
    "http.response.status_code": 200,
    "faa.event_loop.busy_us": 412,
}


class Counting(OTLPSpanExporter):
    """Counts what was sent, and knows its thread."""

    sent = 0
    thread = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.thread = threading.get_native_id()
        result = super().export(spans)
        if result is SpanExportResult.SUCCESS:
            self.sent += len(spans)
        return result

    def cpu(self) -> float:
        """Returns the seconds of CPU that the thread has used."""
        with open(f"/proc/self/task/{self.thread}/schedstat") as stat:
            return int(stat.read().split()[0]) / 1e9


def main() -> None:
    logging.disable()  # It says for each span that it drops it.
    exporter = Counting(f"{sys.argv[1]}/v1/traces")
    processor = BatchSpanProcessor(exporter)
    provider = TracerProvider(resource=Resource({"service.name": "bench"}))
    span = provider.get_tracer("bench").start_span(
        "GET /items/{item_id}", kind=SpanKind.SERVER, attributes=ATTRIBUTES
    )
    span.end()
    offered = 0
    begin = time.monotonic()
    while (now := time.monotonic() - begin) < SECONDS:
        while offered < now * RATE:
            processor.on_end(span)
            offered += 1
        time.sleep(0.0005)
    seconds = time.monotonic() - begin
    processor.force_flush()
    cpu = exporter.cpu()
    processor.shutdown()
    share = 100 * (offered - exporter.sent) / offered
    rows = [
        ("spans sent per second of its thread's CPU", f"{exporter.sent / cpu:12.0f}"),
        (f"of {offered / seconds:.0f} a second for {SECONDS} s, dropped", f"{share:11.2f}%"),
    ]
    for what, value in rows:
        print(f"{'SDK:   ' + what:67} {value}")


main()

# SPDX-License-Identifier: MIT
"""FastAPI applications of which some have OpenTelemetry providers of their own. The exporter of
such a one prints each span as a line `native TRACE SPAN PARENT KIND NAME`; NATIVES names the
configuration."""

import os
from typing import Any

import requests
from fastapi import FastAPI, Request
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool

MODE = os.environ.get("NATIVES", "none")
engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})


def tracer_provider(sampler: Any = None) -> Any:
    """A provider of the SDK that prints."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

    class Printer(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            for span in spans:
                context = span.get_span_context()
                parent = f"{span.parent.span_id:016x}" if span.parent else "-"
                print(
                    f"native {context.trace_id:032x} {context.span_id:016x} {parent} "
                    f"{span.kind.name} {span.name}",
                    flush=True,
                )
            return SpanExportResult.SUCCESS

    provider = TracerProvider(sampler=sampler)
    provider.add_span_processor(SimpleSpanProcessor(Printer()))
    return provider


telemetry: dict[str, Any] = {}
if MODE in ("global", "excluded", "tracing-off"):
    from opentelemetry import trace

    trace.set_tracer_provider(tracer_provider())
elif MODE == "noop":
    from opentelemetry import trace

    trace.set_tracer_provider(trace.NoOpTracerProvider())
elif MODE == "unsampled":
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    telemetry["tracer_provider"] = tracer_provider(ALWAYS_OFF)
elif MODE == "argument":
    telemetry["tracer_provider"] = tracer_provider()
elif MODE == "metrics":
    from opentelemetry.sdk.metrics import MeterProvider

    telemetry["meter_provider"] = MeterProvider()
if MODE == "excluded":
    telemetry["exclude"] = lambda scope: scope["path"].endswith("/excluded")
if MODE == "tracing-off":
    telemetry["tracing"] = False

app = FastAPI(telemetry=telemetry)
mounted = FastAPI(telemetry=telemetry)


def work() -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    try:
        requests.get("http://127.0.0.1:1/", timeout=20)
    except requests.ConnectionError:
        pass


@app.get("/works/{item}")
async def works(item: str) -> str:
    work()
    return item


@app.get("/excluded")
async def excluded() -> str:
    work()
    return "excluded"


@app.get("/fails")
async def fails() -> None:
    raise ValueError("on purpose")


@mounted.get("/deep/{item}")
def deep(item: str) -> str:
    work()
    return item


app.mount("/mounted", mounted)


@app.get("/mark")
async def mark(request: Request) -> list[str]:
    """What FastAPI's telemetry has left in the scope: the type of its mark."""
    missing = object()
    value = request.scope.get("fastapi.telemetry", missing)
    return [] if value is missing else [type(value).__name__]


@app.get("/configure")
async def configure() -> str:
    """From the next request on there is a provider."""
    from opentelemetry import trace

    trace.set_tracer_provider(tracer_provider())
    return "configured"

# SPDX-License-Identifier: MIT
"""Traces in a real Jaeger, sent by the launcher's own choice of protocol, read back by its API."""

import json
import os
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from harness.deadline import until
from harness.jaeger import Jaeger
from harness.otlp import Span
from harness.process import Runner, Server
from harness.target import Target
from harness.tree import assert_tree, one

PROTOCOLS = ["grpc", "http"]


def endpoint(jaeger: Jaeger, protocol: str) -> str:
    return jaeger.grpc_endpoint if protocol == "grpc" else jaeger.http_endpoint


def launched(
    run: Runner, jaeger: Jaeger, protocol: str, app: str, **env: str
) -> tuple[Server, str]:
    """Serves an application under the launcher, with only its options; returns also the service."""
    service = f"shop-{os.urandom(4).hex()}"
    options = ["--service-name", service, "--jaeger-endpoint", endpoint(jaeger, protocol)]
    env = {"OTEL_BSP_SCHEDULE_DELAY": "50"} | env
    return run.uvicorn(app, agent="launcher", options=options, env=env), service


def tags(span: dict[str, Any]) -> dict[str, Any]:
    """Returns the tags of a span as Jaeger's UI gets it; no key is there twice."""
    found = {tag["key"]: tag["value"] for tag in span["tags"]}
    assert len(found) == len(span["tags"])
    return found


def parent(span: dict[str, Any]) -> str | None:
    references = span["references"]
    assert all(reference["refType"] == "CHILD_OF" for reference in references)
    return references[0]["spanID"] if references else None


def assert_no_warnings(traces: list[dict[str, Any]]) -> None:
    for trace in traces:
        assert not trace["warnings"]
        assert not [span["warnings"] for span in trace["spans"] if span["warnings"]]
    assert "@jaeger@" not in json.dumps(traces)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_request_statement_and_call_are_one_trace(
    run: Runner, jaeger: Jaeger, target: Target, protocol: str
) -> None:
    server, service = launched(run, jaeger, protocol, "shop:app", TARGET_URL=target.url)
    assert server.get("/orders/1?token=abc").json() == {"name": "tea", "price": 200}
    assert server.stop() == -15
    assert server.agent_lines == []

    # CREATE TABLE and INSERT at the start have no request.
    traces = [t for t in jaeger.traces(service) if len(t["spans"]) > 1]
    assert_no_warnings(traces)
    (trace,) = traces
    assert {process["serviceName"] for process in trace["processes"].values()} == {service}
    (resource,) = (process["tags"] for process in trace["processes"].values())
    named = {tag["key"]: tag["value"] for tag in resource}
    assert named["telemetry.sdk.name"] == "fastapi-auto-agent"
    assert named["telemetry.sdk.language"] == "python"
    assert named["process.pid"] == server.pid

    spans = {span["operationName"]: span for span in trace["spans"]}
    assert sorted(spans) == ["GET", "GET /orders/{order_id}", "SELECT orders"]
    root = spans["GET /orders/{order_id}"]
    assert parent(root) is None
    assert parent(spans["GET"]) == parent(spans["SELECT orders"]) == root["spanID"]
    for child in (spans["GET"], spans["SELECT orders"]):
        assert root["startTime"] <= child["startTime"]
        end = root["startTime"] + root["duration"]
        assert child["startTime"] + child["duration"] <= end + 1  # Microseconds are cut off.

    expected = {
        "span.kind": "server",
        "http.request.method": "GET",
        "http.route": "/orders/{order_id}",
        "http.response.status_code": 200,
        "url.path": "/orders/1",
        "url.scheme": "http",
        "server.port": server.port,
        "otel.scope.name": "fastapi",
    }
    assert tags(root).items() >= expected.items()
    expected = {
        "span.kind": "client",
        "db.system.name": "sqlite",
        "db.operation.name": "SELECT",
        "db.query.text": "SELECT name FROM orders WHERE id = ? AND name <> ?",
    }
    assert tags(spans["SELECT orders"]).items() >= expected.items()
    expected = {
        "span.kind": "client",
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "url.full": f"{target.url}/status/200?name=tea",
        "server.address": "127.0.0.1",
        "server.port": target.port,
    }
    assert tags(spans["GET"]).items() >= expected.items()
    assert all("error" not in tags(span) for span in trace["spans"])
    header = target.seen[0]["headers"]["traceparent"]
    assert header == f"00-{trace['traceID']}-{spans['GET']['spanID']}-01"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_errors(run: Runner, jaeger: Jaeger, target: Target, protocol: str) -> None:
    server, service = launched(run, jaeger, protocol, "shop:app", TARGET_URL=target.url)
    assert server.get("/raises").status_code == 500
    assert server.get("/teapot").json() == 418
    server.stop()
    traces = jaeger.traces(service)
    assert_no_warnings(traces)
    spans = {span["operationName"]: span for trace in traces for span in trace["spans"]}

    raised = tags(spans["GET /raises"])
    assert raised["error"] is True
    assert raised["otel.status_code"] == "ERROR"
    assert raised["error.type"] == "ValueError"
    assert raised["http.response.status_code"] == 500
    (log,) = spans["GET /raises"]["logs"]
    fields = {field["key"]: field["value"] for field in log["fields"]}
    assert fields["event"] == "exception"
    assert fields["exception.type"] == "ValueError"
    assert fields["exception.message"] == "on purpose"
    assert "shop.py" in fields["exception.stacktrace"]
    assert spans["GET /raises"]["startTime"] <= log["timestamp"]

    refused = tags(spans["GET"])
    assert (refused["error"], refused["error.type"]) == (True, "418")
    assert refused["http.response.status_code"] == 418
    assert "error" not in tags(spans["GET /teapot"])


def test_trace_of_a_caller_is_joined(run: Runner, jaeger: Jaeger, target: Target) -> None:
    server, _ = launched(run, jaeger, "grpc", "shop:app", TARGET_URL=target.url)
    trace_id, caller = os.urandom(16).hex(), os.urandom(8).hex()
    headers = {"traceparent": f"00-{trace_id}-{caller}-01", "tracestate": "vendor=1"}
    server.get("/orders/1", headers=headers)
    spans: list[Span] = jaeger.wait(trace_id, 3)
    children = [("SELECT orders", "CLIENT"), ("GET", "CLIENT")]
    assert_tree(spans, ("GET /orders/{order_id}", "SERVER", children), ordered=True)
    root = one(spans, kind="SERVER")
    assert (root.parent_id, root.trace_state) == (caller, "vendor=1")
    # Only that the caller's own span is missing may be said.
    assert [span for span in spans if "@jaeger@warnings" in span.attributes] in ([], [root])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_request_arrives_after_sigterm(run: Runner, jaeger: Jaeger, protocol: str) -> None:
    env = {"OTEL_BSP_SCHEDULE_DELAY": "5000"}
    server, service = launched(run, jaeger, protocol, "selfcall:app", **env)
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        for number in range(500):
            assert client.get(f"/items/{number}").status_code == 200
    assert server.stop() == -15
    assert server.agent_lines == []
    traces = jaeger.traces(service)
    assert_no_warnings(traces)
    paths = [tags(span)["url.path"] for trace in traces for span in trace["spans"]]
    assert sorted(paths) == sorted(f"/items/{number}" for number in range(500))


def test_service_is_listed(run: Runner, jaeger: Jaeger) -> None:
    server, service = launched(run, jaeger, "grpc", "selfcall:app")
    server.get("/items/1")
    until(lambda: service in jaeger.services(), 10, lambda: str(jaeger.services()))


def logs(span: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the events of a span as Jaeger's UI gets them."""
    return [{field["key"]: field["value"] for field in log["fields"]} for log in span["logs"]]


def test_what_a_request_tells(run: Runner, jaeger: Jaeger) -> None:
    """The behaviours of the server side, as a person finds them in Jaeger."""
    slow = {"FAA_BLOCKED_THRESHOLD": "", "FAA_SLOW_DEPENDENCY": ""}  # The agent's own.
    server, service = launched(run, jaeger, "grpc", "showcase:app", **slow, FAA_FASTAPI_SPANS="")
    statuses = [server.get(f"/items/{item}").status_code for item in (1, 404, 409, "x")]
    assert statuses == [200, 404, 409, 422]
    for path in ("/later", "/blocks", "/depends", "/streams"):
        assert server.get(path).status_code == 200
    with connect(f"ws://127.0.0.1:{server.port}/rooms/tea", proxy=None) as client:
        client.send("hello")
        assert client.recv() == "hello"
    server.get("/nowhere", headers={"Forwarded": "for=192.0.2.1;proto=https"})
    assert server.stop() == -15
    assert server.agent_lines == []

    traces = jaeger.traces(service)
    assert_no_warnings(traces)
    spans = {}
    for trace in traces:
        for span in trace["spans"]:
            spans[span["operationName"], tags(span).get("http.response.status_code")] = span
    item = "GET /items/{item}"
    assert tags(spans[item, 200])["http.response.body.size"] == 1
    (answer,) = logs(spans[item, 404])
    assert answer["exception.message"] == "404: no such item"
    (handled,) = logs(spans[item, 409])
    assert handled["exception.type"] == "showcase.SoldOut"
    assert "in item" in handled["exception.stacktrace"]
    refused = {log["event"]: log for log in logs(spans[item, 422])}
    assert refused["validation failed"]["faa.validation.locations"] == "path.item"
    assert not any("error" in tags(spans[item, status]) for status in (404, 409, 422))

    task = spans["background_task note", None]
    later = spans["GET /later", 200]
    assert parent(task) == later["spanID"]
    assert task["startTime"] >= later["startTime"] + later["duration"] - 1
    (blocked,) = logs(spans["GET /blocks", 200])
    assert blocked["event"] == "event loop blocked"
    assert blocked["faa.event_loop.blocked_us"] >= 100_000
    assert "in blocks" in blocked["code.stacktrace"].splitlines()[-1]
    slow = spans["dependency slow", None]
    assert parent(slow) == spans["GET /depends", 200]["spanID"]
    assert tags(slow)["code.function.name"] == "showcase.slow"
    assert [log["event"] for log in logs(spans["GET /streams", 200])] == ["first byte"]

    room = tags(spans["GET /rooms/{room}", 101])
    assert (room["url.scheme"], room["network.protocol.name"]) == ("ws", "websocket")
    assert room["faa.websocket.close_code"] == 4000
    assert (room["faa.websocket.messages_received"], room["faa.websocket.bytes_sent"]) == (1, 5)
    nowhere = tags(spans["GET", 404])
    assert (nowhere["client.address"], nowhere["url.scheme"]) == ("192.0.2.1", "https")

# SPDX-License-Identifier: MIT
"""The sample application under the agent, and the script that demonstrates it."""

import os
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.jaeger import Jaeger
from harness.otlp import Span
from harness.process import TOP, Process, Runner, Server
from harness.tree import assert_tree, one, where

SAMPLE = TOP / "docs" / "sample-fastapi-app"


def serve(run: Runner, jaeger: Jaeger, app: str, service: str, env: dict[str, str]) -> Server:
    options = ["--service-name", service, "--jaeger-endpoint", jaeger.grpc_endpoint]
    env = {"OTEL_BSP_SCHEDULE_DELAY": "50"} | env
    return run.uvicorn(app, agent="launcher", options=options, env=env, cwd=SAMPLE)


@pytest.fixture(scope="module")
def venv() -> Path:
    """The virtual environment that `make demo` makes."""
    command = [TOP / "tests" / "setup" / "venv", "sample", SAMPLE / "requirements.txt"]
    return Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


@pytest.fixture(scope="module")
def traces(
    tmp_path_factory: pytest.TempPathFactory, build: Path, jaeger: Jaeger, venv: Path
) -> list[list[Span]]:
    """The traces of the tour, by the service "shop-…", as Jaeger gives them back."""
    folder = tmp_path_factory.mktemp("sample")
    run = Runner(folder, build, str(venv / "bin" / "python"))
    word = os.urandom(4).hex()
    try:
        pricing = serve(run, jaeger, "pricing.main:app", f"pricing-{word}", {})
        env = {"PRICING_URL": pricing.url, "DATABASE_PATH": str(folder / "shop.db")}
        shop = serve(run, jaeger, "shop.main:app", f"shop-{word}", env)
        tour = run.run([run.python, "tour.py", shop.url], agent="none", cwd=SAMPLE)
        assert tour.status == 0, tour.describe()
        for server in (shop, pricing):
            assert server.stop() == -15, server.describe()
            assert server.agent_lines == []
    finally:
        run.kill_all()
    found = jaeger.traces(f"shop-{word}")
    return [jaeger.spans(trace["traceID"]) for trace in found]


def of(traces: list[list[Span]], name: str, status: int) -> list[list[Span]]:
    """Returns the traces whose root is a request with this name and status."""
    part = {"http.response.status_code": status}
    return [
        trace
        for trace in traces
        if [s for s in where(trace, name=name, kind="SERVER", attributes=part) if not s.parent_id]
    ]


# What tour.py sends, and a browser would.
REQUESTS = {
    ("GET /items", 200): 1,
    ("GET /items/{item_id}", 200): 6,
    ("GET /items/{item_id}", 404): 1,
    ("GET /items/{item_id}", 422): 1,
    ("POST /orders", 201): 1,
    ("POST /orders", 422): 1,
    ("POST /orders", 409): 1,
    ("GET /orders/{order_id}", 200): 1,
    ("GET /orders/{order_id}/lines", 200): 1,
    ("GET /reports/summary", 200): 1,
    ("GET /reports/orders.csv", 200): 1,
    ("GET /reports/valuation", 200): 1,
    ("GET /reports/restock", 500): 1,
    ("GET /ticker", 101): 1,
    ("GET", 404): 1,
}


def test_every_request_is_a_trace(traces: list[list[Span]]) -> None:
    roots = [
        (span.name, span.attributes["http.response.status_code"])
        for trace in traces
        for span in trace
        if span.kind == "SERVER" and span.service.startswith("shop") and not span.parent_id
    ]
    assert Counter(roots) == Counter(REQUESTS)


def test_jaeger_has_no_complaint(traces: list[list[Span]]) -> None:
    for trace in traces:
        assert all("@jaeger@warnings" not in span.attributes for span in trace)
        ids = {span.span_id for span in trace}
        assert all(not span.parent_id or span.parent_id in ids for span in trace)


def test_shop_and_pricing_are_one_trace(traces: list[list[Span]]) -> None:
    found = of(traces, "GET /items/{item_id}", 200)
    for trace in found:
        pricing = ("GET", "CLIENT", [("GET /prices/{sku}", "SERVER")])
        children = [("SELECT items", "CLIENT"), pricing]
        assert_tree(trace, ("GET /items/{item_id}", "SERVER", children), ordered=True)
        services = {span.service.partition("-")[0]: span.kind for span in trace}
        assert services.keys() == {"shop", "pricing"}
        priced = one(trace, name="GET /prices/{sku}")
        assert priced.service.startswith("pricing")
        called = one(trace, name="GET")
        assert called.start_ns <= priced.start_ns
    items = [one(trace, name="GET /items/{item_id}").attributes["url.path"] for trace in found]
    assert Counter(items) == Counter(["/items/1", *(f"/items/{n}" for n in range(1, 6))])


def test_order_has_its_statements_below(traces: list[list[Span]]) -> None:
    (trace,) = of(traces, "POST /orders", 201)
    root = one(trace, name="POST /orders")
    below = [span.name for span in sorted(trace, key=lambda s: s.start_ns) if span is not root]
    for name in ("SELECT items", "GET", "UPDATE items", "INSERT orders", "INSERT order_lines"):
        assert name in below
    assert "ada@example.com" not in str(trace)


def test_failure_has_its_exception(traces: list[list[Span]]) -> None:
    (trace,) = of(traces, "GET /reports/restock", 500)
    root = one(trace, kind="SERVER")
    assert (root.status, root.attributes["error.type"]) == ("ERROR", "ZeroDivisionError")
    (event,) = root.events
    assert event.attributes["exception.type"] == "ZeroDivisionError"
    assert "reports.py" in event.attributes["exception.stacktrace"]


def test_client_errors_are_no_errors_of_the_shop(traces: list[list[Span]]) -> None:
    for name, status in (("GET", 404), ("POST /orders", 409), ("GET /items/{item_id}", 422)):
        (trace,) = of(traces, name, status)
        assert one(trace, kind="SERVER", service=trace[0].service, name=name).status == "UNSET"


def test_two_statements_at_once_are_siblings(traces: list[list[Span]]) -> None:
    (trace,) = of(traces, "GET /reports/summary", 200)
    children = [("SELECT items", "CLIENT"), ("SELECT orders", "CLIENT")]
    assert_tree(trace, ("GET /reports/summary", "SERVER", children))


def test_slow_report_asks_prices_one_after_the_other(traces: list[list[Span]]) -> None:
    (trace,) = of(traces, "GET /reports/valuation", 200)
    assert len(where(trace, name="GET", kind="CLIENT")) == 5
    assert len(where(trace, name="GET /prices/{sku}", kind="SERVER")) == 5


# The demonstration


def demo(run: Runner, build: Path, **env: str) -> Process:
    """Runs the script as `make demo` does; returns the ended process."""
    settings = {"BUILD": str(build), "HOME": os.environ["HOME"]}
    for name in ("FAA_CACHE", "XDG_CACHE_HOME", "PIP_INDEX_URL", "PIP_CONFIG_FILE"):
        if name in os.environ:
            settings[name] = os.environ[name]
    process: Process = run.start([SAMPLE / "demo"], agent="none", env=settings | env, cwd=TOP)
    process.wait(90)
    assert process.listening_ports() == set()
    return process


@pytest.mark.timeout(200)
def test_demo_shows_trees_and_tells_where_jaeger_has_them(
    run: Runner, build: Path, jaeger: Jaeger
) -> None:
    process = demo(run, build, OTEL_EXPORTER_OTLP_ENDPOINT=jaeger.grpc_endpoint)
    assert process.status == 0, process.describe()
    assert len(re.findall(r"^  (?:GET|POST|WS) ", process.stdout, re.MULTILINE)) >= 12
    order = r"^shop  POST /orders  201 .* trace [0-9a-f]{32}\n├─ "
    assert re.search(order, process.stdout, re.MULTILINE)
    assert re.search(r"^shop  GET /items/\{item_id\}  200 ", process.stdout, re.MULTILINE)
    assert re.search(r"^pricing  GET /prices/\{sku\}  200 ", process.stdout, re.MULTILINE)
    link = r"^In Jaeger: http://127\.0\.0\.1:16686/\S*shop$"
    assert re.search(link, process.stdout, re.MULTILINE)
    assert {"shop", "pricing"} <= set(jaeger.services())


@pytest.mark.timeout(200)
def test_demo_fails_when_no_trace_can_arrive(run: Runner, build: Path, raw_server: Any) -> None:
    process = demo(
        run,
        build,
        OTEL_SDK_DISABLED="true",
        OTEL_EXPORTER_OTLP_ENDPOINT=raw_server("refuse").endpoint,
    )
    assert process.status == 1, process.describe()
    assert re.search(r"^demo: no trace", process.stderr, re.MULTILINE)
    assert "In Jaeger" not in process.stdout

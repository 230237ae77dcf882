# SPDX-License-Identifier: MIT
"""FastAPI's own telemetry and ours: where the application has configured a provider of spans,
FastAPI's SERVER span is the one, and what we see hangs on it; else ours is."""

import re
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.otlp import Span
from harness.process import Runner, Server
from harness.receiver import HttpReceiver
from harness.serving import PARENT, Serve, Served, new_trace, serving
from harness.tree import assert_tree, where

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="the FastAPI of this Python has no telemetry of its own"
)
CALLS = [("GET", "CLIENT"), ("SELECT", "CLIENT")]


@dataclass(frozen=True)
class Native:
    """A span of FastAPI's."""

    span_id: str
    parent_id: str
    kind: str
    name: str


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory, build: Path) -> Iterator[Serve]:
    with serving(tmp_path_factory.mktemp("natives"), build) as start_once:
        yield start_once


def natives(server: Server, trace_id: str) -> list[Native]:
    """Returns FastAPI's spans of a trace: it prints them as they end."""
    lines = re.findall(f"^native {trace_id} (.*)$", server.stdout, re.MULTILINE)
    return [Native(*line.split(" ", 3)) for line in lines]


def ask(served: Served, path: str, count: int) -> tuple[list[Span], list[Native]]:
    """Returns our spans and FastAPI's of one request. Ours are at least `count`, and a second
    request's have come after them, so that nothing of the first is still on its way."""
    trace_id, headers = new_trace()
    served.server.get(path, headers=headers)
    after_id, after = new_trace()
    served.server.get("/works/after", headers=after)
    served.trace(after_id, 2, servers=0)
    return served.trace(trace_id, count, servers=0), natives(served.server, trace_id)


@pytest.fixture(params=["global", "argument"])
def configured(request: pytest.FixtureRequest, serve: Serve) -> Served:
    """An application with a provider of its own."""
    return serve("natives:app", env={"NATIVES": request.param})


@pytest.mark.parametrize(
    ("path", "name"),
    [("/works/1", "GET /works/{item}"), ("/mounted/deep/1", "GET /mounted/deep/{item}")],
)
def test_fastapis_span_is_the_one_where_there_is_a_provider(
    configured: Served, path: str, name: str
) -> None:
    ours, theirs = ask(configured, path, 2)
    (edge,) = [span for span in theirs if span.kind == "SERVER"]
    assert (edge.name, edge.parent_id) == (name, PARENT)
    assert_tree(ours, *CALLS)
    # Ours have their place below it, whatever operation of FastAPI's is between.
    assert {span.parent_id for span in ours} <= {span.span_id for span in theirs}


def test_request_that_fails_is_told_once(configured: Served) -> None:
    ours, theirs = ask(configured, "/fails", 0)
    assert [span.kind for span in theirs if span.kind == "SERVER"] == ["SERVER"]
    assert ours == []


@pytest.mark.parametrize("mode", ["none", "noop", "metrics", "tracing-off"])
@pytest.mark.parametrize(
    ("path", "name"),
    [("/works/1", "GET /works/{item}"), ("/mounted/deep/1", "GET /mounted/deep/{item}")],
)
def test_ours_is_the_one_without_a_provider_of_spans(
    serve: Serve, mode: str, path: str, name: str
) -> None:
    served = serve("natives:app", env={"NATIVES": mode})
    ours, theirs = ask(served, path, 3)
    assert theirs == []
    assert_tree(ours, (name, "SERVER", CALLS))
    assert {span.parent_id for span in where(ours, kind="SERVER")} == {PARENT}


def test_ours_is_the_one_where_fastapi_excludes_the_request(serve: Serve) -> None:
    served = serve("natives:app", env={"NATIVES": "excluded"})
    ours, theirs = ask(served, "/excluded", 3)
    assert theirs == []
    assert_tree(ours, ("GET /excluded", "SERVER", CALLS))
    ours, theirs = ask(served, "/works/1", 2)
    assert len([span for span in theirs if span.kind == "SERVER"]) == 1
    assert_tree(ours, *CALLS)


def test_what_fastapi_does_not_sample_we_do_not_either(serve: Serve) -> None:
    served = serve("natives:app", env={"NATIVES": "unsampled"})
    trace_id, headers = new_trace()
    assert served.server.get("/works/1", headers=headers).status_code == 200
    served.server.stop()
    assert natives(served.server, trace_id) == []
    assert where(served.receiver.spans, trace_id=trace_id) == []


@pytest.mark.parametrize("manner", ["h11", "hypercorn"])
def test_the_rule_holds_under_each_server(serve: Serve, manner: str) -> None:
    served = serve("natives:app", manner, env={"NATIVES": "argument"})
    ours, theirs = ask(served, "/works/1", 2)
    assert len([span for span in theirs if span.kind == "SERVER"]) == 1
    assert_tree(ours, *CALLS)


def test_provider_that_is_configured_later_is_seen_by_the_next_request(
    run: Runner, receiver: HttpReceiver
) -> None:
    """Until then FastAPI is spared its search for one, by its own mark for such requests."""
    server = run.uvicorn("natives:app", env=receiver.env)
    assert server.get("/mark").json() == ["NoneType"]
    assert server.get("/configure").status_code == 200
    trace_id, headers = new_trace()
    assert server.get("/mark", headers=headers).json() == ["_RequestTelemetry"]
    assert server.stop() == -signal.SIGTERM
    assert [span.kind for span in natives(server, trace_id)].count("SERVER") == 1
    assert where(receiver.spans, trace_id=trace_id) == []


@pytest.mark.parametrize("mode", ["argument", "metrics", "noop"])
def test_telemetry_with_a_provider_is_asked(serve: Serve, mode: str) -> None:
    served = serve("natives:app", env={"NATIVES": mode})
    assert served.server.get("/mark").json() != ["NoneType"]


def test_provider_of_the_environment_is_loaded_by_fastapis_question(run: Runner) -> None:
    env = {"OTEL_PYTHON_TRACER_PROVIDER": "sdk_tracer_provider", "OTEL_TRACES_EXPORTER": "none"}
    server = run.uvicorn("natives:app", env=env)
    assert server.get("/mark").json() == ["_RequestTelemetry"]

# SPDX-License-Identifier: MIT
"""The lifespan is no span, but a start or an end that fails is one."""

import pytest

from harness.otlp import Span
from harness.process import Process, Runner
from harness.receiver import HttpReceiver
from harness.serving import start
from harness.tree import assert_tree, one, where

MANNERS = ["h11", "hypercorn"]
FAILING = ["fastapi_lifespan", "starlette_lifespan", "fastapi_event", "around"]


def failed_start(run: Runner, receiver: HttpReceiver, app: str, manner: str) -> list[Span]:
    """Starts an application that cannot start; returns the spans of its process."""
    server = "hypercorn" if manner == "hypercorn" else "uvicorn"
    bind = ["--bind", "127.0.0.1:0"] if manner == "hypercorn" else ["--port", "0"]
    command = [run.python, "-m", server, *bind, f"lifespans:{app}"]
    process: Process = run.run(command, env=receiver.env)
    assert process.status == (0 if server == "hypercorn" else 3)  # As they do without the agent.
    assert process.agent_lines == []
    return receiver.spans


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("app", FAILING)
def test_start_that_fails_is_one_span(
    run: Runner, receiver: HttpReceiver, app: str, manner: str
) -> None:
    spans = failed_start(run, receiver, app, manner)
    assert_tree(spans, ("lifespan startup", "INTERNAL"), ("SELECT", "CLIENT"))
    span = one(spans, name="lifespan startup")
    assert (span.parent_id, span.status) == ("", "ERROR")
    assert span.end_ns - span.start_ns >= 50_000_000
    assert span.attributes["error.type"] == "lifespans.NoDatabase"
    assert span.status_message == "cannot start"
    (event,) = span.events
    assert event.attributes["exception.type"] == "lifespans.NoDatabase"
    assert event.attributes["exception.message"] == "cannot start"
    assert "lifespans.py" in event.attributes["exception.stacktrace"]
    assert one(spans, name="SELECT").trace_id != span.trace_id


@pytest.mark.parametrize("manner", MANNERS)
def test_start_that_fails_without_an_exception(
    run: Runner, receiver: HttpReceiver, manner: str
) -> None:
    spans = failed_start(run, receiver, "bare", manner)
    assert (one(spans).name, one(spans).status) == ("lifespan startup", "ERROR")


@pytest.mark.parametrize("manner", MANNERS)
def test_end_that_fails_is_one_span(run: Runner, receiver: HttpReceiver, manner: str) -> None:
    server = start(run, "lifespans:fastapi_end", manner, env=receiver.env)
    server.stop()
    span = one(receiver.spans)
    assert (span.name, span.status, span.parent_id) == ("lifespan shutdown", "ERROR", "")
    assert span.attributes["error.type"] == "lifespans.NoDatabase"
    assert [event.name for event in span.events] == ["exception"]


@pytest.mark.parametrize("manner", MANNERS)
def test_good_lifespan_is_no_span_and_its_calls_are_roots(
    run: Runner, receiver: HttpReceiver, manner: str
) -> None:
    server = start(run, "lifespans:good", manner, env=receiver.env)
    assert server.get("/").status_code == 200
    server.stop()
    statement = ("SELECT", "CLIENT")
    request = ("GET /", "SERVER", [statement])
    assert_tree(receiver.spans, statement, statement, request, statement)
    assert len({span.trace_id for span in receiver.spans}) == 4


@pytest.mark.parametrize("manner", MANNERS)
def test_application_without_a_lifespan_has_no_span_of_one(
    run: Runner, receiver: HttpReceiver, manner: str
) -> None:
    server = start(run, "lifespans:unsupported", manner, env=receiver.env)
    assert server.get("/").text == "served"
    server.stop()
    assert_tree(receiver.spans, ("GET", "SERVER"))
    assert where(receiver.spans, status="ERROR") == []

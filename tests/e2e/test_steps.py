# SPDX-License-Identifier: MIT
"""FastAPI's own steps: dependencies, endpoint, validation, serialization, background tasks."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from harness import libraries
from harness.deadline import scaled
from harness.otlp import Event, Span
from harness.process import APPS, Runner
from harness.receiver import HttpReceiver
from harness.traced import Call, Traced, traced
from harness.tree import assert_tree, one, where

SQL = ("SELECT", "CLIENT")
APP = str(APPS / "steps.py")
Serve = Callable[..., Traced]


def internal(name: str, *children: Any) -> tuple[str, str, list[Any]]:
    return (name, "INTERNAL", list(children))


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory, build: Path) -> Iterator[Serve]:
    """serve(spans, **variables): one server of apps/steps.py for each choice."""
    python = libraries.python()
    servers: dict[tuple[Any, ...], Traced] = {}
    contexts = []

    def start(spans: str | None, **variables: str) -> Traced:
        key = (spans, *sorted(variables.items()))
        if key not in servers:
            env = variables if spans is None else {**variables, "FAA_FASTAPI_SPANS": spans}
            directory = tmp_path_factory.mktemp("steps")
            contexts.append(traced(directory, build, python, "steps:app", env=env))
            servers[key] = contexts[-1].__enter__()
        return servers[key]

    yield start
    failures = []
    for context in contexts:
        try:
            context.__exit__(None, None, None)
        except AssertionError as failure:
            failures.append(failure)
    assert not failures, failures


def has(count: int, name: str) -> Callable[[list[Span]], object]:
    """True when so many spans with this beginning of their name are there."""
    return lambda spans: sum(span.name.startswith(name) for span in spans) >= count


def line_of(text: str) -> int:
    """The line of the application that begins so."""
    lines = Path(APP).read_text().splitlines()
    return 1 + next(number for number, line in enumerate(lines) if line.startswith(text))


def exception_of(span: Span) -> tuple[str, str]:
    event = one_event(span, "exception")
    return event.attributes["exception.type"], event.attributes["exception.message"]


def one_event(span: Span, name: str) -> Event:
    found = [event for event in span.events if event.name == name]
    assert len(found) == 1, (name, span.events)
    return found[0]


# What is chosen.

SERVER = "GET /four", "SERVER"
DEPENDENCIES = internal("dependencies", SQL, SQL, SQL, SQL)
ENDPOINT = internal("endpoint four")
SERIALIZATION = internal("serialization")
CHOICES = {
    None: [SQL] * 4,
    "none": [SQL] * 4,
    "validation": [SQL] * 4,
    "slow_dependency": [SQL] * 4,
    "background_task": [SQL] * 4,
    "dependencies": [DEPENDENCIES],
    "endpoint": [SQL, SQL, SQL, SQL, ENDPOINT],
    "serialization": [SQL, SQL, SQL, SQL, SERIALIZATION],
    "endpoint, Serialization": [SQL, SQL, SQL, SQL, ENDPOINT, SERIALIZATION],
    "all": [DEPENDENCIES, ENDPOINT, SERIALIZATION],
    "none,endpoint": [SQL, SQL, SQL, SQL, ENDPOINT],
}


@pytest.mark.parametrize("spans", CHOICES)
def test_only_the_chosen_steps_are_spans(serve: Serve, spans: str | None) -> None:
    served = serve(spans)
    call = served.get("/four")
    assert call.json == [1, 2, 3, 4]
    assert_tree([call.server, *call.spans], (*SERVER, CHOICES[spans]), ordered=True)
    assert {span.status for span in call.spans} == {"UNSET"}


@pytest.mark.parametrize(("spans", "tells"), [(None, True), ("none", False), ("endpoint", False)])
def test_validation_and_background_tasks_are_told_by_default(
    serve: Serve, spans: str | None, tells: bool
) -> None:
    served = serve(spans)
    events = [event.name for event in served.ask("POST", "/orders", json={}).server.events]
    assert ("validation failed" in events) == tells
    served.get("/background-starlette", until=has(1, "SELECT"))
    served.get("/done")  # Whatever was to come of the task has come before this request.
    names = [span.name for span in served.receiver.spans]
    assert ("background_task sync_task" in names) == tells


def test_an_unknown_step_gets_a_line_and_the_known_ones_hold(
    run: Runner, receiver: HttpReceiver
) -> None:
    env = {**receiver.env, "FAA_FASTAPI_SPANS": "endpoint,teardown"}
    server = run.uvicorn("steps:app", env=env)
    server.get("/async")
    server.stop()
    assert len(server.agent_lines) == 1, server.stderr
    assert "FAA_FASTAPI_SPANS: teardown is not known" in server.agent_lines[0]
    endpoint = internal("endpoint async_endpoint", SQL)
    assert_tree(receiver.spans, ("GET /async", "SERVER", [endpoint]))


def test_a_threshold_that_is_no_number_gets_a_line(run: Runner, receiver: HttpReceiver) -> None:
    server = run.uvicorn("steps:app", env={**receiver.env, "FAA_SLOW_DEPENDENCY": "soon"})
    assert server.get("/async").status_code == 200
    server.stop()
    assert len(server.agent_lines) == 1, server.stderr
    assert "FAA_SLOW_DEPENDENCY=soon cannot be used" in server.agent_lines[0]


# A missing seam.


def test_a_missing_seam_is_named_and_the_others_work(run: Runner, receiver: HttpReceiver) -> None:
    env = {**receiver.env, "FAA_FASTAPI_SPANS": "all", "FAA_LOG_LEVEL": "debug"}
    server = run.uvicorn("changed_fastapi:app", env=env)
    assert server.get("/async").json() == {"value": 7}
    server.stop()
    assert "fastapi.routing:run_endpoint_function is not there, or no function" in server.stderr
    names = [span.name for span in receiver.spans]
    assert sorted(names) == ["GET /async", "SELECT", "dependencies", "serialization"]


# Dependencies.


@pytest.fixture
def each(serve: Serve) -> Traced:
    """Every dependency is a span."""
    return serve("all", FAA_SLOW_DEPENDENCY="0")


def dependencies(call: Call) -> list[str]:
    """Names of the dependencies, in order."""
    named = [span for span in call.spans if span.name.startswith("dependency ")]
    return [span.name.removeprefix("dependency ") for span in named]


def test_statements_nest_in_the_dependency_that_made_them(each: Traced) -> None:
    call = each.get("/four")
    kinds = ["async_dependency", "sync_dependency", "yield_dependency", "async_yield_dependency"]
    step = internal("dependencies", *(internal(f"dependency {kind}", SQL) for kind in kinds))
    expected = (*SERVER, [step, ENDPOINT, SERIALIZATION])
    assert_tree([call.server, *call.spans], expected, ordered=True)
    for kind in kinds:
        span = one(call.spans, name=f"dependency {kind}")
        assert span.attributes == {
            "code.function.name": f"steps.{kind}",
            "code.file.path": APP,
            "code.line.number": line_of("async " * kind.startswith("async") + f"def {kind}"),
        }
        assert (span.scope_name, span.status, span.events) == ("fastapi", "UNSET", [])


def test_nested_dependencies_come_in_the_order_of_their_calls(each: Traced) -> None:
    """The innermost first; a result that FastAPI has from before is no call."""
    call = each.get("/nested?number=3")
    assert call.json == 9
    assert dependencies(call) == ["inner", "middle", "outer"]
    step = one(call.spans, name="dependencies")
    for span in call.spans:
        if span.name.startswith("dependency "):
            assert span.parent_id == step.span_id
            assert step.start_ns <= span.start_ns <= span.end_ns <= step.end_ns


def test_a_dependency_without_cache_is_told_for_each_call(each: Traced) -> None:
    assert dependencies(each.get("/uncached")) == ["inner", "inner"]


def test_dependencies_that_are_no_functions_have_their_classes_names(each: Traced) -> None:
    call = each.get("/callables")
    assert call.json == "10 none none"
    assert dependencies(call) == ["Pager", "Guard", "Guard"]
    pager = one(call.spans, name="dependency Pager").attributes
    assert pager["code.function.name"] == "steps.Pager"
    assert pager["code.line.number"] == line_of("class Pager") + 1
    guard = where(call.spans, name="dependency Guard")[0].attributes
    assert guard["code.function.name"] == "steps.Guard.__call__"
    assert guard["code.line.number"] == line_of("class Guard") + 1


def test_a_dependency_whose_parameters_are_invalid_is_not_called(each: Traced) -> None:
    call = each.get("/nested?number=x")
    assert call.response.status_code == 422
    assert dependencies(call) == []
    assert one(call.spans).name == "dependencies"


def test_the_exception_of_a_dependency_is_on_its_span_and_around_it(each: Traced) -> None:
    call = each.get("/dependency-fails")
    assert call.response.status_code == 500
    assert [span.name for span in call.spans] == ["dependencies", "dependency dependency_fails"]
    for span in (*call.spans, call.server):
        assert (span.status, span.attributes["error.type"]) == ("ERROR", "ValueError")
        assert exception_of(span) == ("ValueError", "the dependency fails")


def test_an_exception_that_is_an_answer_is_no_failure(each: Traced) -> None:
    call = each.get("/refused")
    assert call.response.status_code == 401
    assert [span.name for span in call.spans] == ["dependencies", "dependency refuses"]
    assert {(span.status, len(span.events)) for span in call.spans} == {("UNSET", 0)}
    assert call.server.status == "UNSET"


def test_an_application_called_by_a_dependency_has_its_own_dependencies(each: Traced) -> None:
    call = each.get("/inside")
    assert call.json == 200
    assert dependencies(call) == ["asks_inside", "sync_dependency"]
    inside = one(each.receiver.spans, attributes={"server.address": "inside"})
    assert_tree(
        where(each.receiver.spans, trace_id=inside.trace_id),
        (
            "GET /",
            "SERVER",
            [
                internal("dependencies", internal("dependency async_dependency", SQL)),
                internal("endpoint inside_root"),
                internal("serialization"),
            ],
        ),
    )


@pytest.mark.parametrize("spans", ["all", None])
def test_a_slow_dependency_is_a_span_by_default(serve: Serve, spans: str | None) -> None:
    served = serve(spans, FAA_SLOW_DEPENDENCY="500", SLOW="0.6")
    call = served.get("/slow")
    assert dependencies(call) == ["slow_async", "slow_sync", "slow_yield"]
    step = where(call.spans, name="dependencies")
    parent = step[0] if spans else call.server
    ends = parent.start_ns
    for span in call.spans:
        if span.name.startswith("dependency "):
            assert span.parent_id == parent.span_id
            assert span.end_ns - span.start_ns >= 500_000_000
            assert ends <= span.start_ns
            ends = span.end_ns
            assert span.attributes["code.file.path"] == APP
    assert ends <= parent.end_ns


def test_the_body_is_no_part_of_the_last_dependency(serve: Serve) -> None:
    served = serve("all", FAA_SLOW_DEPENDENCY="500", SLOW="0.6")
    call = served.ask("POST", "/slow-before-body", json={"items": []})
    assert call.json == 0
    assert dependencies(call) == ["slow_async"]


# The endpoint.


@pytest.fixture
def every(serve: Serve) -> Traced:
    return serve("all")


@pytest.mark.parametrize(
    ("path", "name", "function", "line", "children"),
    [
        ("/async", "async_endpoint", "async_endpoint", '@app.get("/async")', [SQL]),
        ("/sync", "sync_endpoint", "sync_endpoint", '@app.get("/sync")', [SQL]),
        ("/method/9", "Service.method", "Service.method", "    def method", [SQL]),
        ("/partial/1", "partial_target", "partial_target", "def partial_target", []),
        ("/decorated", "decorated", "decorated", '@app.get("/decorated")', []),
        ("/made", "made", "make_endpoint.<locals>.made", "    async def made", []),
    ],
)
def test_the_endpoint_is_named_and_holds_what_it_did(
    every: Traced, path: str, name: str, function: str, line: str, children: list[Any]
) -> None:
    call = every.get(path)
    assert call.response.status_code == 200
    span = one(call.spans, name=f"endpoint {name}")
    assert span.attributes == {
        "code.function.name": f"steps.{function}",
        "code.file.path": APP,
        "code.line.number": line_of(line),
    }
    assert (span.kind, span.scope_name, span.status) == ("INTERNAL", "fastapi", "UNSET")
    assert span.parent_id == call.server.span_id
    assert call.server.start_ns <= span.start_ns <= span.end_ns <= call.server.end_ns
    inside = [other for other in call.spans if other.parent_id == span.span_id]
    assert [(other.name, other.kind) for other in inside] == children


@pytest.mark.parametrize("path", ["/fails", "/sync-fails"])
def test_a_failing_endpoint_has_the_exception(every: Traced, path: str) -> None:
    call = every.get(path)
    assert call.response.status_code == 500
    assert [span.name for span in call.spans] == [
        "dependencies",
        f"endpoint {path[1:].replace('-', '_')}",
    ]
    assert (call.spans[0].status, call.spans[0].events) == ("UNSET", [])
    span = call.spans[1]
    assert (span.status, span.attributes["error.type"]) == ("ERROR", "ValueError")
    assert exception_of(span) == ("ValueError", "the endpoint fails")


def test_an_http_exception_of_an_endpoint_is_no_failure(every: Traced) -> None:
    call = every.get("/missing")
    assert call.response.status_code == 404
    span = one(call.spans, name="endpoint missing")
    assert (span.status, span.events) == ("UNSET", [])


def test_steps_of_a_request_that_is_not_sampled_are_not_sent(every: Traced) -> None:
    trace_id = os.urandom(16).hex()
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-00"}
    assert every.server.get("/four", headers=headers).json() == [1, 2, 3, 4]
    every.get("/four")
    assert where(every.receiver.spans, trace_id=trace_id) == []


# Serialization.


def test_serialization_of_a_response_model(every: Traced) -> None:
    call = every.get("/model")
    assert call.json == {"name": "mug", "price": 3}
    assert [span.name for span in call.spans] == ["dependencies", "endpoint model", "serialization"]
    span = call.spans[-1]
    assert (span.kind, span.scope_name, span.attributes) == ("INTERNAL", "fastapi", {})
    assert call.spans[1].end_ns <= span.start_ns


def test_a_response_that_is_no_model_fails_its_serialization(every: Traced) -> None:
    call = every.get("/bad-model")
    assert call.response.status_code == 500
    span = one(call.spans, name="serialization")
    assert span.status == "ERROR"
    assert exception_of(span)[0].endswith("ValidationError")
    assert not [event for event in call.server.events if event.name == "validation failed"]


def test_a_finished_response_is_not_serialized(every: Traced) -> None:
    call = every.get("/background-starlette", until=has(1, "background_task"))
    assert where(call.spans, name="serialization") == []


# Validation.


def validation(call: Call) -> tuple[int, list[str]]:
    """Count and locations of the event on the SERVER span, which is no error."""
    assert call.response.status_code == 422
    assert call.server.status == "UNSET"
    attributes = one_event(call.server, "validation failed").attributes
    assert set(attributes) <= {"faa.validation.error_count", "faa.validation.locations"}
    locations = attributes.get("faa.validation.locations", "")
    assert len(locations) <= 1024
    return attributes["faa.validation.error_count"], locations.split(", ")


@pytest.fixture
def default(serve: Serve) -> Traced:
    return serve(None)


@pytest.mark.parametrize(
    ("options", "locations"),
    [
        ({"json": {}}, ["body.items"]),
        ({"json": {"items": [{"name": "a", "price": "hush"}]}}, ["body.items.0.price"]),
        (
            {"json": {"items": [{"name": "a"}, {}, {"price": "hush"}]}},
            ["body.items.1.name", "body.items.2.name", "body.items.2.price"],
        ),
        (
            {"json": {"items": []}, "params": {"limit": "many"}, "headers": {"x-page": "hush"}},
            ["header.x-page", "query.limit"],
        ),
        ({"content": b'{"items": hush}'}, ["body.10"]),
        ({"json": {"items": [], "stock": {"mugs": "hush"}}}, ["body.stock.mugs"]),
        ({"json": {"items": [], "stock": {"hush/hush": "x"}}}, ["body.stock.*"]),
        ({"json": {"items": [], "stock": {"hush" * 17: "x"}}}, ["body.stock.*"]),
        ({"json": {"items": [], "stock": {"hush" * 500_000: "x"}}}, ["body.stock.*"]),
        ({"json": {"items": [], "stock": {"": "x"}}}, ["body.stock.*"]),
        ({"json": {"items": [], "stock": {"hüsh": "x", "-hush": "x"}}}, ["body.stock.*"] * 2),
    ],
)
def test_a_failed_validation_tells_where_and_never_what(
    default: Traced, options: dict[str, Any], locations: list[str]
) -> None:
    headers = {"content-type": "application/json", **options.pop("headers", {})}
    call = default.ask("POST", "/orders", headers=headers, **options)
    count, told = validation(call)
    assert (count, sorted(told)) == (len(locations), locations)
    assert b"hush" not in default.sent


def test_many_errors_are_counted_and_some_are_located(default: Traced) -> None:
    call = default.ask("POST", "/orders", json={"items": [{}] * 5000})
    count, told = validation(call)
    assert (count, told) == (5000, [f"body.items.{number}.name" for number in range(32)])


def test_locations_are_cut_between_two(default: Traced) -> None:
    keys = [f"k{'x' * 61}{number:02}" for number in range(20)]
    call = default.ask("POST", "/orders", json={"items": [], "stock": dict.fromkeys(keys, "x")})
    count, told = validation(call)
    assert (count, told) == (20, [f"body.stock.{key}" for key in keys[: len(told)]])
    assert 10 < len(told) < 20


def test_an_application_that_raises_the_exception_itself(default: Traced) -> None:
    call = default.get("/raises-validation")
    if call.response.status_code != 500:  # FastAPI 0.95 wants pydantic's own errors in it.
        assert validation(call) == (1, ["body.coupon"])
        assert b"hush" not in default.sent


def test_a_valid_request_has_no_event(default: Traced) -> None:
    call = default.ask("POST", "/orders", json={"items": [{"name": "a", "price": 1}]})
    assert (call.json, call.server.events) == (1, [])


# Background tasks.


def test_background_tasks_are_spans_of_their_own(default: Traced) -> None:
    call = default.get("/background", until=has(3, "background_task"))
    tasks = where(call.spans, kind="INTERNAL")
    assert [span.name for span in tasks] == [
        "background_task async_task",
        "background_task sync_task",
        "background_task sync_task",
    ]
    assert_tree(
        [call.server, *call.spans],
        ("GET /background", "SERVER", [internal(span.name, SQL) for span in tasks]),
        ordered=True,
    )
    ended = call.server.end_ns
    for span in tasks:  # The request does not wait for them, and each waits for the one before.
        assert ended <= span.start_ns
        ended = span.end_ns
        assert (span.scope_name, span.status, span.events) == ("starlette", "UNSET", [])
    assert tasks[0].attributes == {
        "code.function.name": "steps.async_task",
        "code.file.path": APP,
        "code.line.number": line_of("async def async_task"),
    }
    assert tasks[2].attributes["code.function.name"] == "steps.sync_task"
    assert default.get("/done").json[-3:] == ["first", "second", "third"]


def test_a_failing_background_task_has_its_exception(default: Traced) -> None:
    default.get("/done")
    call = default.get("/background-fails", until=has(2, "background_task"))
    assert (call.response.status_code, call.server.status) == (200, "UNSET")
    first, second = where(call.spans, kind="INTERNAL")
    assert (first.name, first.status) == ("background_task async_task", "UNSET")
    assert (second.name, second.status) == ("background_task failing_task", "ERROR")
    assert exception_of(second)[0].endswith("HTTPException")
    assert default.get("/done").json == ["before"]


def test_starlettes_own_background_task(default: Traced) -> None:
    call = default.get("/background-starlette", until=has(1, "background_task"))
    expected = ("GET /background-starlette", "SERVER", [internal("background_task sync_task", SQL)])
    assert_tree([call.server, *call.spans], expected)


# FastAPI's own telemetry.


def test_fastapis_own_spans_of_its_steps_have_none_of_ours_beside_them(
    run: Runner, receiver: HttpReceiver
) -> None:
    probe = run.run([run.python, "-c", "import fastapi.telemetry"], agent="none")
    if probe.status:
        pytest.skip("this FastAPI has no telemetry of its own")
    env = {**receiver.env, "FAA_FASTAPI_SPANS": "all", "FAA_SLOW_DEPENDENCY": "0"}
    server = run.uvicorn("own_telemetry:app", env=env)
    assert server.get("/four").json() == [1, 2, 3, 4]
    assert server.get("/background").status_code == 200
    server.stop()
    spans = receiver.spans
    assert [(span.name, span.kind) for span in spans] == [SQL] * 7
    assert "" not in {span.parent_id for span in spans}


# WebSockets.


def talk(served: Traced, query: str) -> tuple[Any, Span, list[Span]]:
    """Opens a connection as part of a new trace: what it got, its SERVER span, and the others."""
    trace_id = os.urandom(16).hex()
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01", "token": "t"}
    url = f"ws://127.0.0.1:{served.server.port}/ws?{query}"
    answer: Any
    try:
        with connect(url, additional_headers=headers, proxy=None) as socket:
            answer = socket.recv(timeout=scaled(20))
    except InvalidStatus as refusal:
        answer = refusal.response.status_code
    spans = served.receiver.wait(lambda spans: where(spans, trace_id=trace_id, kind="SERVER"))
    mine = where(spans, trace_id=trace_id)
    server = one(mine, kind="SERVER")
    return answer, server, [span for span in mine if span is not server]


def test_dependencies_of_a_websocket(each: Traced) -> None:
    answer, server, spans = talk(each, "number=5")
    assert answer == "t 5"
    assert_tree(
        [server, *spans],
        (server.name, "SERVER", [internal("dependencies", internal("dependency Guard")), SQL]),
    )
    assert one(spans, name="dependencies").attributes == {"code.function.name": "steps.ws"}


def test_a_websocket_whose_parameters_are_invalid(each: Traced) -> None:
    answer, server, spans = talk(each, "number=x")
    assert answer == 403
    attributes = one_event(server, "validation failed").attributes
    assert attributes == {
        "faa.validation.error_count": 1,
        "faa.validation.locations": "query.number",
    }
    assert {span.status for span in spans} == {"UNSET"}


# The application sees nothing of it.


def bodies(server: Any) -> list[Any]:
    """Answers to every kind of request, in order."""
    client: httpx.Client = server.client
    paths = ["/async", "/sync", "/four", "/nested?number=4", "/uncached", "/callables", "/model"]
    paths += ["/bad-model", "/fails", "/sync-fails", "/missing", "/dependency-fails", "/refused"]
    paths += ["/method/3", "/partial/2", "/decorated", "/made", "/background", "/inside"]
    answers = [client.get(path) for path in paths]
    answers += [client.post("/orders", json=body) for body in ({}, {"items": [{}]}, {"items": []})]
    return [(answer.status_code, answer.text) for answer in answers]


def test_answers_are_the_same_with_all_steps_and_without_the_agent(
    run: Runner, receiver: HttpReceiver
) -> None:
    env = {**receiver.env, "FAA_FASTAPI_SPANS": "all", "FAA_SLOW_DEPENDENCY": "0"}
    plain, full = run.uvicorn("steps:app", agent="none"), run.uvicorn("steps:app", env=env)
    assert bodies(plain) == bodies(full)

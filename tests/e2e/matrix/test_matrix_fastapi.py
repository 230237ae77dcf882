# SPDX-License-Identifier: MIT
"""FastAPI, 0.95 to the newest: routers, mounts, dependencies, failures, streams, background."""

import os
import re
import signal
from collections.abc import Callable
from typing import Any

import pytest

from checks import (
    check_failure,
    check_names,
    exceptions,
    stream_ends_with_its_last_chunk,
)
from harness.compare import same_with_and_without, seen
from harness.libraries import Libraries, chosen, made
from harness.process import Runner, Server
from harness.receiver import HttpReceiver
from harness.served import Served, new_context
from harness.tree import one, where

APP = "matrix_fastapi:app"
Serve = Callable[..., Served]


@pytest.fixture(scope="module", params=[name for name in chosen() if name.startswith("fastapi")])
def packages(request: pytest.FixtureRequest) -> Libraries:
    """The set of libraries that the application has."""
    return made(request.param)


@pytest.fixture
def fastapi(serve: Serve) -> Served:
    """The application on its server."""
    return serve(APP)


NAMES = [
    ("GET", "/items/3", "/items/{item_id}", 200),
    ("GET", "/items/x", "/items/{item_id}", 422),
    ("DELETE", "/items/3", "/items/{item_id}", 405),
    ("GET", "/sync/3", "/sync/{item_id}", 200),
    ("POST", "/orders", "/orders", 422),
    ("GET", "/nowhere", None, 404),
    ("GET", "/docs", "/docs", 200),
    ("GET", "/openapi.json", "/openapi.json", 200),
    ("GET", "/slash", None, 307),
    ("GET", "/slash/", "/slash/", 200),
    ("GET", "/files/a/b/c", "/files/{path:path}", 200),
    ("POST", "/several", "/several", 200),
    ("PUT", "/several", "/several", 405),
    ("GET", "/missing", "/missing", 404),
    ("GET", "/v1/items/3", "/v1/items/{item_id}", 200),
    ("GET", "/v1/items/x", "/v1/items/{item_id}", 422),
    ("DELETE", "/v1/items/3", "/v1/items/{item_id}", 405),
    ("GET", "/v1/sync/3", "/v1/sync/{item_id}", 200),
    ("POST", "/v1/orders", "/v1/orders", 422),
    ("GET", "/v1/nowhere", None, 404),
    ("GET", "/outer/a/middle/inner/b", "/outer/{outer}/middle/inner/{leaf}", 200),
    ("POST", "/outer/a/middle/inner/1", "/outer/{outer}/middle/inner/{leaf}", 201),
    ("POST", "/outer/a/middle/inner/b", "/outer/{outer}/middle/inner/{leaf}", 422),
    ("PUT", "/outer/a/middle/inner/b", "/outer/{outer}/middle/inner/{leaf}", 405),
    ("GET", "/outer/a/own/b", "/outer/{outer}/own/{name}", 200),
    ("GET", "/own/b", "/own/{name}", 200),
    ("POST", "/own/b", "/own/{name}", 405),
    (
        "GET",
        "/v2/7/outer/a/middle/inner/b",
        "/v2/{version}/outer/{outer}/middle/inner/{leaf}",
        200,
    ),
    ("GET", "/v2/7/outer/a/own/b", "/v2/{version}/outer/{outer}/own/{name}", 200),
    ("GET", "/added/x", "/added/{name}", 200),
    ("GET", "/plain/x", "/plain/{name}", 200),
    ("GET", "/mount/a/b", "/mount/{one}/{name}", 200),
    ("GET", "/mount/a/b/c", None, 404),
    ("GET", "/sub/v3/items/3", "/sub/v3/items/{item_id}", 200),
    ("GET", "/sub/v3/items/x", "/sub/v3/items/{item_id}", 422),
    ("POST", "/sub/v3/items/3", "/sub/v3/items/{item_id}", 405),
    ("GET", "/sub/nowhere", None, 404),
    ("GET", "/sub/docs", "/sub/docs", 200),
    ("GET", "/tenants/a/deeper/v3/items/3", "/tenants/{tenant}/deeper/v3/items/{item_id}", 200),
    ("GET", "/starlette/items/3", "/starlette/items/{item_id:int}", 200),
    ("GET", "/starlette/sub/items/b", "/starlette/sub/items/{item_id}", 200),
    ("GET", "/static/matrix_fastapi.py", "/static", 200),
    ("GET", "/static/no-such-file", None, 404),
    ("GET", "/fails/handled", "/fails/{kind}", 400),
    ("GET", "/fails/missing", "/fails/{kind}", 404),
    ("GET", "/fails/unavailable", "/fails/{kind}", 503),
    ("GET", "/v1/fails/unavailable", "/v1/fails/{kind}", 503),
    ("GET", "/behind/items/3", "/behind/items/{item_id}", 200),
    ("GET", "/behind/items/x", "/behind/items/{item_id}", 422),
    ("DELETE", "/behind/items/3", "/behind/items/{item_id}", 405),
    ("GET", "/behind/nowhere", None, 404),
    ("GET", "/behind/fails/handled", "/behind/fails/{kind}", 400),
    ("GET", "/behind/fails/unavailable", "/behind/fails/{kind}", 503),
    ("GET", "/depends", "/depends", 200),
    ("GET", "/v1/depends", "/v1/depends", 200),
]


@pytest.mark.parametrize(
    ("method", "path", "route", "status"), NAMES, ids=[f"{n[0]} {n[1]}" for n in NAMES]
)
def test_name_route_and_status(
    fastapi: Served, method: str, path: str, route: str | None, status: int
) -> None:
    response, span = fastapi.ask(method, path)
    assert response.status_code == status
    check_names(span, method, route, status)


@pytest.mark.parametrize("path", ["/orders", "/v1/orders", "/sub/v3/orders", "/behind/orders"])
def test_body_is_read_and_answered(fastapi: Served, path: str) -> None:
    order = {"name": "tea", "price": 2.5}
    response, span = fastapi.ask("POST", path, json=order)
    assert (response.status_code, response.json()) == (201, order)
    check_names(span, "POST", path, 201)


@pytest.mark.parametrize(
    ("host", "path", "route"),
    [
        ("shop.example", "/hosted/x", "/hosted/{name}"),
        ("sub.example", "/v3/sync/3", "/v3/sync/{item_id}"),
    ],
)
def test_host_is_a_route_without_a_path(
    fastapi: Served, host: str, path: str, route: str
) -> None:
    response, span = fastapi.ask("GET", path, headers={"Host": host})
    assert response.status_code == 200
    check_names(span, "GET", route, 200)


ROOTED = {
    "/v1/items/3": "/v1/items/{item_id}",
    "/outer/a/own/b": "/outer/{outer}/own/{name}",
    "/sub/v3/items/3": "/sub/v3/items/{item_id}",
}


@pytest.mark.parametrize("path", ROOTED)
@pytest.mark.parametrize("prefix", ["", "/api"])
@pytest.mark.parametrize("where_from", ["server", "application"])
def test_root_path_is_part_of_the_route_where_it_is_part_of_the_path(
    serve: Serve, path: str, prefix: str, where_from: str
) -> None:
    """Versions differ in whether a request with, or without, the prefix is found at all."""
    if where_from == "server":
        served = serve(APP, "--root-path", "/api")
    else:
        served = serve(APP, env={"MATRIX_ROOT_PATH": "/api"})
    response, span = served.ask("GET", prefix + path)
    if response.status_code == 404:
        check_names(span, "GET", None, 404)
        return
    sent = str(span.attributes["url.path"])
    assert sent.endswith(path)
    check_names(span, "GET", sent.removesuffix(path) + ROOTED[path], 200)


# Failures.


@pytest.mark.parametrize("prefix", ["", "/v1", "/sub/v3", "/behind"])
def test_unhandled_exception(fastapi: Served, prefix: str) -> None:
    response, span = fastapi.ask("GET", f"{prefix}/fails/plain")
    assert response.status_code == 500
    check_names(span, "GET", f"{prefix}/fails/{{kind}}", 500)
    check_failure(span, ("ValueError", "ExceptionGroup"), "fail")


def test_unhandled_exception_in_a_thread(fastapi: Served) -> None:
    response, span = fastapi.ask("GET", "/fails-sync")
    assert response.status_code == 500
    check_names(span, "GET", "/fails-sync", 500)
    check_failure(span, ("ValueError",), "fails_sync")
    assert exceptions(span)[0]["exception.message"] == "on purpose, in a thread"


def test_exception_group(fastapi: Served, packages: Libraries) -> None:
    response, span = fastapi.ask("GET", "/fails/group")
    assert response.status_code == 500
    assert span.name == "GET /fails/{kind}"
    check_failure(span, ("ExceptionGroup",), "fail_in_tasks")
    # That of anyio 3 tells its exceptions in its message. It is a BaseException: no error page
    # catches it, and uvicorn answers in the end.
    if packages.has("anyio", "4"):
        assert span.attributes["http.response.status_code"] == 500
        told = [event["exception.type"] for event in exceptions(span)]
        assert set(told[1:]) == {"ValueError", "KeyError"}


# Dependencies with yield.


@pytest.mark.parametrize(
    ("kind", "status"), [("plain", 500), ("handled", 400), ("unavailable", 503), ("missing", 404)]
)
def test_failure_passes_through_a_dependency(fastapi: Served, kind: str, status: int) -> None:
    response, span = fastapi.ask("GET", f"/depends-fails/{kind}")
    assert response.status_code == status
    check_names(span, "GET", "/depends-fails/{kind}", status)
    if kind == "plain":
        check_failure(span, ("ValueError",), "fail")


def test_failure_of_a_dependency_before_the_endpoint(fastapi: Served) -> None:
    response, span = fastapi.ask("GET", "/depends-never")
    assert response.status_code == 500
    check_names(span, "GET", "/depends-never", 500)
    check_failure(span, ("ValueError",), "contextmanager_in_threadpool")
    assert exceptions(span)[0]["exception.message"] == "before the endpoint"


def test_failure_of_a_dependency_behind_the_endpoint(fastapi: Served) -> None:
    """Whether the response has been sent by then, and so succeeded, depends on the version."""
    response, span = fastapi.ask("GET", "/depends-late")
    check_names(span, "GET", "/depends-late", response.status_code)
    if response.status_code == 500:
        check_failure(span, ("ValueError",), "fails_late")
    else:
        assert response.status_code == 200


# The response.


@pytest.mark.parametrize("prefix", ["", "/v1", "/sub/v3", "/behind"])
def test_stream_ends_with_its_last_chunk(fastapi: Served, prefix: str) -> None:
    stream_ends_with_its_last_chunk(fastapi, f"{prefix}/stream", "/gate")


def test_background_task_does_not_stretch_the_request(fastapi: Served) -> None:
    name = os.urandom(4).hex()
    response, span = fastapi.ask("GET", f"/background/{name}")
    _, opening = fastapi.ask("GET", f"/gate/{name}")
    assert response.json() == "later"
    check_names(span, "GET", "/background/{name}", 200)
    assert span.end_ns < opening.start_ns


def test_request_without_a_parent_is_a_root(fastapi: Served) -> None:
    path = f"/own/{os.urandom(4).hex()}"
    assert fastapi.server.get(path).headers["x-own"] == "route"
    part = {"url.path": path}
    spans = fastapi.receiver.wait(lambda spans: where(spans, kind="SERVER", attributes=part))
    assert one(spans, kind="SERVER", attributes=part).parent_id == ""


def test_requests_on_one_connection_have_their_own_parents(fastapi: Served) -> None:
    contexts = [new_context() for _ in range(5)]
    with fastapi.connect() as connection:
        for number, context in enumerate(contexts):
            ends = "close" if number == 4 else "keep-alive"
            head = f"GET /v1/items/{number} HTTP/1.1\r\nHost: a\r\nConnection: {ends}\r\n"
            connection.sendall(f"{head}traceparent: {context.value}\r\n\r\n".encode())
        answers = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answers.count(b"HTTP/1.1 200 OK") == 5
    for number, context in enumerate(contexts):
        assert fastapi.edge(context).attributes["url.path"] == f"/v1/items/{number}"


# Life.


def test_spans_are_sent_at_the_end_of_the_lifespan(run: Runner, receiver: HttpReceiver) -> None:
    server = run.uvicorn(APP, env={**receiver.env, "OTEL_BSP_SCHEDULE_DELAY": "3600000"})
    server.get("/v1/items/3")
    assert server.stop(signal.SIGTERM) in (0, -15)
    assert re.findall(r"(?m)^lifespan: (\w+)$", server.stdout) == ["up", "down"]
    assert one(receiver.spans, kind="SERVER").name == "GET /v1/items/{item_id}"


def test_everything_is_answered_as_without_the_agent(
    run: Runner, receiver: HttpReceiver
) -> None:
    paths = [(method, path) for method, path, *_ in NAMES]
    paths += [("GET", path) for path in ("/fails/plain", "/v1/fails-sync", "/behind/fails/plain")]
    paths += [("GET", path) for path in ("/depends-fails/plain", "/depends-never", "/depends-late")]

    def use(server: Server) -> list[Any]:
        # A redirect holds the port.
        plain = {"Accept-Encoding": "identity", "Host": "127.0.0.1"}
        return [seen(server.client.request(*path, headers=plain)) for path in paths]

    env = {**receiver.env, "PYTHONHASHSEED": "0"}
    same_with_and_without(run, APP, use, "--loop", "uvloop", "--http", "httptools", env=env)
    assert len(where(receiver.spans, kind="SERVER")) == len(paths)

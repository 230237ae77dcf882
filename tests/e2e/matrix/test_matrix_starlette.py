# SPDX-License-Identifier: MIT
"""Plain Starlette, 0.27 to the newest: names, routes, failures, streams, middleware."""

import os
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from checks import (
    check_failure,
    check_names,
    exceptions,
    stream_ends_with_its_last_chunk,
)
from harness.compare import same_with_and_without, seen
from harness.libraries import Libraries
from harness.process import Runner, Server
from harness.receiver import HttpReceiver
from harness.served import Served, new_context
from harness.tree import one, where

APP = "matrix_starlette:app"
MIDDLEWARE = ["pure", "base", "base-twice", "gzip", "cors", "trusted", "session", "all"]
Serve = Callable[..., Served]


@pytest.fixture
def starlette(serve: Serve) -> Served:
    """The application on its server."""
    return serve(APP)


NAMES = [
    ("GET", "/", "/", 200),
    ("GET", "/threaded", "/threaded", 200),
    ("HEAD", "/threaded", "/threaded", 200),
    ("GET", "/items/3", "/items/{item_id:int}", 200),
    ("GET", "/items/x", None, 404),
    ("GET", "/nowhere", None, 404),
    ("POST", "/items/3", "/items/{item_id:int}", 405),
    ("PUT", "/swallow", "/swallow", 405),
    ("GET", "/slash", None, 307),
    ("GET", "/slash/", "/slash/", 200),
    ("GET", "/thing/x", "/thing/{thing}", 200),
    ("DELETE", "/thing/x", "/thing/{thing}", 405),
    ("GET", "/inner/a/items/b", "/inner/{name}/items/{item_id}", 200),
    ("GET", "/inner/a/nowhere", None, 404),
    ("GET", "/raw/any/thing", "/raw", 200),
    ("GET", "/static/matrix_starlette.py", "/static", 200),
    ("GET", "/static/no-such-file", None, 404),
    ("GET", "/shop/a/deep/home", "/shop/{shop}/deep/home", 200),
    ("GET", "/router/x", "/router/{name}", 200),
    ("GET", "/sub/", "/sub/", 200),
    ("GET", "/sub/items/b", "/sub/items/{item_id}", 200),
    ("POST", "/sub/items/b", "/sub/items/{item_id}", 405),
    ("GET", "/sub/nowhere", None, 404),
    ("GET", "/subs/a/more/items/b", "/subs/{tenant}/more/items/{item_id}", 200),
    ("GET", "/fails/handled", "/fails/{kind}", 400),
    ("GET", "/fails/missing", "/fails/{kind}", 404),
    ("GET", "/fails/unavailable", "/fails/{kind}", 503),
]


@pytest.mark.parametrize(
    ("method", "path", "route", "status"), NAMES, ids=[f"{n[0]} {n[1]}" for n in NAMES]
)
def test_name_route_and_status(
    starlette: Served, method: str, path: str, route: str | None, status: int
) -> None:
    response, span = starlette.ask(method, path)
    assert response.status_code == status
    check_names(span, method, route, status)


@pytest.mark.parametrize("host", ["shop.example", "sub.example"])
def test_host_is_a_route_without_a_path(starlette: Served, host: str) -> None:
    response, span = starlette.ask("GET", "/hosted/x", headers={"Host": host})
    assert response.status_code == 200
    check_names(span, "GET", "/hosted/{name}", 200)


@pytest.mark.parametrize("path", ["/items/3", "/sub/items/3", "/inner/a/items/b"])
@pytest.mark.parametrize("prefix", ["", "/api"])
def test_root_path_is_part_of_the_route_where_it_is_part_of_the_path(
    serve: Serve, path: str, prefix: str
) -> None:
    """Versions differ in whether a request with, or without, the prefix is found at all."""
    response, span = serve(APP, "--root-path", "/api").ask("GET", prefix + path)
    if response.status_code == 404:
        check_names(span, "GET", None, 404)
        return
    template = {
        "/items/3": "/items/{item_id:int}",
        "/sub/items/3": "/sub/items/{item_id}",
        "/inner/a/items/b": "/inner/{name}/items/{item_id}",
    }[path]
    sent = str(span.attributes["url.path"])
    assert sent.endswith(path)
    check_names(span, "GET", sent.removesuffix(path) + template, 200)


def test_root_path_is_found_with_or_without_the_prefix(serve: Serve, packages: Libraries) -> None:
    """So that the test above has something to look at in every version but for odd pairs: a server
    that puts the prefix into the path, and a Starlette that does not take it out."""
    served = serve(APP, "--root-path", "/api")
    found = [served.ask("GET", path)[0].status_code for path in ("/items/3", "/api/items/3")]
    is_odd = packages.has("uvicorn", "0.26") and not packages.has("starlette", "0.33")
    assert (200 in found) is not is_odd


# Failures.


def test_unhandled_exception(starlette: Served) -> None:
    response, span = starlette.ask("GET", "/fails/plain")
    assert response.status_code == 500
    check_names(span, "GET", "/fails/{kind}", 500)
    check_failure(span, ("ValueError",), "fail")
    assert exceptions(span)[0]["exception.message"] == "on purpose"


def test_exception_group(starlette: Served, packages: Libraries) -> None:
    response, span = starlette.ask("GET", "/fails/group")
    assert response.status_code == 500
    assert span.name == "GET /fails/{kind}"
    check_failure(span, ("ExceptionGroup",), "fail_in_tasks")
    # That of anyio 3 tells its exceptions in its message. It is a BaseException: no error page
    # catches it, and uvicorn answers in the end.
    if packages.has("anyio", "4"):
        assert span.attributes["http.response.status_code"] == 500
        told = [event["exception.type"] for event in exceptions(span)]
        assert set(told[1:]) == {"ValueError", "KeyError"}


def test_exception_in_the_middle_of_the_body(starlette: Served) -> None:
    context = new_context()
    with pytest.raises(httpx.RemoteProtocolError):
        starlette.server.get("/broken-stream", headers=context.headers)
    span = starlette.edge(context)
    assert (span.name, span.status) == ("GET /broken-stream", "ERROR")
    assert span.attributes["http.response.status_code"] == 200
    check_failure(span, ("ValueError", "ExceptionGroup"), "two")


# The response.


@pytest.mark.parametrize("prefix", ["", *(f"/{name}" for name in MIDDLEWARE)])
def test_stream_ends_with_its_last_chunk(starlette: Served, prefix: str) -> None:
    stream_ends_with_its_last_chunk(starlette, f"{prefix}/stream", "/gate")


def test_keep_alive_requests_have_their_own_parents(starlette: Served) -> None:
    contexts = [new_context() for _ in range(3)]
    body = b"x" * 400_000
    with httpx.Client(base_url=starlette.server.url, trust_env=False) as client:
        for context in contexts:
            answer = client.post("/swallow", content=body, headers=context.headers)
            assert answer.text == "400000"
    for context in contexts:
        assert starlette.edge(context).name == "POST /swallow"


def test_request_without_a_parent_is_a_root(starlette: Served) -> None:
    path = f"/thing/{os.urandom(4).hex()}"
    assert starlette.server.get(path).status_code == 200
    part = {"url.path": path}
    spans = starlette.receiver.wait(lambda spans: where(spans, attributes=part))
    assert one(spans, attributes=part).parent_id == ""


# Middleware.


@pytest.mark.parametrize("name", MIDDLEWARE)
@pytest.mark.parametrize(
    ("path", "route", "status"),
    [
        ("items/3", "items/{item_id:int}", 200),
        ("items/x", None, 404),
        ("inner/a/items/b", "inner/{name}/items/{item_id}", 200),
        ("inner/a/nowhere", None, 404),
        ("fails/handled", "fails/{kind}", 400),
        ("fails/unavailable", "fails/{kind}", 503),
        ("large", "large", 200),
        ("session", "session", None),
    ],
)
def test_name_behind_middleware(
    starlette: Served, name: str, path: str, route: str | None, status: int | None
) -> None:
    response, span = starlette.ask("GET", f"/{name}/{path}", headers={"Origin": "https://a"})
    if status is None:
        status = 200 if name in ("session", "all") else 500
    assert response.status_code == status
    check_names(span, "GET", f"/{name}/{route}" if route else None, status)


@pytest.mark.parametrize("name", MIDDLEWARE)
def test_exception_behind_middleware(starlette: Served, name: str) -> None:
    response, span = starlette.ask("GET", f"/{name}/fails/plain")
    assert response.status_code == 500
    check_names(span, "GET", f"/{name}/fails/{{kind}}", 500)
    check_failure(span, ("ValueError", "ExceptionGroup"), "fail")


def test_middleware_was_at_work(starlette: Served) -> None:
    """Else the tests above say nothing."""
    headers = {"Origin": "https://shop.example", "Accept-Encoding": "gzip"}
    seen_headers = starlette.ask("GET", "/all/large", headers=headers)[0].headers
    assert seen_headers["content-encoding"] == "gzip"
    assert seen_headers["access-control-allow-origin"] == "https://shop.example"
    assert "base" in seen_headers["x-passed"]
    assert starlette.ask("GET", "/pure/large")[0].headers["x-passed"] == "pure"
    assert "set-cookie" in starlette.ask("GET", "/all/session")[0].headers


def test_answers_of_middleware_itself_have_no_route(starlette: Served) -> None:
    response, span = starlette.ask("GET", "/trusted/items/3", headers={"Host": "evil.example"})
    assert response.status_code == 400
    check_names(span, "GET", None, 400)
    asks = {"Origin": "https://shop.example", "Access-Control-Request-Method": "GET"}
    response, span = starlette.ask("OPTIONS", "/cors/items/3", headers=asks)
    assert response.status_code == 200
    check_names(span, "OPTIONS", None, 200)


# Life.


def test_spans_are_sent_at_the_end_of_the_lifespan(run: Runner, receiver: HttpReceiver) -> None:
    env = {**receiver.env, "OTEL_BSP_SCHEDULE_DELAY": "3600000"}
    server = run.uvicorn(APP, env=env)
    server.get("/items/3")
    assert server.stop() in (0, -15)
    assert [line for line in server.stdout.splitlines() if line.startswith("lifespan")] == [
        "lifespan: up",
        "lifespan: down",
    ]
    assert one(receiver.spans).name == "GET /items/{item_id:int}"


def test_everything_is_answered_as_without_the_agent(
    run: Runner, receiver: HttpReceiver
) -> None:
    paths = [(method, path) for method, path, *_ in NAMES]
    paths += [("GET", f"/{name}/{path}") for name in MIDDLEWARE for path in ("large", "items/x")]
    paths += [("GET", "/fails/plain"), ("GET", "/all/fails/plain")]

    def use(server: Server) -> list[Any]:
        # What is compressed holds the time, and a redirect the port.
        plain = {"Accept-Encoding": "identity", "Host": "127.0.0.1"}
        return [seen(server.client.request(*path, headers=plain)) for path in paths]

    env = {**receiver.env, "PYTHONHASHSEED": "0"}
    same_with_and_without(run, APP, use, "--loop", "asyncio", "--http", "h11", env=env)
    assert len(where(receiver.spans, kind="SERVER")) == len(paths)

# SPDX-License-Identifier: MIT
"""Greenlets keep apart what each of them does, with gevent's monkey patching and without."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.otlp import Span
from harness.process import Runner, Server
from harness.receiver import HttpReceiver
from harness.target import Target
from harness.tree import one, where

COUNT = 60


def path_of(span: Span) -> str:
    return str(span.attributes["url.full"]).partition("/echo/")[2]


@pytest.mark.parametrize("case", ["plain", "pooled", "threads", "spawned", "raw", "bridged"])
def test_every_call_is_under_its_own_request(
    run: Runner, receiver: HttpReceiver, target: Target, case: str
) -> None:
    env = receiver.env | {"TARGET_URL": target.url}
    process = run.run([run.python, "greenlets.py", case, str(COUNT)], env=env, timeout=60)
    assert (process.status, process.stdout) == (0, "done\n"), process.describe()
    assert process.stderr == ""
    spans = receiver.spans
    for number in range(COUNT):
        trace = where(spans, trace_id=f"{number + 1:032x}")
        server = one(trace, kind="SERVER")
        assert server.attributes["url.path"] == f"/{number}"
        children = where(trace, kind="CLIENT")
        assert {child.parent_id for child in children} == {server.span_id}
        called = [path_of(child) for child in children if child.name == "GET"]
        assert sorted(called) == [f"{number}/first", f"{number}/second"]
        statements = [c.attributes["db.query.text"] for c in children if c.name != "GET"]
        assert len(statements) == (case == "bridged")
        assert all(str(text).endswith(f" FROM r{number}") for text in statements)
        assert len(trace) == 1 + len(children)
    roots = [span for span in where(spans, kind="CLIENT") if span.parent_id == ""]
    nobodys = [f"{number}/nobodys" for number in range(COUNT)] if case == "spawned" else []
    assert sorted(path_of(span) for span in roots) == sorted(["after", *nobodys])
    assert len({span.trace_id for span in roots}) == len(roots)
    # The target was told the same.
    calls = where(spans, name="GET", kind="CLIENT")
    sent = {path_of(span): (span.trace_id, span.span_id) for span in calls}
    assert parents(target) == sent


def parents(target: Target) -> dict[str, tuple[str, str]]:
    """The trace and the span that each call told the target."""
    told = {}
    for request in target.seen:
        _, trace_id, span_id, _ = request["headers"]["traceparent"].split("-")
        told[request["path"].partition("/echo/")[2]] = (trace_id, span_id)
    return told


def get_all(server: Server, paths: list[str]) -> None:
    """GETs all paths at the same time."""
    with ThreadPoolExecutor(len(paths)) as pool:
        for path, answer in zip(paths, pool.map(server.get, paths), strict=True):
            number = path.rpartition("/")[2]
            assert answer.status_code == 200, server.describe()
            assert f"/echo/{number}/first/echo/{number}/second" in answer.text


def test_a_wsgi_server_of_greenlets_mixes_nothing(
    run: Runner, receiver: HttpReceiver, target: Target
) -> None:
    """Nothing makes spans of its requests: each call is a trace of its own."""
    command = [run.python, "-m", "gunicorn", "patched:wsgi", "--bind", "127.0.0.1:0"]
    env = receiver.env | {"TARGET_URL": target.url}
    server = run.serve([*command, "--worker-class", "gevent"], env=env)
    get_all(server, [f"/{number}" for number in range(20)])
    assert server.stop() == 0, server.describe()
    spans = receiver.spans
    assert sorted(path_of(span) for span in spans) == sorted(
        f"{number}/{which}" for number in range(20) for which in ("first", "second")
    )
    assert {(span.name, span.kind, span.parent_id) for span in spans} == {("GET", "CLIENT", "")}
    assert len({span.trace_id for span in spans}) == 40
    assert parents(target) == {path_of(span): (span.trace_id, span.span_id) for span in spans}


@pytest.mark.parametrize("way", ["async", "def"])
def test_an_asgi_server_in_a_patched_process_keeps_its_requests(
    run: Runner, receiver: HttpReceiver, target: Target, way: str
) -> None:
    env = receiver.env | {"TARGET_URL": target.url, "ASGI": "1"}
    server = run.gunicorn("patched:app", env=env)
    get_all(server, [f"/{way}/{number}" for number in range(10)])
    assert server.stop() == 0, server.describe()
    spans = receiver.spans
    servers = {str(span.attributes["url.path"]): span for span in where(spans, kind="SERVER")}
    assert len(servers) == 10
    calls = where(spans, kind="CLIENT")
    assert len(calls) == 20
    for span in calls:
        number = path_of(span).partition("/")[0]
        server_span = servers[f"/{way}/{number}"]
        assert (span.trace_id, span.parent_id) == (server_span.trace_id, server_span.span_id)
    assert parents(target) == {path_of(span): (span.trace_id, span.span_id) for span in calls}

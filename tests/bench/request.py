# SPDX-License-Identifier: MIT
"""What tracing adds to a request on the thread that serves it.

One process, one FastAPI application, called directly as an ASGI server does, in alternating blocks:
with the agent's hooks in place, and with the library's own functions put back. Run under the agent.
"""

import os
import statistics
import time
from typing import Any

import fastapi
import fastapi.applications
import fastapi.routing
import starlette.applications
import starlette.routing

BLOCKS = 300  # Of each kind, in turn.
REQUESTS = 100  # In a block.
SETTLING = 20  # Before a block is measured: the interpreter adapts to the change of functions.

HOOKED = [
    (fastapi.applications.FastAPI, "__call__"),
    (starlette.applications.Starlette, "__call__"),
    (fastapi.routing.APIRoute, "handle"),
    (starlette.routing.Route, "handle"),
    (starlette.routing.Mount, "handle"),
]

app = fastapi.FastAPI()


@app.get("/items/{item_id}")
async def read_item(item_id: int) -> dict[str, int]:
    return {"id": item_id}


@app.get("/raises")
async def raises() -> None:
    raise ValueError("nothing good")


HEADERS = [
    (b"host", b"127.0.0.1:8000"),
    (b"user-agent", b"python-httpx/0.28.1"),
    (b"accept", b"*/*"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"connection", b"keep-alive"),
]


def one_request(application: Any = app, path: str = "/items/42", wanted: int = 200) -> None:
    """Serves one request; raises AssertionError when the answer is not the wanted one."""
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"limit=10",
        "root_path": "",
        "headers": list(HEADERS),
        "client": ("127.0.0.1", 51234),
        "server": ("127.0.0.1", 8000),
        "state": {},
    }
    statuses = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def serve() -> None:  # A server awaits the application in a task of its own.
        await application(scope, receive, send)

    coroutine = serve()
    try:
        coroutine.send(None)
    except StopIteration:
        pass
    except ValueError:  # Comes again behind the error page.
        pass
    assert statuses == [wanted], statuses


def block(path: str, wanted: int) -> float:
    """Returns the microseconds of this thread's CPU time per request."""
    start = time.thread_time_ns()
    for _ in range(REQUESTS):
        one_request(app, path, wanted)
    return (time.thread_time_ns() - start) / REQUESTS / 1000


Hook = tuple[type, str, Any]


def blocks(hooks: list[Hook], path: str, wanted: int) -> dict[bool, list[float]]:
    """Measures blocks in turn, without these hooks (False) and with them (True)."""
    results: dict[bool, list[float]] = {False: [], True: []}
    for number in range(2 * BLOCKS):
        traced = number % 2 == 1
        for owner, name, function in hooks:
            setattr(owner, name, function if traced else function.__wrapped__)
        for _ in range(SETTLING):
            one_request(app, path, wanted)
        results[traced].append(block(path, wanted))
    return results


def show(what: str, hooks: list[Hook], path: str = "/items/42", wanted: int = 200) -> None:
    """Prints a row. Whatever else the machine does only ever adds: the quiet tenth of the blocks
    tells most."""
    results = blocks(hooks, path, wanted)
    bare, traced = (statistics.quantiles(results[kind], n=10)[0] for kind in (False, True))
    print(f"{what:58} {bare:7.2f} {traced:7.2f} {traced - bare:7.2f} µs {traced / bare:6.3f}")


def main() -> None:
    """All rows, or with BENCH_OPTION the one of an option that is set in the environment."""
    hooks = [(owner, name, owner.__dict__[name]) for owner, name in HOOKED if name in owner.__dict__]
    hooks = [(o, n, f) for o, n, f in hooks if type(f).__module__ == "faa"]
    assert hooks, "the agent is not here: run this by `make bench`"
    option = os.environ.get("BENCH_OPTION")
    if not option:
        print(f"{'one request, µs of CPU of its thread':58}    bare  traced    added   ratio")
        show("as it is", hooks)
    own = [hook for hook in hooks if hook[0] is fastapi.applications.FastAPI]
    rest = [hook for hook in hooks if hook not in own]
    for owner, name, function in own:
        # Without the hook that spares FastAPI the search for a provider of its own telemetry.
        setattr(owner, name, function.__wrapped__)
    if option:
        show(option, rest)
    else:
        show("the span alone", rest)
        show("the span alone, an endpoint that raises", rest, "/raises", 500)


if __name__ == "__main__":
    main()

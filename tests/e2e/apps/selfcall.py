# SPDX-License-Identifier: MIT
"""Requests without a server: an application that calls itself. Usage: selfcall.py COUNT [PATH…]"""

import os
import sys
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route


async def item(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"item {request.path_params['item_id']}")


async def raises(request: Request) -> PlainTextResponse:
    raise ValueError("on purpose")


async def pid(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(os.getpid()))


app = Starlette(
    routes=[Route("/items/{item_id}", item), Route("/raises", raises), Route("/pid", pid)]
)


async def respond(path: str) -> int:
    """Calls the application as a server does; returns the status of its answer."""
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1:8000")],
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

    try:
        await app(scope, receive, send)
    except ValueError:
        assert statuses == [500], statuses
    return statuses[0]


def request(path: str = "/items/7") -> int:
    """As respond, for an endpoint that waits for nothing; needs no event loop."""
    try:
        respond(path).send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError(f"{path} waits")


def resident() -> int:
    """Returns the bytes of memory that this process occupies."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    for _ in range(int(sys.argv[1])):
        for path in sys.argv[2:] or ["/items/7"]:
            request(path)
    print("served", sys.argv[1])

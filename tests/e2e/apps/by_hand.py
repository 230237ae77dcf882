# SPDX-License-Identifier: MIT
"""Runs functions under the spans of requests that no server serves, on any bare interpreter.

The tests put a stand-in for hypercorn's wrapper of applications on the path: under the agent each
call of it is a request. Nothing here waits, so a coroutine needs no event loop, nor does a greenlet
that runs one.
"""

from collections.abc import Callable
from typing import Any

from hypercorn.app_wrappers import ASGIWrapper


def request(path: str, function: Callable[[], Any], trace_id: str = "") -> None:
    """Calls the function in a request for `path`, which is part of that trace."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        function()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Any:
        raise AssertionError

    async def send(message: Any) -> None:
        pass

    trace = f"00-{trace_id}-{'cd' * 8}-01" if trace_id else "none"
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "query_string": b"",
        "headers": [(b"traceparent", trace.encode())],
        "client": ("127.0.0.1", 2),
        "server": ("127.0.0.1", 1),
    }
    coroutine: Any = ASGIWrapper(app)(scope, receive, send, None, None)
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits")

# SPDX-License-Identifier: MIT
"""Requests that nobody finishes, as part of a cycle: the client holds the coroutine, and the
coroutine the client. Prints for each whether the garbage collector has found it."""

import asyncio
import gc
import weakref
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket


async def waits(request: Request) -> None:
    await asyncio.Event().wait()


async def listens(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_text()


app = Starlette(routes=[Route("/waits", waits), WebSocketRoute("/listens", listens)])


class Client:
    """Both ends of a request."""

    def __init__(self, kind: str, path: str) -> None:
        self.connected = False
        scope: dict[str, Any] = {"type": kind, "path": path, "headers": [(b"a", b"b")]}
        if kind == "http":
            scope["method"] = "GET"
        self.coroutine = app(scope, self.receive, self.send)

    async def receive(self) -> dict[str, Any]:
        if self.connected:
            await asyncio.Event().wait()
        self.connected = True
        return {"type": "websocket.connect"}

    async def send(self, message: dict[str, Any]) -> None:
        """Takes all."""


async def main() -> None:
    for kind, path in (("http", "/waits"), ("websocket", "/listens")):
        client = Client(kind, path)
        watch = weakref.ref(client)
        client.coroutine.send(None)
        del client
        gc.collect()
        print(kind, "collected" if watch() is None else "leaked")


asyncio.run(main())

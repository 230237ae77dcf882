# SPDX-License-Identifier: MIT
"""ASGI applications without FastAPI, with something around it, and a WSGI one."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from fastapi import FastAPI
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})


def statement() -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


async def reply(send: Any, body: bytes, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def function(scope: Any, receive: Any, send: Any) -> None:
    """The barest of applications."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "bare"})
        await send({"type": "websocket.close", "code": 1000})
    elif scope["type"] == "http":
        statement()
        await asyncio.sleep(0.001)
        await reply(send, b"bare", 404 if scope["path"] == "/missing" else 200)
    else:
        raise ValueError(scope["type"])


class Application:
    """An instance with __call__."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await function(scope, receive, send)


instance = Application()


class Double:
    """ASGI 2: an instance for each request."""

    def __init__(self, scope: Any) -> None:
        self.scope = scope

    async def __call__(self, receive: Any, send: Any) -> None:
        await function(self.scope, receive, send)


class Framework:
    """A small framework of somebody else's: routes, middleware, lifespan, and errors of its own."""

    def __init__(self) -> None:
        self.routes: dict[str, Callable[[], Any]] = {}

    def route(self, path: str) -> Callable[[Any], Any]:
        def add(endpoint: Any) -> Any:
            self.routes[path] = endpoint
            return endpoint

        return add

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        try:
            body = await self.routes[scope["path"]]()
        except KeyError:
            await reply(send, b"not found", 404)
        except Exception as error:
            await reply(send, str(error).encode(), 500)
        else:
            await reply(send, body)


framework = Framework()


@framework.route("/works")
async def works() -> bytes:
    await asyncio.to_thread(statement)
    return b"worked"


@framework.route("/fails")
async def fails() -> bytes:
    raise ValueError("the framework answers")


# FastAPI and Starlette, with and without something around them.

app = FastAPI()
starlette = Starlette(routes=[Route("/items/{item}", lambda request: PlainTextResponse("item"))])


@app.get("/items/{item}")
async def read_item(item: str) -> str:
    statement()
    return item


class Around:
    """Middleware outside of the application: takes its time, or answers itself."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await asyncio.sleep(0.15)
        if scope["path"] == "/itself":
            await reply(send, b"itself", 202)
        elif scope["path"] == "/fails":
            raise ValueError("outside of the application")
        else:
            await self.app(scope, receive, send)
            await asyncio.sleep(0)


async def around(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await app(scope, receive, send)
    else:
        await Around(app)(scope, receive, send)


# Several applications side by side in one process.

several = Starlette(
    routes=[Mount("/one", app=app), Mount("/two", app=starlette), Mount("/bare", app=function)]
)


def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """A WSGI application, which uvicorn runs in a thread."""
    if environ["PATH_INFO"] == "/fails":
        raise ValueError("in WSGI")
    statement()
    start_response("201 Created", [("Content-Type", "text/plain")])
    return [b"ws", b"gi"]

# SPDX-License-Identifier: MIT
"""Plain Starlette from 0.27 on: routes of all kinds, and one application for each middleware.

The first word of a path chooses the application, by a bare ASGI callable and not by a mount: each
application is the outermost one of its requests.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Host, Mount, Route, Router
from starlette.staticfiles import StaticFiles

gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)


class Refused(ValueError):
    """One that the applications handle."""


async def refused(request: Request, error: Exception) -> PlainTextResponse:
    return PlainTextResponse("refused", 400)


async def home(request: Request) -> PlainTextResponse:
    return PlainTextResponse("home")


async def item(request: Request) -> JSONResponse:
    return JSONResponse({"id": request.path_params["item_id"]})


def threaded(request: Request) -> PlainTextResponse:
    return PlainTextResponse("threaded")


async def swallow(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{len(await request.body())}")


async def fails(request: Request) -> None:
    await fail(request.path_params["kind"])


async def fail(kind: str) -> None:
    """Ends in the exception of this name."""
    if kind == "handled":
        raise Refused("not today")
    if kind == "missing":
        raise HTTPException(404)
    if kind == "unavailable":
        raise HTTPException(503)
    if kind == "group":
        await fail_in_tasks()
    raise ValueError("on purpose")


async def fail_in_tasks() -> None:
    """An exception group of two, which has one name in anyio 3 and another in anyio 4."""
    both = anyio.Event()

    async def wait() -> None:
        try:
            await both.wait()
        finally:
            raise KeyError("the second")

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.sleep(0)
        raise ValueError("the first")


async def open_gate(request: Request) -> PlainTextResponse:
    gates[request.path_params["name"]].set()
    return PlainTextResponse("open")


async def chunks(name: str) -> AsyncIterator[str]:
    """One chunk, a gate, another chunk."""
    yield "first|"
    await gates[name].wait()
    yield "last"


async def stream(request: Request) -> StreamingResponse:
    return StreamingResponse(chunks(request.path_params["name"]), media_type="image/png")


async def broken_stream(request: Request) -> StreamingResponse:
    async def two() -> AsyncIterator[str]:
        yield "first"
        raise ValueError("in the middle of the body")

    return StreamingResponse(two(), media_type="image/png")


async def session(request: Request) -> JSONResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JSONResponse(request.session)


async def large(request: Request) -> PlainTextResponse:
    return PlainTextResponse("large " * 1000)


async def raw(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("raw")(scope, receive, send)


class Thing(HTTPEndpoint):
    async def get(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.path_params["thing"])


@contextlib.asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    print("lifespan: up", flush=True)
    yield
    print("lifespan: down", flush=True)


def common(prefix: str) -> list[Any]:
    """The routes that every application has, under its own prefix."""
    return [
        Route(f"{prefix}/items/{{item_id:int}}", item),
        Route(f"{prefix}/fails/{{kind}}", fails),
        Route(f"{prefix}/stream/{{name}}", stream),
        Route(f"{prefix}/broken-stream", broken_stream),
        Route(f"{prefix}/swallow", swallow, methods=["POST"]),
        Route(f"{prefix}/large", large),
        Mount(f"{prefix}/inner/{{name}}", routes=[Route("/items/{item_id}", item)]),
    ]


sub = Starlette(routes=[Route("/", home), Route("/items/{item_id}", item)])
plain = Starlette(
    lifespan=lifespan,
    exception_handlers={Refused: refused},
    routes=[
        Route("/", home),
        Route("/threaded", threaded),
        Route("/slash/", home),
        Route("/thing/{thing}", Thing),
        Route("/gate/{name}", open_gate),
        *common(""),
        Mount("/raw", app=raw),
        Mount("/static", app=StaticFiles(directory=Path(__file__).parent)),
        Mount("/shop/{shop}", routes=[Mount("/deep", routes=[Route("/home", home)])]),
        Mount("/router", app=Router([Route("/{name}", threaded)])),
        Mount("/sub", app=sub),
        Mount("/subs/{tenant}", app=Starlette(routes=[Mount("/more", app=sub)])),
        Host("shop.example", app=Router([Route("/hosted/{name}", threaded)])),
        Host("sub.example", app=Starlette(routes=[Route("/hosted/{name}", threaded)])),
    ],
)


class Pure:
    """Middleware as ASGI itself has it: copies the scope, adds a header, reads the body itself."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), (b"x-passed", b"pure")]
                message = {**message, "headers": headers}
            await send(message)

        await self.app({**scope, "headers": list(scope["headers"])}, receive, sending)


async def dispatch(request: Request, call_next: Any) -> Any:
    response = await call_next(request)
    response.headers["x-passed"] = "base"
    return response


MIDDLEWARE = {
    "pure": [Middleware(Pure)],
    "base": [Middleware(BaseHTTPMiddleware, dispatch=dispatch)],
    "base-twice": [Middleware(BaseHTTPMiddleware, dispatch=dispatch)] * 2,
    "gzip": [Middleware(GZipMiddleware)],
    "cors": [Middleware(CORSMiddleware, allow_origins=["https://shop.example"])],
    "trusted": [Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1"])],
    "session": [Middleware(SessionMiddleware, secret_key="not a secret")],
}
MIDDLEWARE["all"] = [one for stack in MIDDLEWARE.values() for one in stack]

applications = {
    name: Starlette(
        middleware=stack,
        exception_handlers={Refused: refused},
        routes=[*common(f"/{name}"), Route(f"/{name}/session", session)],
    )
    for name, stack in MIDDLEWARE.items()
}


async def app(scope: Any, receive: Any, send: Any) -> None:
    word = scope["path"].split("/")[1] if scope["type"] == "http" else ""
    await applications.get(word, plain)(scope, receive, send)

# SPDX-License-Identifier: MIT
"""Requests whose beginning, middle and end a test controls: gates, statements, failures."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool
from starlette.endpoints import HTTPEndpoint
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.routing import Host, Mount, Route, Router

app = FastAPI()
middled = FastAPI()
engine = create_engine(
    "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
)
gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)


def statement(sql: str = "SELECT 1", **parameters: Any) -> None:
    with engine.connect() as connection:
        connection.execute(text(sql), parameters)


class Shop:
    class Closed(Exception):
        """An exception with a qualified name."""


class Refused(ValueError):
    """One that the application handles."""


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@app.exception_handler(Refused)
async def refused(request: Request, error: Exception) -> PlainTextResponse:
    return PlainTextResponse("refused", 400)


# Gates: the test opens them by another request.


@app.get("/gate/{name}")
async def open_gate(name: str) -> str:
    gates[name].set()
    return name


@app.get("/stream/{name}")
async def stream(name: str, tasks: BackgroundTasks) -> StreamingResponse:
    """One chunk, a gate, another chunk; then a background task behind a second gate."""

    async def chunks() -> AsyncIterator[str]:
        yield "first|"
        await gates[name].wait()
        yield "last"

    tasks.add_task(gates[f"{name}-after"].wait)
    return StreamingResponse(chunks(), background=tasks)


@app.get("/background/{name}")
async def background(name: str, tasks: BackgroundTasks) -> str:
    tasks.add_task(gates[name].wait)
    return "later"


@app.get("/background-fails")
async def background_fails(tasks: BackgroundTasks) -> str:
    async def work() -> None:
        raise ValueError("behind the response")

    tasks.add_task(work)
    return "later"


# Statements: children of the request.


@app.get("/statement/async")
async def async_statement() -> str:
    statement()
    return "done"


@app.get("/statement/sync")
def sync_statement() -> str:
    statement()
    return "done"


@app.post("/swallow")
async def swallow(request: Request) -> int:
    size = len(await request.body())
    statement()
    return size


@app.get("/interleaved/{number}")
async def interleaved(number: int) -> int:
    for _ in range(number % 7):
        await asyncio.sleep(0)
    await asyncio.to_thread(statement, f"SELECT {number}")
    await asyncio.create_task(asyncio.sleep(0.001 * (number % 5)))
    statement()
    return number


# Ends.


def explode(kind: str) -> None:
    if kind == "qualified":
        raise Shop.Closed("closed on purpose")
    if kind == "handled":
        raise Refused("not today")
    if kind == "unavailable":
        raise HTTPException(503)
    if kind == "mute":
        raise Mute
    if kind == "surrogate":
        raise ValueError("lone \udcff surrogate")
    if kind == "huge":
        raise ValueError("x" * 1_000_000)
    if kind == "deep":
        explode(kind)
    if kind == "empty":
        raise KeyError
    if kind == "database":
        statement("INSERT INTO nowhere VALUES (:card)", card="hush-4711")
    if kind == "database-wrapped":
        try:
            explode("database")
        except SQLAlchemyError as error:
            raise RuntimeError(f"cannot save: {error}") from error


@app.get("/fails/sync/{kind}")
def fails_sync(kind: str) -> None:
    explode(kind)


@app.get("/fails/async/{kind}")
async def fails_async(kind: str) -> None:
    explode(kind)


def failing_dependency() -> None:
    explode("qualified")


@app.get("/fails-in-dependency", dependencies=[Depends(failing_dependency)])
async def fails_in_dependency() -> None:
    """Is never reached."""


@app.get("/status/{status}")
async def status(status: int) -> PlainTextResponse:
    return PlainTextResponse("" if status in (204, 304) else "text", status)


@app.get("/file")
async def file() -> FileResponse:
    return FileResponse(__file__)


@app.get("/endless")
async def endless() -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        while True:
            yield b"more|"
            await asyncio.sleep(0.01)

    return StreamingResponse(chunks())


@app.get("/polls")
async def polls(request: Request) -> str:
    print("polls: begun")
    while not await request.is_disconnected():
        await asyncio.sleep(0.01)
    return "nobody is there"


async def reads(request: Request) -> PlainTextResponse:
    """Starlette raises ClientDisconnect here when the client goes away."""
    print("reads: begun")
    return PlainTextResponse(f"{len(await request.body())}")


# Routes of all kinds.


class Thing(HTTPEndpoint):
    async def get(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.path_params["thing"])


async def raw(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("raw")(scope, receive, send)


def plain(request: Request) -> PlainTextResponse:
    return PlainTextResponse("plain")


inner = APIRouter(prefix="/{shop}")
outer = APIRouter(prefix="/shops")


@inner.get("/")
def shop_root(shop: str) -> str:
    return shop


@inner.post("/orders/{order_id}")
async def order(shop: str, order_id: int) -> int:
    return order_id


@app.api_route("/coffee", methods=["BREW", "GET", "HEAD"])
async def coffee() -> str:
    return "coffee"


outer.include_router(inner, prefix="/of")
app.include_router(outer, prefix="/api")
app.add_api_route("/added", plain, response_class=PlainTextResponse, response_model=None)
app.add_route("/plain/{name}", plain)
app.mount("/raw", raw)
app.mount("/sub/{tenant}", middled)
app.router.routes += [
    Route("/reads", reads, methods=["POST"]),
    Route("/thing/{thing}", Thing),
    Mount("/router", app=Router([Mount("/deep", routes=[Route("/{name}", plain)])])),
    Host("shop.example", app=Router([Route("/hosted/{name}", plain)])),
]


# The same habits behind middleware, with a handler for every exception.


async def passing(request: Request, call_next: Any) -> Any:
    response = await call_next(request)
    response.headers["x-passed"] = "yes"
    return response


class CopiesScope:
    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app({**scope}, receive, send)


@middled.exception_handler(Exception)
async def last_resort(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse("sorry", 501)


middled.get("/statement")(sync_statement)
middled.get("/fails/{kind}")(fails_async)
middled.get("/stream/{name}")(stream)
middled.get("/endless")(endless)
middled.get("/gate/{name}")(open_gate)
middled.include_router(outer, prefix="/api")
middled.add_middleware(CopiesScope)
middled.add_middleware(GZipMiddleware)
middled.add_middleware(BaseHTTPMiddleware, dispatch=passing)
middled.add_middleware(CORSMiddleware, allow_origins=["*"])

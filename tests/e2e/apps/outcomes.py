# SPDX-License-Identifier: MIT
"""Requests that end in every way, and calls within a process. `middled` is the same behind
BaseHTTPMiddleware; `bare` is a plain ASGI callable."""

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import httpx
from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from pydantic import BaseModel, SecretStr
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.testclient import TestClient

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

app = FastAPI()
engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)


def statement(sql: str = "SELECT 1") -> None:
    with engine.connect() as connection:
        connection.execute(text(sql))


# Exceptions and their handlers.


class HandledAsync(Exception):
    """A coroutine function answers it."""


class HandledSync(Exception):
    """A plain function answers it."""


class HandledBadly(Exception):
    """Its handler raises another one."""


class RaisedAgain(Exception):
    """Its handler raises it again."""


class HandledAsError(Exception):
    """Its handler answers 503."""


@app.exception_handler(HandledAsync)
async def handled_async(request: Request, error: Exception) -> PlainTextResponse:
    return PlainTextResponse("handled", 409)


@app.exception_handler(HandledSync)
def handled_sync(request: Request, error: Exception) -> PlainTextResponse:
    return PlainTextResponse("handled", 410)


@app.exception_handler(HandledBadly)
async def handled_badly(request: Request, error: Exception) -> PlainTextResponse:
    raise LookupError("in the handler")


@app.exception_handler(RaisedAgain)
async def raised_again(request: Request, error: Exception) -> PlainTextResponse:
    raise error


@app.exception_handler(HandledAsError)
async def handled_as_error(request: Request, error: Exception) -> PlainTextResponse:
    return PlainTextResponse("later", 503)


@app.exception_handler(418)
async def teapot(request: Request, error: Exception) -> PlainTextResponse:
    return PlainTextResponse("short and stout", 418)


def explode(kind: str) -> None:
    if kind == "handled-async":
        raise HandledAsync("one")
    if kind == "handled-sync":
        raise HandledSync("two")
    if kind == "handled-badly":
        raise HandledBadly("three")
    if kind == "raised-again":
        raise RaisedAgain("four")
    if kind == "handled-as-error":
        raise HandledAsError("five")
    if kind == "teapot":
        raise HTTPException(418)
    if kind == "not-found":
        raise HTTPException(404)
    if kind == "group":
        inner = ExceptionGroup("inner", [KeyError("deep")])
        raise ExceptionGroup("outer", [ValueError("first"), TypeError("second"), inner])
    if kind == "chained":
        try:
            raise KeyError("cause")
        except KeyError as error:
            raise RuntimeError("effect") from error


@app.get("/raises/{kind}")
async def raises(kind: str) -> None:
    explode(kind)


@app.get("/raises-sync/{kind}")
def raises_sync(kind: str) -> None:
    explode(kind)


class Card(BaseModel):
    number: int
    limit: int = 5
    pin: SecretStr = SecretStr("")


@app.post("/cards")
async def cards(card: Card) -> str:
    return "taken"


@app.get("/cards/{number}", response_model=Card)
async def card(number: str) -> Any:
    return {"number": f"hush-{number}", "limit": [f"hush-{number}"], "pin": number}


# Bodies.


@app.get("/gate/{name}")
async def open_gate(name: str) -> str:
    gates[name].set()
    return name


@app.get("/stream/{name}")
async def stream(name: str) -> StreamingResponse:
    """A chunk, a gate, another chunk."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"first|"
        await gates[name].wait()
        yield b"last"

    return StreamingResponse(chunks())


@app.get("/events")
async def events() -> StreamingResponse:
    async def chunks() -> AsyncIterator[str]:
        for number in range(3):
            yield f"data: {number}\n\n"
            await asyncio.sleep(0.01)

    return StreamingResponse(chunks(), media_type="text/event-stream")


@app.get("/stream-fails")
async def stream_fails() -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"first|"
        raise ValueError("in the middle")

    return StreamingResponse(chunks())


@app.get("/endless")
async def endless() -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        while True:
            yield b"more|"
            await asyncio.sleep(0.01)

    return StreamingResponse(chunks())


@app.api_route("/sized/{size}", methods=["GET", "HEAD"])
async def sized(size: int) -> PlainTextResponse:
    return PlainTextResponse("x" * size)


@app.api_route("/file", methods=["GET", "HEAD"])
async def file() -> FileResponse:
    return FileResponse(__file__)


@app.get("/status/{status}")
async def status(status: int) -> PlainTextResponse:
    return PlainTextResponse("", status)


@app.post("/reads")
async def reads(request: Request) -> int:
    print("reads:", request.headers["traceparent"], flush=True)
    return len(await request.body())


@app.post("/ignores")
async def ignores() -> str:
    return "unread"


@app.get("/polls")
async def polls(request: Request) -> str:
    print("polls:", request.headers["traceparent"], flush=True)
    while not await request.is_disconnected():
        await asyncio.sleep(0.01)
    return "nobody is there"


@app.get("/cancelled")
async def cancelled() -> None:
    """The task of the request is cancelled by the application itself."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(60)


# The event loop.


def compute(seconds: float = 0.05) -> None:
    """Holds the thread for that much of its own time, however busy the machine is."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@app.get("/loop/busy")
async def busy() -> str:
    compute()
    await asyncio.sleep(0.2)
    return "done"


@app.get("/loop/idle")
async def idle() -> str:
    await asyncio.sleep(0.25)
    return "done"


@app.get("/loop/parts")
async def parts() -> str:
    for _ in range(5):
        compute(0.01)
        await asyncio.sleep(0.04)
    return "done"


@app.get("/loop/threaded")
def threaded() -> str:
    compute()
    return "done"


# Calls within the process.


inner = FastAPI()


@inner.get("/inner/{item}")
async def inner_item(item: str) -> str:
    statement("SELECT 2")
    return item


@inner.get("/fails")
async def inner_fails() -> None:
    raise ValueError("inside")


async def half(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})


inner.mount("/half", half)


@app.get("/in-process/{how}")
async def in_process(how: str, request: Request) -> str:
    """Calls another application, with `inner-parent` as that one's traceparent; then itself goes
    on."""
    headers = {}
    if "inner-parent" in request.headers:
        headers["traceparent"] = request.headers["inner-parent"]
    if how == "transport":
        transport = httpx.ASGITransport(app=inner)
        async with httpx.AsyncClient(transport=transport, base_url="http://inner") as client:
            await client.get("/inner/a", headers=headers)
    elif how == "transport-fails":
        transport = httpx.ASGITransport(app=inner, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://inner") as client:
            assert (await client.get("/fails", headers=headers)).status_code == 500
    elif how == "half":
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "GET", "path": "/half/", "headers": pairs}

        async def receive() -> dict[str, Any]:
            return {"type": "http.request"}

        async def send(message: Any) -> None:
            """Takes all."""

        await inner(scope, receive, send)
    else:
        with TestClient(inner) as testing:
            testing.get("/inner/a", headers=headers)
    statement("SELECT 3")
    return "back"


@app.get("/in-process-sync")
def in_process_sync(request: Request) -> str:
    with TestClient(inner) as testing:
        testing.get("/inner/a", headers={"traceparent": request.headers["inner-parent"]})
    statement("SELECT 3")
    return "back"


# The last resort of `middled` answers what nobody else does.


middled = FastAPI()


@middled.exception_handler(Exception)
def last_resort(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse("sorry", 500)


async def passing(request: Request, call_next: Any) -> Any:
    return await call_next(request)


middled.include_router(app.router)
middled.add_middleware(BaseHTTPMiddleware, dispatch=passing)


# Without a framework.


async def bare(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    case = scope["path"].strip("/")
    if case == "silent":
        return
    if case == "raises":
        raise ValueError("before the response")
    if case == "raises-base":
        raise BaseException("no Exception")
    headers = [(b"content-type", b"text/plain")]
    start: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": headers}
    if case == "trailers":
        start["trailers"] = True
    await send(start)
    if case == "half":
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        return
    if case == "raises-halfway":
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ValueError("in the middle")
    if case == "no-body":
        await send({"type": "http.response.body"})
        return
    if case == "no-body-at-last":
        await send({"type": "http.response.body", "body": b"12345", "more_body": True})
        await send({"type": "http.response.body"})
        return
    if case == "bytearray":
        await send({"type": "http.response.body", "body": bytearray(b"12345"), "more_body": True})
    await send({"type": "http.response.body", "body": b"done"})
    if case == "trailers":
        await asyncio.sleep(0.05)
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]})


async def error_by_a_task(scope: Any, receive: Any, send: Any) -> None:
    """The error page comes from a task that nobody has seen; the caller goes on much later."""
    if scope["type"] != "http":
        return

    async def page() -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"error"})

    await asyncio.create_task(page())
    await asyncio.sleep(0)
    compute(0.02)


def script() -> None:
    """Without a server: what a test-suite does."""
    with TestClient(inner) as testing:
        testing.get("/inner/b", headers={"traceparent": sys.argv[1]})
        testing.get("/inner/c")
    statement("SELECT 3")


if __name__ == "__main__":
    script()

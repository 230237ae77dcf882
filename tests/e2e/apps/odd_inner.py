# SPDX-License-Identifier: MIT
"""The applications that odd_asgi calls in odd ways, and what both say and send."""

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[dict[str, Any]], Awaitable[Any]]

inner = FastAPI()
color = contextvars.ContextVar("color", default="none")


def note(text: str) -> None:
    print(text, flush=True)


async def answer(send: Send, text: str, status: int = 200) -> None:
    body = text.encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def swallow(message: dict[str, Any]) -> None:
    """A send that goes nowhere."""


class Drive:
    """Awaits a coroutine by hand: passes `steps` of it to the loop, then calls `act(coroutine)`.

    When `act` gives back True, the coroutine goes on to its end.
    """

    def __init__(self, coroutine: Any, steps: int, act: Callable[[Any], bool]) -> None:
        self.coroutine, self.steps, self.act = coroutine, steps, act

    def __await__(self) -> Generator[Any, Any, None]:
        try:
            for _ in range(self.steps):
                yield self.coroutine.send(None)
            if self.act(self.coroutine):
                while True:
                    yield self.coroutine.send(None)
        except StopIteration as stop:
            note(f"drive: returned {stop.value!r}")


class Custom(BaseException):
    """No Exception, so that nobody's handler takes it."""


# Endpoints of the inner application. `inside` is where cases stop: it yields to the loop ten times.


@inner.get("/inside")
async def inside() -> dict[str, str]:
    try:
        for _ in range(10):
            await asyncio.sleep(0)
    except ValueError as error:
        return {"caught": str(error)}
    finally:
        note("inside: finally")
    color.set("red")
    return {"inside": "done"}


@inner.get("/forever")
async def forever() -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        note("forever: cancelled")
        raise


@inner.get("/stubborn")
async def stubborn() -> str:
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    return "stubborn: not cancelled"


@inner.get("/endless")
async def endless() -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        try:
            yield b"first chunk|"
            await asyncio.Event().wait()
        finally:
            note("endless: finally")

    return StreamingResponse(chunks())


@inner.get("/fails")
async def fails() -> None:
    raise RuntimeError("the endpoint raises")


@inner.get("/fails-hard")
async def fails_hard() -> None:
    raise Custom("not an Exception")


@inner.get("/headers")
async def headers(request: Request) -> list[str]:
    return [f"{name}={value}" for name, value in request.headers.items() if name == "x-odd"]


@inner.get("/large")
async def large() -> Response:
    return Response(b"odd " * 1000, media_type="text/plain")


@inner.get("/base-http")
async def base_http() -> str:
    return f"color {color.get()}"


async def passing(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    response = await call_next(request)
    response.headers["x-base-http"] = "passed"
    return response


async def raw_first(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends the whole response before it receives anything."""
    await answer(send, "sent first")
    message = await receive()
    note(f"received after the response: {message['type']}")


async def raw_changing(scope: Scope, receive: Receive, send: Send) -> None:
    """Changes a message after it was sent."""
    start: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": []}
    await send(start)
    start["status"] = 500
    try:
        await send({"type": "http.response.body", "body": b"whole"})
    except OSError as error:
        note(f"send raised {error}")


async def raw_task(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.create_task(answer(send, "sent from a task"))


async def raw_silent(scope: Scope, receive: Receive, send: Send) -> None:
    """Returns without a response."""


async def raw_half(scope: Scope, receive: Receive, send: Send) -> None:
    """Returns in the middle of its response."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})


for raw in (raw_first, raw_changing, raw_task, raw_silent, raw_half):
    inner.mount("/" + raw.__name__.replace("_", "-"), raw)
inner.add_middleware(BaseHTTPMiddleware, dispatch=passing)
bare = FastAPI(routes=list(inner.router.routes))  # The same without middleware.
zipped = FastAPI(routes=list(inner.router.routes))
zipped.add_middleware(GZipMiddleware, minimum_size=100)

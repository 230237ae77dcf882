# SPDX-License-Identifier: MIT
"""Requests that do all that is traced, and responses with headers of every kind."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any, Dict, List

import anyio
import requests
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool
from starlette.requests import Request

TARGET = os.environ.get("TARGET_URL", "")
SHARED = {"check_same_thread": False}
app = FastAPI()
sub = FastAPI()
engine = create_engine("sqlite://", poolclass=StaticPool, connect_args=SHARED)
late_tasks: List["asyncio.Task[None]"] = []
gate = asyncio.Event()


def statement() -> int:
    """One SQL statement."""
    with engine.connect() as connection:
        return connection.execute(text("SELECT 1")).scalar()


def call(word: str, method: str = "GET") -> int:
    """One outgoing request, which the other side knows by `word`; in a session of its own."""
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, f"{TARGET}/echo?by={word}", timeout=20).status_code


async def late(word: str) -> None:
    """Goes on when its request is long over."""
    await gate.wait()
    statement()
    await anyio.to_thread.run_sync(call, f"late-{word}")


def background(word: str) -> None:
    """After the response."""
    statement()
    call(f"background-{word}")


def dependency() -> int:
    """In a thread."""
    return statement()


async def everything(word: str, tasks: BackgroundTasks, request: Request) -> Dict[str, Any]:
    """A statement here, a request in a thread, a background task, and a task left behind."""
    statement()
    await anyio.to_thread.run_sync(call, word)
    tasks.add_task(background, word)
    late_tasks.append(asyncio.create_task(late(word)))
    assert request.client is not None
    return {"port": request.client.port}


@app.get("/jobs/{word}")
@app.get("/healthz/{word}")
async def work(
    word: str, tasks: BackgroundTasks, request: Request, one: int = Depends(dependency)
) -> Dict[str, Any]:
    return await everything(word, tasks, request)


@sub.get("/hidden/{word}")
@sub.get("/shown/{word}")
async def mounted(word: str, tasks: BackgroundTasks, request: Request) -> Dict[str, Any]:
    return await everything(word, tasks, request)


@app.get("/late")
async def finish() -> int:
    """Lets the tasks that were left behind go on, and waits for them."""
    gate.set()
    await asyncio.gather(*late_tasks)
    return len(late_tasks)


@app.websocket("/ws/{word}")
async def websocket(socket: WebSocket, word: str) -> None:
    """Echoes texts and bytes, with a statement for each; refuses some."""
    if word == "refused":
        await socket.close()
        return
    await socket.accept(headers=[(b"X-Accepted", b"yes"), (b"set-cookie", b"ws=PLANTED-accept")])
    while (message := await socket.receive())["type"] != "websocket.disconnect":
        statement()
        if message.get("text") is not None:
            await socket.send_text(message["text"])
        else:
            await socket.send_bytes(message["bytes"])


@app.api_route("/methods", methods=["GET", "POST", "PURGE"])
def methods() -> int:
    call("purge", "PURGE")
    return call("post", "POST")


@app.get("/answer")
async def answer() -> PlainTextResponse:
    response = PlainTextResponse("answer")
    response.raw_headers += [
        (b"X-Multi", b"one"),
        (b"x-other", b"not asked for"),
        (b"x-multi", b"two"),
        (b"x-latin", b"caf\xe9"),
        (b"x-secret-key", b"PLANTED-response"),
        (b"set-cookie", b"a=PLANTED-cookie"),
        (b"set-cookie", b"b=PLANTED-cookie"),
    ]
    return response


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def chunks() -> AsyncIterator[str]:
        yield "one"
        yield "two"

    return StreamingResponse(chunks(), headers={"X-Multi": "stream"})


@app.get("/missing")
async def missing() -> None:
    raise HTTPException(404, headers={"X-Multi": "missing"})


@app.get("/raises")
async def raises() -> None:
    raise ValueError("on purpose")


@app.get("/again")
async def again() -> Any:
    """Begins its response twice, which no server allows."""

    async def twice(scope: Any, receive: Any, send: Any) -> None:
        for value in (b"first", b"second"):
            headers = [(b"x-multi", value)]
            await send({"type": "http.response.start", "status": 200, "headers": headers})

    response = PlainTextResponse("")
    response.__class__ = type("Twice", (PlainTextResponse,), {"__call__": staticmethod(twice)})
    return response


app.mount("/sub", sub)

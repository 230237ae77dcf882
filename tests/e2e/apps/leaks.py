# SPDX-License-Identifier: MIT
"""Serves requests to itself over and over, and tells how memory grows with them.

leaks.py ROUND ROUNDS: prints one JSON object for each round of ROUND times all kinds of requests.
PYTHONMALLOC=malloc lets the C library count what Python has allocated, too.
"""

import asyncio
import contextvars
import ctypes
import gc
import json
import os
import sys
import time
from contextlib import asynccontextmanager

import requests
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool
from starlette.websockets import WebSocketDisconnect

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


class Refused(Exception):
    """One that the application handles."""


@asynccontextmanager
async def lifespan(app):
    raise ValueError("cannot start")
    yield


app = FastAPI(lifespan=lifespan)
engine = create_engine("sqlite://", poolclass=StaticPool)
session = requests.Session()
session.trust_env = False
seen_types = set()


class Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


@app.get("/sql/{name}")
async def sql(name: str):
    with engine.connect() as connection:
        return connection.scalar(text("SELECT :name"), {"name": name})


@app.get("/sql-fails")
async def sql_fails():
    with engine.connect() as connection:
        try:
            connection.execute(text("SELECT nothing FROM nowhere"))
        except SQLAlchemyError:
            return "failed"


@app.get("/raises")
async def raises():
    raise ValueError("on purpose")


@app.get("/missing")
async def missing():
    raise HTTPException(404)


@app.get("/call")
async def call():
    return session.get(os.environ["TARGET_URL"]).status_code


@app.get("/call-fails")
async def call_fails():
    try:
        session.get("http://127.0.0.1:1/")
    except requests.ConnectionError:
        return "failed"


@app.get("/stream")
async def stream():
    async def chunks():
        for _ in range(3):
            yield b"chunk"

    return StreamingResponse(chunks())


@app.get("/waits")
async def waits():
    await asyncio.Event().wait()


@app.get("/group")
async def group():
    raise ExceptionGroup("several", [ValueError("one"), Refused("two")])


@app.get("/refused")
async def refused():
    raise Refused


@app.exception_handler(Refused)
async def refuse(request, error):
    return PlainTextResponse("refused", 503)


@app.websocket("/echo")
async def echo(websocket: WebSocket):
    await websocket.accept()
    while True:
        await websocket.send_text(await websocket.receive_text())


@app.websocket("/unanswered")
async def unanswered(websocket: WebSocket):
    raise ValueError("before the handshake")


async def setting():
    return "set"


async def dependent(setting=Depends(setting)):
    yield setting


@app.get("/steps")
async def steps(number: int, tasks: BackgroundTasks, dependent=Depends(dependent)):
    tasks.add_task(setting)
    return number


@app.get("/types")
async def types():
    """Finds the agent's types: nothing of it is importable."""
    for variable, value in contextvars.copy_context().items():
        if variable.name.startswith("faa."):
            seen_types.add(type(value))


def scope_of(path, query=b"a=1&sig=hidden"):
    headers = [
        (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        (b"baggage", b"a=1"),
    ]
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": headers,
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 81),
        "root_path": "",
        "asgi": {"version": "3.0"},
    }


async def receive():
    await asyncio.sleep(0)
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message):
    await asyncio.sleep(0)


async def broken_send(message):
    raise OSError("the client is gone")


async def converse(path):
    """A WebSocket connection of two messages, which then vanishes."""
    messages = iter(
        [
            {"type": "websocket.connect"},
            {"type": "websocket.receive", "text": "one"},
            {"type": "websocket.receive", "text": "two"},
            {"type": "websocket.disconnect", "code": 1006},
        ]
    )

    async def receive():
        await asyncio.sleep(0)
        return next(messages)

    scope = {**scope_of(path), "type": "websocket", "subprotocols": []}
    del scope["method"]
    try:
        await app(scope, receive, send)
    except (ValueError, WebSocketDisconnect):
        pass


async def fail_to_start():
    try:
        await app({"type": "lifespan", "asgi": {"version": "3.0"}}, start, send)
    except ValueError:
        pass


async def start():
    return {"type": "lifespan.startup"}


async def serve_round():
    for path in ("/echo", "/unanswered"):
        await converse(path)
    for path in (
        "/sql/x", "/sql-fails", "/missing", "/call", "/call-fails", "/stream", "/none", "/refused"
    ):  # fmt: skip
        await app(scope_of(path), receive, send)
    for query in (b"number=1", b"number=x"):
        await app(scope_of("/steps", query), receive, send)
    for path, sender in (("/raises", send), ("/group", send), ("/missing", broken_send)):
        try:
            await app(scope_of(path), receive, sender)
        except (ValueError, OSError, ExceptionGroup):
            pass
    task = asyncio.create_task(app(scope_of("/waits"), receive, send))
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    closed = app(scope_of("/waits"), receive, send)
    closed.close()


def in_use(mallinfo2):
    """Bytes allocated, when the exporter is idle."""
    return min(mallinfo2().uordblks for _ in range(20) if time.sleep(0.02) is None)


def measure(mallinfo2):
    gc.collect()
    counted = {}
    for thing in gc.get_objects():
        kind = f"{type(thing).__module__}.{type(thing).__qualname__}"
        counted[kind] = counted.get(kind, 0) + 1
    ours = {kind: count for kind, count in counted.items() if kind.startswith("faa.")}
    for kind in sorted(seen_types, key=str):
        ours[f"references to {kind.__qualname__}"] = sys.getrefcount(kind)
    objects = sum(counted.values())
    del counted, thing
    return {"bytes": in_use(mallinfo2), "objects": objects, "ours": ours}


async def main():
    size, rounds = int(sys.argv[1]), int(sys.argv[2])
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = Mallinfo2
    await app(scope_of("/types"), receive, send)
    for _ in range(rounds):
        for _ in range(size):
            await serve_round()
        await fail_to_start()
        print(json.dumps(measure(mallinfo2)), flush=True)


asyncio.run(main())

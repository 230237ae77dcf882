# SPDX-License-Identifier: MIT
"""WebSocket connections of every kind, in FastAPI and in Starlette."""

import asyncio
from typing import Any

import requests
from fastapi import APIRouter, Depends, FastAPI
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool
from starlette.applications import Starlette
from starlette.exceptions import HTTPException, WebSocketException
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, WebSocketRoute
from starlette.websockets import WebSocket

app = FastAPI()
engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})


def work(number: int) -> None:
    """One statement and one outgoing request. Nobody listens there."""
    with engine.connect() as connection:
        connection.execute(text(f"SELECT {number}"))
    try:
        requests.get(f"http://127.0.0.1:1/{number}", timeout=20)
    except requests.ConnectionError:
        pass


async def echo(websocket: WebSocket) -> None:
    """Sends back what comes, until the client goes."""
    await websocket.accept()
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        if message.get("text") is not None:
            await websocket.send_text(message["text"])
        else:
            await websocket.send_bytes(message["bytes"])


@app.websocket("/echo/{room}")
async def echo_room(websocket: WebSocket, room: str) -> None:
    await echo(websocket)


router = APIRouter(prefix="/rooms/{room}")


@router.websocket("/chat")
async def chat(websocket: WebSocket, room: str) -> None:
    await echo(websocket)


app.include_router(router, prefix="/api")
app.mount(
    "/sub/{tenant}",
    Starlette(
        routes=[
            WebSocketRoute("/plain/{x}", echo),
            Mount("/deep", routes=[WebSocketRoute("/{y}", echo)]),
        ]
    ),
)


@app.websocket("/works/{count}")
async def works(websocket: WebSocket, count: int) -> None:
    await websocket.accept()
    for number in range(count):
        await asyncio.to_thread(work, number)
    await websocket.close()


@app.websocket("/closes/{code}")
async def closes(websocket: WebSocket, code: int) -> None:
    await websocket.accept()
    await websocket.send_text("bye")
    await websocket.close(code, "that is all")
    await asyncio.sleep(0.01)  # What is done after the end belongs to no connection.


@app.websocket("/waits")
async def waits(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("ready")
    await websocket.receive_text()  # WebSocketDisconnect leaves the endpoint.


@app.websocket("/talks")
async def talks(websocket: WebSocket) -> None:
    await websocket.accept()
    while True:
        await websocket.send_text("x" * 1000)
        await asyncio.sleep(0.005)


@app.websocket("/fails/{when}")
async def fails(websocket: WebSocket, when: str) -> None:
    if when == "before":
        raise ValueError("before the handshake")
    await websocket.accept()
    await websocket.send_text("ready")
    if when == "policy":
        raise WebSocketException(1008, "not you")
    raise ValueError("in the connection")


@app.websocket("/returns")
async def returns(websocket: WebSocket) -> None:
    """Leaves without an answer to the handshake."""


@app.websocket("/refused/{how}")
async def refused(websocket: WebSocket, how: str) -> None:
    if how == "close":
        await websocket.close(1008)
    elif how == "exception":
        raise WebSocketException(1008, "not you")
    elif how == "http":
        raise HTTPException(418)
    else:
        await websocket.send_denial_response(PlainTextResponse("no", int(how)))


async def raw(scope: Any, receive: Any, send: Any) -> None:
    """Refuses, and waits until the server says that it is over."""
    await receive()
    await send({"type": "websocket.close", "code": 1008})
    await receive()


app.mount("/raw", raw)


def gate(token: str = "") -> str:
    if token != "right":
        raise WebSocketException(1008, "no token")
    return token


@app.websocket("/guarded")
async def guarded(websocket: WebSocket, token: str = Depends(gate)) -> None:
    await echo(websocket)


@app.websocket("/typed/{number}")
async def typed(websocket: WebSocket, number: int) -> None:
    await echo(websocket)

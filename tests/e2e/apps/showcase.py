# SPDX-License-Identifier: MIT
"""One endpoint for each thing that a SERVER span can tell, for a look at all of them in Jaeger."""

import asyncio
import time
from collections.abc import AsyncIterator

from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import JSONResponse, StreamingResponse

app = FastAPI()


class SoldOut(Exception):
    """Has a handler."""


@app.exception_handler(SoldOut)
async def sold_out(request: Request, error: SoldOut) -> JSONResponse:
    return JSONResponse({"sold": "out"}, 409)


@app.get("/items/{item}")
async def item(item: int) -> int:
    if item == 404:
        raise HTTPException(404, "no such item")
    if item == 409:
        raise SoldOut("none left")
    return item


def note() -> None:
    time.sleep(0.002)


@app.get("/later")
async def later(tasks: BackgroundTasks) -> str:
    tasks.add_task(note)
    return "soon"


@app.get("/blocks")
async def blocks() -> str:
    time.sleep(0.15)
    return "at last"


async def slow() -> str:
    await asyncio.sleep(0.12)
    return "slow"


@app.get("/depends")
async def depends(value: str = Depends(slow)) -> str:
    return value


@app.get("/streams")
async def streams() -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"chunk"

    return StreamingResponse(chunks())


@app.websocket("/rooms/{room}")
async def rooms(socket: WebSocket, room: str) -> None:
    await socket.accept()
    await socket.send_text(await socket.receive_text())
    await socket.close(4000)

# SPDX-License-Identifier: MIT
"""Logs from wherever a request does its work; each line names the request's number."""

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import AsyncIterator
from typing import Any

from fastapi import BackgroundTasks, FastAPI, HTTPException, WebSocket
from fastapi.responses import StreamingResponse

log = logging.getLogger("shop")
pool = concurrent.futures.ThreadPoolExecutor(1)
app = FastAPI()


@app.get("/async/{number}")
async def async_def(number: int) -> str:
    log.info("async %d", number)
    return "done"


@app.get("/def/{number}")
def plain_def(number: int) -> str:
    log.info("def %d", number)
    return "done"


@app.get("/jobs/{number}")
async def work(number: int, tasks: BackgroundTasks) -> str:
    def there(where: str) -> None:
        log.info("%s %d", where, number)

    thread = threading.Thread(target=there, args=("thread",))
    thread.start()
    thread.join()
    pool.submit(there, "pool").result(20)
    await asyncio.to_thread(there, "to_thread")
    await asyncio.create_task(asyncio.to_thread(there, "task"))
    tasks.add_task(there, "background")
    return "done"


@app.get("/stream/{number}")
async def stream(number: int) -> StreamingResponse:
    async def chunks() -> AsyncIterator[str]:
        for part in range(3):
            log.info("chunk %d of %d", part, number)
            yield "x"
            await asyncio.sleep(0.01)

    return StreamingResponse(chunks())


@app.get("/failing/{number}")
async def failing(number: int) -> None:
    raise LookupError(f"failing {number}")


@app.get("/refusing/{number}")
async def refusing(number: int) -> None:
    raise HTTPException(418)


@app.websocket("/socket/{number}")
async def socket(websocket: WebSocket, number: int) -> None:
    await websocket.accept()
    log.info("socket %d", number)
    if number % 2:
        raise LookupError(f"socket {number}")
    await websocket.close()


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """No framework: what it raises reaches the server, which answers in its place."""
    if scope["type"] == "lifespan":
        raise NotImplementedError
    if scope["path"].startswith("/failing"):
        raise LookupError(scope["path"])
    if scope["path"].startswith("/silent"):
        return
    start = {"type": "http.response.start", "status": 200, "headers": []}
    await send(start)
    if scope["path"].startswith("/half"):
        return
    await send({"type": "http.response.body", "body": b"bare"})

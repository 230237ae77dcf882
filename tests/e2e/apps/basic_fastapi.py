# SPDX-License-Identifier: MIT
"""FastAPI as most people use it. Markers of what ran go to standard output."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import anyio
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import BaseModel
from starlette.requests import Request
from starlette.routing import Mount, Route

app = FastAPI()
items = APIRouter(prefix="/items")
reviews = APIRouter(prefix="/{item_id}/reviews")
sub = FastAPI()


class Item(BaseModel):
    name: str
    price: float


async def async_dependency() -> AsyncIterator[str]:
    yield "async"
    print("async dependency closed")


def sync_dependency() -> Iterator[str]:
    yield "sync"


@app.get("/async")
async def async_endpoint() -> dict[str, str]:
    return {"kind": "async"}


@app.get("/sync")
def sync_endpoint() -> dict[str, str]:
    return {"kind": "sync"}


@app.get("/depends")
async def depends(
    one: str = Depends(async_dependency), two: str = Depends(sync_dependency)
) -> list[str]:
    return [one, two]


@app.post("/items", status_code=201)
async def create(item: Item) -> Item:
    return item


@items.get("/{item_id}")
async def read(item_id: int, verbose: bool = False) -> dict[str, object]:
    return {"id": item_id, "verbose": verbose}


@reviews.get("/{review_id}")
def review(item_id: int, review_id: str) -> dict[str, object]:
    return {"item": item_id, "review": review_id}


@app.get("/files/{path:path}")
async def files(path: str) -> str:
    return path


@app.get("/headers")
async def headers(request: Request) -> list[tuple[str, str]]:
    return [(name.decode(), value.decode("latin-1")) for name, value in request.headers.raw]


@app.get("/raises")
async def raises() -> None:
    raise ValueError("on purpose")


@app.get("/raises-sync")
def raises_sync() -> None:
    raise ValueError("on purpose, in a thread")


@app.get("/missing")
async def missing() -> None:
    raise HTTPException(404, "no such thing", headers={"X-Reason": "none"})


@app.get("/unavailable")
def unavailable() -> None:
    raise HTTPException(503)


@app.get("/stream")
async def stream(delay: float = 0) -> StreamingResponse:
    async def chunks() -> AsyncIterator[str]:
        for number in range(5):
            await asyncio.sleep(delay)
            yield f"chunk {number}\n"

    return StreamingResponse(chunks(), media_type="text/plain")


@app.get("/stream-raises")
async def stream_raises() -> StreamingResponse:
    async def chunks() -> AsyncIterator[str]:
        yield "first\n"
        raise ValueError("in the middle of the body")

    return StreamingResponse(chunks(), media_type="text/plain")


@app.get("/sleep")
async def sleep(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@app.get("/background")
async def background(tasks: BackgroundTasks, seconds: float = 0) -> str:
    async def work() -> None:
        await asyncio.sleep(seconds)
        print("background done")

    tasks.add_task(work)
    return "later"


@app.get("/tasks")
async def tasks() -> list[int]:
    """Work in tasks made by asyncio and by anyio, and in a thread."""
    results: list[int] = []

    async def work(number: int) -> int:
        await asyncio.sleep(0)
        return number

    async def append(number: int) -> None:
        results.append(await work(number))

    results.append(await asyncio.create_task(work(1)))
    results += await asyncio.gather(work(2), work(3))
    async with anyio.create_task_group() as group:
        group.start_soon(append, 4)
        group.start_soon(append, 5)
    results.append(await anyio.to_thread.run_sync(lambda: 6))
    return sorted(results)


@app.websocket("/ws")
async def websocket(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(f"echo {text}")
    print("websocket closed")


@sub.get("/things/{thing}")
async def thing(thing: str) -> str:
    return thing


async def mounted(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.path_params["name"])


items.include_router(reviews)
app.include_router(items)
app.include_router(items, prefix="/api/v1")
app.mount("/sub", sub)
app.router.routes.append(Mount("/mount", routes=[Route("/{name}", mounted)]))

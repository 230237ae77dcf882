# SPDX-License-Identifier: MIT
"""Requests that do their work everywhere at once. Each piece of work tells the request's number, a
statement in its table's name and a call in its path, so that it can be told whose it is."""

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import anyio
import anyio.from_thread
import requests
from fastapi import BackgroundTasks, Depends, FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

TARGET = os.environ["TARGET_URL"]
DATABASE = os.environ["DATABASE"]
engine = create_engine(f"sqlite:///{DATABASE}", pool_size=20, max_overflow=20)
async_engine = create_async_engine(f"sqlite+aiosqlite:///{DATABASE}", pool_size=3, max_overflow=0)
pool = concurrent.futures.ThreadPoolExecutor(3)
local = threading.local()
over = threading.Event()


def statement_of(number: object) -> str:
    return f"WITH r{number} AS (SELECT 1 AS a) SELECT a FROM r{number}"


def select(number: object) -> None:
    with engine.connect() as connection:
        connection.execute(text(statement_of(number)))


async def pause(number: int, step: int) -> None:
    """Lets others run, for a time that differs from request to request."""
    await asyncio.sleep((number * 7 + step * 3) % 5 / 2000)


async def select_in_turn(number: int, step: int = 0) -> None:
    await pause(number, step)
    select(number)
    await pause(number, step + 1)


async def select_async(number: int) -> None:
    async with async_engine.connect() as connection:
        await pause(number, 1)
        await connection.execute(text(statement_of(number)))


def call(number: int) -> None:
    if not hasattr(local, "session"):
        local.session = requests.Session()
        local.session.trust_env = False
    local.session.get(f"{TARGET}/echo/{number}", timeout=60)


def nobodys_work() -> None:
    """Shares the pool with all requests, and is part of none."""
    while not over.wait(0.005):
        pool.submit(select, "_nobody").result()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    thread = threading.Thread(target=nobodys_work)
    thread.start()
    yield
    over.set()
    thread.join()
    await async_engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/tasks/{number}")
async def tasks(number: int) -> str:
    await asyncio.gather(*(asyncio.create_task(select_in_turn(number, n)) for n in range(2)))
    async with anyio.create_task_group() as group:
        group.start_soon(select_in_turn, number, 2)
    return "done"


@app.get("/threads/{number}")
async def threads(number: int) -> str:
    thread = threading.Thread(target=select, args=(number,))
    thread.start()
    submitted = pool.submit(select, number)
    await asyncio.gather(
        asyncio.to_thread(select, number),
        run_in_threadpool(select, number),
        asyncio.wrap_future(submitted),
        asyncio.get_running_loop().run_in_executor(pool, select, number),
    )
    await asyncio.to_thread(thread.join)
    return "done"


@app.get("/stream/{number}")
async def stream(number: int) -> StreamingResponse:
    async def chunks() -> AsyncIterator[str]:
        for step in range(3):
            await select_in_turn(number, step)
            yield "x"

    return StreamingResponse(chunks())


late: set[object] = set()


@app.get("/background/{number}")
async def background(number: int, tasks: BackgroundTasks) -> str:
    tasks.add_task(select_in_turn, number)
    tasks.add_task(select, number)
    task = asyncio.create_task(select_in_turn(number, 1))
    late.add(task)
    task.add_done_callback(late.discard)
    return "later"


def dependency(number: int) -> Iterator[None]:
    select(number)
    yield
    select(number)


@app.get("/def/{number}", dependencies=[Depends(dependency)])
def plain_def(number: int) -> str:
    select(number)
    anyio.from_thread.run(select_in_turn, number)
    return "done"


@app.get("/database/{number}")
async def database(number: int) -> str:
    await asyncio.gather(select_async(number), select_async(number))
    await select_async(number)
    return "done"


@app.get("/http/{number}")
async def http(number: int) -> str:
    submitted = pool.submit(call, number)
    await asyncio.gather(run_in_threadpool(call, number), asyncio.wrap_future(submitted))
    return "done"


@app.get("/failing/{number}")
async def failing(number: int) -> None:
    await select_in_turn(number)
    raise LookupError(number)

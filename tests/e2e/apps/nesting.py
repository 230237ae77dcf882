# SPDX-License-Identifier: MIT
"""A statement and a call, made in all the places where an application makes them."""

import asyncio
import concurrent.futures
import contextvars
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import requests
from fastapi import BackgroundTasks, Depends, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response, StreamingResponse
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

TARGET = os.environ["TARGET_URL"]
DATABASE = os.environ["DATABASE"]
engine = create_engine(f"sqlite:///{DATABASE}")
async_engine = create_async_engine(f"sqlite+aiosqlite:///{DATABASE}")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    with engine.begin() as connection:
        for number in range(7):
            connection.exec_driver_sql(f"CREATE TABLE IF NOT EXISTS table_{number} (a)")
    yield
    await async_engine.dispose()


app = FastAPI(lifespan=lifespan)
pool = concurrent.futures.ThreadPoolExecutor(4)
local = threading.local()


def session() -> requests.Session:
    """requests' sessions are for one thread each."""
    if not hasattr(local, "session"):
        local.session = requests.Session()
        local.session.trust_env = False
    return local.session


def call(path: str) -> None:
    session().get(f"{TARGET}{path}", timeout=20)


def work(path: str = "/echo") -> str:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1 AS one"))
    call(path)
    return "done"


async def async_work(path: str = "/echo") -> str:
    async with async_engine.connect() as connection:
        await connection.execute(text("SELECT 1 AS one"))
    await run_in_threadpool(call, path)
    return "done"


@app.get("/async-def")
async def async_def() -> str:
    return work()


@app.get("/def")
def plain_def() -> str:
    return work()


@app.get("/async-engine")
async def async_engine_() -> str:
    return await async_work()


@app.get("/create-task")
async def create_task() -> str:
    return await asyncio.create_task(async_work())


@app.get("/task-of-a-task")
async def task_of_a_task() -> str:
    async def outer() -> str:
        return await asyncio.ensure_future(async_work())

    return await asyncio.create_task(outer())


@app.get("/gather")
async def gather() -> list[str]:
    return list(await asyncio.gather(async_work(), async_work()))


@app.get("/wait-for")
async def wait_for() -> str:
    return await asyncio.wait_for(async_work(), 20)


@app.get("/anyio-task-group")
async def anyio_task_group() -> str:
    async with anyio.create_task_group() as group:
        group.start_soon(async_work)
        group.start_soon(async_work)
    return "done"


@app.get("/run-in-threadpool")
async def in_threadpool() -> str:
    return await run_in_threadpool(work)


@app.get("/to-thread")
async def to_thread() -> str:
    return await asyncio.to_thread(work)


@app.get("/from-thread")
def from_thread() -> str:
    """Back from the thread pool into the event loop."""
    return anyio.from_thread.run(async_work)


@app.get("/copy-context")
def copy_context() -> str:
    return pool.submit(contextvars.copy_context().run, work).result()


@app.get("/executor")
async def executor() -> str:
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(pool, context.run, work)


@app.get("/call-soon")
async def call_soon() -> str:
    done = asyncio.Event()
    asyncio.get_running_loop().call_soon(lambda: (work(), done.set()))
    await done.wait()
    return "done"


async def async_dependency() -> AsyncIterator[str]:
    yield await async_work()


def dependency() -> Iterator[str]:
    yield work()


@app.get("/dependencies")
async def dependencies(
    one: str = Depends(async_dependency), two: str = Depends(dependency)
) -> list[str]:
    return [one, two]


@app.get("/async-stream")
async def async_stream() -> StreamingResponse:
    async def chunks() -> AsyncIterator[str]:
        yield await async_work()
        yield "end"

    return StreamingResponse(chunks())


@app.get("/stream")
def stream() -> StreamingResponse:
    def chunks() -> Iterator[str]:
        yield work()
        yield "end"

    return StreamingResponse(chunks())


@app.get("/background")
async def background(tasks: BackgroundTasks) -> str:
    tasks.add_task(async_work)
    return "later"


@app.get("/background-def")
def background_def(tasks: BackgroundTasks) -> str:
    tasks.add_task(work)
    return "later"


late: set[Any] = set()


@app.get("/late-task")
async def late_task() -> str:
    """A task that goes on when the response has been sent."""

    async def later() -> None:
        await asyncio.sleep(0.1)
        await async_work()

    task = asyncio.create_task(later())
    late.add(task)
    task.add_done_callback(late.discard)
    return "later"


class Trouble(Exception):
    pass


@app.exception_handler(Trouble)
async def handler(request: Request, error: Trouble) -> Response:
    return JSONResponse(await async_work(), 200)


@app.get("/exception-handler")
async def exception_handler() -> None:
    raise Trouble


@app.get("/thread")
def own_thread() -> str:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return "done"


@app.get("/middleware")
async def in_middleware() -> str:
    return "the middleware works"


@app.middleware("http")
async def middleware(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    if request.url.path == "/middleware":
        await async_work()
    return await call_next(request)


@app.get("/mixed/{number}")
async def mixed(number: int) -> str:
    """All at once: calls tell the request's number in their path."""
    await run_in_threadpool(call, f"/echo/{number}/first")
    await asyncio.sleep((number % 5) / 1000)
    await asyncio.gather(
        asyncio.create_task(async_select(number)),
        asyncio.to_thread(call, f"/echo/{number}/thread"),
        run_in_threadpool(call, f"/echo/{number}/pool"),
    )
    with engine.connect() as connection:
        connection.exec_driver_sql(f"SELECT {number} FROM table_{number % 7}")
    return "done"


@app.get("/mixed-def/{number}")
def mixed_def(number: int) -> str:
    call(f"/echo/{number}/first")
    anyio.from_thread.run(async_select, number)
    call(f"/echo/{number}/last")
    return "done"


async def async_select(number: int) -> None:
    async with async_engine.connect() as connection:
        await connection.exec_driver_sql(f"SELECT {number} FROM table_{number % 7}")


@app.get("/buy/{number}")
async def buy(number: int) -> str:
    """The target is another service of this application."""
    await async_select(number)
    await run_in_threadpool(call, f"/price/{number}")
    return "bought"


@app.get("/price/{number}")
def price(number: int) -> int:
    with engine.connect() as connection:
        connection.exec_driver_sql(f"SELECT a FROM table_{number}")
    return 7

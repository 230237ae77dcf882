# SPDX-License-Identifier: MIT
"""Requests that wait: for the event loop, a thread, a connection. Lines that a test looks for end
in a comment that names them."""

import asyncio
import os
import threading
import time
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import requests
from fastapi import BackgroundTasks, Depends, FastAPI
from sqlalchemy import Column, Integer, create_engine, select, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session, declarative_base
from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool

DATABASE = os.environ["DATABASE"]
TARGET = os.environ.get("TARGET_URL", "http://127.0.0.1:1")
ONE: dict[str, Any] = {
    "pool_size": 1,
    "max_overflow": 0,
    "pool_timeout": 60,
    "connect_args": {"check_same_thread": False},
}

engine = create_engine(f"sqlite:///{DATABASE}", future=True)
async_engine = create_async_engine(f"sqlite+aiosqlite:///{DATABASE}")
single = create_engine(f"sqlite:///{DATABASE}", poolclass=QueuePool, future=True, **ONE)
async_single = create_async_engine(
    f"sqlite+aiosqlite:///{DATABASE}", poolclass=AsyncAdaptedQueuePool, **ONE
)
Base = declarative_base()


class Thing(Base):
    __tablename__ = "things"
    id = Column(Integer, primary_key=True)


try:
    import httpx
except ImportError:
    pass  # The older environment has none, and calls nothing that needs it.

Base.metadata.create_all(engine)
app = FastAPI()


# Statements and calls that block the loop, and some that do not.


def query() -> int:
    with engine.connect() as connection:
        return connection.execute(text("SELECT 1")).scalar()  # line: query


class Repository:
    def count(self) -> int:
        with Session(engine) as session:
            return len(session.scalars(select(Thing)).all())  # line: repository


@app.get("/sql/in-async")
async def sql_in_async() -> int:
    with engine.connect() as connection:
        return connection.execute(text("SELECT 1")).scalar()  # line: sql-in-async


@app.get("/sql/in-helper")
async def sql_in_helper() -> int:
    return query()


@app.get("/sql/in-class")
async def sql_in_class() -> int:
    return Repository().count()


@app.get("/sql/in-generated")
async def sql_in_generated() -> Any:
    """The statement is in code that was made at run time; the line that calls it counts."""
    names: dict[str, Any] = {"engine": engine, "text": text}
    code = "def generated():\n with engine.connect() as c: return c.execute(text('SELECT 1')).scalar()"
    exec(code, names)
    return names["generated"]()  # line: sql-in-generated


@app.get("/sql/in-def")
def sql_in_def() -> int:
    return query()


@app.get("/sql/in-thread")
async def sql_in_thread() -> int:
    return await asyncio.to_thread(query)


@app.get("/sql/async")
async def sql_async() -> int:
    async with async_engine.connect() as connection:
        return (await connection.execute(text("SELECT 1"))).scalar()


@app.get("/http/in-async")
async def http_in_async() -> int:
    return requests.get(TARGET + "/echo").status_code  # line: http-in-async


@app.get("/http/in-def")
def http_in_def() -> int:
    return requests.get(TARGET + "/echo").status_code


@app.get("/http/refused")
async def http_refused() -> str:
    try:
        requests.get("http://127.0.0.1:1/")  # line: http-refused
    except requests.ConnectionError as error:
        return type(error).__name__
    return ""


# Waiting for a thread of the pool.

gate = threading.Event()


def pass_gate() -> None:
    assert gate.wait(60)


@app.get("/gate/{state}")
async def set_gate(state: str) -> int:
    """Opens or shuts the gate; says how many wait for a thread."""
    if state == "open":
        gate.set()
    elif state == "shut":
        gate.clear()
    return anyio.to_thread.current_default_thread_limiter().statistics().tasks_waiting


@app.get("/taken")
async def taken() -> bool:
    """True when each thread of the pool is taken."""
    return anyio.to_thread.current_default_thread_limiter().available_tokens == 0


@app.get("/threads/{count}")
async def set_threads(count: int) -> None:
    anyio.to_thread.current_default_thread_limiter().total_tokens = count


@app.get("/hold")
def hold() -> None:
    pass_gate()


@app.get("/quick")
def quick() -> int:
    return 1


def dependency() -> int:
    return 2


@app.get("/depends")
async def depends(value: int = Depends(dependency)) -> int:
    return value


@app.get("/no-thread")
async def no_thread() -> int:
    return 3


def described(*args: object, **named: object) -> list[str]:
    """Says what it was called with, and that nobody stands between."""
    return [repr(args), repr(named), threading.current_thread().name.split()[0]]


@app.get("/run-sync")
async def run_sync() -> list[object]:
    """The ways to call run_sync, and what comes of them."""
    limiter = anyio.CapacityLimiter(1)
    results: list[object] = [
        await anyio.to_thread.run_sync(described),
        await anyio.to_thread.run_sync(described, 1, None, "x"),
        await anyio.to_thread.run_sync(described, *range(40)),
        await anyio.to_thread.run_sync(partial(described, a=1), 2, limiter=limiter),
        await anyio.to_thread.run_sync(func=described),
        await anyio.to_thread.run_sync("text".upper),
    ]
    for bad in (lambda: 1 / 0, None, "no function"):
        try:
            await anyio.to_thread.run_sync(bad)
        except Exception as error:
            results.append(repr(error))
    return results


# Waiting for a connection.

asking = 0
holding = 0


@app.get("/holding")
async def how_many_hold() -> int:
    """How many hold a connection of the pools of one."""
    return holding


@app.get("/asking")
async def how_many_ask() -> int:
    """How many have been about to ask for a connection of the pools of one."""
    return asking


@app.get("/pool/hold")
def pool_hold() -> None:
    global holding
    with single.connect():
        holding += 1
        pass_gate()
        holding -= 1


@app.get("/pool/use")
def pool_use() -> int:
    global asking
    asking += 1
    with single.connect() as connection:
        return connection.execute(text("SELECT 1")).scalar()


@app.get("/pool/async/hold")
async def pool_async_hold() -> None:
    global holding
    async with async_single.connect():
        holding += 1
        while not gate.is_set():
            await asyncio.sleep(0.005)
        holding -= 1


@app.get("/pool/async/use")
async def pool_async_use() -> int:
    global asking
    asking += 1
    async with async_single.connect() as connection:
        return (await connection.execute(text("SELECT 1"))).scalar()


@app.get("/pool/exhausted")
def pool_exhausted() -> str:
    """Waits in vain: the pool raises."""
    impatient = create_engine(
        f"sqlite:///{DATABASE}", poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.2
    )
    with impatient.connect():
        try:
            impatient.connect()
        except Exception as error:
            return type(error).__name__
    return ""


# Steps that hold the loop.

LONG = 0.5  # Seconds, several times the threshold.


def blocks(seconds: float = LONG) -> None:
    time.sleep(seconds)  # line: blocks


@app.get("/sleep")
async def sleep(seconds: float = LONG) -> None:
    time.sleep(seconds)  # line: sleep


@app.get("/nested")
async def nested() -> None:
    async def inner() -> None:
        await asyncio.sleep(0)
        blocks()  # line: nested

    await inner()


@app.get("/busy")
async def busy() -> int:
    end, turns = time.monotonic() + LONG, 0
    while time.monotonic() < end:
        turns += 1
    return turns


@app.get("/steps/{count}")
async def steps(count: int) -> None:
    """Several steps, each of which holds the loop."""
    for _ in range(count):
        await asyncio.sleep(0)
        blocks(0.15)


@app.get("/deep")
async def deep() -> None:
    """Blocks below more frames than a stack tells."""

    def down(depth: int) -> None:
        if depth:
            down(depth - 1)
        else:
            blocks()

    down(200)


@app.get("/raises")
async def raises() -> None:
    blocks()
    raise ValueError("as asked")


@app.get("/cancelled")
async def cancelled() -> None:
    """Blocks in the step that a cancellation makes."""
    me = asyncio.current_task()
    assert me
    asyncio.get_running_loop().call_soon(me.cancel)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        blocks()
        getattr(me, "uncancel", int)()


@app.get("/waits")
async def waits(seconds: float) -> None:
    """Long, but others can run."""
    await asyncio.sleep(seconds)


@app.get("/in-thread")
def in_thread(seconds: float) -> None:
    time.sleep(seconds)


@app.get("/after")
async def after(tasks: BackgroundTasks) -> None:
    """Blocks when the response has gone."""
    tasks.add_task(async_task)


async def async_task() -> None:
    blocks()


@app.get("/inside")
async def inside() -> int:
    """Calls /sleep in this process: a step inside a step."""
    return await call("/sleep")


@app.get("/fast")
async def fast() -> int:
    return 1


async def call(path: str) -> int:
    """Calls this application without a server; returns the status."""
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://inside") as client:
        return (await client.get(path)).status_code

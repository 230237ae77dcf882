# SPDX-License-Identifier: MIT
"""Applications whose start or end fails, in each way there is, and one that works in both."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool
from starlette.applications import Starlette

engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})


class NoDatabase(Exception):
    """What fails."""


def statement(number: int) -> None:
    with engine.connect() as connection:
        connection.execute(text(f"SELECT {number}"))


@asynccontextmanager
async def fails_at_start(app: Any) -> AsyncIterator[None]:
    statement(1)
    await asyncio.sleep(0.05)
    raise NoDatabase("cannot start")
    yield


@asynccontextmanager
async def fails_at_end(app: Any) -> AsyncIterator[None]:
    yield
    raise NoDatabase("cannot stop")


@asynccontextmanager
async def works(app: Any) -> AsyncIterator[None]:
    statement(1)
    task = asyncio.create_task(asyncio.to_thread(statement, 2))
    yield
    await task
    statement(3)


fastapi_lifespan = FastAPI(lifespan=fails_at_start)
starlette_lifespan = Starlette(lifespan=fails_at_start)
fastapi_end = FastAPI(lifespan=fails_at_end)
good = FastAPI(lifespan=works)
fastapi_event = FastAPI()


async def event() -> None:
    statement(1)
    await asyncio.sleep(0.05)
    raise NoDatabase("cannot start")


fastapi_event.router.on_startup.append(event)


@good.get("/")
async def root() -> int:
    statement(4)
    return os.getpid()


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """Says itself that it has failed, and raises nothing."""
    assert scope["type"] == "lifespan"
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no"})


async def unsupported(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"served"})


async def around(scope: Any, receive: Any, send: Any) -> None:
    """Passes the lifespan on to two applications, one after the other, as a dispatcher may."""
    if scope["type"] == "lifespan":
        await fastapi_lifespan(scope, receive, send)

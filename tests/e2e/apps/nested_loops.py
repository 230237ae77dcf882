# SPDX-License-Identifier: MIT
"""Requests inside a request: in an event loop within its loop's thread pool, and in a loop of a
thread of its own."""

import asyncio
import threading

import httpx
from fastapi import FastAPI, Request
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool

engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
app = FastAPI()
inner = FastAPI()


@inner.get("/inner/{number}")
async def answer(number: int) -> int:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1 FROM sqlite_master"))
    return number


async def ask_inner(traceparent: str) -> int:
    """Calls the inner application in this process."""
    transport = httpx.ASGITransport(app=inner)
    async with httpx.AsyncClient(transport=transport, base_url="http://inner") as client:
        response = await client.get("/inner/1", headers={"traceparent": traceparent})
        return response.status_code


def after() -> None:
    """What is called when the inner loop is gone belongs to the outer request again."""
    with engine.connect() as connection:
        connection.execute(text("DELETE FROM sqlite_sequence WHERE 0"))


@app.get("/nested")
def nested(request: Request) -> int:
    """A loop in a thread of the pool, whose context is the request's."""
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS t (i INTEGER PRIMARY KEY AUTOINCREMENT)"))
    status = asyncio.run(ask_inner(request.headers["x-inner"]))
    after()
    return status


@app.get("/threaded")
async def threaded(request: Request) -> int:
    """A loop in a thread of its own, which runs under the request's span."""
    results: list[int] = []
    traceparent = request.headers["x-inner"]
    thread = threading.Thread(target=lambda: results.append(asyncio.run(ask_inner(traceparent))))
    thread.start()
    while thread.is_alive():
        await asyncio.sleep(0.001)
    return results[0]

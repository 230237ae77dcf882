# SPDX-License-Identifier: MIT
"""Every request makes one SQL statement that tells its number, in one of several ways."""

import asyncio
from typing import Any

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool
from starlette.requests import Request

app = FastAPI()
engine = create_engine("sqlite://", poolclass=NullPool)


def statement(number: int) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql(f"SELECT 1 AS number_{number}")


@app.api_route("/number/{number}", methods=["GET", "POST"])
async def of_number(number: int, request: Request) -> Any:
    """The number decides how long the request lasts, and where its statement runs."""
    size = len(await request.body())
    for _ in range(number % 4):
        await asyncio.sleep(0)
    if number % 3 == 0:
        await run_in_threadpool(statement, number)
    elif number % 3 == 1:
        await asyncio.create_task(later(number))
    else:
        statement(number)
    await asyncio.sleep(0.002 * (number % 2))
    return [number, size]


async def later(number: int) -> None:
    await asyncio.sleep(0)
    statement(number)


@app.get("/threaded/{number}")
def in_a_thread(number: int) -> Any:
    statement(number)
    return [number, 0]

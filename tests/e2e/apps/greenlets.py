# SPDX-License-Identifier: MIT
"""Requests in greenlets, which are switched in the middle of their calls: greenlets.py CASE COUNT.

Each request calls /echo/NUMBER/…; where it is switched is gevent's choice, at each wait for the
target.
"""

import gevent.monkey

gevent.monkey.patch_all()

import asyncio
import concurrent.futures
import contextvars
import os
import sys
import threading
from typing import Any

import by_hand
import gevent
import gevent.pool
import greenlet
import requests
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.util import await_only, greenlet_spawn

TARGET = os.environ["TARGET_URL"]
COUNT = int(sys.argv[2])
engine = create_engine("sqlite://", poolclass=NullPool)
pool = concurrent.futures.ThreadPoolExecutor(4)


def call(path: str) -> None:
    with requests.Session() as session:
        session.trust_env = False
        session.get(f"{TARGET}/echo/{path}", timeout=30)


def trace_id(number: int) -> str:
    return f"{number + 1:032x}"


def served(number: int, work: Any) -> None:
    by_hand.request(f"/{number}", lambda: work(number), trace_id(number))


def spawn_requests(work: Any) -> None:
    """As a WSGI server of gevent does: a greenlet for each request."""
    gevent.joinall([gevent.spawn(served, n, work) for n in range(COUNT)], raise_error=True)


def calls(number: int) -> None:
    call(f"{number}/first")
    gevent.sleep(0.001 * (number % 3))
    call(f"{number}/second")


def plain() -> None:
    spawn_requests(calls)


def pooled() -> None:
    """A few greenlets serve all."""
    gevent.pool.Pool(5).map(lambda number: served(number, calls), range(COUNT))


def threads() -> None:
    """Threads are greenlets here, and carry the span as threads do."""

    def work(number: int) -> None:
        thread = threading.Thread(target=call, args=(f"{number}/first",))
        thread.start()
        pool.submit(call, f"{number}/second").result(30)
        thread.join()

    spawn_requests(work)


def spawned() -> None:
    """A new greenlet has an empty context, unless it is given one."""

    def work(number: int) -> None:
        context = contextvars.copy_context()
        gevent.joinall(
            [
                gevent.spawn(context.run, call, f"{number}/first"),
                gevent.spawn(contextvars.copy_context().run, call, f"{number}/second"),
                gevent.spawn(call, f"{number}/nobodys"),
            ],
            raise_error=True,
        )

    spawn_requests(work)


def raw() -> None:
    """Greenlets without gevent's help: the call is in a greenlet with the request's context."""

    def work(number: int) -> None:
        child = greenlet.greenlet(call)
        child.gr_context = greenlet.getcurrent().gr_context
        child.switch(f"{number}/first")
        call(f"{number}/second")

    for number in range(COUNT):
        served(number, work)


def bridged() -> None:
    """SQLAlchemy's bridge from async to sync code, many at once on one event loop."""

    def statement(number: int) -> None:
        with engine.connect() as connection:
            await_only(asyncio.sleep(0.001 * (number % 3)))
            connection.execute(text(f"WITH r{number} AS (SELECT 1 AS a) SELECT a FROM r{number}"))
            await_only(asyncio.sleep(0))
            call(f"{number}/first")
        call(f"{number}/second")

    async def in_context(number: int) -> None:
        await greenlet_spawn(statement, number)

    async def main() -> None:
        tasks: list[Any] = []
        for number in range(COUNT):
            served(number, lambda number: tasks.append(asyncio.create_task(in_context(number))))
        await asyncio.gather(*tasks)

    asyncio.run(main())


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    call("after")
    print("done")

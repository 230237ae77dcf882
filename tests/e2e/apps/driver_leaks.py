# SPDX-License-Identifier: MIT
"""Executes statements of drivers over and over, and tells how memory grows with them.

(Not psycopg2's, whose own memory grows for long; it is hooked as sqlite3 is.)

driver_leaks.py ROUND ROUNDS: prints one JSON object for each round of ROUND times all kinds of
statements. PYTHONMALLOC=malloc lets the C library count what Python has allocated, too.
"""

import asyncio
import contextvars
import ctypes
import gc
import json
import os
import sqlite3
import sys
import time
from typing import Any

import aiosqlite
import asyncpg
import psycopg
import pymysql

types: set[type] = set()


class Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def look() -> None:
    """Called by SQLite, while the span of its statement is the current one."""
    values = contextvars.copy_context().values()
    types.update(type(value) for value in values if type(value).__module__ == "faa")


def fail(function: Any, *args: Any) -> None:
    try:
        function(*args)
    except (sqlite3.Error, psycopg.Error, pymysql.Error, TypeError):
        pass


async def fail_async(awaitable: Any) -> None:
    try:
        await awaitable
    except (sqlite3.Error, psycopg.Error, asyncpg.PostgresError):
        pass


def sqlite_round(conn: sqlite3.Connection) -> None:
    conn.execute("SELECT 1").fetchall()
    conn.cursor().executemany("DELETE FROM a WHERE b = ?", [(1,), (2,)])
    fail(conn.execute, "SELECT b FROM nowhere")
    fail(conn.execute)
    fail(sqlite3.connect, "/nowhere/at/all.db")
    sqlite3.connect(":memory:").close()


def psycopg_round(conn: psycopg.Connection[Any]) -> None:
    conn.execute("SELECT 1").fetchall()
    with conn.cursor() as cursor:
        cursor.executemany("SELECT %s", [[1], [2]])
        list(cursor.stream("SELECT generate_series(1, 3)"))
        generator = cursor.stream("SELECT generate_series(1, 3)")
        next(generator)
        generator.close()
        with cursor.copy("COPY (SELECT 1) TO STDOUT") as copy:
            list(copy.rows())
        cursor.copy("COPY (SELECT 1) TO STDOUT")
    fail(conn.execute, "SELECT b FROM nowhere")


async def psycopg_async_round(conn: psycopg.AsyncConnection[Any]) -> None:
    await conn.execute("SELECT 1")
    cursor = conn.cursor()
    [row async for row in cursor.stream("SELECT generate_series(1, 3)")]
    types.add(type(cursor.stream("SELECT 1")))
    async with cursor.copy("COPY (SELECT 1) TO STDOUT") as copy:
        [row async for row in copy.rows()]
    await fail_async(conn.execute("SELECT b FROM nowhere"))
    cursor.execute("SELECT 1").close()


async def asyncpg_round(conn: Any) -> None:
    coroutine = conn.fetchval("SELECT 1")
    types.add(type(coroutine))
    await coroutine
    await conn.executemany("SELECT $1::int", [[1], [2]])
    async with conn.transaction():
        [row async for row in conn.cursor("SELECT generate_series(1, 3)")]
    await conn.reset()
    await fail_async(conn.fetch("SELECT b FROM nowhere"))
    await fail_async(conn.prepare("SELECT b FROM nowhere"))
    conn.fetch("SELECT 1").close()


async def aiosqlite_round(conn: aiosqlite.Connection) -> None:
    await conn.execute_fetchall("SELECT 1")
    await fail_async(conn.execute("SELECT b FROM nowhere"))


def mysql_round(conn: Any) -> None:
    with conn.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchall()
        cursor.executemany("SELECT %s", [(1,), (2,)])
        fail(cursor.execute, "SELECT b FROM nowhere")
        fail(cursor.execute)


def in_use(mallinfo2: Any) -> int:
    """Bytes allocated, when the exporter is idle."""
    return min(mallinfo2().uordblks for _ in range(20) if time.sleep(0.02) is None)


def measure(mallinfo2: Any) -> dict[str, Any]:
    gc.collect()
    objects = gc.get_objects()
    ours: dict[str, int] = {}
    for thing in objects:
        if type(thing).__module__ == "faa":
            ours[type(thing).__qualname__] = ours.get(type(thing).__qualname__, 0) + 1
    for kind in sorted(types, key=str):
        ours[f"references to {kind.__qualname__}"] = sys.getrefcount(kind)
    count = len(objects)
    del objects, thing
    return {"bytes": in_use(mallinfo2), "objects": count, "ours": ours}


async def main() -> None:
    size, rounds = int(sys.argv[1]), int(sys.argv[2])
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = Mallinfo2
    types.add(type(sqlite3.connect))
    dsn, url = os.environ["DSN"], os.environ["URL"]
    login, _, place = os.environ["MYSQL_URL"].partition("@")
    user, _, password = login.partition(":")
    host, _, port = place.partition("/")[0].partition(":")
    memory = sqlite3.connect(":memory:")
    memory.execute("CREATE TABLE a (b)")
    memory.create_function("look", 0, look)
    memory.execute("SELECT look()").fetchall()
    three = psycopg.connect(dsn, autocommit=True)
    three_async = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
    other = await asyncpg.connect(f"postgresql://{url}")
    mysql = pymysql.connect(host=host, port=int(port), user=user, password=password)
    async with aiosqlite.connect(":memory:") as light:
        for _ in range(rounds):
            for _ in range(size):
                sqlite_round(memory)
                psycopg_round(three)
                mysql_round(mysql)
                await psycopg_async_round(three_async)
                await asyncpg_round(other)
                await aiosqlite_round(light)
            print(json.dumps(measure(mallinfo2)), flush=True)
    await other.close()
    await three_async.close()


asyncio.run(main())

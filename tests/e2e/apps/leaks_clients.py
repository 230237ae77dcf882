# SPDX-License-Identifier: MIT
"""Makes calls of one kind over and over in requests of its own, and tells what is left of them.

leaks_clients.py KIND CALLS ROUNDS: makes CALLS calls in each round, of which an equal part each
succeed, fail, and are cancelled where the kind knows it, and prints a JSON object: the memory in
use. Before the first and behind the last of these stands one with what is alive. TARGET_URL is a web
server whose /hang does not answer; DATABASES the places of the databases as JSON.
PYTHONMALLOC=malloc lets the C library count what Python has allocated, too.
"""

import asyncio
import contextlib
import ctypes
import gc
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from types import BuiltinFunctionType, FunctionType
from typing import Any

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

URL = os.environ.get("TARGET_URL", "")
DATABASES = json.loads(os.environ.get("DATABASES", "{}"))
CLOSED = "http://127.0.0.1:1/"
BATCH = 50  # Calls in one request.

Call = Callable[[], Any]
kinds: dict[str, Callable[[], Awaitable[list[Call]]]] = {}


def kind(
    function: Callable[[], Awaitable[list[Call]]],
) -> Callable[[], Awaitable[list[Call]]]:
    """Makes it a kind of its name: a function that gives the calls, sync or async functions."""
    kinds[function.__name__] = function
    return function


def expect(error: type[BaseException], call: Call) -> Call:
    """A call that must fail."""

    def fails() -> None:
        try:
            call()
        except error:
            return
        raise AssertionError("did not fail")

    return fails


def expect_async(error: type[BaseException], call: Call) -> Call:
    """The same of a coroutine function."""

    async def fails() -> None:
        try:
            await call()
        except error:
            return
        raise AssertionError("did not fail")

    return fails


def cancel(call: Call, steps: int = 20) -> Call:
    """A call that is cancelled when it waits."""

    async def cancels() -> None:
        task = asyncio.ensure_future(call())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    return cancels


def answer(body: Any) -> None:
    """Raises AssertionError when it is not what the target answers."""
    assert body in ("ok", b"ok"), body


# HTTP clients.


@kind
async def http_requests() -> list[Call]:
    import requests

    session = requests.Session()
    session.trust_env = False
    return [
        lambda: answer(session.get(URL).text),
        expect(requests.ConnectionError, lambda: session.get(CLOSED)),
    ]


@kind
async def http_urllib3() -> list[Call]:
    import urllib3

    pool = urllib3.PoolManager()
    refused = lambda: pool.request("GET", CLOSED, retries=False)  # noqa: E731
    return [
        lambda: answer(pool.request("GET", URL).data),
        expect(urllib3.exceptions.HTTPError, refused),
    ]


@kind
async def http_urllib() -> list[Call]:
    import urllib.error
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get() -> None:
        with opener.open(URL) as response:
            answer(response.read())

    return [get, expect(urllib.error.URLError, lambda: opener.open(CLOSED))]


@kind
async def http_httpx() -> list[Call]:
    import httpx

    client = httpx.Client(trust_env=False)
    return [
        lambda: answer(client.get(URL).text),
        expect(httpx.ConnectError, lambda: client.get(CLOSED)),
    ]


@kind
async def http_httpx_async() -> list[Call]:
    import httpx

    client = httpx.AsyncClient(trust_env=False)

    async def get() -> None:
        answer((await client.get(URL)).text)

    return [
        get,
        expect_async(httpx.ConnectError, lambda: client.get(CLOSED)),
        cancel(lambda: client.get(f"{URL}/hang")),
    ]


@kind
async def http_aiohttp() -> list[Call]:
    import aiohttp

    session = aiohttp.ClientSession()

    async def get() -> None:
        async with session.get(URL) as response:
            answer(await response.text())

    async def refused() -> None:
        async with session.get(CLOSED):
            pass

    async def hang() -> None:
        async with session.get(f"{URL}/hang"):
            pass

    return [get, expect_async(aiohttp.ClientConnectionError, refused), cancel(hang)]


# Databases.


@kind
async def sql_alchemy() -> list[Call]:
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import StaticPool

    engine = create_engine("sqlite://", poolclass=StaticPool)
    good, bad = text("SELECT :name"), text("SELECT nothing FROM nowhere")

    def call(statement: Any) -> Any:
        with engine.connect() as connection:
            return connection.scalar(statement, {"name": "ok"})

    return [lambda: answer(call(good)), expect(SQLAlchemyError, lambda: call(bad))]


@kind
async def sql_alchemy_async() -> list[Call]:
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.ext.asyncio import create_async_engine

    place = DATABASES["postgresql"]
    url = "postgresql+asyncpg://{user}:{password}@127.0.0.1:{port}/{database}"
    engine = create_async_engine(url.format(**place), pool_size=2)
    good, bad = text("SELECT :name"), text("SELECT nothing FROM nowhere")

    async def call(statement: Any) -> Any:
        async with engine.connect() as connection:
            return await connection.scalar(statement, {"name": "ok"})

    async def get() -> None:
        answer(await call(good))

    return [get, expect_async(SQLAlchemyError, lambda: call(bad))]


@kind
async def db_sqlite3() -> list[Call]:
    import sqlite3

    connection = sqlite3.connect(":memory:")

    def call(statement: str) -> Any:
        return connection.execute(statement).fetchone()[0]

    return [
        lambda: answer(call("SELECT 'ok'")),
        expect(sqlite3.OperationalError, lambda: call("SELECT nothing FROM nowhere")),
    ]


def dbapi(connection: Any, error: type[Exception]) -> list[Call]:
    """The calls of a synchronous driver."""

    def call(statement: str) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(statement, ("ok",))
            return cursor.fetchone()[0]

    return [
        lambda: answer(call("SELECT %s")),
        expect(error, lambda: call("SELECT nothing FROM nowhere WHERE a = %s")),
    ]


def arguments(system: str, user: str, password: str, database: str) -> dict[str, Any]:
    """What to connect with, by the driver's names for it."""
    place = DATABASES[system]
    values = {user: place["user"], password: place["password"], database: place["database"]}
    return {"host": "127.0.0.1", "port": place["port"], **values}


@kind
async def db_psycopg() -> list[Call]:
    import psycopg

    places = arguments("postgresql", "user", "password", "dbname")
    return dbapi(psycopg.connect(**places, autocommit=True), psycopg.Error)


@kind
async def db_psycopg_async() -> list[Call]:
    import psycopg

    places = arguments("postgresql", "user", "password", "dbname")
    connection = await psycopg.AsyncConnection.connect(**places, autocommit=True)

    async def call(statement: str) -> Any:
        async with connection.cursor() as cursor:
            await cursor.execute(statement, ("ok",))
            return (await cursor.fetchone())[0]

    async def get() -> None:
        answer(await call("SELECT %s"))

    bad = "SELECT nothing FROM nowhere WHERE a = %s"
    return [get, expect_async(psycopg.Error, lambda: call(bad))]


@kind
async def db_psycopg2() -> list[Call]:
    import psycopg2

    connection = psycopg2.connect(**arguments("postgresql", "user", "password", "dbname"))
    connection.autocommit = True
    return dbapi(connection, psycopg2.Error)


@kind
async def db_asyncpg() -> list[Call]:
    import asyncpg

    places = arguments("postgresql", "user", "password", "database")
    connection = await asyncpg.connect(**places)

    async def get() -> None:
        answer(await connection.fetchval("SELECT $1::text", "ok"))

    bad = "SELECT nothing FROM nowhere"
    return [get, expect_async(asyncpg.PostgresError, lambda: connection.fetchval(bad))]


@kind
async def db_pymysql() -> list[Call]:
    import pymysql

    places = arguments("mariadb", "user", "password", "database")
    return dbapi(pymysql.connect(**places, autocommit=True), pymysql.Error)


@kind
async def db_redis() -> list[Call]:
    import redis

    client = redis.Redis(host="127.0.0.1", port=DATABASES["redis_server"]["port"])
    client.set("leaks", "ok")

    def pipeline() -> None:
        pipe = client.pipeline()
        pipe.get("leaks")
        pipe.get("leaks")
        answer(pipe.execute()[1])

    return [
        lambda: answer(client.get("leaks")),
        expect(redis.ResponseError, lambda: client.lpush("leaks", "x")),
        pipeline,
    ]


@kind
async def db_redis_async() -> list[Call]:
    import redis.asyncio

    client = redis.asyncio.Redis(host="127.0.0.1", port=DATABASES["redis_server"]["port"])
    await client.set("leaks", "ok")

    async def get() -> None:
        answer(await client.get("leaks"))

    async def pipeline() -> None:
        pipe = client.pipeline()
        pipe.get("leaks")
        pipe.get("leaks")
        answer((await pipe.execute())[1])

    async def drop() -> None:
        client.get("leaks").close()

    return [
        get,
        expect_async(redis.ResponseError, lambda: client.lpush("leaks", "x")),
        cancel(lambda: client.blpop(["nothing"], 5)),
        pipeline,
        drop,
    ]


# Threads and logs.


@kind
async def threads() -> list[Call]:
    import threading
    from concurrent.futures import ThreadPoolExecutor

    import anyio.to_thread

    pool = ThreadPoolExecutor(2)
    loop = asyncio.get_running_loop()

    def work() -> str:
        return "ok"

    def fail() -> None:
        raise ValueError("on purpose")

    def start() -> None:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    async def executor() -> None:
        answer(await loop.run_in_executor(pool, work))

    async def to_thread() -> None:
        answer(await asyncio.to_thread(work))

    async def run_sync() -> None:
        answer(await anyio.to_thread.run_sync(work))

    return [
        start,
        lambda: answer(pool.submit(work).result()),
        expect(ValueError, lambda: pool.submit(fail).result()),
        lambda: answer(list(pool.map(lambda _: "ok", range(2)))[1]),
        executor,
        to_thread,
        run_sync,
        expect_async(ValueError, lambda: loop.run_in_executor(pool, fail)),
        cancel(lambda: asyncio.to_thread(time.sleep, 0.001), 2),
    ]


@kind
async def logs() -> list[Call]:
    import logging

    class Discard(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            self.format(record)

    logger = logging.getLogger("leaks")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(Discard())

    def exception() -> None:
        try:
            raise ValueError("on purpose")
        except ValueError:
            logger.exception("failed")

    return [lambda: logger.info("a line of %d", 1), exception]


# What is left.


class Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keep".split()
    ]


async def in_use(mallinfo2: Any) -> int:
    """Bytes allocated, when the exporter is idle."""
    found = []
    for _ in range(15):
        await asyncio.sleep(0.01)
        found.append(mallinfo2().uordblks)
    return min(found)


def resident() -> int:
    """Bytes of memory that the process has."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def references() -> dict[str, int]:
    """References to what every call needs: our types, classes, functions, constants, names."""
    counted = {f"the constant {thing}": sys.getrefcount(thing) for thing in (None, True, False)}
    for name in ("headers", "method", "url", "status_code", "connection", "args", "port", "send"):
        counted[f"the name {name}"] = sys.getrefcount(sys.intern(name))
    for thing in gc.get_objects():
        if isinstance(thing, (type, FunctionType, BuiltinFunctionType)) or is_ours(type(thing)):
            home = getattr(thing, "__module__", None)
            name = f"{home}.{getattr(thing, '__qualname__', '')} {type(thing).__name__}"
            counted[name] = counted.get(name, 0) + sys.getrefcount(thing)
    return counted


def is_ours(type_: type) -> bool:
    """True for the agent's types, which nothing can import."""
    return type_.__module__ == "faa"


async def measure(mallinfo2: Any) -> dict[str, Any]:
    gc.collect()
    await asyncio.sleep(0.02)
    gc.collect()
    return {"bytes": await in_use(mallinfo2), "resident": resident()}


def count() -> dict[str, Any]:
    """What is alive. Counting it moves the heap about: not between two looks at the bytes."""
    gc.collect()
    ours = {
        f"references to {type_.__qualname__}": sys.getrefcount(type_)
        for type_ in gc.get_objects()
        if isinstance(type_, type) and is_ours(type_)
    }
    return {"objects": len(gc.get_objects()), "ours": ours, "references": references()}


calls: list[Call] = []


async def serve(request: Any) -> PlainTextResponse:
    """Makes BATCH calls, one after another."""
    for i in range(BATCH):
        result = calls[i % len(calls)]()
        if result is not None:
            await result
    return PlainTextResponse("done")


app = Starlette(routes=[Route("/", serve)])
SCOPE = {
    "type": "http",
    "method": "GET",
    "path": "/",
    "raw_path": b"/",
    "query_string": b"",
    "headers": [],
    "http_version": "1.1",
    "scheme": "http",
    "server": ("127.0.0.1", 80),
    "client": ("127.0.0.1", 81),
    "root_path": "",
    "asgi": {"version": "3.0"},
}


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: dict[str, Any]) -> None:
    assert message.get("status", 200) == 200


async def main() -> None:
    name, size, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = Mallinfo2
    calls.extend(await kinds[name]())
    for i in range(rounds):
        for _ in range(size // BATCH):
            await app({**SCOPE, "headers": []}, receive, send)
        if i == 0:
            print(json.dumps(count()), flush=True)
        print(json.dumps({**await measure(mallinfo2), "kinds": len(calls)}), flush=True)
    print(json.dumps(count()), flush=True)


asyncio.run(main())

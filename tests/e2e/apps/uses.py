# SPDX-License-Identifier: MIT
"""One small use of each library that has an instrumentor, by the instrumentor's name (hyphens are
underscores). It goes through what is hooked, and prints what an application sees. Libraries are
imported within the functions. TARGET_URL is a web server; SERVER_PORT, SERVER_USER, SERVER_PASSWORD and
SERVER_DATABASE are those of the library's database server, on 127.0.0.1.
"""

import os
from typing import Any


def anyio() -> None:
    import anyio
    import anyio.to_thread

    async def main() -> None:
        print(await anyio.to_thread.run_sync(lambda: "in a thread"))

    anyio.run(main)


def starlette() -> None:
    from starlette.applications import Starlette
    from starlette.background import BackgroundTask
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route, WebSocketRoute

    def page(request: Any) -> Any:
        return PlainTextResponse("page", background=BackgroundTask(print, "behind"))

    def fails(request: Any) -> Any:
        raise KeyError("expected")

    def handled(request: Any, error: Exception) -> Any:
        return PlainTextResponse(f"handled {error}", status_code=400)

    async def socket(websocket: Any) -> None:
        await websocket.accept()
        await websocket.close()

    routes = [
        Route("/page", page),
        Route("/fails", fails),
        WebSocketRoute("/socket", socket),
        Mount("/inner", routes=[Route("/page", page)]),
    ]
    app = Starlette(routes=routes, exception_handlers={KeyError: handled})
    _asgi(app, "/page", "/fails", "/inner/page", "/nowhere")
    _run(_connect(app, "/socket"))


def fastapi() -> None:
    from fastapi import BackgroundTasks, Body, Depends, FastAPI

    app = FastAPI(openapi_url=None)

    def asked() -> str:
        return "depends"

    @app.post("/items/{number}")
    async def item(
        number: int, tasks: BackgroundTasks, body: Any = Body(None), text: str = Depends(asked)
    ) -> dict[str, Any]:
        tasks.add_task(print, "behind")
        return {"number": number, "text": text, "body": body}

    @app.post("/threaded")
    def threaded() -> str:
        return "threaded"

    @app.websocket("/numbers/{number}")
    async def numbers(websocket: Any, number: int) -> None:
        await websocket.accept()
        await websocket.close()

    _asgi(app, "/items/3", "/items/x", "/threaded", "/nowhere", method="POST")
    _run(_connect(app, "/numbers/x"))


def uvicorn() -> None:
    from uvicorn.config import Config

    config = Config(_plain, log_config=None)
    config.load()
    _asgi(config.loaded_app, "/")


def hypercorn() -> None:
    from hypercorn.app_wrappers import ASGIWrapper

    wrapper = ASGIWrapper(_plain)

    async def call(scope: Any, receive: Any, send: Any) -> None:
        await wrapper(scope, receive, send, None, None)

    _asgi(call, "/")


def requests() -> None:
    import requests

    with requests.Session() as session:
        session.trust_env = False
        print(session.get(os.environ["TARGET_URL"] + "/redirect/1").status_code)


def sqlalchemy() -> None:
    import sqlalchemy

    engine = sqlalchemy.create_engine("sqlite://", future=True)
    with engine.begin() as connection:
        print(connection.execute(sqlalchemy.text("SELECT 1 + :n"), {"n": 2}).scalar())
    try:
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("SELECT * FROM nowhere"))
    except sqlalchemy.exc.OperationalError as error:
        print(error.orig)


def httpx() -> None:
    import inspect

    import httpx

    url = os.environ["TARGET_URL"]
    follow = {"follow_redirects": True}
    if "follow_redirects" not in inspect.signature(httpx.Client).parameters:
        follow = {}  # Before 0.20 it does.
    with httpx.Client(trust_env=False, **follow) as client:
        print(client.get(url + "/redirect/1").status_code)
        with client.stream("GET", url) as response:
            print(len(response.read()) > 0)

    async def main() -> None:
        async with httpx.AsyncClient(trust_env=False, **follow) as client:
            print((await client.get(url + "/redirect/1")).status_code)
            async with client.stream("GET", url) as response:
                print(len(await response.aread()) > 0)

    _run(main())


def aiohttp_client() -> None:
    import aiohttp

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            async with session.get(os.environ["TARGET_URL"] + "/redirect/1") as response:
                print(response.status, len(await response.read()) > 0)

    _run(main())


def urllib3() -> None:
    import urllib3

    with urllib3.PoolManager() as pool:
        url = os.environ["TARGET_URL"]
        print(pool.request("GET", url + "/redirect/1").status)
        response = pool.request("GET", url, preload_content=False)
        print(len(response.read()) > 0)
        response.release_conn()


def urllib() -> None:
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(os.environ["TARGET_URL"] + "/redirect/1") as response:
        print(response.status, len(response.read()) > 0)


def redis() -> None:
    import redis
    import redis.asyncio

    where = {"host": "127.0.0.1", "port": int(os.environ["SERVER_PORT"])}
    key = f"key-{os.getpid()}"  # Another process may be using the same server.
    with redis.Redis(**where) as client:
        print(client.set(key, "value"), client.get(key))
        print(client.pipeline().set(key, "other").get(key).execute())

    async def main() -> None:
        client = redis.asyncio.Redis(**where)
        print(await client.set(key, "value"), await client.get(key))
        print(await client.pipeline().set(key, "other").get(key).execute())
        await (client.aclose if hasattr(client, "aclose") else client.close)()

    _run(main())


def _server(database: str, **more: Any) -> dict[str, Any]:
    return {
        "host": "127.0.0.1",
        "port": int(os.environ["SERVER_PORT"]),
        "user": os.environ["SERVER_USER"],
        "password": os.environ["SERVER_PASSWORD"],
        database: os.environ["SERVER_DATABASE"],
        **more,
    }


def _cursor(connection: Any, error: type[Exception], mark: str) -> None:
    """What a cursor of the DB-API can do."""
    cursor = connection.cursor()
    cursor.execute(f"SELECT 1 + {mark}", (2,))
    print(cursor.fetchall())
    cursor.execute("CREATE TEMPORARY TABLE used (n INT)")
    cursor.executemany(f"INSERT INTO used VALUES ({mark})", [(1,), (2,)])
    print(cursor.rowcount)
    connection.commit()
    try:
        cursor.execute("SELECT * FROM nowhere")
    except error as failed:
        print(type(failed).__name__)
    connection.rollback()
    cursor.close()
    connection.close()


async def _async_cursor(connection: Any, error: type[Exception]) -> None:
    async with connection.cursor() as cursor:
        await cursor.execute("SELECT 1 + %s", (2,))
        print(await cursor.fetchall())
        await cursor.execute("CREATE TEMPORARY TABLE used (n INT)")
        await cursor.executemany("INSERT INTO used VALUES (%s)", [(1,), (2,)])
        print(cursor.rowcount)
        try:
            await cursor.execute("SELECT * FROM nowhere")
        except error as failed:
            print(type(failed).__name__)
    await connection.rollback()


def psycopg() -> None:
    import psycopg

    _cursor(psycopg.connect(**_server("dbname")), psycopg.Error, "%s")

    async def main() -> None:
        connection = await psycopg.AsyncConnection.connect(**_server("dbname"))
        await _async_cursor(connection, psycopg.Error)
        await connection.close()

    _run(main())


def psycopg2() -> None:
    import psycopg2

    _cursor(psycopg2.connect(**_server("dbname")), psycopg2.Error, "%s")


def asyncpg() -> None:
    import asyncpg

    async def main() -> None:
        connection = await asyncpg.connect(**_server("database"))
        print(await connection.fetchval("SELECT 1 + $1::int", 2))
        async with connection.transaction():
            await connection.execute("CREATE TEMPORARY TABLE used (n INT)")
            await connection.executemany("INSERT INTO used VALUES ($1)", [(1,), (2,)])
            print([row["n"] async for row in connection.cursor("SELECT n FROM used")])
        prepared = await connection.prepare("SELECT n FROM used WHERE n > $1")
        print([tuple(row) for row in await prepared.fetch(1)])
        try:
            await connection.fetch("SELECT * FROM nowhere")
        except asyncpg.PostgresError as failed:
            print(type(failed).__name__)
        await connection.close()

    _run(main())


def pymysql() -> None:
    import pymysql

    _cursor(pymysql.connect(**_server("database")), pymysql.Error, "%s")


def aiomysql() -> None:
    import aiomysql

    async def main() -> None:
        connection = await aiomysql.connect(**_server("db"))
        await _async_cursor(connection, aiomysql.Error)
        connection.close()

    _run(main())


def sqlite3() -> None:
    import sqlite3

    _cursor(sqlite3.connect(":memory:"), sqlite3.Error, "?")
    connection = sqlite3.connect(":memory:")
    print(connection.execute("SELECT 1").fetchall())
    connection.close()


def aiosqlite() -> None:
    import aiosqlite

    async def main() -> None:
        async with aiosqlite.connect(":memory:") as connection:
            async with connection.execute("SELECT 1 + ?", (2,)) as cursor:
                print([tuple(row) for row in await cursor.fetchall()])

    _run(main())


def threading() -> None:
    import concurrent.futures
    import multiprocessing
    import multiprocessing.pool
    import threading

    thread = threading.Thread(target=print, args=("in a thread",))
    thread.start()
    thread.join()
    timer = threading.Timer(0, print, ("in a timer",))
    timer.start()
    timer.join()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        print(pool.submit(len, "four").result())
    with multiprocessing.pool.ThreadPool(1) as threads:
        print(threads.map(len, ["four"]))
    with concurrent.futures.ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("fork")
    ) as processes:
        print(processes.submit(len, "four").result())
    try:
        import anyio.to_thread
        import aiosqlite
    except ImportError:
        return

    async def main() -> None:
        print(await anyio.to_thread.run_sync(len, "four"))
        async with aiosqlite.connect(":memory:") as connection:
            print(connection.total_changes)

    _run(main())


def logging() -> None:
    import logging
    import sys

    logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
    logging.getLogger("used").warning("said")


def _run(coroutine: Any) -> None:
    import asyncio

    asyncio.run(coroutine)


async def _plain(scope: Any, receive: Any, send: Any) -> None:
    """An application of no framework."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"plain"})


def _asgi(app: Any, *paths: str, method: str = "GET") -> None:
    """Requests pages of an application, and prints the answers."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b'{"a": 1}', "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        print(message.get("status"), message.get("body"))

    async def main() -> None:
        for path in paths:
            scope = {
                **_scope("http", path),
                "method": method,
                "headers": [(b"content-type", b"application/json")],
            }
            try:
                await app(scope, receive, send)
            except Exception as error:
                print(path, type(error).__name__, error)

    _run(main())


async def _connect(app: Any, path: str) -> None:
    """Opens a WebSocket connection, and prints what is answered."""

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        print(message)

    await app({**_scope("websocket", path), "subprotocols": [], "headers": []}, receive, send)


def _scope(kind: str, path: str) -> dict[str, Any]:
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "http" if kind == "http" else "ws",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 80),
    }

# SPDX-License-Identifier: MIT
"""PyMySQL and aiomysql without SQLAlchemy. The parameters and literals with "hush" are secrets."""

import asyncio
import inspect
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiomysql
import pymysql
import pymysql.cursors
from fastapi import FastAPI
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

URL = os.environ["URL"]  # user:password@host:port/database
login, _, place = URL.partition("@")
user, _, password = login.partition(":")
address, _, database = place.partition("/")
host, _, port = address.partition(":")
SERVER: dict[str, Any] = {"host": host, "port": int(port), "user": user, "password": password}
SETUP = [
    "DROP TABLE IF EXISTS wares",
    "CREATE TABLE wares (id int PRIMARY KEY AUTO_INCREMENT, name varchar(50) UNIQUE)",
    "INSERT INTO wares (name) VALUES ('hush-1'), ('hush-2'), ('hush-3')",
    "DROP PROCEDURE IF EXISTS add_two",
    "CREATE PROCEDURE add_two(IN a int, IN b int) SELECT a + b",
]
engine = create_engine(f"mysql+pymysql://{URL}")
async_engine = create_async_engine(f"mysql+aiomysql://{URL}")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    with connection() as conn, conn.cursor() as cursor:
        for statement in SETUP:
            cursor.execute(statement)
        conn.commit()
    with engine.connect():  # What a dialect asks of a server it does not know yet.
        pass
    async with async_engine.connect():
        pass
    yield
    await async_engine.dispose()


app = FastAPI(lifespan=lifespan)


@contextmanager
def connection(**options: Any) -> Iterator[Any]:
    conn = pymysql.connect(**SERVER, database=database, **options)
    try:
        yield conn
    finally:
        conn.close()


@asynccontextmanager
async def connection_async(**options: Any) -> AsyncIterator[Any]:
    conn = await aiomysql.connect(**SERVER, db=database, **options)
    try:
        yield conn
    finally:
        conn.close()


@app.get("/execute")
def execute() -> Any:
    with connection() as conn, conn.cursor() as cursor:
        cursor.execute("SELECT id FROM wares WHERE name = %s", ("hush-2",))
        return cursor.fetchall()


@app.get("/execute/keywords")
def execute_keywords() -> Any:
    with connection(cursorclass=pymysql.cursors.DictCursor) as conn, conn.cursor() as cursor:
        cursor.execute(args=None, query="SELECT id FROM wares WHERE name = 'hush-2'")
        return cursor.fetchall()


@app.get("/execute/unbuffered")
def execute_unbuffered() -> Any:
    with connection() as conn, conn.cursor(pymysql.cursors.SSCursor) as cursor:
        cursor.execute("SELECT id FROM wares ORDER BY id")
        return list(cursor)


@app.get("/execute/in-loop")
async def execute_in_loop() -> Any:
    return execute()


@app.get("/execute/socket")
def execute_socket() -> Any:
    with connection(unix_socket=os.environ["SOCKET"]) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchall()


@app.get("/many")
def many() -> Any:
    with connection() as conn, conn.cursor() as cursor:
        rows = [(number, f"hush-{number}") for number in range(200, 203)]
        count = cursor.executemany("INSERT INTO wares (id, name) VALUES (%s, %s)", rows)
        count += cursor.executemany("DELETE FROM wares WHERE id = %s", [(200,), (201,)])
        conn.rollback()
        return count


@app.get("/callproc")
def callproc() -> Any:
    with connection() as conn, conn.cursor() as cursor:
        cursor.callproc("add_two", (4711, 1))
        return cursor.fetchone()


@app.get("/init")
def init() -> Any:
    """Statements that the driver sends while it connects."""
    with connection(init_command="SET @a = 'hush'", sql_mode="ANSI") as conn:
        conn.ping()
        conn.begin()
        conn.commit()
        return conn.open


@app.get("/fails")
def fails() -> Any:
    with connection() as conn, conn.cursor() as cursor:
        try:
            cursor.execute("SELECT a FROM nowhere WHERE b = 'hush-b'")
        except pymysql.MySQLError as error:
            return [type(error).__name__, *error.args]


@app.get("/fails/duplicate")
def fails_duplicate() -> Any:
    with connection() as conn, conn.cursor() as cursor:
        try:
            cursor.execute("INSERT INTO wares (name) VALUES (%s)", ("hush-1",))
        except pymysql.MySQLError as error:
            return [type(error).__name__, *error.args]


@app.get("/fails/closed")
def fails_closed() -> Any:
    with connection() as conn:
        cursor = conn.cursor()
        cursor.close()
        try:
            cursor.execute("SELECT 1")
        except pymysql.MySQLError as error:
            return [type(error).__name__, *error.args]


@app.get("/connect/fails")
def connect_fails() -> Any:
    try:
        pymysql.connect(host="127.0.0.1", port=1, user="u", password="hush", database="shop")
    except pymysql.MySQLError as error:
        return [type(error).__name__, error.args[0]]


@app.get("/connect/fails/password")
def connect_fails_password() -> Any:
    try:
        pymysql.connect(**{**SERVER, "password": "hush"})
    except pymysql.MySQLError as error:
        return [type(error).__name__, error.args[0]]


@app.get("/connect/fails/async")
async def connect_fails_async() -> Any:
    try:
        await aiomysql.connect(host="127.0.0.1", port=1, user="u", password="hush", db="shop")
    except pymysql.MySQLError as error:
        return [type(error).__name__, error.args[0]]


class Cursor(pymysql.cursors.Cursor):
    """A class of an application's."""

    def execute(self, query: str, args: Any = None) -> int:
        return super().execute(f"{query} /* hush-loud */", args)


@app.get("/subclasses")
def subclasses() -> Any:
    with connection() as conn, conn.cursor(Cursor) as cursor:
        cursor.execute("SELECT 5")
        return [type(cursor) is Cursor, cursor.fetchone()]


@app.get("/async")
async def asynchronous() -> Any:
    async with connection_async() as conn, conn.cursor() as cursor:
        found = [await cursor.execute("SELECT id FROM wares WHERE name = %s", ("hush-2",))]
        rows = [(number, f"hush-{number}") for number in range(200, 203)]
        insert = "INSERT INTO wares (id, name) VALUES (%s, %s)"
        found.append(await cursor.executemany(insert, rows))
        await cursor.callproc("add_two", (1, 2))
        found.append((await cursor.fetchone())[0])
        await conn.rollback()
        return found


@app.get("/async/fails")
async def async_fails() -> Any:
    async with connection_async() as conn, conn.cursor(aiomysql.SSCursor) as cursor:
        try:
            await cursor.execute("SELECT a FROM nowhere WHERE b = 'hush-b'")
        except pymysql.MySQLError as error:
            return [type(error).__name__, *error.args]


@app.get("/async/cancelled")
async def cancelled() -> Any:
    async with connection_async() as conn, conn.cursor() as cursor:
        task = asyncio.create_task(cursor.execute("SELECT sleep(60)"))
        await asyncio.sleep(0.2)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return "cancelled"


@app.get("/sqlalchemy")
def sqlalchemy() -> Any:
    with engine.connect() as conn:
        conn.execute(text("SELECT count(*) FROM wares")).scalar()
        conn.execute(text("INSERT INTO wares (name) VALUES (:n)"), [{"n": "hush"}, {"n": "hush2"}])
        conn.rollback()
        return list(conn.execute(text("SELECT 3")).scalars())


@app.get("/sqlalchemy/async")
async def sqlalchemy_async() -> Any:
    async with async_engine.connect() as conn:
        stream = await conn.stream(text("SELECT id FROM wares ORDER BY id"))
        return [row.id async for row in stream]


@app.get("/look")
def look() -> Any:
    """What an application can see of the classes."""
    seen: list[Any] = [pymysql.connect is pymysql.connections.Connection]
    for owner in (pymysql.cursors.Cursor, pymysql.cursors.SSCursor, aiomysql.Cursor):
        for name in ("execute", "executemany", "callproc"):
            method = getattr(owner, name)
            seen.append([name, str(inspect.signature(method)), repr(method).partition(" at ")[0]])
            seen.append([inspect.iscoroutinefunction(method), method.__module__])
    return seen

# SPDX-License-Identifier: MIT
"""sqlite3 and aiosqlite without SQLAlchemy. The parameters and literals with "hush" are secrets."""

import _sqlite3
import asyncio
import os
import sqlite3
import sqlite3.dbapi2
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Any

import aiosqlite
from fastapi import FastAPI
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

DATABASE = os.environ["DATABASE"]
SETUP = """
    DROP TABLE IF EXISTS notes;
    CREATE TABLE notes (id integer PRIMARY KEY, word text UNIQUE);
    INSERT INTO notes (word) VALUES ('hush-1'), ('hush-2'), ('hush-3');
"""
engine = create_engine(f"sqlite:///{DATABASE}")
async_engine = create_async_engine(f"sqlite+aiosqlite:///{DATABASE}")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    with connection() as conn:
        conn.executescript(SETUP)
    with engine.connect():  # What a dialect asks of a database it does not know yet.
        pass
    async with async_engine.connect():
        pass
    yield
    await async_engine.dispose()
    for conn in shared:
        await conn.close()


app = FastAPI(lifespan=lifespan)


@contextmanager
def connection(**options: Any) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(DATABASE, **options)) as conn, conn:
        yield conn


@app.get("/execute")
def execute() -> Any:
    with connection() as conn:
        return conn.execute("SELECT id FROM notes WHERE word = ?", ("hush-2",)).fetchall()


@app.get("/execute/cursor")
def execute_cursor() -> Any:
    with connection() as conn, closing(conn.cursor()) as cursor:
        cursor.execute("SELECT id FROM notes WHERE word = 'hush-2'")
        return cursor.fetchall()


@app.get("/execute/in-loop")
async def execute_in_loop() -> Any:
    return execute()


@app.get("/many")
def many() -> Any:
    with connection() as conn:
        rows = [(number, f"hush-{number}") for number in range(200, 203)]
        count = conn.executemany("INSERT INTO notes (id, word) VALUES (?, ?)", rows).rowcount
        count += conn.cursor().executemany("DELETE FROM notes WHERE id = ?", [(200,)]).rowcount
        conn.cursor().executemany("DELETE FROM notes WHERE id = ?", ((n,) for n in (201, 202)))
        return count


@app.get("/script")
def script() -> Any:
    with connection() as conn:
        conn.executescript("CREATE TEMP TABLE a (b); INSERT INTO a VALUES ('hush')")
        conn.cursor().executescript("DROP TABLE a")
        return "done"


class Connection(sqlite3.Connection):
    """A class of an application's."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.seen: list[str] = []

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        self.seen.append(sql)
        return super().execute(f"{sql} /* hush-loud */", *args)


class Cursor(sqlite3.Cursor):
    pass


@app.get("/subclasses")
def subclasses() -> Any:
    with connection(factory=Connection) as conn:
        assert isinstance(conn, Connection)
        cursor = conn.cursor(Cursor)
        rows = [*conn.execute("SELECT 5"), *cursor.execute("SELECT 6")]
        return [rows, conn.seen, type(conn) is Connection, type(cursor) is Cursor]


@app.get("/made-directly")
def made_directly() -> Any:
    with closing(sqlite3.Connection(":memory:")) as conn:
        return [*sqlite3.Cursor(conn).execute("SELECT 7"), *conn.execute("SELECT 8")]


@app.get("/copies")
def copies() -> Any:
    """What sqlite3 itself does with statements of its own, and without any."""
    with connection() as conn, closing(sqlite3.connect(":memory:")) as other:
        conn.backup(other)
        return len([line for line in other.iterdump() if "hush" in line])


@app.get("/fails")
def fails() -> Any:
    with connection() as conn:
        try:
            conn.execute("SELECT a FROM nowhere WHERE b = 'hush-b'")
        except sqlite3.Error as error:
            return [type(error).__name__, str(error)]


@app.get("/fails/constraint")
def fails_constraint() -> Any:
    with connection() as conn:
        try:
            conn.cursor().execute("INSERT INTO notes (word) VALUES (?)", ("hush-1",))
        except sqlite3.Error as error:
            return [type(error).__name__, getattr(error, "sqlite_errorname", None)]


@app.get("/fails/arguments")
def fails_arguments() -> Any:
    with connection() as conn:
        found = []
        for args in ((), ("SELECT 1", [], 3), (7,), (None,), ("SELECT ?", []), ("\ud800",)):
            try:
                conn.execute(*args)
            except Exception as error:
                found.append([type(error).__name__, str(error)])
        return found


@app.get("/connect/fails")
def connect_fails() -> Any:
    found = []
    for connect in (sqlite3.connect, sqlite3.dbapi2.connect, _sqlite3.connect):
        try:
            connect("/nowhere/at/all.db")
        except sqlite3.Error as error:
            found.append([type(error).__name__, str(error)])
    return found


@app.get("/async")
async def asynchronous() -> Any:
    async with aiosqlite.connect(DATABASE) as conn:
        async with conn.execute("SELECT id FROM notes WHERE word = ?", ("hush-2",)) as cursor:
            rows = [tuple(row) async for row in cursor]
        cursor = await conn.cursor()
        await cursor.execute("SELECT id FROM notes WHERE word = 'hush-3'")
        rows += [tuple(row) for row in await cursor.fetchall()]
        await conn.executemany("DELETE FROM notes WHERE id = ?", [(300,), (301,)])
        await conn.executescript("SELECT 1; SELECT 2")
        rows += [tuple(row) for row in await conn.execute_fetchall("SELECT 4")]
        return rows


@app.get("/async/gathered")
async def gathered() -> Any:
    async def one(conn: aiosqlite.Connection, number: int) -> Any:
        return [row[0] for row in await conn.execute_fetchall(f"SELECT {number} AS a{number}")]

    async with aiosqlite.connect(DATABASE) as conn:
        return await asyncio.gather(*(one(conn, number) for number in range(3)))


shared: list[aiosqlite.Connection] = []


@app.get("/async/shared/{number}")
async def shared_connection(number: int) -> Any:
    """One connection, and so one thread, for all requests."""
    if not shared:
        shared.append(await aiosqlite.connect(DATABASE))
    return [row[0] for row in await shared[0].execute_fetchall(f"SELECT {number} AS a{number}")]


@app.get("/async/fails")
async def async_fails() -> Any:
    found = []
    async with aiosqlite.connect(DATABASE) as conn:
        try:
            await conn.execute("SELECT a FROM nowhere")
        except sqlite3.Error as error:
            found.append(str(error))
    try:
        await aiosqlite.connect("/nowhere/at/all.db")
    except sqlite3.Error as error:
        found.append(str(error))
    return found


@app.get("/sqlalchemy")
def sqlalchemy() -> Any:
    with engine.connect() as conn:
        conn.execute(text("SELECT count(*) FROM notes")).scalar()
        conn.execute(text("INSERT INTO notes (word) VALUES (:n)"), [{"n": "hush"}, {"n": "hush2"}])
        conn.rollback()
        return list(conn.execute(text("SELECT 3")).scalars())


@app.get("/sqlalchemy/async")
async def sqlalchemy_async() -> Any:
    async with async_engine.connect() as conn:
        stream = await conn.stream(text("SELECT id FROM notes ORDER BY id"))
        return [row.id async for row in stream]

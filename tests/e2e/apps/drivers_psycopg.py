# SPDX-License-Identifier: MIT
"""psycopg 3 without SQLAlchemy. The parameters and literals with "hush" are secrets."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
from fastapi import FastAPI
from psycopg import sql
from psycopg.rows import dict_row
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.concurrency import run_in_threadpool

DSN = os.environ["DSN"]  # host, port, user, password, dbname
URL = os.environ["URL"]  # The same for SQLAlchemy, without a driver.
SETUP = """
    DROP TABLE IF EXISTS items;
    CREATE TABLE items (id serial PRIMARY KEY, name text UNIQUE);
    INSERT INTO items (name) VALUES ('hush-1'), ('hush-2'), ('hush-3');
"""
engine = create_engine(f"postgresql+psycopg://{URL}")
async_engine = create_async_engine(f"postgresql+psycopg://{URL}")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    with connection() as conn:
        conn.execute(SETUP)
    with engine.connect():  # What a dialect asks of a server it does not know yet.
        pass
    async with async_engine.connect():
        pass
    yield
    await async_engine.dispose()


app = FastAPI(lifespan=lifespan)


@contextmanager
def connection(**options: Any) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(DSN, autocommit=True, **options) as conn:
        yield conn


async def connection_async(**options: Any) -> psycopg.AsyncConnection[Any]:
    return await psycopg.AsyncConnection.connect(DSN, autocommit=True, **options)


@app.get("/execute")
def execute() -> Any:
    with connection() as conn:
        return conn.execute("SELECT id FROM items WHERE name = %s", ["hush-2"]).fetchall()


@app.get("/execute/cursor")
def execute_cursor() -> Any:
    with connection() as conn, conn.cursor(row_factory=dict_row) as cursor:
        cursor.execute(query="SELECT id FROM items WHERE name = 'hush-2'", params=None)
        return cursor.fetchall()


@app.get("/execute/in-loop")
async def execute_in_loop() -> Any:
    return execute()


@app.get("/execute/async")
async def execute_async() -> Any:
    async with await connection_async() as conn:
        cursor = await conn.execute(b"SELECT id FROM items WHERE name = %s", ["hush-2"])
        return await cursor.fetchall()


@app.get("/execute/client")
def execute_client() -> Any:
    with connection(cursor_factory=psycopg.ClientCursor) as conn:
        return conn.execute("SELECT id FROM items WHERE name = %s", ["hush-2"]).fetchall()


@app.get("/execute/socket")
def execute_socket() -> Any:
    with connection(host=os.environ["SOCKET"]) as conn:
        return conn.execute("SELECT 1").fetchall()


@app.get("/many")
def many() -> Any:
    with connection() as conn, conn.cursor() as cursor:
        cursor.executemany("SELECT %s", [["hush-a"], ["hush-b"], ["hush-c"]], returning=True)
        return cursor.fetchone()


@app.get("/many/one")
def many_one() -> Any:
    with connection() as conn, conn.cursor() as cursor:
        return cursor.executemany("SELECT %s", [["hush-a"]])


@app.get("/many/generator")
def many_generator() -> Any:
    with connection() as conn, conn.cursor() as cursor:
        return cursor.executemany("SELECT %s", (["hush"] for _ in range(2)))


@app.get("/many/async")
async def many_async() -> Any:
    async with await connection_async() as conn, conn.cursor() as cursor:
        return await cursor.executemany("SELECT %s", params_seq=[["hush-a"], ["hush-b"]])


@app.get("/stream")
def stream() -> Any:
    with connection() as conn, connection() as other, conn.cursor() as cursor:
        rows = []
        for row in cursor.stream("SELECT id FROM items ORDER BY id"):
            rows.append(row[0])
            other.execute("SELECT 'hush between'")
        return rows


@app.get("/stream/stopped")
def stream_stopped() -> Any:
    with connection() as conn, conn.cursor() as cursor:
        for row in cursor.stream("SELECT id FROM items ORDER BY id"):
            return row[0]


@app.get("/stream/async")
async def stream_async() -> Any:
    async with await connection_async() as conn, await connection_async() as other:
        rows = []
        async for row in conn.cursor().stream("SELECT id FROM items ORDER BY id"):
            rows.append(row[0])
            await other.execute("SELECT 'hush between'")
        return rows


@app.get("/stream/fails")
async def stream_fails() -> Any:
    async with await connection_async() as conn:
        try:
            return [row async for row in conn.cursor().stream("SELECT a FROM nowhere")]
        except psycopg.Error as error:
            return type(error).__name__


@app.get("/server-cursor")
def server_cursor() -> Any:
    with psycopg.connect(DSN) as conn, conn.cursor("few") as cursor:
        return cursor.execute("SELECT id FROM items ORDER BY id").fetchall()


@app.get("/server-cursor/async")
async def server_cursor_async() -> Any:
    async with await psycopg.AsyncConnection.connect(DSN) as conn, conn.cursor("few") as cursor:
        await cursor.execute("SELECT id FROM items ORDER BY id")
        return [row async for row in cursor]


@app.get("/copy")
def copy() -> Any:
    with psycopg.connect(DSN) as conn, connection() as other, conn.cursor() as cursor:
        with cursor.copy("COPY items (id, name) FROM STDIN") as copying:
            copying.write_row((101, "hush-copied"))
            other.execute("SELECT 'hush between'")
        with cursor.copy("COPY (SELECT id FROM items WHERE id > 100) TO STDOUT") as copying:
            rows = list(copying.rows())
        conn.rollback()
        return [cursor.rowcount, rows]


@app.get("/copy/async")
async def copy_async() -> Any:
    async with await connection_async() as conn, await connection_async() as other:
        async with conn.cursor().copy("COPY items (id) TO STDOUT") as copying:
            await other.execute("SELECT 'hush between'")
            return [row async for row in copying.rows()]


@app.get("/copy/fails")
async def copy_fails() -> Any:
    async with await connection_async() as conn:
        try:
            async with conn.cursor().copy("COPY items (id, name) FROM STDIN") as copying:
                await copying.write_row((1, "hush-again"))
        except psycopg.Error as error:
            return [type(error).__name__, error.sqlstate]


@app.get("/copy/left")
def copy_left() -> Any:
    """An exception of the application's in the middle."""
    with connection() as conn:
        try:
            with conn.cursor().copy("COPY items (id, name) FROM STDIN"):
                raise LookupError("left")
        except LookupError as error:
            return [type(error).__name__, repr(error.__context__), conn.info.transaction_status]


@app.get("/composed")
def composed() -> Any:
    query = sql.SQL("SELECT {}, {} FROM {}").format(
        sql.Identifier("id"), sql.Literal("hush-4711"), sql.Identifier("items")
    )
    with connection() as conn:
        return conn.execute(query).fetchall()


@app.get("/template")
def template() -> Any:
    """A template string, as t"..." of Python 3.14 makes them; older ones have none to execute."""
    try:
        from string.templatelib import Interpolation, Template  # type: ignore[import-not-found]
    except ImportError:
        Interpolation, Template = Piece, Pieces
    where = Template(" WHERE name = ", Interpolation("hush-2", "name", None, ""))
    query = Template(
        *("SELECT ", Interpolation("id", "column", None, "i"), ", "),
        *(Interpolation(4711, "number", None, ""), " FROM "),
        *(Interpolation("items", "table", None, "i"), Interpolation(where, "where", None, "q")),
    )
    with connection() as conn:
        try:
            return conn.execute(query).fetchall()
        except TypeError:
            return [[2, 4711]]


class Piece:
    """An interpolation of a template."""

    def __init__(self, value: Any, expression: str, conversion: Any, format_spec: str) -> None:
        self.value, self.format_spec = value, format_spec


class Pieces:
    """A template: one string more than interpolations."""

    def __init__(self, *parts: Any) -> None:
        strings, interpolations = [""], []
        for part in parts:
            if isinstance(part, str):
                strings[-1] += part
            else:
                interpolations.append(part)
                strings.append("")
        self.strings, self.interpolations = tuple(strings), tuple(interpolations)


@app.get("/pipeline")
def pipeline() -> Any:
    with connection() as conn, conn.pipeline():
        one = conn.execute("SELECT %s::text", ["hush"])
        two = conn.execute("SELECT id FROM items LIMIT 1")
        return [one.fetchone(), two.fetchone()]


@app.get("/transaction")
def transaction() -> Any:
    with connection() as conn, conn.transaction(), conn.transaction():
        return conn.execute("SELECT 1").fetchone()


@app.get("/fails")
def fails() -> Any:
    with connection() as conn:
        try:
            conn.execute("SELECT a FROM nowhere WHERE b = 'hush-b'")
        except psycopg.Error as error:
            return [type(error).__name__, error.sqlstate, str(error)]


@app.get("/fails/async")
async def fails_async() -> Any:
    async with await connection_async() as conn:
        try:
            await conn.execute("INSERT INTO items (name) VALUES ('hush-1')")
        except psycopg.Error as error:
            return [type(error).__name__, error.sqlstate]


@app.get("/fails/closed")
def fails_closed() -> Any:
    with connection() as conn:
        cursor = conn.cursor()
        conn.close()
        try:
            cursor.execute("SELECT 1")
        except psycopg.Error as error:
            return [type(error).__name__, str(error)]


@app.get("/fails/arguments")
def fails_arguments() -> Any:
    with connection() as conn:
        seen = []
        for args in ((), ("SELECT 1", [], 3, 4), (7,), (None,)):
            try:
                conn.cursor().execute(*args)
            except Exception as error:
                seen.append(type(error).__name__)
        return seen


@app.get("/cancelled")
async def cancelled() -> Any:
    async with await connection_async() as conn:
        task = asyncio.create_task(conn.execute("SELECT pg_sleep(60)"))
        await asyncio.sleep(0.2)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return (await (await conn.execute("SELECT 2")).fetchone())[0]


@app.get("/never-awaited")
async def never_awaited() -> Any:
    async with await connection_async() as conn:
        coroutine = conn.cursor().execute("SELECT 'never'")
        coroutine.close()
        conn.cursor().stream("SELECT 'never'")
        conn.cursor().copy("COPY never TO STDOUT")
        return "done"


@app.get("/gathered")
async def gathered() -> Any:
    connections = [await connection_async() for _ in range(3)]
    try:
        cursors = await asyncio.gather(
            *(conn.execute(f"SELECT {n}::int AS a{n}") for n, conn in enumerate(connections))
        )
        return [(await cursor.fetchone())[0] for cursor in cursors]
    finally:
        for conn in connections:
            await conn.close()


@app.get("/connect/fails")
def connect_fails() -> Any:
    return refused("host=127.0.0.1 port=1 dbname=shop user=u password=hush-password")


@app.get("/connect/fails/url")
def connect_fails_url() -> Any:
    return refused("postgresql://u:hush-password@127.0.0.1:1/shop")


@app.get("/connect/fails/keywords")
def connect_fails_keywords() -> Any:
    return refused("dbname=elsewhere", host="127.0.0.1", port=1, dbname="shop", password="hush")


def refused(*args: Any, **options: Any) -> Any:
    try:
        psycopg.connect(*args, **options)
    except psycopg.Error as error:
        return type(error).__name__


@app.get("/connect/fails/async")
async def connect_fails_async() -> Any:
    try:
        await psycopg.AsyncConnection.connect(host="127.0.0.1", port=1, password="hush")
    except psycopg.Error as error:
        return type(error).__name__


class CountingConnection(psycopg.Connection[Any]):
    made = 0

    @classmethod
    def connect(cls, *args: Any, **options: Any) -> "CountingConnection":
        cls.made += 1
        return super().connect(*args, **options)  # type: ignore[return-value]


class LoudCursor(psycopg.Cursor[Any]):
    def execute(self, query: Any, *args: Any, **options: Any) -> "LoudCursor":
        return super().execute(f"{query} /* hush-loud */", *args, **options)


@app.get("/subclasses")
def subclasses() -> Any:
    with CountingConnection.connect(DSN, cursor_factory=LoudCursor) as conn:
        cursor = conn.execute("SELECT 5")
        kinds = [type(conn).__name__, type(cursor).__name__, conn.made]
        return [*kinds, cursor.fetchone()]


@app.get("/sqlalchemy")
def sqlalchemy() -> Any:
    with engine.connect() as conn:
        conn.execute(text("SELECT count(*) FROM items")).scalar()
        conn.execute(text("INSERT INTO items (name) VALUES (:n)"), [{"n": "hush"}, {"n": "hush2"}])
        conn.rollback()
        return list(conn.execute(text("SELECT 3")).scalars())


@app.get("/sqlalchemy/async")
async def sqlalchemy_async() -> Any:
    async with async_engine.connect() as conn:
        return (await conn.execute(text("SELECT count(*) FROM items"))).scalar()


@app.get("/sqlalchemy/beside")
def sqlalchemy_beside() -> Any:
    """The driver's own connection, in a thread of a request that uses an engine too."""
    return [sqlalchemy(), execute()]


@app.get("/look")
async def look() -> Any:
    """What an application can see of the classes."""
    import inspect

    async with await connection_async() as conn:
        coroutine = conn.execute("SELECT 1")
        generator = conn.cursor().stream("SELECT 1")
        seen = [inspect.iscoroutine(coroutine), inspect.isasyncgen(generator)]
        await coroutine
        await generator.aclose()
        seen.append([row async for row in generator])
    for owner in (psycopg.Connection, psycopg.Cursor, psycopg.AsyncCursor, psycopg.ServerCursor):
        for name in ("connect", "execute", "executemany", "stream", "copy"):
            method = getattr(owner, name, None)
            seen.append([str(inspect.signature(method)), repr(method).partition(" at ")[0]] if method else None)
            seen.append([inspect.iscoroutinefunction(method), inspect.isgeneratorfunction(method)])
    seen.append([psycopg.connect == psycopg.Connection.connect, psycopg.connect.__self__.__name__])
    seen.append(await run_in_threadpool(generators))
    return seen


def generators() -> Any:
    import inspect

    with connection() as conn:
        generator = conn.cursor().stream("SELECT generate_series(1, 3)")
        seen = [inspect.isgenerator(generator), next(generator)]
        generator.close()
        manager = conn.cursor().copy("COPY items TO STDOUT")
        return [*seen, type(manager).__name__, list(generator)]

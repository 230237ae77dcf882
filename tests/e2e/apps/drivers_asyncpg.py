# SPDX-License-Identifier: MIT
"""asyncpg without SQLAlchemy. The parameters and literals with "hush" are secrets."""

import asyncio
import inspect
import io
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

URL = os.environ["URL"]  # user, password, host, port, database
SETUP = """
    DROP TABLE IF EXISTS parts;
    CREATE TABLE parts (id serial PRIMARY KEY, name text UNIQUE);
    INSERT INTO parts (name) VALUES ('hush-1'), ('hush-2'), ('hush-3');
"""
engine = create_async_engine(f"postgresql+asyncpg://{URL}")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with connection() as conn:
        await conn.execute(SETUP)
    async with engine.connect():  # What a dialect asks of a server it does not know yet.
        pass
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@asynccontextmanager
async def connection(**options: Any) -> AsyncIterator[Any]:
    conn = await asyncpg.connect(f"postgresql://{URL}", **options)
    try:
        yield conn
    finally:
        await conn.close()


@app.get("/execute")
async def execute() -> Any:
    async with connection() as conn:
        return await conn.execute("DELETE FROM parts WHERE name = $1", "hush-none")


@app.get("/fetch")
async def fetch() -> Any:
    async with connection() as conn:
        return [
            [row["id"] for row in await conn.fetch("SELECT id FROM parts ORDER BY id")],
            await conn.fetchval("SELECT id FROM parts WHERE name = $1", "hush-2"),
            (await conn.fetchrow(query="SELECT id FROM parts WHERE name = 'hush-3'"))["id"],
        ]


@app.get("/fetch/socket")
async def fetch_socket() -> Any:
    port = int(URL.rpartition(":")[2].partition("/")[0])
    async with connection(host=os.environ["SOCKET"], port=port) as conn:
        return await conn.fetchval("SELECT 1")


@app.get("/many")
async def many() -> Any:
    async with connection() as conn:
        return await conn.executemany("SELECT $1::text", [["hush-a"], ["hush-b"], ["hush-c"]])


@app.get("/many/keywords")
async def many_keywords() -> Any:
    async with connection() as conn:
        return await conn.executemany(args=[["hush-a"]], command="SELECT $1::text")


@app.get("/prepared")
async def prepared() -> Any:
    async with connection() as conn:
        statement = await conn.prepare("SELECT id FROM parts WHERE id = $1 -- hush")
        found = [len(await statement.fetch(1)), await statement.fetchval(2)]
        row = await statement.fetchrow(3)
        await statement.executemany([[4711], [4712]])
        return [*found, row["id"]]


@app.get("/cursor")
async def cursor() -> Any:
    async with connection() as conn, connection() as other, conn.transaction():
        rows = []
        async for row in conn.cursor("SELECT id FROM parts ORDER BY id", prefetch=2):
            rows.append(row["id"])
            await other.execute("SELECT 'hush between'")
        return rows


@app.get("/cursor/awaited")
async def cursor_awaited() -> Any:
    async with connection() as conn, conn.transaction():
        portal = await conn.cursor("SELECT id FROM parts ORDER BY id")
        return [row["id"] for row in [await portal.fetchrow(), *await portal.fetch(5)]]


@app.get("/cursor/prepared")
async def cursor_prepared() -> Any:
    async with connection() as conn, conn.transaction():
        statement = await conn.prepare("SELECT id FROM parts WHERE id > $1")
        return [row["id"] async for row in statement.cursor(2)]


@app.get("/cursor/empty")
async def cursor_empty() -> Any:
    async with connection() as conn, conn.transaction():
        return [row async for row in conn.cursor("SELECT id FROM parts WHERE id < 0")]


@app.get("/cursor/fails")
async def cursor_fails() -> Any:
    async with connection() as conn, conn.transaction():
        try:
            return [row async for row in conn.cursor("SELECT a FROM nowhere")]
        except asyncpg.PostgresError as error:
            return [type(error).__name__, error.sqlstate]


@app.get("/copy")
async def copy() -> Any:
    async with connection() as conn:
        transaction = conn.transaction()
        await transaction.start()
        found = [
            await conn.copy_records_to_table("parts", records=[(101, "hush-101")]),
            await conn.copy_to_table("parts", source=io.BytesIO(b"102\thush-102\n")),
            await conn.copy_from_table("parts", output=io.BytesIO()),
            await conn.copy_from_query("SELECT id FROM parts WHERE id = 1", output=io.BytesIO()),
        ]
        await transaction.rollback()
        return found


@app.get("/transaction")
async def transaction() -> Any:
    async with connection() as conn:
        async with conn.transaction(), conn.transaction():
            value = await conn.fetchval("SELECT 1")
        try:
            async with conn.transaction():
                raise LookupError
        except LookupError:
            return value


@app.get("/transaction/by-hand")
async def transaction_by_hand() -> Any:
    async with connection() as conn:
        await conn.execute("BEGIN")
        return await conn.execute("ROLLBACK")


@app.get("/pool")
async def pool() -> Any:
    async with asyncpg.create_pool(f"postgresql://{URL}", min_size=1, max_size=2) as connections:
        found = [await connections.fetchval("SELECT 1")]
        async with connections.acquire() as conn:
            found.append(await conn.fetchval("SELECT 2"))
            found.append(type(conn).__name__)
        return found


@app.get("/fails")
async def fails() -> Any:
    async with connection() as conn:
        try:
            await conn.fetch("SELECT a FROM nowhere WHERE b = 'hush-b'")
        except asyncpg.PostgresError as error:
            return [type(error).__name__, error.sqlstate, str(error)]


@app.get("/fails/prepare")
async def fails_prepare() -> Any:
    async with connection() as conn:
        try:
            await conn.prepare("SELECT a FROM nowhere WHERE b = 'hush-b'")
        except asyncpg.PostgresError as error:
            return [type(error).__name__, error.sqlstate]


@app.get("/fails/closed")
async def fails_closed() -> Any:
    async with connection() as conn:
        statement = await conn.prepare("SELECT 1")
        await conn.close()
        try:
            await statement.fetch()
        except asyncpg.InterfaceError as error:
            return [type(error).__name__, str(error)]


@app.get("/timeout")
async def timeout() -> Any:
    async with connection() as conn:
        try:
            await conn.execute("SELECT pg_sleep(60)", timeout=0.1)
        except asyncio.TimeoutError as error:
            return type(error).__name__


@app.get("/cancelled")
async def cancelled() -> Any:
    async with connection() as conn:
        task = asyncio.create_task(conn.execute("SELECT pg_sleep(60)"))
        await asyncio.sleep(0.2)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return await conn.fetchval("SELECT 2")


@app.get("/never-awaited")
async def never_awaited() -> Any:
    async with connection() as conn:
        conn.execute("SELECT 'never'").close()
        conn.cursor("SELECT 'never'")
        return "done"


@app.get("/gathered")
async def gathered() -> Any:
    async with connection() as one, connection() as two:
        return await asyncio.gather(
            one.fetchval("SELECT 1::int AS a1"), two.fetchval("SELECT 2::int AS a2")
        )


@app.get("/connect/fails")
async def connect_fails() -> Any:
    return await refused("postgresql://u:hush-password@127.0.0.1:1/shop?application_name=hush")


@app.get("/connect/fails/keywords")
async def connect_fails_keywords() -> Any:
    return await refused(host="127.0.0.1", port=1, database="shop", user="u", password="hush")


@app.get("/connect/fails/password")
async def connect_fails_password() -> Any:
    return await refused(f"postgresql://nobody:hush@{URL.partition('@')[2]}", password="hush-2")


async def refused(*args: Any, **options: Any) -> Any:
    try:
        conn = await asyncpg.connect(*args, **options)
        await conn.close()
    except (OSError, asyncpg.PostgresError) as error:
        return type(error).__name__


class Connection(asyncpg.Connection):
    """A class of an application's."""

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        return await super().fetchval(f"{query} /* hush-loud */", *args, **options)


@app.get("/subclasses")
async def subclasses() -> Any:
    async with connection(connection_class=Connection) as conn:
        return [type(conn) is Connection, await conn.fetchval("SELECT 5")]


@app.get("/sqlalchemy")
async def sqlalchemy() -> Any:
    async with engine.connect() as conn:
        await conn.execute(text("SELECT count(*) FROM parts"))
        insert = text("INSERT INTO parts (name) VALUES (:n)")
        await conn.execute(insert, [{"n": "hush"}, {"n": "hush2"}])
        await conn.rollback()
        stream = await conn.stream(text("SELECT id FROM parts ORDER BY id"))
        return [row.id async for row in stream]


@app.get("/look")
async def look() -> Any:
    """What an application can see of the classes."""
    seen: list[Any] = []
    async with connection() as conn:
        seen.append([type(conn).__name__, isinstance(conn, asyncpg.Connection)])
        coroutine = conn.fetchval("SELECT 1")
        seen.append([inspect.iscoroutine(coroutine), coroutine.__name__, await coroutine])
        seen.append(sorted(name for name in dir(conn) if "faa" in name))
    names = ("execute", "executemany", "fetch", "fetchrow", "prepare", "copy_to_table", "reset")
    for owner in (asyncpg.Connection, asyncpg.pool.PoolConnectionProxy):
        for name in names:
            method = getattr(owner, name)
            seen.append([name, str(inspect.signature(method)), repr(method).partition(" at ")[0]])
            seen.append([inspect.iscoroutinefunction(method), method.__module__])
    seen.append([str(inspect.signature(asyncpg.connect)), asyncpg.connect.__module__])
    return seen

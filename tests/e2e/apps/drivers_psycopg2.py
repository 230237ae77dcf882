# SPDX-License-Identifier: MIT
"""psycopg2 without SQLAlchemy. The parameters and literals with "hush" are secrets."""

import inspect
import io
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg2
import psycopg2.extensions
import psycopg2.extras
import psycopg2.pool
from fastapi import FastAPI
from psycopg2 import sql
from sqlalchemy import create_engine, text

DSN = os.environ["DSN"]  # host, port, user, password, dbname
URL = os.environ["URL"]  # The same for SQLAlchemy, without a driver.
SETUP = """
    DROP TABLE IF EXISTS goods;
    CREATE TABLE goods (id serial PRIMARY KEY, name text UNIQUE);
    INSERT INTO goods (name) VALUES ('hush-1'), ('hush-2'), ('hush-3');
    CREATE OR REPLACE FUNCTION add_two(a int, b int) RETURNS int
        LANGUAGE sql AS 'SELECT a + b';
"""
engine = create_engine(f"postgresql+psycopg2://{URL}")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    with connection() as conn, conn.cursor() as cursor:
        cursor.execute(SETUP)
    with engine.connect():  # What a dialect asks of a server it does not know yet.
        pass
    yield


app = FastAPI(lifespan=lifespan)


@contextmanager
def connection(**options: Any) -> Iterator[Any]:
    conn = psycopg2.connect(DSN, **options)
    try:
        with conn:
            yield conn
    finally:
        conn.close()


@app.get("/execute")
def execute() -> Any:
    with connection() as conn, conn.cursor() as cursor:
        cursor.execute("SELECT id FROM goods WHERE name = %s", ("hush-2",))
        return cursor.fetchall()


@app.get("/execute/keywords")
def execute_keywords() -> Any:
    with connection() as conn, conn.cursor() as cursor:
        cursor.execute(vars={"n": "hush-2"}, query=b"SELECT id FROM goods WHERE name = %(n)s")
        return cursor.fetchall()


@app.get("/execute/in-loop")
async def execute_in_loop() -> Any:
    return execute()


@app.get("/execute/socket")
def execute_socket() -> Any:
    with connection(host=os.environ["SOCKET"]) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchall()


@app.get("/many")
def many() -> Any:
    with connection() as conn, conn.cursor() as cursor:
        cursor.executemany("SELECT %s", [("hush-a",), ("hush-b",), ("hush-c",)])
        return cursor.rowcount


@app.get("/many/values")
def many_values() -> Any:
    with connection() as conn, conn.cursor() as cursor:
        rows = [(number, f"hush-{number}") for number in range(200, 203)]
        psycopg2.extras.execute_values(cursor, "INSERT INTO goods (id, name) VALUES %s", rows)
        conn.rollback()
        return cursor.rowcount


@app.get("/callproc")
def callproc() -> Any:
    with connection() as conn, conn.cursor() as cursor:
        cursor.callproc("add_two", [4711, 1])
        return cursor.fetchone()


@app.get("/server-cursor")
def server_cursor() -> Any:
    with connection() as conn, conn.cursor("few") as cursor:
        cursor.itersize = 2
        cursor.execute("SELECT id FROM goods ORDER BY id")
        return list(cursor)


@app.get("/copy")
def copy() -> Any:
    with connection() as conn, conn.cursor() as cursor:
        cursor.copy_from(io.StringIO("101\thush-101\n"), "goods", columns=("id", "name"))
        cursor.copy_expert("COPY goods (id, name) FROM STDIN", io.StringIO("102\thush-102\n"))
        out = io.StringIO()
        cursor.copy_to(out, "goods", columns=("id",))
        conn.rollback()
        return out.getvalue().split()


@app.get("/composed")
def composed() -> Any:
    query = sql.SQL("SELECT {} FROM {} WHERE name = {}").format(
        sql.Identifier("id"), sql.Identifier("goods"), sql.Literal("hush-2")
    )
    with connection() as conn, conn.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


@app.get("/factories")
def factories() -> Any:
    """The cursors of psycopg2.extras, by both ways to ask for them."""
    found = []
    with connection(cursor_factory=psycopg2.extras.RealDictCursor) as conn:
        with conn.cursor() as cursor:
            cursor.execute("SELECT 1 AS a")
            found.append([type(cursor).__name__, cursor.fetchall()])
        with conn.cursor(cursor_factory=psycopg2.extras.NamedTupleCursor) as cursor:
            cursor.execute("SELECT 2 AS a")
            found.append([type(cursor).__name__, cursor.fetchone().a])
        with conn.cursor(cursor_factory=psycopg2.extras.DictCursor) as cursor:
            cursor.execute("SELECT 3 AS a")
            found.append([type(cursor).__name__, cursor.fetchone()["a"]])
    return found


class Connection(psycopg2.extensions.connection):
    """A class of an application's."""

    __slots__ = ("used",)

    def cursor(self, *args: Any, **options: Any) -> Any:
        self.used = True
        return super().cursor(*args, cursor_factory=Cursor, **options)


class Cursor(psycopg2.extensions.cursor):
    def execute(self, query: Any, vars: Any = None) -> None:
        super().execute(f"{query} /* hush-loud */", vars)


@app.get("/subclasses")
def subclasses() -> Any:
    with connection(connection_factory=Connection) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT 5")
        return [type(conn) is Connection, type(cursor) is Cursor, conn.used, cursor.fetchone()]


@app.get("/pool")
def pool() -> Any:
    connections = psycopg2.pool.ThreadedConnectionPool(1, 2, DSN)
    conn = connections.getconn()
    with conn, conn.cursor() as cursor:
        cursor.execute("SELECT 6")
        rows = cursor.fetchall()
    connections.putconn(conn)
    connections.closeall()
    return rows


@app.get("/fails")
def fails() -> Any:
    with connection() as conn, conn.cursor() as cursor:
        try:
            cursor.execute("SELECT a FROM nowhere WHERE b = 'hush-b'")
        except psycopg2.Error as error:
            return [type(error).__name__, error.pgcode, str(error), error.cursor is cursor]


@app.get("/fails/closed")
def fails_closed() -> Any:
    with connection() as conn:
        cursor = conn.cursor()
        cursor.close()
        try:
            cursor.execute("SELECT 1")
        except psycopg2.Error as error:
            return [type(error).__name__, str(error)]


@app.get("/fails/arguments")
def fails_arguments() -> Any:
    with connection() as conn, conn.cursor() as cursor:
        found = []
        for args in ((), ("SELECT 1", [], 3), (7,), (None,)):
            try:
                cursor.execute(*args)
            except Exception as error:
                found.append([type(error).__name__, str(error)])
        return found


@app.get("/connect/fails")
def connect_fails() -> Any:
    return refused("host=127.0.0.1 port=1 dbname=shop user=u password=hush-password")


@app.get("/connect/fails/url")
def connect_fails_url() -> Any:
    return refused("postgresql://u:hush-password@127.0.0.1:1/shop")


@app.get("/connect/fails/keywords")
def connect_fails_keywords() -> Any:
    return refused(host="127.0.0.1", port=1, database="shop", password="hush")


def refused(*args: Any, **options: Any) -> Any:
    try:
        psycopg2.connect(*args, **options)
    except psycopg2.Error as error:
        return type(error).__name__


@app.get("/sqlalchemy")
def sqlalchemy() -> Any:
    with engine.connect() as conn:
        conn.execute(text("SELECT count(*) FROM goods")).scalar()
        conn.execute(text("INSERT INTO goods (name) VALUES (:n)"), [{"n": "hush"}, {"n": "hush2"}])
        conn.rollback()
        return list(conn.execute(text("SELECT 3")).scalars())


@app.get("/look")
def look() -> Any:
    """What an application can see of the classes."""
    seen: list[Any] = []
    with connection() as conn, conn.cursor() as cursor:
        seen.append([type(conn) is psycopg2.extensions.connection, repr(type(conn))])
        seen.append([type(cursor) is psycopg2.extensions.cursor, repr(type(cursor))])
        seen.append([repr(cursor)[:20], sorted(dir(cursor)), type(cursor).__mro__[1:] == (object,)])
        psycopg2.extensions.register_type(psycopg2.extensions.UNICODE, conn)
        psycopg2.extensions.register_type(psycopg2.extensions.UNICODE, cursor)
        seen.append(cursor.mogrify("SELECT %s", ("a",)).decode())
        seen.append(cursor.execute("SELECT 1"))
        seen.append(cursor.query.decode())
    for name in ("execute", "executemany", "callproc", "copy_expert", "copy_from", "copy_to"):
        method = getattr(psycopg2.extensions.cursor, name)
        seen.append([name, method.__name__, method.__doc__, method.__objclass__.__name__])
        seen.append([repr(method), inspect.ismethoddescriptor(method), inspect.isroutine(method)])
    seen.append([str(inspect.signature(psycopg2.connect)), psycopg2.connect.__module__])
    try:
        psycopg2.extensions.cursor.execute = None  # type: ignore[method-assign]
    except TypeError as error:
        seen.append(str(error))
    return seen

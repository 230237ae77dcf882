# SPDX-License-Identifier: MIT
"""Statements of SQLAlchemy that end in every unusual way, each followed by an ordinary one; and
connections that are slow to come by. Words with "hush" are secrets."""

import asyncio
import contextvars
import logging
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import fake_dbapi
import greenlet
from fastapi import FastAPI
from sqlalchemy import create_engine, event, text
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool, StaticPool

AFTERWARDS = text("SELECT 1 AS afterwards")
SLOW_BY = 0.25
app = FastAPI()


class Ended(BaseException):
    """None that SQLAlchemy knows."""


ERRORS: dict[str, type[BaseException]] = {
    "exception": KeyError,
    "base": Ended,
    "interrupt": KeyboardInterrupt,
    "exit": SystemExit,
    "greenlet": greenlet.GreenletExit,
    "cancelled": asyncio.CancelledError,
}


def memory(**options: Any) -> Any:
    same_thread = {"check_same_thread": False}
    return create_engine(
        "sqlite://", future=True, poolclass=StaticPool, connect_args=same_thread, **options
    )


def attempt(engine: Any, work: Callable[[Any], Any]) -> list[str]:
    """What `work` raises on a connection, and that the next statement succeeds."""
    outcome = []
    try:
        with engine.connect() as connection:
            work(connection)
    except BaseException as error:
        outcome.append(type(error).__name__)
    with engine.connect() as connection:
        outcome.append(str(connection.execute(AFTERWARDS).scalar()))
    return outcome


class Driver:
    """A driver whose cursor raises what it is told, once."""

    def __init__(self) -> None:
        self.error: type[BaseException] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(fake_dbapi, name)

    def connect(self, *args: Any, **options: Any) -> Any:
        driver = self

        class Cursor(fake_dbapi.Cursor):
            def execute(self, statement: str, parameters: Any = None) -> None:
                error, driver.error = driver.error, None
                if error is not None:
                    raise error("as it was told")
                super().execute(statement, parameters)

        class Connection(fake_dbapi.Connection):
            def cursor(self, *args: Any, **options: Any) -> Cursor:
                return Cursor()

        return Connection()


@app.get("/driver/{name}")
def driver_raises(name: str) -> list[str]:
    """The driver itself is left by an error of any kind."""
    driver = Driver()
    engine = create_engine("mysql+pymysql://bob:hush@db.example/shop", module=driver)
    engine.dialect.initialize = lambda connection: None

    def work(connection: Any) -> None:
        driver.error = ERRORS[name]
        connection.exec_driver_sql("SELECT 1 AS wrong")

    return attempt(engine, work)


@app.get("/listener/{event_name}/{name}")
def listener_raises(event_name: str, name: str) -> list[str]:
    """A listener of the application is left by an error of any kind."""
    engine = memory()
    armed = [True]

    def broken(*args: Any) -> None:
        if armed:
            armed.clear()
            raise ERRORS[name]("as it was told")

    event.listen(engine, event_name, broken)
    table = "nowhere" if event_name == "handle_error" else "sqlite_master"
    return attempt(engine, lambda connection: connection.exec_driver_sql(f"SELECT 1 FROM {table}"))


@app.get("/replaced")
def replaced() -> list[str]:
    """A listener executes the statement in the driver's place."""
    engine = memory()

    def execute(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        if "sqlite_master" not in statement:
            return False
        cursor.execute(statement, parameters)
        return True

    event.listen(engine, "do_execute", execute)
    statement = text("SELECT 1 FROM sqlite_master")
    return attempt(engine, lambda connection: connection.execute(statement))


@app.get("/logging")
def logging_raises() -> list[str]:
    """The engine's log is between the events and the driver."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logger.removeHandler(self)
            raise Ended("as it was told")

    engine = memory()
    logger = logging.getLogger("sqlalchemy.engine.Engine")
    logger.propagate = False
    handler = Broken()
    logger.setLevel(logging.INFO)

    def work(connection: Any) -> None:
        connection.exec_driver_sql("SELECT 1")
        logger.addHandler(handler)
        connection.exec_driver_sql("SELECT 1 FROM sqlite_master")

    try:
        with engine.connect():
            pass  # It begins to log with the next connection.
        return attempt(engine, work)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


@app.get("/reentrant")
def reentrant() -> list[str]:
    """A failure while SQLAlchemy handles another one, on the same connection."""
    engine = memory()

    def again(context: Any) -> None:
        context.connection.exec_driver_sql("SELECT 2 FROM nowhere")

    event.listen(engine, "handle_error", again, retval=True)

    def work(connection: Any) -> None:
        connection.exec_driver_sql("SELECT 1 FROM nowhere")

    return attempt(engine, work)


@app.get("/within")
def within() -> list[str]:
    """A function of the database, in Python, executes a statement on another engine."""
    engine, other = memory(), memory()

    def elsewhere() -> int:
        with other.connect() as connection:
            return int(connection.scalar(text("SELECT 1 AS inside")))

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        connection.create_function("elsewhere", 0, elsewhere)

    return attempt(engine, lambda connection: connection.scalar(text("SELECT elsewhere()")))


class Overriding(SQLiteDialect_pysqlite):
    """A dialect of another package: its methods call each other, and those of its base."""

    supports_statement_cache = True

    def do_execute(self, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        super().do_execute(cursor, statement + " -- overridden", parameters, context=context)

    def do_executemany(
        self, cursor: Any, statement: str, parameters: Any, context: Any = None
    ) -> None:
        for row in parameters:
            self.do_execute(cursor, statement, row, context)


registry.register("sqlite.overriding", __name__, "Overriding")


@app.get("/overriding")
def overriding() -> list[str]:
    engine = create_engine("sqlite+overriding://", future=True)

    def work(connection: Any) -> None:
        connection.execute(text("CREATE TABLE words (word TEXT)"))
        rows = [{"word": "hush-1"}, {"word": "hush-2"}]
        connection.execute(text("INSERT INTO words (word) VALUES (:word)"), rows)

    return attempt(engine, work)


class Gate:
    """An async engine with a function of the database that waits until it may go on."""

    def __init__(self) -> None:
        self.engine = create_async_engine("sqlite+aiosqlite://")
        self.started, self.may_end = threading.Event(), threading.Event()

    def _wait_here(self) -> int:
        self.started.set()
        self.may_end.wait(20)
        return 1

    async def prepare(self, connection: Any) -> None:
        raw = await connection.get_raw_connection()
        await raw.driver_connection.create_function("wait_here", 0, self._wait_here)

    async def end(self) -> list[str]:
        self.may_end.set()
        async with self.engine.connect() as connection:
            outcome = [str((await connection.execute(AFTERWARDS)).scalar())]
        await self.engine.dispose()
        return outcome


@app.get("/abandoned/{how}")
async def abandoned(how: str) -> list[str]:
    """A coroutine is left behind while the driver executes its statement, in this very context."""
    gate = Gate()
    async with gate.engine.connect() as connection:
        await gate.prepare(connection)
        coroutine: Any = connection.exec_driver_sql("SELECT wait_here()").__await__()
        while not gate.started.is_set():
            future = coroutine.send(None)
            while not (future.done() or gate.started.is_set()):
                await asyncio.sleep(0.01)
        try:
            if how == "closed":
                coroutine.close()
            else:
                del coroutine
        except RuntimeError:
            pass  # SQLAlchemy would wait for a rollback.
    return await gate.end()


@app.get("/cancelled")
async def cancelled() -> list[str]:
    """A task is cancelled while the driver executes its statement; the next has its context."""
    gate = Gate()
    context = contextvars.copy_context()
    options: dict[str, Any] = {"context": context} if sys.version_info >= (3, 11) else {}

    async def statement() -> None:
        async with gate.engine.connect() as connection:
            await gate.prepare(connection)
            await connection.exec_driver_sql("SELECT wait_here()")

    task = asyncio.create_task(statement(), **options)
    while not gate.started.is_set():
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.sleep(0.05)
    gate.may_end.set()  # What closes the connection waits for the driver.
    await asyncio.wait([task])
    return [str(task.cancelled()), *await asyncio.create_task(gate.end(), **options)]


# Connections.


def connect_slowly() -> sqlite3.Connection:
    time.sleep(SLOW_BY)
    return sqlite3.connect(":memory:", check_same_thread=False)


@app.get("/connect/slow")
def connect_slow() -> list[str]:
    engine = create_engine("sqlite://", future=True, creator=connect_slowly, poolclass=NullPool)
    with engine.connect() as connection:
        return [str(connection.execute(AFTERWARDS).scalar())]


@app.get("/connect/asks")
def connect_asks(url: str) -> list[str]:
    """The function that connects asks another service how."""
    import requests  # Not everywhere.

    def connect() -> sqlite3.Connection:
        requests.get(url, timeout=20).raise_for_status()
        return sqlite3.connect(":memory:", check_same_thread=False)

    engine = create_engine("sqlite://", future=True, creator=connect, poolclass=NullPool)
    with engine.connect() as connection:
        return [str(connection.execute(AFTERWARDS).scalar())]


@app.get("/connect/fails")
def connect_fails() -> list[str]:
    """A connection that is made, and is then found not to do; the next one does."""
    engine = memory()
    left = [1]

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        if left:
            left.clear()
            connection.execute("SELECT hush FROM nowhere")

    return attempt(engine, lambda connection: None)


@app.get("/commit/fails")
def commit_fails() -> list[str]:
    """A constraint that is looked at when the transaction ends."""
    engine = memory()
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        connection.exec_driver_sql("CREATE TABLE a (id INTEGER PRIMARY KEY)")
        connection.exec_driver_sql(
            "CREATE TABLE b (a INTEGER REFERENCES a (id) DEFERRABLE INITIALLY DEFERRED)"
        )

    def work(connection: Any) -> None:
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        connection.exec_driver_sql("INSERT INTO b VALUES (1)")
        connection.commit()

    return attempt(engine, work)


@app.get("/hooked")
def hooked() -> dict[str, list[str]]:
    """What an application can see of the hooks."""
    engine = memory()
    with engine.connect() as connection:
        connection.execute(AFTERWARDS)
        return {
            "engine": [name for name in vars(engine) if "faa" in name],
            "connection": [name for name in vars(connection) if "faa" in name],
            "methods": [
                f"{method.__module__}.{method.__qualname__}"
                for method in (DefaultDialect.do_execute, engine.dialect.do_commit)
            ],
        }


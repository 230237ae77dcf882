# SPDX-License-Identifier: MIT
"""SQLAlchemy on real servers, by several drivers, sync and async. Words with "hush" are secrets.

URLS in the environment is a JSON object of driver names and URLs; those that end in "-async" are
for async engines. A case is written once, for a synchronous connection: an async engine runs it in
run_sync, a sync one in a thread.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    String,
    create_engine,
    event,
    insert,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, declarative_base, relationship
from starlette.concurrency import run_in_threadpool

URLS: dict[str, str] = json.loads(os.environ["URLS"])
SLEEP = {"postgresql": "SELECT pg_sleep(30)", "mysql": "SELECT SLEEP(30)"}
MY_ID = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT CONNECTION_ID()"}
KILL = {"postgresql": "SELECT pg_terminate_backend({})", "mysql": "KILL {}"}


def make(name: str, **options: Any) -> Any:
    """A new engine for a driver."""
    if name.endswith("-async"):
        return create_async_engine(URLS[name], **options)
    return create_engine(URLS[name], future=True, **options)


ENGINES = {name: make(name, pool_size=8) for name in URLS}
Base = declarative_base()


class Order(Base):
    __tablename__ = "orders"
    id = Column(Integer, primary_key=True)
    name = Column(String(40), unique=True)
    lines = relationship("Line", order_by="Line.id")


class Line(Base):
    __tablename__ = "order_lines"
    id = Column(Integer, primary_key=True)
    order_id = Column(ForeignKey("orders.id"))
    word = Column(String(40))


async def on(engine: Any, work: Callable[[Any], Any], begin: bool = False) -> Any:
    """Calls `work` with a connection of the engine."""
    if engine.dialect.is_async:
        async with engine.begin() if begin else engine.connect() as connection:
            return await connection.run_sync(work)

    def call() -> Any:
        with engine.begin() if begin else engine.connect() as connection:
            return work(connection)

    return await run_in_threadpool(call)


def system_of(connection: Any) -> str:
    return str(connection.dialect.name)


def fill(connection: Any) -> None:
    Base.metadata.drop_all(connection)
    Base.metadata.create_all(connection)
    with Session(connection) as session:
        session.add_all([Order(id=number, name=f"hush-{number}") for number in (1, 2, 3, 4)])
        session.flush()
        session.add_all([Line(order_id=1, word="red"), Line(order_id=1, word="blue")])
        session.commit()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    for engine in {ENGINES[name].dialect.name: ENGINES[name] for name in URLS}.values():
        await on(engine, fill, begin=True)
    yield
    for name, engine in ENGINES.items():
        await engine.dispose() if name.endswith("-async") else engine.dispose()


app = FastAPI(lifespan=lifespan)
cases: dict[str, Callable[[Any], Any]] = {}


def case(work: Callable[[Any], Any]) -> Callable[[Any], Any]:
    cases[work.__name__] = work
    return work


@case
def two(connection: Any) -> list[Any]:
    """The same statement twice, with parameters."""
    statement = select(Order.id).where(Order.id == 2, Order.name == "hush-2")
    return [connection.scalar(statement), connection.scalar(statement)]


@case
def odd(connection: Any) -> None:
    """Statements of the driver's own kind, and of no table."""
    connection.exec_driver_sql("SELECT 1")
    connection.exec_driver_sql("SELECT id FROM orders WHERE name = 'hush-1'")
    connection.execute(text("SELECT :number + 1"), {"number": 4711}).all()


@case
def values(connection: Any) -> list[Any]:
    """A statement that gets its text anew each time."""
    found = []
    for wanted in ([1], [1, 2], [1, 2, 3]):
        found.append(len(connection.execute(select(Order.id).where(Order.id.in_(wanted))).all()))
    return found


@case
def many(connection: Any) -> None:
    rows = [{"id": number, "word": f"hush-{number}"} for number in (71, 72, 73)]
    connection.execute(text("INSERT INTO order_lines (id, word) VALUES (:id, :word)"), rows)
    connection.execute(text("UPDATE order_lines SET word = :word WHERE id = :id"), rows[:2])
    connection.rollback()


@case
def stream(connection: Any) -> list[int]:
    """A cursor on the server, from which the rows come in three parts."""
    options = {"stream_results": True, "max_row_buffer": 2}
    result = connection.execution_options(**options).execute(select(Order.id).order_by(Order.id))
    return [row.id for part in iter(lambda: result.fetchmany(2), []) for row in part]


@case
def orm(connection: Any) -> list[Any]:
    """An identity map, a lazy load, a flush that is given up."""
    with Session(connection) as session:
        order = session.get(Order, 1)
        assert order is not None and session.get(Order, 1) is order
        words = [line.word for line in order.lines]
        session.add(Order(id=90, name="hush-90"))
        session.flush()
        session.rollback()
        return words


@case
def fails(connection: Any) -> list[Any]:
    """Two failures; what follows them is as before."""
    found = []
    for statement in ("SELECT a FROM nowhere WHERE b = 'hush'", "INSERT INTO orders VALUES (1)"):
        try:
            with connection.begin_nested():
                connection.execute(text(statement))
        except DBAPIError as error:
            found.append(type(error.orig).__name__)
    return [*found, connection.scalar(text("SELECT count(*) FROM orders"))]


@case
def skip_events(connection: Any) -> Any:
    """A failure that SQLAlchemy hides from its listeners."""
    hidden = connection.execution_options(skip_user_error_events=True)
    try:
        hidden.execute(text("SELECT a FROM nowhere"))
    except DBAPIError:
        connection.rollback()
        return connection.scalar(text("SELECT count(*) FROM orders"))


@case
def transaction(connection: Any) -> int:
    """One that ends well, one that does not, savepoints of both kinds."""
    line = insert(Line)
    with connection.begin():
        connection.execute(line, {"id": 81, "word": "hush"})
        with connection.begin_nested():
            connection.execute(line, {"id": 82, "word": "hush"})
        inner = connection.begin_nested()
        connection.execute(line, {"id": 83, "word": "hush"})
        inner.rollback()
    connection.execute(text("DELETE FROM order_lines WHERE id > 80"))
    connection.rollback()
    with connection.begin():
        count = connection.execute(text("DELETE FROM order_lines WHERE id > 80")).rowcount
    return int(count)


@case
def two_phases(connection: Any) -> None:
    for end in ("commit", "rollback"):
        twophase = connection.begin_twophase()
        connection.execute(insert(Line), {"id": 85, "word": "hush"})
        twophase.prepare()
        getattr(twophase, end)()
        with connection.begin():
            connection.execute(text("DELETE FROM order_lines WHERE id = 85"))
    unprepared = connection.begin_twophase()
    connection.execute(insert(Line), {"id": 86, "word": "hush"})
    unprepared.rollback()


@case
def isolation(connection: Any) -> Any:
    """A setting of the connection, for which some drivers execute a statement, also at the end."""
    serializable = connection.execution_options(isolation_level="SERIALIZABLE")
    return serializable.scalar(text("SELECT 1 FROM orders WHERE id = 1"))


@app.get("/case/{driver}/{name}")
async def run_case(driver: str, name: str) -> Any:
    return await on(ENGINES[driver], cases[name])


@app.get("/new/{driver}/{name}")
async def run_case_on_new_engine(driver: str, name: str) -> Any:
    """On an engine that has made no connection, and tests each one before it gives it away."""
    engine = make(driver, pool_pre_ping=True)
    await on(engine, cases[name])
    found = await on(engine, cases[name])
    await engine.dispose() if driver.endswith("-async") else engine.dispose()
    return found


@app.get("/lost/{driver}")
async def lost(driver: str) -> list[Any]:
    """The server ends the connection between two statements."""
    engine = make(driver)
    killer = ENGINES[driver]

    async def kill(number: int) -> None:
        def work(connection: Any) -> None:
            connection.execute(text(KILL[system_of(connection)].format(number)))

        await on(killer, work)

    def ask(connection: Any) -> tuple[int, Callable[[], bool]]:
        number = int(connection.exec_driver_sql(MY_ID[system_of(connection)]).scalar())
        driver_connection = connection.connection.driver_connection
        return number, getattr(driver_connection, "is_closed", lambda: True)

    def use(connection: Any) -> Any:
        return connection.scalar(text("SELECT count(*) FROM orders"))

    number, is_closed = await on(engine, ask)
    await kill(number)
    # asyncpg hears of it by itself, and SQLAlchemy asks it: while that says that the connection is
    # open, a statement that finds it lost does not make SQLAlchemy give it up.
    for _ in range(300):
        if is_closed():
            break
        await asyncio.sleep(0.1)
    found: list[Any] = []
    for _ in range(30):  # The end may be on its way yet.
        try:
            await on(engine, use)
        except DBAPIError as error:
            found.append(error.connection_invalidated)
            break
        await asyncio.sleep(0.1)
    found.append(await on(engine, use))
    await engine.dispose() if driver.endswith("-async") else engine.dispose()
    return found


@app.get("/unreachable/{driver}")
async def unreachable(driver: str) -> str:
    """A server that is not there."""
    url = ENGINES[driver].url.set(host="127.0.0.1", port=1)
    engine = create_async_engine(url) if driver.endswith("-async") else create_engine(url)
    try:
        await on(engine, cases["two"])
    except (SQLAlchemyError, OSError) as error:
        return type(error).__name__
    return "reached"


@app.get("/cancelled/{driver}")
async def cancelled(driver: str) -> list[Any]:
    """A statement that nobody waits for; then one on a connection of the same pool."""
    engine = make(driver)
    found: list[Any] = []
    try:
        async with engine.connect() as connection:
            sleep = connection.exec_driver_sql(SLEEP[engine.dialect.name])
            await asyncio.wait_for(sleep, 0.2)
    except asyncio.TimeoutError:
        found.append("cancelled")
    found.append(await on(engine, cases["two"]))
    await engine.dispose()
    return found


@app.get("/stream/{driver}")
async def async_stream(driver: str) -> list[int]:
    async with ENGINES[driver].connect() as connection:
        result = await connection.stream(select(Order.id).order_by(Order.id))
        return [row.id async for row in result]


@app.get("/sessions/{driver}")
async def sessions(driver: str) -> list[Any]:
    """Three sessions at once, each in a task of its own."""

    async def one(number: int) -> Any:
        async with AsyncSession(ENGINES[driver]) as session:
            order = await session.get(Order, number)
            assert order is not None
            await asyncio.sleep(0.01)
            count = await session.execute(text(f"SELECT count(*) FROM orders AS o{number}"))
            return [order.id, count.scalar()]

    return list(await asyncio.gather(*(one(number) for number in (1, 2, 3))))


@app.get("/marked/{driver}/{mark}")
async def marked(driver: str, mark: str) -> None:
    """Statements that say which request they belong to."""

    def work(connection: Any) -> None:
        for _ in range(5):
            connection.exec_driver_sql(f"SELECT id AS {mark} FROM orders").all()

    for _ in range(3):
        await on(ENGINES[driver], work)


@app.get("/url/{driver}")
async def other_url(driver: str, request: Request) -> Any:
    """A statement on an engine with another URL, or with a function that knows where to connect."""
    url, options = request.headers["x-url"], dict[str, Any]()
    if "x-creator" in request.headers:
        arguments = ENGINES[driver].dialect.create_connect_args(ENGINES[driver].url)
        connect = getattr(ENGINES[driver].dialect, "loaded_dbapi", ENGINES[driver].dialect.dbapi)
        options["creator"] = lambda: connect.connect(*arguments[0], **arguments[1])
    engine = (create_async_engine if driver.endswith("-async") else create_engine)(url, **options)
    found = await on(engine, lambda connection: connection.scalar(text("SELECT 1 FROM orders")))
    await engine.dispose() if driver.endswith("-async") else engine.dispose()
    return found


@app.get("/listened/{driver}")
async def listened(driver: str) -> Any:
    """The application's own work on connections that are made, given away, and come back."""
    engine = make(driver)

    def execute(connection: Any, *rest: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("SELECT 1")
        cursor.close()

    for name in ("connect", "checkout", "checkin"):
        event.listen(getattr(engine, "sync_engine", engine), name, execute)
    found = await on(engine, cases["two"])
    await engine.dispose() if driver.endswith("-async") else engine.dispose()
    return found

# SPDX-License-Identifier: MIT
"""SQLAlchemy 1.4 and 2 in the ways that db.py leaves out. Words with "hush" are secrets."""

import asyncio
import contextvars
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import fake_dbapi
from fastapi import FastAPI
from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    String,
    bindparam,
    create_engine,
    event,
    insert,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, declarative_base, relationship, selectinload
from sqlalchemy.pool import StaticPool

DATABASE = os.environ["DATABASE"]
engine = create_engine(f"sqlite:///{DATABASE}", future=True)
other = create_engine(f"sqlite:///{DATABASE}.other", future=True)
async_engine = create_async_engine(f"sqlite+aiosqlite:///{DATABASE}")
memory = create_engine(
    "sqlite://", future=True, poolclass=StaticPool, connect_args={"check_same_thread": False}
)
Base = declarative_base()


class Item(Base):
    __tablename__ = "items"
    id = Column(Integer, primary_key=True)
    name = Column(String, unique=True)
    tags = relationship("Tag", order_by="Tag.id")


class Tag(Base):
    __tablename__ = "tags"
    id = Column(Integer, primary_key=True)
    item_id = Column(ForeignKey("items.id"))
    word = Column(String)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Item(id=number, name=f"hush-name-{number}") for number in (1, 2, 3)])
        session.flush()
        session.add_all([Tag(item_id=1, word="red"), Tag(item_id=1, word="blue")])
        session.commit()
    yield
    await async_engine.dispose()


app = FastAPI(lifespan=lifespan)


def described(error: BaseException | None) -> list[Any]:
    """An exception and its causes, with all that an application can read of them."""
    found: list[Any] = []
    while error is not None:
        params = getattr(error, "params", None)
        found.append([type(error).__qualname__, repr(error.args), str(error), repr(params)])
        error = error.__cause__ or error.__context__
    return found


def fails(statement: Any, parameters: Any = None) -> list[Any]:
    with engine.connect() as connection:
        try:
            connection.execute(statement, parameters or {})
        except SQLAlchemyError as error:
            return described(error)
    raise AssertionError("did not fail")


@app.get("/literals")
def literals() -> list[Any]:
    with engine.connect() as connection:
        statement = (
            "SELECT name FROM items WHERE name = 'hush-1' OR id = 471147 OR name = \"hush-2\""
        )
        rows = connection.execute(text(statement)).all()
        rows += connection.execute(select(literal_column("'hush-3'")).select_from(Item)).all()
        rows += connection.exec_driver_sql("SELECT 'hush-4' -- hush-5").all()
        return [tuple(row) for row in rows]


@app.get("/parameters")
def parameters() -> list[Any]:
    with engine.connect() as connection:
        rows = connection.execute(select(Item.id).where(Item.name == "hush-6")).all()
        rows += connection.execute(select(Item.id).where(Item.name.in_(["hush-7", "hush-8"]))).all()
        inline = bindparam("names", ["hush-9", "hush-10"], expanding=True, literal_execute=True)
        rows += connection.execute(select(Item.id).where(Item.name.in_(inline))).all()
        named = text("SELECT id FROM items WHERE name = :name")
        rows += connection.execute(named, {"name": "hush-11"}).all()
        rows += connection.exec_driver_sql(
            "SELECT id FROM items WHERE name = ?", ("hush-12",)
        ).all()
        return [tuple(row) for row in rows]


@app.get("/fails/table")
def fails_table() -> list[Any]:
    return fails(text("SELECT name FROM nowhere WHERE name = :name"), {"name": "hush-13"})


@app.get("/fails/message")
def fails_message() -> list[Any]:
    """SQLite quotes the value in its message."""
    return fails(text("SELECT json_extract('{}', :path) FROM items"), {"path": "hush-14"})


@app.get("/fails/constraint")
def fails_constraint() -> list[Any]:
    return fails(insert(Item), {"name": "hush-name-1"})


@app.get("/fails/unhandled")
def fails_unhandled() -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT json_extract('hush-15', :path)"), {"path": "hush-16"})


@app.get("/fails/orm")
def fails_orm() -> Any:
    with Session(engine) as session:
        session.add(Item(id=1, name="hush-17"))
        try:
            session.commit()
        except SQLAlchemyError as error:
            return described(error)[0][:1]


@app.get("/fails/async")
async def fails_async() -> list[Any]:
    async with async_engine.connect() as connection:
        try:
            await connection.execute(text("SELECT name FROM nowhere"))
        except SQLAlchemyError as error:
            return described(error)
    return []


@app.get("/fails/between")
def fails_between() -> list[Any]:
    """A good statement, a bad one, a good one, on one connection."""
    with engine.connect() as connection:
        before = connection.scalar(text("SELECT count(*) FROM items"))
        try:
            connection.execute(text("UPDATE nowhere SET a = 1"))
        except SQLAlchemyError:
            pass
        return [before, connection.scalar(text("SELECT count(*) FROM tags"))]


@app.get("/fails/fetch")
def fails_fetch() -> list[Any]:
    """The statement succeeds; the error comes with a later row."""
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9)"
    statement = (
        f"{numbers} SELECT abs(CASE WHEN i = 5 THEN -9223372036854775807 - 1 ELSE i END) FROM n"
    )
    with engine.connect() as connection:
        result = connection.execute(text(statement))
        try:
            return [len(result.all())]
        except SQLAlchemyError as error:
            return [type(error).__name__]


@app.get("/cancelled")
async def cancelled() -> str:
    slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000)"
    async with async_engine.connect() as connection:
        try:
            await asyncio.wait_for(connection.execute(text(f"{slow} SELECT max(i) FROM n")), 0.02)
        except asyncio.TimeoutError:
            return "cancelled"
    return "done"


@app.get("/many")
def many() -> list[Any]:
    rows = [{"item_id": 1, "word": f"hush-many-{number}"} for number in range(3)]
    with engine.connect() as connection:
        result = connection.execute(insert(Tag), rows)
        count = result.rowcount
        connection.exec_driver_sql(
            "UPDATE tags SET word = ? WHERE id = ?", [("hush-18", 91), ("hush-19", 92)]
        )
        connection.execute(text("DELETE FROM tags WHERE id = :id"), [{"id": 93}])
        connection.rollback()
        return [count]


@app.get("/many/orm")
def many_orm() -> int:
    """SQLAlchemy 2 makes one INSERT with several rows of these, 1.4 one for each."""
    with Session(engine) as session:
        tags = [Tag(item_id=1, word=f"hush-tag-{number}") for number in range(3)]
        session.add_all(tags)
        session.flush()
        count = len({tag.id for tag in tags})
        session.rollback()
        return count


@app.get("/many/values")
def many_values() -> list[int]:
    """SQLAlchemy 2 makes one INSERT with three rows of it."""
    rows = [{"item_id": 1, "word": f"hush-row-{number}"} for number in range(3)]
    with engine.connect() as connection:
        ids = connection.execute(insert(Tag).returning(Tag.id), rows).scalars().all()
        connection.rollback()
        return list(ids)


@app.get("/odd")
def odd() -> None:
    """Statements without an operation, without a table, with names that need quotes."""
    with engine.connect() as connection:
        connection.exec_driver_sql("-- nothing but a comment")
        connection.exec_driver_sql("PRAGMA user_version")
        connection.exec_driver_sql('SELECT 1 FROM "items" AS "the items"')
        connection.exec_driver_sql("/* hush-22 */ select name from items where name = 'hush-23'")
        connection.exec_driver_sql("INSERT INTO tags (word) SELECT name FROM items WHERE 0")
        connection.rollback()


@app.get("/stream")
def stream() -> list[int]:
    with engine.connect().execution_options(stream_results=True) as connection:
        return [row.id for row in connection.execute(select(Item.id).order_by(Item.id))]


@app.get("/stream/async")
async def stream_async() -> list[int]:
    async with async_engine.connect() as connection:
        result = await connection.stream(select(Item.id).order_by(Item.id))
        return [row.id async for row in result]


@app.get("/lazy")
def lazy() -> list[list[str]]:
    with Session(engine) as session:
        items = session.execute(select(Item).order_by(Item.id)).scalars().all()
        return [[tag.word for tag in item.tags] for item in items]


@app.get("/eager")
async def eager() -> list[list[str]]:
    async with AsyncSession(async_engine) as session:
        query = select(Item).order_by(Item.id).options(selectinload(Item.tags))
        items = (await session.execute(query)).scalars().all()
        return [[tag.word for tag in item.tags] for item in items]


@app.get("/run-sync")
async def run_sync() -> list[list[str]]:
    """Lazy loads of an async session."""

    def load(session: Session) -> list[list[str]]:
        item = session.get(Item, 1)
        assert item is not None
        return [[tag.word for tag in item.tags]]

    async with AsyncSession(async_engine) as session:
        return await session.run_sync(load)


@app.get("/engines")
def engines() -> list[Any]:
    """Three engines; a fourth is made now, long after the first statement."""
    new = create_engine(f"sqlite:///{DATABASE}.new", future=True)
    found = []
    for one in (engine, other, memory, new):
        with one.connect() as connection:
            found.append(connection.scalar(text("SELECT 1")))
    new.dispose()
    return found


@app.get("/engines/async")
async def engines_async() -> Any:
    new = create_async_engine("sqlite+aiosqlite:///:memory:")
    async with new.connect() as connection:
        found = await connection.scalar(text("SELECT 1"))
    await new.dispose()
    return found


class FakePostgres(PGDialect):
    """PostgreSQL without the wishes of a certain driver."""

    supports_statement_cache = True


registry.register("postgresql.fake", __name__, "FakePostgres")
SERVERS = {
    "postgresql": "postgresql+fake://bob:hush-20@db.example:5433/shop",
    "postgresql-usual-port": "postgresql+fake://bob:hush-20@db.example:5432/shop",
    "postgresql-no-port": "postgresql+fake://bob:hush-20@db.example/shop",
    "postgresql-socket": "postgresql+fake://bob:hush-20@/shop",
    "mysql": "mysql+pymysql://bob:hush-20@db.example:3307/shop?ssl_key=hush-21",
    "mariadb": "mariadb+pymysql://bob:hush-20@db.example:3306/shop",
    "mssql": "mssql+pymssql://bob:hush-20@db.example:1434/shop",
    "no-database": "mysql+pymysql://bob:hush-20@db.example",
}


@app.get("/server/{name}")
def server(name: str, statement: str) -> str:
    """Executes a statement on a database server that does not exist."""
    one = create_engine(SERVERS[name], module=fake_dbapi)
    one.dialect.initialize = lambda connection: None
    try:
        with one.connect() as connection:
            connection.exec_driver_sql(statement)
    except SQLAlchemyError as error:
        return type(error).__name__
    return "done"


@app.get("/thread")
def thread() -> None:
    """A thread that runs in an empty context: its statement begins a trace."""

    def work() -> None:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1 FROM tags"))

    worker = threading.Thread(target=contextvars.Context().run, args=(work,))
    worker.start()
    worker.join()


@app.get("/listeners")
def listeners() -> list[Any]:
    """An application's own listeners: one changes the statement, one replaces the exception."""
    calls: list[Any] = []
    own = create_engine("sqlite://", future=True)

    @event.listens_for(own, "before_cursor_execute", retval=True)
    def change(conn: Any, cursor: Any, statement: str, params: Any, context: Any, many: Any) -> Any:
        calls.append(["change", statement, repr(params), many])
        return statement + " -- changed", params

    @event.listens_for(own, "before_cursor_execute")
    def before(
        conn: Any, cursor: Any, statement: str, params: Any, context: Any, many: Any
    ) -> None:
        calls.append(["before", statement, repr(params), many])

    @event.listens_for(own, "after_cursor_execute")
    def after(conn: Any, cursor: Any, statement: str, params: Any, context: Any, many: Any) -> None:
        calls.append(["after", statement, repr(params), many])

    @event.listens_for(own, "handle_error", retval=True)
    def replace(context: Any) -> Any:
        calls.append(["replace", type(context.original_exception).__name__])
        return LookupError("the application's own")

    @event.listens_for(own, "handle_error")
    def watch(context: Any) -> None:
        calls.append(["watch", type(context.chained_exception).__name__])

    with own.connect() as connection:
        calls.append(connection.execute(text("SELECT :one"), {"one": 1}).scalar())
        try:
            connection.execute(text("SELECT a FROM nowhere"))
        except LookupError as error:
            calls.append(described(error))
    return calls


@app.get("/listeners/raise")
def listeners_raise() -> list[Any]:
    """Listeners that fail: before the statement, after it, and on an error."""
    outcomes = []
    for name in ("before_cursor_execute", "after_cursor_execute", "handle_error"):
        own = create_engine("sqlite://", future=True)

        def broken(*args: Any) -> None:
            raise KeyError("listener")

        event.listen(own, name, broken)
        with own.connect() as connection:
            try:
                table = "nowhere" if name == "handle_error" else "sqlite_master"
                connection.execute(text(f"SELECT 1 FROM {table}"))
            except Exception as error:
                outcomes.append([name, *described(error)[0]])
    return outcomes


@app.get("/inspect")
def look() -> list[Any]:
    """What an application can see of the agent in SQLAlchemy's objects: results and metadata."""
    with engine.connect() as connection:
        result = connection.execute(select(Item.id, Item.name).where(Item.id == 1))
        facts = [list(result.keys()), result.rowcount, result.returns_rows, type(result).__name__]
        facts += [type(result.context).__name__, result.context.executemany]
        return [*facts, [tuple(row) for row in result]]

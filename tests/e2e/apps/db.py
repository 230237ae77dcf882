# SPDX-License-Identifier: MIT
"""SQLAlchemy 1.4 and 2, sync and async, Core and ORM, on the SQLite file that DATABASE names."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    String,
    create_engine,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, declarative_base

DATABASE = os.environ["DATABASE"]
engine = create_engine(f"sqlite:///{DATABASE}", future=True)
async_engine = create_async_engine(f"sqlite+aiosqlite:///{DATABASE}")
memory = create_engine("sqlite://", future=True)


Base = declarative_base()


class User(Base):
    __tablename__ = "users"
    id = Column(Integer, primary_key=True)
    name = Column(String, nullable=False)


class Order(Base):
    __tablename__ = "orders"
    id = Column(Integer, primary_key=True)
    user_id = Column(ForeignKey("users.id"))
    total = Column(Integer, nullable=False)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([User(id=1, name="Ada"), User(id=2, name="Grace")])
        session.flush()
        session.add_all([Order(user_id=1, total=30), Order(user_id=2, total=12)])
        session.commit()
    yield
    await async_engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/core/sync")
def core_sync() -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(select(User.name).order_by(User.id)))


@app.get("/core/async")
async def core_async() -> list[str]:
    async with async_engine.connect() as connection:
        return list(await connection.scalars(select(User.name).order_by(User.id)))


@app.get("/core/in-loop")
async def core_in_loop() -> int | None:
    """A sync engine used in an async endpoint."""
    with engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(User))


@app.get("/orm/sync/{user_id}")
def orm_sync(user_id: int) -> str | None:
    with Session(engine) as session:
        user = session.get(User, user_id)
        return user.name if user else None


@app.get("/orm/async/{user_id}")
async def orm_async(user_id: int) -> str | None:
    async with AsyncSession(async_engine) as session:
        user = await session.get(User, user_id)
        return user.name if user else None


@app.get("/several")
def several() -> dict[str, object]:
    """SELECT, INSERT, UPDATE, a join, DELETE; all rolled back."""
    with Session(engine) as session:
        before = session.scalar(select(func.count()).select_from(Order))
        session.execute(insert(Order).values(user_id=1, total=7))
        session.execute(text("UPDATE orders SET total = total + 1 WHERE user_id = 1"))
        joined = select(User.name, func.sum(Order.total)).join(Order).group_by(User.name)
        rows = [tuple(row) for row in session.execute(joined.order_by(User.name))]
        session.execute(text("DELETE FROM orders WHERE total = :total"), {"total": 8})
        session.rollback()
    return {"before": before, "rows": rows}


@app.get("/literals")
async def literals() -> list[str]:
    """Text SQL with literals that must not leave the process."""
    statement = "SELECT name FROM users WHERE name <> 'top-secret' AND id < 4711 -- it's a 'note'"
    async with async_engine.connect() as connection:
        return list(await connection.scalars(text(statement)))


@app.get("/many")
def many() -> int:
    """One executemany of three rows, rolled back."""
    rows = [{"user_id": 1, "total": total} for total in (1, 2, 3)]
    with engine.connect() as connection:
        result = connection.execute(insert(Order), rows)
        connection.rollback()
        return result.rowcount


@app.get("/memory")
def in_memory() -> int | None:
    with memory.connect() as connection:
        return connection.scalar(text("SELECT 1"))


@app.get("/fails/caught")
def fails_caught() -> dict[str, str]:
    with engine.connect() as connection:
        try:
            connection.execute(text("SELECT name FROM nowhere"))
        except SQLAlchemyError as error:
            return {"error": type(error).__name__, "original": str(error.__cause__)}
    return {}


@app.get("/fails/sync")
def fails_sync() -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT name FROM nowhere"))


@app.get("/fails/async")
async def fails_async() -> None:
    async with async_engine.connect() as connection:
        await connection.execute(insert(User).values(id=1, name="twice"))


@app.get("/tasks")
async def tasks() -> list[str]:
    """Statements in tasks of their own: children of this request."""

    async def name(user_id: int) -> str:
        async with async_engine.connect() as connection:
            found = await connection.scalar(select(User.name).where(User.id == user_id))
            return str(found)

    return list(await asyncio.gather(*(asyncio.create_task(name(number)) for number in (1, 2))))

"""Tables, engines and sessions of the shop."""

from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timezone
from typing import Annotated

from fastapi import Depends
from sqlalchemy import ForeignKey, create_engine
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
    sessionmaker,
)
from sqlalchemy.schema import CreateTable

from shop.settings import settings


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
    sku: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    stock: Mapped[int]
    weekly_sales: Mapped[int]


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str]
    status: Mapped[str] = mapped_column(default="received")
    created_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(timezone.utc))

    lines: Mapped[list["OrderLine"]] = relationship(back_populates="order")

    @property
    def total_cents(self) -> int:
        return sum(line.quantity * line.unit_price_cents for line in self.lines)


class OrderLine(Base):
    __tablename__ = "order_lines"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), index=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"))
    quantity: Mapped[int]
    unit_price_cents: Mapped[int]

    order: Mapped[Order] = relationship(back_populates="lines")


SEED = [
    {"id": 1, "sku": "MUG-01", "name": "Mug", "stock": 500, "weekly_sales": 40},
    {"id": 2, "sku": "TEE-01", "name": "T-shirt", "stock": 300, "weekly_sales": 25},
    {"id": 3, "sku": "CAP-01", "name": "Cap", "stock": 120, "weekly_sales": 10},
    {"id": 4, "sku": "PEN-01", "name": "Pen", "stock": 2000, "weekly_sales": 310},
    {"id": 5, "sku": "BAG-01", "name": "Tote bag", "stock": 80, "weekly_sales": 0},
]

# `def` endpoints use the first engine, `async def` endpoints the second, on the same file.
# The timeout is the time a writer waits for another one.
engine = create_engine(
    f"sqlite:///{settings.database_path}", connect_args={"timeout": 10}
)
async_engine = create_async_engine(
    f"sqlite+aiosqlite:///{settings.database_path}", connect_args={"timeout": 10}
)

new_session = sessionmaker(engine)
new_async_session = async_sessionmaker(async_engine, expire_on_commit=False)


def create_tables() -> None:
    """Create and fill what is missing; several workers may do so at the same time."""
    with engine.begin() as connection:
        for table in Base.metadata.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
        connection.execute(insert(Item).on_conflict_do_nothing(), SEED)


def get_session() -> Iterator[Session]:
    with new_session() as session:
        yield session


async def get_async_session() -> AsyncIterator[AsyncSession]:
    async with new_async_session() as session:
        yield session


SessionDep = Annotated[Session, Depends(get_session)]
AsyncSessionDep = Annotated[AsyncSession, Depends(get_async_session)]

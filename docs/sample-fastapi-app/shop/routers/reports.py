"""Reports for the people who run the shop."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Sequence

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from sqlalchemy import func, select
from sqlalchemy.orm import selectinload

from shop import prices
from shop.db import AsyncSessionDep, Base, Item, Order, SessionDep, new_async_session
from shop.schemas import RestockOut, SummaryOut, ValuationOut

router = APIRouter(prefix="/reports", tags=["reports"])


async def count(table: type[Base]) -> int:
    async with new_async_session() as session:
        return (await session.scalars(select(func.count()).select_from(table))).one()


@router.get("/summary")
async def summary() -> SummaryOut:
    items, orders = await asyncio.gather(count(Item), count(Order))
    return SummaryOut(items=items, orders=orders)


@router.get("/valuation")
def valuation(session: SessionDep) -> ValuationOut:
    """What the stock is worth. Slow: it asks for one price after the other."""
    items = session.scalars(select(Item)).all()
    return ValuationOut(
        total_cents=sum(item.stock * prices.quote(item.sku, item.stock) for item in items)
    )


@router.get("/restock")
async def restock(session: AsyncSessionDep) -> Sequence[RestockOut]:
    """How long the stock lasts. Fails: nobody has thought of an item that does not sell."""
    items = await session.scalars(select(Item).where(Item.stock > 0))
    return [
        RestockOut(sku=item.sku, weeks_left=item.stock / item.weekly_sales) for item in items
    ]


async def csv_lines() -> AsyncIterator[str]:
    def row(*values: object) -> str:
        line = io.StringIO()
        csv.writer(line).writerow(values)
        return line.getvalue()

    yield row("order", "customer", "status", "total_cents")
    query = select(Order).options(selectinload(Order.lines)).execution_options(yield_per=100)
    async with new_async_session() as session:
        async for order in await session.stream_scalars(query):
            yield row(order.id, order.customer, order.status, order.total_cents)


@router.get("/orders.csv")
async def export_orders() -> StreamingResponse:
    return StreamingResponse(
        csv_lines(),
        media_type="text/csv",
        headers={"Content-Disposition": 'attachment; filename="orders.csv"'},
    )

"""Orders, and the lines of an order below each."""

import logging
import time
from collections.abc import Sequence

from fastapi import APIRouter, BackgroundTasks, HTTPException
from sqlalchemy import select, update
from sqlalchemy.orm import selectinload

from shop import prices
from shop.db import AsyncSessionDep, Item, Order, OrderLine, SessionDep, new_session
from shop.schemas import LineOut, OrderIn, OrderOut

log = logging.getLogger(__name__)

router = APIRouter(prefix="/orders", tags=["orders"])
lines_router = APIRouter(prefix="/{order_id}/lines")


def send_confirmation(order_id: int) -> None:
    """Confirm an order to its customer; runs after the response has been sent."""
    with new_session.begin() as session:
        order = session.get_one(Order, order_id)
        time.sleep(0.05)  # The mail server's answer.
        order.status = "confirmed"
        log.info("order %d confirmed to %s", order.id, order.customer)


@router.post("", status_code=201, response_model=OrderOut)
def create_order(
    body: OrderIn, session: SessionDep, background: BackgroundTasks
) -> Order:
    order = Order(customer=body.customer)
    for line in body.lines:
        item = session.get(Item, line.item_id)
        if item is None:
            raise HTTPException(404, f"no item {line.item_id}")
        order.lines.append(
            OrderLine(
                item_id=item.id,
                quantity=line.quantity,
                unit_price_cents=prices.quote(item.sku, line.quantity),
            )
        )
    for line in body.lines:
        taken = session.execute(
            update(Item)
            .where(Item.id == line.item_id, Item.stock >= line.quantity)
            .values(stock=Item.stock - line.quantity)
        )
        if taken.rowcount == 0:
            raise HTTPException(409, f"not enough of item {line.item_id} in stock")
    session.add(order)
    session.commit()
    background.add_task(send_confirmation, order.id)
    return order


@router.get("/{order_id}", response_model=OrderOut)
async def get_order(order_id: int, session: AsyncSessionDep) -> Order:
    order = await session.get(Order, order_id, options=[selectinload(Order.lines)])
    if order is None:
        raise HTTPException(404, "no such order")
    return order


@lines_router.get("", response_model=list[LineOut])
async def list_lines(order_id: int, session: AsyncSessionDep) -> Sequence[OrderLine]:
    query = select(OrderLine).where(OrderLine.order_id == order_id)
    return (await session.scalars(query)).all()


router.include_router(lines_router)

"""The catalogue: what the shop sells."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from sqlalchemy import select

from shop import prices
from shop.db import AsyncSessionDep, Item, SessionDep
from shop.schemas import ItemOut, PricedItemOut

router = APIRouter(tags=["catalogue"])


@router.get("/items", response_model=list[ItemOut])
async def list_items(
    session: AsyncSessionDep,
    in_stock: bool = False,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Sequence[Item]:
    query = select(Item).order_by(Item.name).limit(limit)
    if in_stock:
        query = query.where(Item.stock > 0)
    return (await session.scalars(query)).all()


@router.get("/items/{item_id}")
def get_item(item_id: int, session: SessionDep) -> PricedItemOut:
    item = session.get(Item, item_id)
    if item is None:
        raise HTTPException(404, "no such item")
    return PricedItemOut(
        **ItemOut.model_validate(item).model_dump(), price_cents=prices.quote(item.sku)
    )

"""The pricing service: what an item costs, with a discount for many."""

import asyncio
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query
from pydantic import BaseModel

PRICES_CENTS = {
    "MUG-01": 1250,
    "TEE-01": 1990,
    "CAP-01": 1500,
    "PEN-01": 180,
    "BAG-01": 900,
}


class PriceOut(BaseModel):
    sku: str
    unit_price_cents: int


app = FastAPI(title="Pricing")


@app.get("/prices/{sku}")
async def get_price(sku: str, quantity: Annotated[int, Query(ge=1)] = 1) -> PriceOut:
    if sku not in PRICES_CENTS:
        raise HTTPException(404, "no such item")
    await asyncio.sleep(0.08)  # Today's exchange rate.
    percent = 90 if quantity >= 10 else 100
    return PriceOut(sku=sku, unit_price_cents=PRICES_CENTS[sku] * percent // 100)

"""What goes in and out of the shop's API."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class ItemOut(Out):
    id: int
    sku: str
    name: str
    stock: int


class PricedItemOut(ItemOut):
    price_cents: int


class LineIn(BaseModel):
    item_id: int
    quantity: int = Field(ge=1, le=10_000)


class OrderIn(BaseModel):
    customer: str = Field(min_length=3, max_length=200)
    lines: list[LineIn] = Field(min_length=1, max_length=50)


class LineOut(Out):
    item_id: int
    quantity: int
    unit_price_cents: int


class OrderOut(Out):
    id: int
    customer: str
    status: str
    created_at: datetime
    total_cents: int


class SummaryOut(BaseModel):
    items: int
    orders: int


class ValuationOut(BaseModel):
    total_cents: int


class RestockOut(BaseModel):
    sku: str
    weeks_left: float

"""The stock ticker: what is in stock, again and again, over a WebSocket."""

import asyncio
import contextlib

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from sqlalchemy import select

from shop.db import Item, new_async_session
from shop.settings import settings

router = APIRouter()


@router.websocket("/ticker")
async def ticker(websocket: WebSocket) -> None:
    await websocket.accept()
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            async with new_async_session() as session:
                rows = (await session.execute(select(Item.sku, Item.stock))).all()
            await websocket.send_json({sku: stock for sku, stock in rows})
            await asyncio.sleep(settings.tick_seconds)

"""The shop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from shop.db import async_engine, create_tables, engine
from shop.prices import PriceUnavailable
from shop.routers import catalogue, orders, reports, ticker


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    await run_in_threadpool(create_tables)
    yield
    await async_engine.dispose()
    engine.dispose()


app = FastAPI(title="Shop", lifespan=lifespan)
for module in (catalogue, orders, reports, ticker):
    app.include_router(module.router)


@app.exception_handler(PriceUnavailable)
async def price_unavailable(request: Request, error: PriceUnavailable) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=503)


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}

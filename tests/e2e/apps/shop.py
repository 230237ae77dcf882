# SPDX-License-Identifier: MIT
"""An endpoint that asks a database, and then the server at TARGET_URL; and one that raises."""

import os

import requests
from fastapi import FastAPI
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool

TARGET = os.environ["TARGET_URL"]
app = FastAPI()
engine = create_engine(
    "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
)
session = requests.Session()
session.trust_env = False

with engine.begin() as connection:
    connection.execute(text("CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT)"))
    connection.execute(text("INSERT INTO orders VALUES (1, 'tea')"))


@app.get("/orders/{order_id}")
def read_order(order_id: int) -> dict[str, object]:
    with engine.connect() as connection:
        query = text("SELECT name FROM orders WHERE id = :id AND name <> 'hush'")
        name = connection.scalar(query, {"id": order_id})
    price = session.get(f"{TARGET}/status/200", params={"name": name}, timeout=10)
    return {"name": name, "price": price.status_code}


@app.get("/raises")
async def raises() -> None:
    raise ValueError("on purpose")


@app.get("/teapot")
def teapot() -> int:
    return session.get(f"{TARGET}/status/418", timeout=10).status_code

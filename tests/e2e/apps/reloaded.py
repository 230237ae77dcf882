# SPDX-License-Identifier: MIT
"""An application made after its libraries were executed a second time."""

import importlib

import fastapi.applications
import requests.adapters
import sqlalchemy
import starlette.applications

for module in (starlette.applications, fastapi.applications, requests.adapters, sqlalchemy):
    importlib.reload(module)

app = fastapi.applications.FastAPI()
engine = sqlalchemy.create_engine("sqlite://")


@app.get("/items/{item_id}")
async def item(item_id: int) -> int:
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("SELECT 1"))
    return item_id

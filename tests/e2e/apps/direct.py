# SPDX-License-Identifier: MIT
"""An application that calls itself, without a server: every hook in one short process."""

import asyncio
from typing import Any

import fastapi
import requests
from sqlalchemy import create_engine, text

app = fastapi.FastAPI()
engine = create_engine("sqlite://")

HEADERS = [
    (b"host", b"shop.example:8000"),
    (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    (b"tracestate", b"vendor=value"),
]


@app.get("/items/{item_id}")
async def read_item(item_id: int) -> dict[str, int]:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1 WHERE 'x' = :value"), {"value": "x"})
    try:
        requests.get("http://127.0.0.1:1/?token=secret")
    except requests.ConnectionError:
        pass
    return {"id": item_id}


@app.get("/fails")
def fail() -> None:
    raise ValueError("as asked")


async def call(path: str) -> int:
    """Returns the status that the application answers with."""
    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"page=1&token=secret",
        "root_path": "",
        "headers": list(HEADERS),
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
    }
    try:
        await app(scope, receive, send)
    except ValueError:
        pass
    return messages[0]["status"]


async def main() -> None:
    for _ in range(10):
        statuses = await asyncio.gather(call("/items/1"), call("/fails"), call("/nowhere"))
        assert statuses == [200, 500, 404], statuses
    cancelled = asyncio.create_task(call("/items/2"))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    print("done")


if __name__ == "__main__":
    asyncio.run(main())

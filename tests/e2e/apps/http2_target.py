# SPDX-License-Identifier: MIT
"""A bare ASGI application, which tells what trace it was called with."""

import asyncio
import json
from typing import Any


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    number = int(scope["query_string"].decode().removeprefix("n=") or 0)
    await asyncio.sleep(0.001 * (number % 7))  # The answers come in another order.
    body = {"n": number, "traceparent": headers.get("traceparent"), "version": scope["http_version"]}
    start = {"type": "http.response.start", "status": 200, "headers": []}
    await send(start)
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})

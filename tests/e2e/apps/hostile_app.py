# SPDX-License-Identifier: MIT
"""An application that answers with what it has seen of a request, whatever that is.

`/raw…` is bare ASGI behind a mount, which sends the messages that the caller puts into the scope.
"""

import hashlib
import re
from typing import Any

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

app = FastAPI()


def told(value: Any) -> Any:
    """Short values as they are, long ones by their size and digest, without addresses in memory:
    answers are compared."""
    text = re.sub(r"0x[0-9a-f]{6,}", "0x", repr(value))
    if len(text) < 300:
        return text
    return [len(text), hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()]


async def seen(request: Request) -> JSONResponse:
    """What the framework makes of the request."""
    scope = request.scope
    client = scope.get("client")
    if isinstance(client, tuple) and client[:1] == ("127.0.0.1",):
        client = "one that is there"  # Its port is another one each time.
    facts = {
        "method": told(scope.get("method")),
        "path": told(scope.get("path")),
        "raw_path": told(scope.get("raw_path")),
        "query": told(scope.get("query_string")),
        "headers": told([tuple(pair) for pair in request.headers.raw]),
        "cookies": told(request.cookies),
        "client": told(client),
        "body": len(await request.body()),
    }
    return JSONResponse(facts)


async def raw(scope: Any, receive: Any, send: Any) -> None:
    """Sends what the scope says, or else an ordinary answer."""
    usual = [
        {"type": "http.response.start", "status": 200, "headers": []},
        {"type": "http.response.body", "body": told(scope.get("headers")).__repr__().encode()},
    ]
    for message in scope.get("messages", usual):
        await send(message)


async def passing(request: Request, call_next: Any) -> Any:
    return await call_next(request)


app.add_route("/seen", seen, methods=["GET", "POST", "HEAD"])
app.add_route("/seen/{rest:path}", seen)
app.get("/items/{item_id}")(lambda item_id: item_id)
app.mount("/raw", raw)
wrapped = Starlette(
    routes=[Route("/seen", seen), Route("/seen/{rest:path}", seen), Mount("/raw", raw)]
)
wrapped.add_middleware(CORSMiddleware, allow_origins=["*"])
wrapped.add_middleware(BaseHTTPMiddleware, dispatch=passing)

# SPDX-License-Identifier: MIT
"""Starlette without FastAPI: routes, mounts, path parameters, a stream, an endpoint that raises."""

from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route


async def home(request: Request) -> PlainTextResponse:
    return PlainTextResponse("home")


async def item(request: Request) -> JSONResponse:
    return JSONResponse({"id": request.path_params["item_id"]})


def threaded(request: Request) -> PlainTextResponse:
    return PlainTextResponse("threaded")


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(await request.body())


async def raises(request: Request) -> PlainTextResponse:
    raise ValueError("on purpose")


async def stream(request: Request) -> StreamingResponse:
    async def chunks() -> AsyncIterator[str]:
        for number in range(5):
            yield f"chunk {number}\n"

    return StreamingResponse(chunks(), media_type="text/plain")


app = Starlette(
    routes=[
        Route("/", home),
        Route("/items/{item_id:int}", item),
        Route("/threaded", threaded),
        Route("/echo", echo, methods=["POST", "PUT"]),
        Route("/raises", raises),
        Route("/stream", stream),
        Mount(
            "/shop/{shop}",
            routes=[
                Route("/items/{item_id}", item),
                Mount("/inner", routes=[Route("/home", home)]),
            ],
        ),
        Mount("/sub", app=Starlette(routes=[Route("/", home), Route("/items/{item_id}", item)])),
    ]
)

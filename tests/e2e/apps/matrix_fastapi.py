# SPDX-License-Identifier: MIT
"""FastAPI from 0.95 on, with pydantic 1 or 2: routers, mounts, dependencies, failures, streams.

`/behind/…` is an application of its own with every middleware.
"""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException
from fastapi.responses import PlainTextResponse, StreamingResponse
from fastapi.routing import APIRoute
from matrix_starlette import MIDDLEWARE, Refused, chunks, fail, gates, lifespan, plain, refused
from pydantic import BaseModel
from starlette.requests import Request
from starlette.routing import Host, Mount, Route, Router
from starlette.staticfiles import StaticFiles

main = FastAPI(lifespan=lifespan, root_path=os.environ.get("MATRIX_ROOT_PATH", ""))
behind = FastAPI(middleware=MIDDLEWARE["all"])


class Order(BaseModel):
    name: str
    price: float


class OwnRoute(APIRoute):
    """A route class of the application, as the documentation shows it."""

    def get_route_handler(self) -> Any:
        handler = super().get_route_handler()

        async def own(request: Request) -> Any:
            response = await handler(request)
            response.headers["x-own"] = "route"
            return response

        return own


def parts() -> APIRouter:
    """What both applications have."""
    router = APIRouter()

    @router.get("/items/{item_id}")
    async def read(item_id: int) -> Any:
        return {"id": item_id}

    @router.get("/sync/{item_id}")
    def read_sync(item_id: int) -> Any:
        return {"id": item_id}

    @router.post("/orders", status_code=201)
    async def order(order: Order) -> Any:
        return order

    @router.get("/fails/{kind}")
    async def fails(kind: str) -> Any:
        await fail(kind)

    @router.get("/fails-sync")
    def fails_sync() -> Any:
        raise ValueError("on purpose, in a thread")

    @router.get("/stream/{name}")
    async def stream(name: str) -> Any:
        return StreamingResponse(chunks(name), media_type="image/png")

    @router.get("/depends")
    async def depends(one: str = Depends(opened), two: str = Depends(opened_sync)) -> Any:
        return [one, two]

    @router.get("/depends-fails/{kind}")
    async def depends_fails(kind: str, one: str = Depends(opened)) -> Any:
        await fail(kind)

    @router.get("/depends-never")
    async def depends_never(one: str = Depends(fails_first)) -> Any:
        """Is never reached."""

    @router.get("/depends-late")
    async def depends_late(one: str = Depends(fails_late)) -> Any:
        return "done"

    return router


async def opened() -> AsyncIterator[str]:
    yield "async"


def opened_sync() -> Iterator[str]:
    yield "sync"


def fails_first() -> Iterator[str]:
    raise ValueError("before the endpoint")
    yield "never"


async def fails_late() -> AsyncIterator[str]:
    yield "first"
    raise ValueError("behind the endpoint")


@main.get("/slash/")
async def slash() -> Any:
    return "slash"


@main.get("/gate/{name}")
async def open_gate(name: str) -> Any:
    gates[name].set()
    return name


@main.get("/background/{name}")
async def background(name: str, tasks: BackgroundTasks) -> Any:
    tasks.add_task(gates[name].wait)
    return "later"


@main.get("/files/{path:path}")
async def files(path: str) -> Any:
    return path


@main.api_route("/several", methods=["GET", "POST"])
async def several() -> Any:
    return "several"


@main.get("/missing")
async def missing() -> Any:
    raise HTTPException(404, "no such thing", headers={"X-Reason": "none"})


def hosted(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.path_params["name"])


outer = APIRouter(prefix="/outer/{outer}")
middle = APIRouter()
inner = APIRouter(prefix="/inner")
own = APIRouter(route_class=OwnRoute)


@inner.get("/{leaf}")
async def leaf(outer: str, leaf: str) -> Any:
    return [outer, leaf]


@inner.post("/{leaf}", status_code=201)
async def new_leaf(outer: str, leaf: int) -> Any:
    return [outer, leaf]


@own.get("/own/{name}")
async def named(name: str) -> Any:
    return name


middle.include_router(inner, prefix="/middle")
middle.include_router(own)
outer.include_router(middle)
main.include_router(parts())
main.include_router(parts(), prefix="/v1")
main.include_router(outer)
main.include_router(outer, prefix="/v2/{version}")
main.include_router(own)
main.add_route("/added/{name}", hosted)
main.add_exception_handler(Refused, refused)

sub = FastAPI()
sub.include_router(parts(), prefix="/v3")
tenant = FastAPI()
tenant.mount("/deeper", sub)
main.mount("/sub", sub)
main.mount("/tenants/{tenant}", tenant)
main.mount("/starlette", plain)
main.mount("/static", StaticFiles(directory=Path(__file__).parent))
main.router.routes += [
    Route("/plain/{name}", hosted),
    Mount("/mount/{one}", routes=[Route("/{name}", hosted)]),
    Host("shop.example", app=Router([Route("/hosted/{name}", hosted)])),
    Host("sub.example", app=sub),
]

behind.include_router(parts(), prefix="/behind")
behind.add_exception_handler(Refused, refused)


async def app(scope: Any, receive: Any, send: Any) -> None:
    word = scope["path"].split("/")[1] if scope["type"] == "http" else ""
    await (behind if word == "behind" else main)(scope, receive, send)

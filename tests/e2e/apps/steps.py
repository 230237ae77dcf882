# SPDX-License-Identifier: MIT
"""Dependencies, endpoints, validation, serialization and background tasks of every kind."""

import asyncio
import functools
import os
import time
from typing import Dict, List

from fastapi import BackgroundTasks, Body, Depends, FastAPI, Header, HTTPException, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool
from starlette.background import BackgroundTask

app = FastAPI()
SHARED = {"check_same_thread": False}
engine = create_engine("sqlite://", poolclass=StaticPool, connect_args=SHARED)
SLOW = float(os.environ.get("SLOW", "0"))


def query(number: int) -> int:
    """One statement, on whatever thread this is."""
    with engine.connect() as connection:
        return connection.execute(text(f"SELECT {number}")).scalar()


class Item(BaseModel):
    name: str
    price: float = 0


class Order(BaseModel):
    items: List[Item]
    stock: Dict[str, int] = {}


# Dependencies.


async def async_dependency() -> int:
    await asyncio.sleep(0)
    return query(1)


def sync_dependency() -> int:
    return query(2)


def yield_dependency():
    yield query(3)


async def async_yield_dependency():
    await asyncio.sleep(0)
    yield query(4)


def inner(number: int = 0) -> int:
    return number


async def middle(inner: int = Depends(inner)) -> int:
    return inner


def outer(middle: int = Depends(middle), inner: int = Depends(inner)) -> int:
    return middle + inner


class Pager:
    def __init__(self, limit: int = 10) -> None:
        self.limit = limit


class Guard:
    def __call__(self, token: str = Header("none")) -> str:
        return token


async def slow_async() -> None:
    await asyncio.sleep(SLOW)


def slow_sync() -> None:
    time.sleep(SLOW)


async def slow_yield():
    await asyncio.sleep(SLOW)
    yield


def fast() -> None:
    pass


def dependency_fails() -> None:
    raise ValueError("the dependency fails")


def refuses() -> None:
    raise HTTPException(401, "who are you?")


# Endpoints.


@app.get("/async")
async def async_endpoint() -> Dict[str, int]:
    await asyncio.sleep(0)
    return {"value": query(7)}


@app.get("/sync")
def sync_endpoint() -> Dict[str, int]:
    return {"value": query(8)}


@app.get("/four")
async def four(
    a: int = Depends(async_dependency),
    b: int = Depends(sync_dependency),
    c: int = Depends(yield_dependency),
    d: int = Depends(async_yield_dependency),
) -> List[int]:
    return [a, b, c, d]


@app.get("/nested")
async def nested(outer: int = Depends(outer), again: int = Depends(middle)) -> int:
    return outer + again


@app.get("/uncached")
async def uncached(
    a: int = Depends(inner), b: int = Depends(inner, use_cache=False), c: int = Depends(inner)
) -> int:
    return a + b + c


@app.get("/callables")
async def callables(
    pager: Pager = Depends(), guard: str = Depends(Guard()), both: str = Depends(Guard())
) -> str:
    return f"{pager.limit} {guard} {both}"


@app.post("/slow-before-body")
async def slow_before_body(
    order: Order = Body(), a: None = Depends(fast), b: None = Depends(slow_async)
) -> int:
    return len(order.items)


@app.get("/slow")
async def slow(
    a: None = Depends(fast),
    b: None = Depends(slow_async),
    c: None = Depends(slow_sync),
    d: None = Depends(slow_yield),
    e: None = Depends(fast),
) -> str:
    return "at last"


@app.get("/model", response_model=Item)
async def model() -> Dict[str, object]:
    return {"name": "mug", "price": 3, "secret": "hush"}


@app.get("/bad-model", response_model=Item)
def bad_model() -> Dict[str, object]:
    return {"price": "dear"}


@app.get("/fails")
async def fails() -> None:
    raise ValueError("the endpoint fails")


@app.get("/sync-fails")
def sync_fails() -> None:
    raise ValueError("the endpoint fails")


@app.get("/missing")
async def missing() -> None:
    raise HTTPException(404, "no such thing")


@app.get("/dependency-fails")
async def with_failing_dependency(x: None = Depends(dependency_fails)) -> None:
    pass


@app.get("/refused")
async def refused(x: None = Depends(refuses)) -> None:
    pass


@app.post("/orders")
async def create_order(
    order: Order, limit: int = 1, x_page: int = Header(0), x: None = Depends(fast)
) -> int:
    return len(order.items)


@app.get("/raises-validation")
async def raises_validation() -> None:
    """An application's own use of FastAPI's exception."""
    error = {"loc": ("body", "coupon"), "msg": "hush", "type": "value_error"}
    raise RequestValidationError([error])


class Service:
    def method(self, number: int) -> int:
        return query(number)


service = Service()
app.add_api_route("/method/{number}", service.method)


def partial_target(number: int, base: int) -> int:
    return number + base


app.add_api_route("/partial/{number}", functools.partial(partial_target, base=1))


def doubled(function):
    @functools.wraps(function)
    async def wrapper(*args, **kwargs):
        return 2 * await function(*args, **kwargs)

    return wrapper


@app.get("/decorated")
@doubled
async def decorated() -> int:
    return 21


def make_endpoint():
    async def made() -> str:
        return "made"

    return made


app.add_api_route("/made", make_endpoint())


# Background tasks.

done: List[str] = []


async def async_task(name: str) -> None:
    await asyncio.sleep(0)
    query(11)
    done.append(name)


def sync_task(name: str) -> None:
    query(12)
    done.append(name)


async def failing_task() -> None:
    raise HTTPException(418, "nobody hears this")


@app.get("/background")
async def background(tasks: BackgroundTasks) -> str:
    tasks.add_task(async_task, "first")
    tasks.add_task(sync_task, "second")
    tasks.add_task(functools.partial(sync_task, "third"))
    return "later"


@app.get("/background-fails")
def background_fails(tasks: BackgroundTasks) -> str:
    tasks.add_task(async_task, "before")
    tasks.add_task(failing_task)
    tasks.add_task(async_task, "after")
    return "later"


@app.get("/background-starlette")
async def background_starlette() -> JSONResponse:
    return JSONResponse("later", background=BackgroundTask(sync_task, "alone"))


@app.get("/done")
async def what_is_done() -> List[str]:
    names = list(done)
    done.clear()
    return names


# WebSockets.


@app.websocket("/ws")
async def ws(socket: WebSocket, number: int, guard: str = Depends(Guard())) -> None:
    await socket.accept()
    await socket.send_text(f"{guard} {query(number)}")
    await socket.close()


# An application within the application.


inside = FastAPI()


@inside.get("/")
async def inside_root(value: int = Depends(async_dependency)) -> int:
    return value


async def asks_inside() -> int:
    """Calls the other application in this very task."""
    messages = []

    async def receive() -> Dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Dict[str, object]) -> None:
        messages.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"inside")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    await inside(scope, receive, send)
    return messages[0]["status"]


@app.get("/inside")
async def asks(status: int = Depends(asks_inside), after: int = Depends(sync_dependency)) -> int:
    return status

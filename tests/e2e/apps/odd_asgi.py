# SPDX-License-Identifier: MIT
"""A FastAPI application called in odd but legal ways, one per path: /NAME runs the case NAME.

Each case tells its outcome in the response or on standard output; `/` lists the cases. Nothing
here may depend on time, addresses or chance, so that two runs can be compared byte by byte.
"""

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
from fastapi import FastAPI
from odd_inner import (
    Custom,
    Drive,
    Receive,
    Scope,
    Send,
    answer,
    bare,
    color,
    inner,
    note,
    swallow,
    zipped,
)

Case = Callable[[Scope, Receive, Send], Awaitable[None]]

CASES: dict[str, Case] = {}


def case(fn: Case) -> Case:
    CASES["/" + fn.__name__] = fn
    return fn


def at(path: str, scope: Scope) -> Scope:
    """Returns the scope of the same request to another path."""
    return {**scope, "path": path, "raw_path": path.encode()}


# The cases.


@case
async def plain(scope: Scope, receive: Receive, send: Send) -> None:
    await bare(at("/inside", scope), receive, send)


@case
async def base_http_middleware(scope: Scope, receive: Receive, send: Send) -> None:
    await inner(at("/base-http", scope), receive, send)


@case
async def base_http_middleware_raises(scope: Scope, receive: Receive, send: Send) -> None:
    await inner(at("/fails", scope), receive, send)


@case
async def gzip_middleware(scope: Scope, receive: Receive, send: Send) -> None:
    await zipped(at("/large", scope), receive, send)


@case
async def twice(scope: Scope, receive: Receive, send: Send) -> None:
    await bare(at("/inside", scope), receive, swallow)
    await bare(at("/inside", scope), receive, send)


@case
async def twice_at_once(scope: Scope, receive: Receive, send: Send) -> None:
    first = bare(at("/inside", scope), receive, swallow)
    second = bare(at("/inside", scope), receive, send)
    note(f"gathered {await asyncio.gather(first, second)}")


@case
async def one_in_another(scope: Scope, receive: Receive, send: Send) -> None:
    async def outer_endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        await inner(at("/base-http", scope), receive, send)

    outer = FastAPI()
    outer.mount("/", outer_endpoint)
    await outer(scope, receive, send)


@case
async def sends_before_receive(scope: Scope, receive: Receive, send: Send) -> None:
    await bare(at("/raw-first/", scope), receive, send)


@case
async def raises_after(scope: Scope, receive: Receive, send: Send) -> None:
    await bare(at("/inside", scope), receive, send)
    raise RuntimeError("after the response")


@case
async def raises_before(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("before the response")


@case
async def endpoint_raises(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        await bare(at("/fails", scope), receive, send)
    except RuntimeError as error:
        note(f"left with {error!r}, cause {error.__cause__!r}, context {error.__context__!r}")
        raise


@case
async def endpoint_raises_base_exception(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        await bare(at("/fails-hard", scope), receive, send)
    except Custom as error:
        await answer(send, f"caught {error!r}")


@case
async def cancelled_midway(scope: Scope, receive: Receive, send: Send) -> None:
    begun = asyncio.Event()

    async def watch(message: dict[str, Any]) -> None:
        await send(message)
        if message.get("body"):
            begun.set()

    task = asyncio.create_task(bare(at("/endless", scope), receive, watch))
    await begun.wait()
    task.cancel("enough")
    try:
        await task
    except asyncio.CancelledError:
        note(f"cancelled: {task.cancelled()}")
    await send({"type": "http.response.body", "body": b"cancelled"})


@case
async def cancelled_before_response(scope: Scope, receive: Receive, send: Send) -> None:
    task = asyncio.create_task(bare(at("/forever", scope), receive, send))
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    await answer(send, f"{result!r} {task.cancelled()}")


@case
async def catches_cancelled(scope: Scope, receive: Receive, send: Send) -> None:
    task = asyncio.create_task(bare(at("/stubborn", scope), receive, send))
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()
    await task
    note(f"cancelled: {task.cancelled()}")


@case
async def closed_unfinished(scope: Scope, receive: Receive, send: Send) -> None:
    await Drive(bare(at("/inside", scope), receive, send), 3, lambda coroutine: coroutine.close())
    await answer(send, "closed")


@case
async def closed_unstarted(scope: Scope, receive: Receive, send: Send) -> None:
    bare(at("/inside", scope), receive, send).close()
    await answer(send, "closed")


@case
async def never_awaited(scope: Scope, receive: Receive, send: Send) -> None:
    bare(at("/inside", scope), receive, send)  # Warns on standard error.
    await answer(send, "dropped")


@case
async def awaited_twice(scope: Scope, receive: Receive, send: Send) -> None:
    coroutine = bare(at("/inside", scope), receive, swallow)
    await coroutine
    try:
        await coroutine
    except RuntimeError as error:
        await answer(send, str(error))


@case
async def thrown_into(scope: Scope, receive: Receive, send: Send) -> None:
    def throw(coroutine: Any) -> bool:
        coroutine.throw(ValueError("thrown"))
        return True

    await Drive(bare(at("/inside", scope), receive, send), 3, throw)


@case
async def thrown_into_uncaught(scope: Scope, receive: Receive, send: Send) -> None:
    def throw(coroutine: Any) -> bool:
        coroutine.throw(KeyError("thrown"))
        return True

    await Drive(bare(at("/inside", scope), receive, send), 3, throw)


@case
async def task(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.create_task(bare(at("/inside", scope), receive, send), name="odd")
    note(f"color {color.get()}")


@case
async def shielded(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.shield(bare(at("/inside", scope), receive, send))


@case
async def wait_for(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.wait_for(bare(at("/inside", scope), receive, send), 60)


@case
async def wait_for_timeout(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        await asyncio.wait_for(bare(at("/forever", scope), receive, send), 0.05)
    except asyncio.TimeoutError:
        await answer(send, "timed out", 504)


@case
async def cancel_scope(scope: Scope, receive: Receive, send: Send) -> None:
    with anyio.move_on_after(0.05) as limit:
        await bare(at("/forever", scope), receive, send)
    await answer(send, f"moved on: {limit.cancelled_caught}", 504)


@case
async def task_group(scope: Scope, receive: Receive, send: Send) -> None:
    async with contextlib.AsyncExitStack() as stack:
        group = await stack.enter_async_context(anyio.create_task_group())
        group.start_soon(bare, at("/inside", scope), receive, send)


@case
async def disconnect(scope: Scope, receive: Receive, send: Send) -> None:
    """The client goes away when it has read the first chunk."""
    await bare(at("/endless", scope), receive, send)
    note("disconnect: returned")


@case
async def same_context(scope: Scope, receive: Receive, send: Send) -> None:
    await bare(at("/inside", scope), receive, swallow)
    await answer(send, f"color {color.get()}")  # The endpoint ran in this task.


@case
async def keywords(scope: Scope, receive: Receive, send: Send) -> None:
    await bare(send=send, scope=at("/inside", scope), receive=receive)


@case
async def unbound(scope: Scope, receive: Receive, send: Send) -> None:
    await FastAPI.__call__(bare, at("/inside", scope), receive, send)


@case
async def wrong_arguments(scope: Scope, receive: Receive, send: Send) -> None:
    wrong: list[Callable[[], Any]] = [
        lambda: bare(scope),
        lambda: bare(scope, receive, send, 4),
        lambda: bare(scope, receive, sent=send),
        lambda: FastAPI.__call__(),
    ]
    lines = []
    for call in wrong:
        try:
            call()
        except TypeError as error:
            lines.append(str(error))
    await answer(send, "\n".join(lines))


@case
async def introspection(scope: Scope, receive: Receive, send: Send) -> None:
    call = bare.__call__
    coroutine = bare(scope, receive, send)
    facts = [
        call.__name__,
        call.__qualname__,
        call.__module__,
        str(inspect.signature(call)),
        inspect.iscoroutinefunction(call),
        asyncio.iscoroutine(coroutine),
        inspect.isawaitable(coroutine),
        call.__self__ is bare,
        callable(FastAPI.__call__),
        FastAPI.__call__ is FastAPI.__call__,
    ]
    coroutine.close()
    await answer(send, "\n".join(map(str, facts)))


@case
async def headers_iterator(scope: Scope, receive: Receive, send: Send) -> None:
    def once() -> Iterator[list[bytes]]:
        yield [b"x-odd", b"1"]
        yield [b"x-odd", b"2"]

    await bare({**at("/headers", scope), "headers": once()}, receive, send)


@case
async def minimal_scope(scope: Scope, receive: Receive, send: Send) -> None:
    wanted = ("type", "http_version", "method", "query_string", "headers")
    small = {name: scope[name] for name in wanted}
    await bare({**small, "path": "/inside", "asgi": {"version": "3.0"}}, receive, send)


@case
async def message_is_the_same_object(scope: Scope, receive: Receive, send: Send) -> None:
    messages = []

    async def keeping(message: dict[str, Any]) -> None:
        messages.append(message)

    await bare(at("/raw-changing/", scope), receive, keeping)
    await answer(send, f"status is now {messages[0]['status']}")


@case
async def sends_from_a_task(scope: Scope, receive: Receive, send: Send) -> None:
    await bare(at("/raw-task/", scope), receive, send)


@case
async def returns_without_response(scope: Scope, receive: Receive, send: Send) -> None:
    await bare(at("/raw-silent/", scope), receive, send)


@case
async def returns_halfway(scope: Scope, receive: Receive, send: Send) -> None:
    await bare(at("/raw-half/", scope), receive, send)


@case
async def other_loop(scope: Scope, receive: Receive, send: Send) -> None:
    """Runs the application in a second event loop, in a thread."""
    await anyio.to_thread.run_sync(
        lambda: asyncio.run(bare(at("/inside", scope), receive, swallow))
    )
    await answer(send, "ran elsewhere")


@case
async def send_gives_future(scope: Scope, receive: Receive, send: Send) -> None:
    def plain_function(message: dict[str, Any]) -> Awaitable[Any]:
        return asyncio.ensure_future(send(message))

    await bare(at("/raw-changing/", scope), receive, plain_function)


@case
async def send_raises(scope: Scope, receive: Receive, send: Send) -> None:
    async def raising(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            raise OSError("the client is gone")

    await bare(at("/raw-changing/", scope), receive, raising)
    await answer(send, "sent by the middleware")


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        await bare(scope, receive, send)
    elif scope["path"] == "/":
        await answer(send, "\n".join(CASES))
    elif scope["path"] in CASES:
        note(f"case {scope['path']}")
        try:
            await CASES[scope["path"]](scope, receive, send)
        finally:
            note(f"end {scope['path']}")
    else:
        await bare(scope, receive, send)

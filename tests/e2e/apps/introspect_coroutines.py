# SPDX-License-Identifier: MIT
"""What Python code can find out about the coroutines of an application, and do with them."""

import asyncio
import copy
import gc
import inspect
import io
import pickle
import re
import sys
import traceback
import types
import warnings
import weakref
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

from probing import Recorder, probe, report, told
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

async def endpoint(request: Any) -> PlainTextResponse:
    return PlainTextResponse("text")


app = Starlette(routes=[Route("/", endpoint), Mount("/m", routes=[Route("/", endpoint)])])


def with_coroutine(fn: Callable[[Any], Any]) -> Any:
    coroutine = Recorder().call(app)
    try:
        return told(lambda: fn(coroutine))
    finally:
        coroutine.close()


# Coroutines.


@probe
def coroutine_kinds() -> Any:
    def look(coroutine: Any) -> Any:
        return [
            inspect.iscoroutine(coroutine),
            inspect.isawaitable(coroutine),
            asyncio.iscoroutine(coroutine),
            asyncio.isfuture(coroutine),
            isinstance(coroutine, Coroutine),
            isinstance(coroutine, types.CoroutineType),
            inspect.isgenerator(coroutine),
            coroutine.__class__.__name__,
            coroutine.__name__,
            coroutine.__qualname__,
            inspect.getcoroutinestate(coroutine),
            inspect.getcoroutinelocals(coroutine).keys() >= {"self", "scope"},
            coroutine.cr_frame.f_code.co_name,
            coroutine.cr_code.co_name,
            coroutine.cr_running,
            coroutine.cr_await,
            re.sub(r"0x[0-9a-f]+", "0x", repr(coroutine)),
            coroutine == coroutine,
            hash(coroutine) == hash(coroutine),
            sorted(set(dir(coroutine))),
        ]

    return with_coroutine(look)


@probe
def weak_reference_to_a_coroutine() -> Any:
    return with_coroutine(lambda coroutine: weakref.ref(coroutine)() is coroutine)


@probe
def coroutine_refusals() -> Any:
    return [
        with_coroutine(pickle.dumps),
        with_coroutine(copy.copy),
        with_coroutine(copy.deepcopy),
        with_coroutine(lambda coroutine: coroutine.send(1)),
        with_coroutine(lambda coroutine: coroutine.throw()),
        with_coroutine(lambda coroutine: coroutine.throw(1)),
        with_coroutine(lambda coroutine: coroutine.throw(KeyError)),
        with_coroutine(lambda coroutine: coroutine.throw(KeyError("thrown"))),
        with_coroutine(lambda coroutine: coroutine.throw(StopIteration(3))),
        with_coroutine(lambda coroutine: coroutine.no_such_thing),
        with_coroutine(lambda coroutine: setattr(coroutine, "no_such_thing", 1)),
        with_coroutine(lambda coroutine: setattr(coroutine, "__name__", "renamed")),
        with_coroutine(lambda coroutine: setattr(coroutine, "cr_frame", None)),
        with_coroutine(lambda coroutine: [coroutine.close(), coroutine.close()]),
    ]


async def pausing(request: Any) -> PlainTextResponse:
    await asyncio.sleep(0)
    return PlainTextResponse("paused")


@probe
def coroutine_driven_by_hand() -> Any:
    found: list[Any] = []
    coroutine = Recorder().call(Starlette(routes=[Route("/", pausing)]))
    found.append(coroutine.send(None))
    found.append(inspect.getcoroutinestate(coroutine))
    found.append(type(coroutine.cr_await).__name__ in ("coroutine", "coroutine_wrapper"))
    found.append(told(lambda: coroutine.send(None)))
    found.append(inspect.getcoroutinestate(coroutine))
    found.append(coroutine.cr_frame)
    found.append(told(lambda: coroutine.send(None)))
    found.append(told(lambda: coroutine.throw(KeyError("late"))))
    found.append(coroutine.close())
    iterator = Recorder().call(Starlette(routes=[Route("/", pausing)])).__await__()
    found.append([next(iterator), told(lambda: next(iterator)), told(lambda: next(iterator))])
    return found


@probe
def coroutine_that_ignores_its_end() -> Any:
    async def stubborn(request: Any) -> None:
        try:
            await asyncio.sleep(0)
        except GeneratorExit:
            await asyncio.sleep(0)

    coroutine = Recorder().call(Starlette(routes=[Route("/", stubborn)]))
    coroutine.send(None)
    return told(coroutine.close)


@probe
def ways_to_run() -> Any:
    async def all_ways() -> list[Any]:
        def call() -> Any:
            return Recorder().call(app)

        loop = asyncio.get_running_loop()
        found = [
            await call(),
            await asyncio.create_task(call(), name="named"),
            await asyncio.ensure_future(call()),
            await asyncio.wait_for(call(), 60),
            await asyncio.gather(call(), call()),
            await asyncio.shield(call()),
            await loop.create_task(call()),
            await asyncio.to_thread(lambda: asyncio.run(call())),
            await asyncio.to_thread(
                lambda: asyncio.run_coroutine_threadsafe(call(), loop).result(60)
            ),
        ]
        if hasattr(asyncio, "TaskGroup"):
            async with asyncio.TaskGroup() as group:
                group.create_task(call())
        return found

    loop = asyncio.new_event_loop()
    try:
        return [asyncio.run(all_ways()), loop.run_until_complete(Recorder().call(app))]
    finally:
        loop.close()


@probe
def tasks() -> Any:
    async def look() -> Any:
        application = Starlette(routes=[Route("/", pausing)])
        task = asyncio.create_task(Recorder().call(application), name="t")
        before = [re.sub(r"0x[0-9a-f]+", "0x", repr(task))]
        await asyncio.sleep(0)
        out = io.StringIO()
        task.print_stack(file=out)
        facts = [
            *before,
            out.getvalue(),
            [frame.f_code.co_name for frame in task.get_stack()],
            task.get_coro().__qualname__,
            inspect.iscoroutine(task.get_coro()),
            re.sub(r"0x[0-9a-f]+", "0x", repr(task)),
        ]
        await task
        return facts

    return asyncio.run(look())


@probe
def never_awaited() -> Any:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Recorder().call(app)
        gc.collect()
    return [[str(it.message), it.category.__name__, it.lineno] for it in caught]


@probe
def never_awaited_with_origin() -> Any:
    sys.set_coroutine_origin_tracking_depth(3)
    try:
        return never_awaited()
    finally:
        sys.set_coroutine_origin_tracking_depth(0)


# Inside a request.


@probe
def stack_inside_a_request() -> Any:
    seen: list[Any] = []

    async def inside(request: Any) -> PlainTextResponse:
        seen.append([frame.function for frame in inspect.stack()])
        seen.append(sys.exc_info())
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.warn("told to the caller", stacklevel=8)
        seen.append([Path(it.filename).name for it in caught])
        return PlainTextResponse("")

    Recorder().run(Starlette(routes=[Route("/", inside)]))
    return seen


@probe
def traceback_of_a_request() -> Any:
    async def fails(request: Any) -> None:
        raise ValueError("on purpose")

    application = Starlette(routes=[Route("/", fails)])
    text = ""
    try:
        Recorder().run(application)
    except ValueError as error:
        text = traceback.format_exc()
        names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        return [text, names, repr(error.__cause__), repr(error.__context__)]
    return text


def around(raw: Any, recorder: Recorder, send: Any) -> None:
    """Runs `raw` as the whole of an application: it gets `send` as the server's caller does."""
    application = Starlette()
    application.middleware_stack = raw
    asyncio.run(application(recorder.scope, recorder.receive, send))


@probe
def send_inside_a_request() -> Any:
    seen: list[Any] = []

    async def raw(scope: Any, receive: Any, send: Any) -> None:
        task = asyncio.current_task()
        seen.extend(
            [
                scope is recorder.scope,
                sorted(scope),
                receive == recorder.receive,
                send == send,
                send in {send},
                callable(send),
                inspect.iscoroutinefunction(send),
                inspect.ismethod(send),
                str(inspect.signature(send)),
                send.__qualname__,
                send.__self__ is recorder,
                told(lambda: copy.copy(send) is not None),
                told(lambda: send()),
                told(lambda: send(1, 2)),
                task is not None and task.get_coro().__qualname__,
            ]
        )
        await send(message={"type": "http.response.start", "status": 200})
        await PlainTextResponse("")(scope, receive, send)

    recorder = Recorder()
    around(raw, recorder, recorder.send)
    return [seen, recorder.messages]


@probe
def weak_reference_to_send() -> Any:
    seen: list[Any] = []

    async def raw(scope: Any, receive: Any, send: Any) -> None:
        seen.append(told(lambda: weakref.ref(send)() is send))

    async def send(message: Any) -> None:
        """A plain function, to which a weak reference lasts."""

    around(raw, Recorder(), send)
    return seen


@probe
def garbage_of_a_request() -> Any:
    """Nothing of a request is kept when it is over."""

    class Weak(dict[str, Any]):
        pass

    recorder = Recorder()
    scope = Weak(recorder.scope)
    dead = weakref.ref(scope)
    asyncio.run(app(scope, recorder.receive, recorder.send))
    del scope
    references = sys.getrefcount(app)
    for _ in range(50):
        Recorder().run(app)
    gc.collect()
    return [dead() is None, sys.getrefcount(app) - references, gc.garbage]


if __name__ == "__main__":
    report()
